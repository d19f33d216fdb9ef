# SPDX-License-Identifier: Apache-2.0
"""The fault list of docs/testing.md with real processes: targets that die,
hang or can't be reached.  Whatever happens: no wrong bytes, calls end, other
targets are served, and all is well again afterwards."""
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from conftest import FAST, new_store
from cluster import free_port

KEYS, SIZE = 40, 150_001
SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))


@pytest.fixture(autouse=True)
def seed(short_deadlines):
    print(f"seed: T_SEED={SEED}")


class Pool:
    """Objects on two targets; which object is on which is known."""

    def __init__(self, cluster, store):
        self.cluster, self.store = cluster, store
        rng = random.Random(SEED)
        self.data = {f"k{i}": rng.randbytes(SIZE) for i in range(KEYS)}
        assert store.put_batch(list(self.data),
                               list(self.data.values())) == 0
        port = f"trsvcid:{cluster.target_ports['b']} "
        self.on_b = {k for k in self.data if port in
                     store.get_replica_desc(k)[0].get_memory_descriptor()
                     .buffer_descriptor.transport_endpoint}
        self.on_a = set(self.data) - self.on_b
        assert len(self.on_a) > 3 and len(self.on_b) > 3
        assert self.there() == set(self.data)

    def there(self, keys=None):
        """Keys whose bytes come; they are never wrong."""
        keys = sorted(keys or self.data)
        got = self.store.get_batch(keys)
        for key, value in zip(keys, got):
            assert value in (b"", self.data[key]), f"wrong bytes: {key}"
        return {k for k, v in zip(keys, got) if v}

    def expect_others_served(self):
        """Object by object, so that nothing of b is waited for."""
        for _ in range(3):
            for key in self.on_a:
                assert self.store.get(key) == self.data[key]

    def expect_whole(self):
        self.cluster.wait_until("all objects are back", lambda:
                                self.there() == set(self.data), 40)


@pytest.fixture
def pool(cluster):
    cluster.master(*FAST)
    for name in "ab":
        cluster.target(name, f"{name}.img:64m")
        cluster.register(name)
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    yield Pool(cluster, store)
    store.close()


class Load:
    """Gets and puts from another thread for as long as the block lasts."""

    def __init__(self, pool):
        self.pool, self.rounds, self.error = pool, 0, None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        rng = random.Random(SEED + 1)
        try:
            while not self.is_over.is_set():
                self.pool.there(rng.sample(sorted(self.pool.data), 8))
                key, value = f"w{self.rounds}", rng.randbytes(20_000)
                if self.pool.store.put(key, value) == 0:
                    assert self.pool.store.get(key) in (b"", value)
                self.rounds += 1
        except BaseException as e:  # told by __exit__
            self.error = e

    def __enter__(self):
        self.thread.start()
        self.more(2)
        return self

    def more(self, n):
        """So many rounds from now: each of their calls has ended."""
        want = self.rounds + n
        self.pool.cluster.wait_until(
            "rounds of gets and puts", lambda: self.error or
            self.rounds >= want, 60)

    def __exit__(self, *exc):
        self.is_over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a call does not end"
        if self.error:
            raise self.error


def test_f01_target_killed_during_io(cluster, pool):
    with Load(pool) as load:
        cluster.children["b"].kill(signal.SIGKILL)
        cluster.children["b"].proc.wait()
        load.more(3)
        pool.expect_others_served()
        assert pool.there() == pool.on_a
        cluster.target("b", "b.img")
        pool.expect_whole()
        load.more(2)


def test_f02_target_stopped_during_io(cluster, pool):
    with Load(pool) as load:
        cluster.children["b"].kill(signal.SIGSTOP)
        load.more(3)
        pool.expect_others_served()
        assert pool.there() == pool.on_a
        cluster.children["b"].kill(signal.SIGCONT)
        pool.expect_whole()
        load.more(2)


# --- a network that can be cut ---

