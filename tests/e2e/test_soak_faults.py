# SPDX-License-Identifier: Apache-2.0
"""The faults of tools/soak real and the programs that they meet: what is done
is what is said, and who ends, hangs or grows is seen."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import types

import pytest

from cluster import http
from common import ROOT
from soak import real
from soak.client import Events
from soak.faults import LATE_S, Faults, lie_rules
from soak.history import History
from soak.losses import Losses
from soak.sizes import Sizes, of_process
from soak.values import Values
from soak.world import MB, Dead, Party, World

# A namespace of its own for the network, none for mounts.
HALF_PRIVATE = ["unshare", "--user", "--map-root-user", "--net"]
LOOPBACK = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from soak import net
net.PATH = sys.argv[2] or net.PATH
made = net.make()
assert isinstance(made, net.NoNet), made
print(made.why)
server = socket.create_server((made.add("m"), 0))
socket.create_connection(server.getsockname(), 5).close()
"""


@pytest.mark.parametrize("path", ["", "/nowhere"], ids=["mount", "ip"])
def test_without_hosts_of_its_own_loopback_works(path):
    """Whatever fails on the way there, programs find each other."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run(
            [*HALF_PRIVATE, "true"], check=False,
            capture_output=True).returncode:
        pytest.skip("namespaces are not allowed here")
    r = subprocess.run(
        [unshare, *HALF_PRIVATE[1:], sys.executable, "-c", LOOPBACK,
         os.path.join(ROOT, "tools", "lib"), path], check=False, text=True,
        capture_output=True, timeout=60,
        env={**os.environ, "MOONCAKE_SOAK_NET": "private"})
    assert r.returncode == 0, r.stderr
    assert r.stdout.strip()


def test_a_late_answer_is_asked_for_again():
    answers = [TimeoutError("timed out"), ConnectionResetError("gone"), "all"]
    ticks = []

    def master_http(path, timeout):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    soak = types.SimpleNamespace(
        world=types.SimpleNamespace(master_http=master_http),
        tick=lambda: ticks.append(1))
    assert real.Soak.ask_master(soak, "/", time.monotonic() + 60) == "all"
    assert len(ticks) == 2
    answers.append(TimeoutError("timed out"))
    with pytest.raises(real.Failure, match="timed out"):
        real.Soak.ask_master(soak, "/", 0)


def test_a_tool_that_is_too_slow_is_asked_again():
    """Whether all segments are there says mooncakectl, not its lateness."""
    whole = [{"kind": "nof", "state": "online"}] * 6
    answers = [subprocess.TimeoutExpired("mooncakectl", 10),
               types.SimpleNamespace(returncode=0, stdout=json.dumps(whole),
                                     stderr="")]

    def ctl(*args):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    soak = types.SimpleNamespace(
        world=types.SimpleNamespace(parties={}, ctl=ctl), tick=lambda: None)
    soak.wait = lambda *args: real.Soak.wait(soak, *args)
    real.Soak.wait_all(soak, time.monotonic() + 60)
    assert not answers


HALF_AN_ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                  b"nonsense\r\n\r\n")


@pytest.mark.parametrize("answer", HALF_AN_ANSWER)
def test_half_an_answer_is_none(answer):
    """All that may go wrong with a request is an OSError."""
    def serve(server):
        with server.accept()[0] as s:
            s.recv(4096)
            s.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with pytest.raises(OSError):
            http(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()


def test_ports_are_not_given_to_connections():
    """Without hosts of their own, a party that is down keeps its port."""
    with open("/proc/sys/net/ipv4/ip_local_port_range",
              encoding="ascii") as f:
        first = int(f.read().split()[0])
    if first < 4096:
        pytest.skip("connections may be given any port here")
    parties = [Party(f"t{i}", "target", "127.0.0.1") for i in range(100)]
    ports = [n for p in parties for n in (p.port, p.rest, p.data)]
    assert 1024 <= min(ports) and max(ports) < first
    assert len(set(ports)) == len(ports)


class Witness(World):
    """The world of soak real, of which only the clients' events are there."""

    def __init__(self, cluster,  # pylint: disable=super-init-not-called
                 kind="client"):
        self.dir, self.children = cluster.dir, cluster.children
        self.history, self.read_at = History(), {}
        self.events = {slot: [self.path(f"c{slot}.1.events")]
                       for slot in range(3)}
        self.parties = {name: Party(name, kind, "127.0.0.1")
                        for name in self.children}


