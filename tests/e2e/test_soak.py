# SPDX-License-Identifier: Apache-2.0
"""The checker of tools/soak real, fed with histories: what must fail fails,
what may be is let pass."""
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
from soak.values import Values, WrongBytes
from soak.world import MB, Dead, Party, World

ENDPOINT = "traddr:h trsvcid:1 subnqn:nqn.2026-11.io.mooncake:{} trtype:TCP"


class Story:
    """Events of one client, in order, a second apart."""

    def __init__(self):
        self.h, self.t, self.n = History(), 0.0, 0

    def feed(self, *event):
        self.t += 1
        self.h.feed(0, json.dumps([event[0], self.t, *event[1:]]))
        self.h.apply(self.t)

    def put(self, key, version, result=0, tier="pool", pin=True, size=100):
        self.n += 1
        self.feed("put", str(self.n), [[key, version, size]], tier, pin)
        if result is not None:
            self.feed("put.", str(self.n), [result])
        return self

    def remove(self, key, result=0):
        self.n += 1
        self.feed("rm", str(self.n), key)
        self.feed("rm.", str(self.n), result)
        return self

    def get(self, key, version):
        self.n += 1
        self.feed("get", str(self.n), [key])
        self.feed("get.", str(self.n), [version], 0)
        return self

    def failed(self):
        return [what for what, _ in self.h.failures]


def test_what_may_be():
    s = Story().put("a", 1).get("a", 1).get("a", None).remove("a")
    assert s.get("a", None).failed() == []
    # The answer may have been lost, not the put; or the client was killed.
    assert Story().put("a", 1, -901).get("a", 1).failed() == []
    assert Story().put("a", 1, None).get("a", 1).failed() == []
    # Nobody knows whether that one removed anything.
    assert Story().put("a", 1).remove("a", -901).get("a", 1).failed() == []


@pytest.mark.parametrize("story, what", [
    (Story().put("a", 1).remove("a").get("a", 1), "removed values"),
    (Story().put("a", 1).get("a", 2), "values never put"),
    (Story().get("a", 1), "values never put"),
    (Story().put("a", 1, -200).get("a", 1), "values of refused puts"),
    (Story().put("a", 1).put("a", 2).get("a", 2).get("a", 1), "old values"),
])
def test_what_must_not_be(story, what):
    assert story.failed() == [what]


def test_removed_for_good():
    s = Story().put("a", 1).remove("a")
    s.h.forget(s.t + 1)
    assert "a" not in s.h.keys
    assert s.get("a", 1).failed() == ["removed values"]


def test_what_needs_not_be_there_is_forgotten(monkeypatch):
    monkeypatch.setattr("soak.history.UNHEARD", 100)
    monkeypatch.setattr("soak.history.LOOK_BACK", 500)
    s = Story().put("k0.1", 1)
    for i in range(2, 2_001):       # filling, refused, unknown, many
        s.put(f"f0.{i}", i, tier="fill", pin=False)
        s.put(f"k0.{i}", i, (-200, -901, None)[i % 3])
        s.put("h1.0", i)
        if i % 100 == 0:
            for key in s.h.leftovers():
                s.remove(key, -704)
            s.h.forget(s.t - 60)
    s.put("k0.2002", 2_002).remove("k0.2002")
    assert len(s.h.keys) < 500
    # Nothing can be said of what one of them returns, but of others it can.
    assert s.get("k0.1700", 1_700).failed() == []
    s.t += 400
    s.h.forget(s.t - 60)
    assert list(s.h.keys) == ["k0.1"]
    assert list(s.h.gone) == ["k0.2002"]
    assert len(s.h.old) <= 601
    assert s.get("k0.1", 1).get("k0.2002", 2_002).failed() == [
        "removed values"]


def test_acknowledged():
    s = Story().put("a", 1).put("b", 2, -901).put("c", 3).remove("c", -901)
    s.put("h", 4).put("h", 5)
    assert [key for key, _ in s.h.acknowledged()] == ["a"]


def test_leftovers():
    """What no client removes, each once; what has to be there is none."""
    s = Story().put("k0.1", 1).put("f0.2", 2).put("k0.3", 3, -901)
    s.put("k0.4", 4).remove("k0.4", -901).put("h1.0", 5).put("h1.0", 6)
    s.put("k0.7", 7).remove("k0.7").put("f0.8", 8).remove("f0.8")
    s.put("k0.9", 9, None)
    assert s.h.leftovers() == ["f0.2", "k0.3", "k0.4", "h1.0", "k0.9"]
    assert s.h.leftovers() == []
    assert [key for key, _ in s.h.acknowledged()] == ["k0.1", "f0.2"]


def losses(s, *places):
    """Judges the only key of a story; tc lies."""
    name = {ENDPOINT.format(p): p for p in places}
    world = types.SimpleNamespace(liar="tc", history=s.h,
                                  party_at=name.get, of=lambda kind: [])
    key, k = next(iter(s.h.keys.items()))
    k.places = set(name)
    result = Losses(world, Values(1))
    return result, lambda: result.excuse(key, k, next(iter(
        k.versions.values())))