class Net:
    """A network namespace at the other end of a cable."""

    def __init__(self):
        self.name = f"mc{os.getpid()}"
        third = random.SystemRandom().randrange(256)
        self.host = f"169.254.{third}.1"
        self.addr = f"169.254.{third}.2"
        self.ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
        self.nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")

    def sh(self, *argv, stdin=None):
        return subprocess.run(argv, check=True, text=True, input=stdin,
                              capture_output=True).stdout

    def inside(self, *argv, stdin=None):
        return self.sh(self.ip, "netns", "exec", self.name, *argv,
                       stdin=stdin)

    def open(self):
        ip, n = self.ip, self.name
        self.sh(ip, "netns", "add", n)
        self.sh(ip, "link", "add", n, "type", "veth", "peer", "name", "eth0",
                "netns", n)
        self.sh(ip, "addr", "add", f"{self.host}/30", "dev", n)
        self.sh(ip, "link", "set", n, "up")
        self.inside(ip, "addr", "add", f"{self.addr}/30", "dev", "eth0")
        self.inside(ip, "link", "set", "eth0", "up")
        self.drop()
        self.heal()

    def close(self):
        for argv in (("link", "del", self.name), ("netns", "del", self.name)):
            subprocess.run([self.ip, *argv], check=False, capture_output=True)

    def drop(self, *hooks):
        """hooks: what the namespace no longer gets (input), sends (output)."""
        rules = "".join(
            f"chain {h} {{ type filter hook {h} priority 0; "
            f"{'iifname' if h == 'input' else 'oifname'} eth0 drop; }}\n"
            for h in hooks)
        self.inside(self.nft, "-f", "-",
                    stdin=f"table inet cut {{\n{rules}}}\n")

    def heal(self):
        self.inside(self.nft, "flush", "ruleset")

    def connections(self):
        return len(self.inside("ss", "-Htn", "state", "established")
                   .splitlines())


@pytest.fixture
def net():
    n = Net()
    if not n.ip or not n.nft:
        pytest.skip("ip or nft is not installed")
    try:
        n.open()
    except (OSError, subprocess.CalledProcessError) as e:
        n.close()
        pytest.skip("network namespaces or nftables are not allowed here: "
                    f"{getattr(e, 'stderr', '') or e}")
    yield n
    n.close()


@pytest.mark.parametrize("hooks", [("input", "output"), ("input",),
                                   ("output",)],
                         ids=["both", "to_target", "to_host"])
def test_f03_packets_dropped(cluster, net, hooks):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    port = cluster.target_ports["b"] = free_port()
    target = cluster.start(
        "b", net.ip, "netns", "exec", net.name,
        cluster.program("mooncake_nof_target"),
        f"--listen={net.addr}:{port}", "--nqn=nqn.2026-11.io.mooncake:b",
        f"--namespace={cluster.path('b.img')}:64m")
    target.wait_for(lambda: f"ready {net.addr}" in target.text())
    r = cluster.run("mooncake_ssd_register",
                    f"--master_server_address={cluster.master_addr}",
                    f"--discover={net.addr}:{port}")
    assert r.returncode == 0, r.stderr
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    pool = Pool(cluster, store)
    with Load(pool) as load:
        assert net.connections() > 0
        net.drop(*hooks)
        load.more(3)
        pool.expect_others_served()
        assert pool.there() == pool.on_a
        if "input" in hooks:  # it hears nobody and lets go by itself
            cluster.wait_until("no half-open connection is left",
                               lambda: net.connections() == 0, 30)
        net.heal()
        pool.expect_whole()
        load.more(2)
    store.close()


# --- what the operating system does not give ---

def limited(files, *argv):
    return ["/usr/bin/prlimit", f"--nofile={files}", *argv]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        parts = f.read().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def test_f24_target_runs_out_of_descriptors(cluster):
    """It neither ends nor spins, and serves again when there are some."""
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    assert store.put("k", b"v" * 100_000) == 0
    pid = cluster.children["a"].pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    most = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 8, most))
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            s = stack.enter_context(socket.socket())
            s.settimeout(5)
            s.connect(("127.0.0.1", cluster.target_ports["a"]))
        before = cpu_s(pid)
        for _ in range(200):  # who is connected is served
            assert store.get("k") == b"v" * 100_000
        assert cpu_s(pid) - before < 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, most))
    other = new_store(cluster)
    cluster.wait_until("a new host is served", lambda:
                       other.get("k") == b"v" * 100_000)
    other.close()
    store.close()
    assert cluster.children["a"].stop() == 0