def test_a_killed_client_saw_what_another_put(cluster):
    """All events up to its death are taken in, not only its own."""
    cluster.start("c0", "/bin/sleep", "60")
    world, t = Witness(cluster), time.monotonic()
    for slot, word, *rest in ((1, "put", "1", [["a", 7, 100]], "pool", True),
                              (1, "put.", "1", [0]), (0, "get", "1", ["a"]),
                              (0, "get.", "1", [7], 0)):
        t += 1e-6
        Events(world.events[slot][-1]).write(word, t, *rest)
    world.kill("c0")
    assert world.history.failures == []
    assert world.history.count["hits"] == 1


@pytest.mark.parametrize("last_words, is_excused", [
    ("echo namespace file open block=4096; kill -SEGV $$", False),
    ("echo namespace file open block=4096; exit 1", False),
    ("echo port 7 on h is in use: stop the program that has it; kill -ABRT $$",
     False),
    ("echo port 7 on h is in use: stop the program that has it; exit 0",
     False),
    ("echo port 7 on h is in use: stop the program that has it; exit 1", True),
    ("echo d.img is served by another process already; exit 1", True),
    ("echo 'another master (process 7) has the journal d'; exit 1", True),
])
def test_who_ends_at_once_has_to_say_why(cluster, last_words, is_excused):
    """Only a port, a file or a journal that is still taken is no crash."""
    child = cluster.start("ta", "/bin/sh", "-c", last_words)
    child.proc.wait(20)
    world, started = Witness(cluster, "target"), []
    world.launch = started.append
    p = world.parties["ta"]
    p.is_up, p.since = True, time.monotonic()
    if is_excused:
        assert world.check_alive() == started == ["ta"]
        assert p.taken == 1
        return
    for look in (world.check_alive, lambda: world.kill("ta")):
        p.is_up = True
        with pytest.raises(Dead, match="ended by itself with status"):
            look()


class Stage(World):
    """A world whose programs do nothing; for one fault at a time."""

    def __init__(self, folder,  # pylint: disable=super-init-not-called
                 *parties):
        self.dir, self.history, self.liar = str(folder), History(), "tc"
        self.net = types.SimpleNamespace(why="none here", has_delay=False)
        self.parties = {name: Party(name, kind, "127.0.0.1")
                        for name, kind in parties}
        self.calls, self.are_ready = [], True
        self.answers = []         # a status, or None: not in time
        for p in self.parties.values():
            p.is_up = True

    def kill(self, name):
        self.calls.append(("kill", name))
        self.parties[name].is_up = False

    terminate = kill

    def halt(self, name):
        self.calls.append(("halt", name))

    go_on = halt

    def order(self, name, *words):
        self.calls.append((name, *words))

    def launch(self, name):
        self.calls.append(("launch", name))
        self.parties[name].is_up = True

    def is_ready(self, p):
        return self.are_ready

    def run(self, program, *args, **more):  # pylint: disable=arguments-differ
        self.calls.append((program, *args))
        answer = self.answers.pop(0) if self.answers else 0
        if answer is None:
            raise subprocess.TimeoutExpired(program, 3)
        return types.SimpleNamespace(returncode=answer, stdout="", stderr="")


def on_stage(world, seed=1):
    return Faults(world, Losses(world, Values(1)), seed)


@pytest.mark.parametrize("flags, is_ready, is_torn", [
    (0, True, True), (2, True, True), (4, True, False), (6, True, False),
    (0, False, False)])
def test_a_log_that_was_ended_in_order_is_not_torn(tmp_path, flags, is_ready,
                                                   is_torn):
    stage = Stage(tmp_path, ("m", "master"))
    stage.are_ready = is_ready
    (tmp_path / "journal").mkdir()
    head = bytes(32) + flags.to_bytes(4, "little") + bytes(220)
    for name, what in (("1.log", bytes(256)), ("2.log", head)):
        (tmp_path / "journal" / name).write_bytes(what)
    on_stage(stage).torn_journal()
    after = (tmp_path / "journal" / "2.log").read_bytes()
    assert (after != head) == is_torn
    assert bool(stage.calls) == is_ready
    assert (tmp_path / "journal" / "1.log").read_bytes() == bytes(256)


def test_a_lie_that_may_have_been_told_counts(tmp_path):
    """Killed before it heard the answer, mooncakectl has set the rule or not:
    what was put until it would end has an excuse."""
    stage = Stage(tmp_path, ("tc", "target"))
    faults = on_stage(stage)
    stage.answers = [None, None]
    fault = faults.lie()
    assert fault and fault.kind.startswith("lie ")
    ends = time.monotonic() + fault.seconds + LATE_S
    faults.losses.lied = None
    fault.end_now()
    assert faults.losses.lied == pytest.approx(ends, abs=0.5)
    # One that was cleared is over at once.
    fault = faults.lie()
    fault.end_now()
    assert faults.losses.lied <= time.monotonic()
    stage.answers = [1]           # and what was refused is no lie
    assert faults.lie() is None
    assert len(faults.refused) == 1