def test_excuses():
    known, why = losses(Story().put("a", 1), "ta")
    assert why() is None
    known.lose_counters(False)
    known.lie()
    known.lose_memory("na")
    assert why() is None            # pinned, elsewhere
    known, why = losses(Story().put("a", 1), "tc")
    assert why() is None            # it has not lied
    known.lie()
    assert why()
    known, why = losses(Story().put("a", 1, tier="pair"), "tc", "ta")
    known.lie()
    assert why() is None
    known, why = losses(Story().put("a", 1, tier="loose", pin=False), "ta")
    assert why() is None
    known.lose_counters(False)
    assert why()
    known, why = losses(Story().put("a", 1, tier="memory"), "na")
    known.lose_memory("nb")
    assert why() is None
    known.lose_memory("na")
    assert why()
    known, why = losses(Story().put("a", 1, tier="both"), "na", "ta")
    known.lose_memory("na")
    assert why() is None
    known, why = losses(Story().put("a", 1, size=3 << 20), "ta")
    assert why() is None
    known.lie()
    assert why()                    # a stripe of it
    for tier in ("both", "memory"):
        known, why = losses(Story().put("a", 1, tier=tier, size=3 << 20),
                            "na")
        assert why() is None
        known.lose_memory("na")
        assert why()                # the pool had no room: nothing lay there
    known, why = losses(Story().put("a", 1, tier="both", size=3 << 20),
                        "na", "ta")
    known.lose_memory("na")
    assert why() is None


@pytest.mark.parametrize("size, is_excused", [(1 << 20, True),
                                              ((1 << 20) - 1, False)])
def test_in_pieces_on_several_nodes(size, is_excused):
    """Its client names the first piece only, the master all of them."""
    for places in (("na",), ("na", "nb")):
        known, why = losses(Story().put("a", 1, tier="memory", size=size),
                            *places)
        assert why() is None
        known.lose_memory("nb")
        assert bool(why()) == is_excused
    known, why = losses(Story().put("a", 1, tier="both", size=size), "na",
                        "ta")
    known.lose_memory("nb")
    assert why() is None            # that side is gone, the other is not
    known.lie()
    assert bool(why()) == is_excused


def test_replicas_move():
    """While ta was away, the memory's replica was copied to the liar."""
    s = Story().put("a", 1, tier="both")
    known, why = losses(s, "na", "ta")
    known.lose_memory("na")
    known.lie()
    assert why() is None
    known.copied = 0.5              # before it was put
    assert why() is None
    known.lose_counters(True)
    assert why()
    known.hit.clear()
    assert why() is None            # memory has it


def test_places_are_those_of_the_last_answer():
    s = Story().put("a", 1, tier="both")
    answers = [("na", "ta"), ("na", "tc"), ()]

    def ask_master(path, until):
        return json.dumps({"data": {"a": {"values": [], "nof_values": [
            {"transport_endpoint_": p} for p in answers.pop(0)]}}})

    soak = types.SimpleNamespace(history=s.h, ask_master=ask_master)
    for places in ({"na", "ta"}, {"na", "tc"}, {"na", "tc"}):
        real.Soak.ask_places(soak, ["a"], 0)
        assert s.h.keys["a"].places == places


def test_evictions_excuse_last():
    """They are counted, so that each may excuse one object only."""
    known, why = losses(Story().put("a", 1, tier="loose", pin=False), "tc")
    known.lose_counters(False)
    assert why() == "evicted"
    known.lie()
    assert why() == "on the lying target"
    known, why = losses(Story().put("a", 1, tier="fill", pin=False))
    known.lose_counters(False)
    assert why() == "evicted"
    known.lie()
    assert why() == "evicted or lost"   # nobody knows where it lay


@pytest.mark.parametrize("before, now, excused, fails", [
    ((1, 5.0), (1, 8.0), 3, False), ((1, 5.0), (1, 8.0), 4, True),
    ((1, 5.0), (2, 0.0), 4, False), (None, (1, 8.0), 9, False),
    ((1, 5.0), None, 9, False)])
def test_no_more_is_evicted_than_was_counted(before, now, excused, fails):
    soak = types.SimpleNamespace(compared=0, losses=types.SimpleNamespace(
        evictions=lambda: now))
    if fails:
        with pytest.raises(real.Failure, match="4 objects"):
            real.Soak.compare_evictions(soak, before, excused)
    else:
        real.Soak.compare_evictions(soak, before, excused)
    assert soak.compared == (before is not None and now is not None
                             and before[0] == now[0])


def test_excuses_end():
    """What was put after the loss is not excused by it."""
    known, why = losses(Story().put("a", 1), "tc")
    known.lied = 0.5
    assert why() is None


def test_every_byte_counts():
    values = Values(7)
    data = values.make("a", 3, 5000)
    assert values.version_of("a", data) == 3
    for at in (0, 9, 17, 25, 32, 2500, 4999):
        bad = bytearray(data)
        bad[at] ^= 1
        try:
            assert values.version_of("a", bytes(bad)) != 3
        except WrongBytes:
            pass
    for other in (values.make("b", 3, 5000), data[:-1], b"", bytes(5000)):
        with pytest.raises(WrongBytes):
            values.version_of("a", other)


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