def test_f24_target_says_what_is_missing(cluster):
    """Too few descriptors to start: a sentence and a status, no crash."""
    program = cluster.program("mooncake_nof_target")
    started = 0
    for files in range(4, 24):
        child = subprocess.Popen(
            limited(files, program, "--listen=127.0.0.1:0", "--threads=2",
                    "--namespace=ram:1m"), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = ""
        for line in child.stdout:
            if line.startswith("ready "):
                break
        started += line.startswith("ready ")
        if line.startswith("ready "):
            child.terminate()
        _, err = child.communicate(timeout=20)
        assert child.returncode in (0, 1, 127), (files, err)
        if not line.startswith("ready "):
            assert err.strip(), files
    assert started > 0


CLIENT = """
import sys
sys.path.insert(0, sys.argv[2])
from mooncake.store import MooncakeDistributedStore
import resource
used = len(__import__("os").listdir("/proc/self/fd"))
s = MooncakeDistributedStore()
room = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, 1024))
ret = s.setup({"local_hostname": "127.0.0.1", "metadata_server":
    "P2PHANDSHAKE", "global_segment_size": "0", "local_buffer_size":
    "16777216", "protocol": "tcp", "master_server_addr": sys.argv[1]})
if ret:
    assert s.setup_error(), "no sentence"
    print("refused")
    sys.exit(0)
value = s.get("k")
assert value in (b"", b"v" * 100000), "wrong bytes"
if not value:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    import time
    end = time.monotonic() + 20
    while not value and time.monotonic() < end:
        time.sleep(0.05)
        value = s.get("k")
    assert value, "does not recover"
    print("recovered")
else:
    print("served")
s.close()
"""


def test_f24_client_runs_out_of_descriptors(cluster):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    assert store.put("k", b"v" * 100_000) == 0
    store.close()
    pkg = os.path.join(cluster.build_dir, "python", "pkg")
    seen = set()
    for room in (0, 3, 6, 10, 14, 18, 24, 64):
        r = subprocess.run([sys.executable, "-c", CLIENT,
                            cluster.master_addr, pkg, str(room)], text=True,
                           capture_output=True, timeout=60, check=False)
        assert r.returncode == 0, (room, r.stderr[-1500:])
        seen.add(r.stdout.strip())
    assert {"refused", "served"} <= seen


# --- drills, as in docs/drills.md ---

def drill(cluster, *faults, **store_keys):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m", flags=[f"--fault={f}" for f in faults])
    cluster.register("a")
    return new_store(cluster, replica_num="0", nof_replica_num="1",
                     **store_keys)


def test_drill_corrupt_reads_are_misses(cluster):
    store = drill(cluster, "kind=corrupt,lba=256-100000,every=3,seed=1")
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(1_000_000) for i in range(20)}
    assert store.put_batch(list(data), list(data.values())) == 0
    got = store.get_batch(list(data))
    assert all(v in (b"", data[k]) for k, v in zip(data, got))
    assert b"" in got
    cluster.wait_until("counted", lambda: cluster.metric(
        "master_checksum_mismatch_total") > 0)
    assert "fault injection" in cluster.children["a"].text()
    store.close()


def test_drill_by_mooncakectl(cluster):
    """Set, listed and cleared while the target serves."""
    sock = cluster.path("a.sock")
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m", flags=[f"--rpc_socket={sock}"])
    cluster.register("a")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    value = random.Random(SEED).randbytes(300_000)
    assert store.put("k", value) == 0 and store.get("k") == value

    def fault(*args):
        r = cluster.run("mooncakectl", "target", f"--rpc_socket={sock}",
                        "fault", *args)
        return r.returncode, r.stdout + r.stderr

    assert fault("list")[0] == 0
    assert fault("set", "kind=error,op=read,lba=256-100000") == (
        0, "fault 1\n")
    assert store.get("k") == b""
    status, text = fault("list")
    assert status == 0 and "kind=error" in text and "active" in text
    assert int(text.splitlines()[1].split()[2]) > 0  # hits
    assert fault("set", "kind=magic")[0] != 0
    assert "magic" in fault("set", "kind=magic")[1]
    assert fault("clear", "7")[0] != 0
    assert fault("clear", "x")[0] != 0 and fault("boom")[0] != 0
    assert fault("clear", "1") == (0, "1 cleared\n")
    cluster.wait_until("served again", lambda: store.get("k") == value or
                       store.put("k", value) != 0)
    assert "active" not in fault("list")[1]
    store.close()


def test_drill_text_is_checked(cluster):
    r = cluster.run("mooncake_nof_target", "--listen=127.0.0.1:0",
                    "--namespace=ram:1m", "--fault=kind=explode")
    assert r.returncode != 0 and "explode" in r.stderr
    assert not r.stdout