def test_what_was_not_done_is_no_fault(tmp_path):
    stage = Stage(tmp_path, ("m", "master"), ("ta", "target"))
    faults = on_stage(stage)
    stage.answers = [1]
    assert faults.snapshot() is None
    assert list(faults.refused) == ["snapshot"]
    assert faults.snapshot().kind == "snapshot"
    for p in stage.parties.values():
        p.is_busy = True
    assert faults.kill_everything() is None
    for p in stage.parties.values():
        p.is_busy = False
    assert faults.kill_everything().kind == "SIGKILL of all servers"


def test_a_kind_named_twice_is_more_likely(tmp_path):
    faults = on_stage(Stage(tmp_path, ("m", "master"), ("ta", "target")))
    names = [faults.pick("master", "target", "target").name
             for _ in range(3000)]
    assert 1850 < names.count("ta") < 2150


def test_lies_begin_with_the_first_object():
    rules = lie_rules(random.Random(1), 96 * MB)
    for rule in rules:
        first, last = re.search("lba=([0-9]+)-([0-9]+)", rule).groups()
        assert int(first) * 4096 == MB and int(last) * 4096 == 95 * MB


def test_each_fault_is_in_the_catalogue(tmp_path):
    """By the names under which a long run asks whether it ever happened."""
    (tmp_path / "journal").mkdir()
    stage = Stage(tmp_path, ("m", "master"), ("ta", "target"),
                  ("tc", "target"), ("na", "node"), ("c0", "client"))
    for name in ("ta", "tc"):
        (tmp_path / f"{name}.img").write_bytes(bytes(2 * MB))
    (tmp_path / "journal" / "1.log").write_bytes(bytes(256))
    stage.net = types.SimpleNamespace(
        why=None, has_delay=True, rules=lambda *args: None,
        delay=lambda *args: None)
    faults, seen = on_stage(stage), set()
    for _, begin, kinds in faults.catalogue():
        for _ in range(400):
            if seen >= set(kinds):
                break
            for p in stage.parties.values():
                p.is_up, p.is_busy, p.is_cut = True, False, False
            fault = begin()
            if fault:
                assert fault.kind in kinds
                seen.add(fault.kind)
                fault.end_now()
    assert seen == faults.kinds()


def test_events_of_lives_that_are_over_go(cluster, monkeypatch):
    """Only when they were read, and not the last ones."""
    monkeypatch.setattr("soak.world.EVENTS_KEPT", 300)
    cluster.start("c0", "/bin/sleep", "60")
    world = Witness(cluster)
    for life in range(2, 40):
        Events(world.events[0][-1]).write("up", time.monotonic(), life)
        world.look()
        assert world.history.told[0, "up"] == life
        world.next_events(0, life)
    files = [n for n in os.listdir(world.dir) if n.endswith(".events")]
    assert 5 < len(files) < 30 and "c0.38.events" in files


@pytest.mark.parametrize("rss, fds, is_wrong", [
    (lambda i: 60 * MB, lambda i: 40, False),
    (lambda i: 60 * MB + i % 3 * 40 * MB, lambda i: 40 + i % 4 * 50, False),
    (lambda i: 60 * MB + i * MB, lambda i: 40 + i, False),
    (lambda i: 10 * MB if i == 0 else 120 * MB, lambda i: 40, False),
    (lambda i: 60 * MB + i * 10 * MB, lambda i: 40, True),
    (lambda i: 60 * MB, lambda i: 40 + i * 20, True),
    (lambda i: 2000 * MB, lambda i: 40, True)])
def test_who_takes_more_and_more(rss, fds, is_wrong):
    sizes, restarted = Sizes(), Sizes()
    found = [sizes.note("ta", "target", 1, (rss(i), fds(i)))
             for i in range(20)]
    assert any(found) == is_wrong
    # A new life begins anew.
    assert not any([restarted.note("ta", "target", i // 5, (
        60 * MB + i * 10 * MB, 40 + i * 20)) for i in range(20)])


def test_sizes_of_a_process():
    rss, fds = of_process(os.getpid())
    assert MB < rss < 1024 * MB and 3 <= fds < 2000
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert of_process(child.pid) is None
