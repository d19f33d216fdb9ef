# SPDX-License-Identifier: Apache-2.0
"""Faults around a pool that is in use: clocks that jump, disks that take half
of a write, strangers behind an address, a pool that is full, targets that are
replaced. By number in docs/reliability.md."""
import ctypes
import datetime
import http.server
import json
import os
import random
import re
import shutil
import subprocess
import threading

import pytest

from clients import Client, bytes_of
from cluster import free_port
from common import BUILD, fault
from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
MIB = 2**20
SIZE = 150_001
POOL = {"replica_num": "0", "nof_replica_num": "1"}


@pytest.fixture(autouse=True)
def seed(short_deadlines):
    print(f"seed: T_SEED={SEED}")


@pytest.fixture
def long_deadlines(short_deadlines, monkeypatch):
    """Where nothing is silent: a machine that is busy is no fault."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "30000")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "30000000")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "30000")


#: for a master that sees faults only where there are some
PATIENT = "--nof_heartbeat_probe_timeout_ms=30000"


def start(cluster, names, *flags, size="64m"):
    cluster.master(*FAST, *flags)
    for name in names:
        cluster.target(name, f"{name}.img:{size}",
                       flags=(f"--rpc_socket={cluster.path(name)}.sock",))
        cluster.register(name)


def config(n, pin=False):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num, c.with_hard_pin = 0, n, pin
    return c


def fill(store, n, replicas=1, name="k", size=SIZE):
    data = {f"{name}{i}": bytes_of(f"{name}{i}", size) for i in range(n)}
    for key, value in data.items():
        assert store.put(key, value, config(replicas)) == 0
    return data


def there(store, data):
    """Keys whose bytes come; they are never wrong."""
    found = set()
    for key, value in data.items():
        got = store.get(key)
        assert got in (b"", value), f"wrong bytes: {key}"
        if got:
            found.add(key)
    return found


def expect(cluster, store, data):
    cluster.wait_until("all objects are there", lambda: there(
        store, data) == set(data), 40)


# --- F7 ---

def test_f07_clocks_jump(cluster, monkeypatch):
    """By an hour, to and fro, under master, target and clients: no lease, no
    segment, no client and no object is lost, nothing is late."""
    step = cluster.path("step")

    def jump(seconds):
        with open(step + ".new", "w", encoding="ascii") as f:
            f.write(str(seconds))
        os.replace(step + ".new", step)

    jump(0)
    monkeypatch.setenv("T_CLOCK_STEP", step)
    monkeypatch.setenv("LD_PRELOAD", os.path.join(
        BUILD, "tests", "lib", "t_clock_step.so"))
    journal = f"--journal_dir={cluster.path('journal')}"
    start(cluster, "a", journal, "--client_ttl=60")
    cluster.store_service("64mb")
    keys = [f"k{i}" for i in range(10)]
    with Client(cluster) as client:
        for key in keys:
            client.ask("put", key, SIZE)
            assert client.answer() == "0"
        for n, seconds in enumerate((3600, -3600, 0, -7200, 3600)):
            jump(seconds)
            for key in keys:
                client.ask("get", key, SIZE)
                assert client.answer() == "right"
            client.ask("put", f"after{n}", SIZE)
            assert client.answer() == "0"
            keys.append(f"after{n}")
            if seconds < 0:  # a new life that begins in the past
                cluster.children["master"].kill()
                cluster.children["master"].proc.wait()
                cluster.master(*FAST, journal, "--client_ttl=60")
                cluster.wait_until("all is there again", lambda: all(
                    s["state"].lower() == "online"
                    for s in cluster.segments()) and
                    len(cluster.segments()) == 2)
        for key in keys:
            client.ask("get", key, SIZE)
            assert client.answer() == "right"
    assert cluster.metric("master_clients_expired_total") == 0
    said = cluster.children["master"].text()
    begins = datetime.datetime.fromisoformat(said[:19])
    assert datetime.datetime.utcnow() - begins > datetime.timedelta(
        hours=1.5), "its clock has not jumped"


# --- F12 ---

def test_f12_torn_writes(cluster, long_deadlines):
    """Only the first blocks of some writes reach the medium, and the target
    says that all is well."""
    start(cluster, "a", PATIENT)
    store = new_store(cluster, **POOL)
    good = fill(store, 10)
    fault(cluster, "a", "kind=torn,op=write,blocks=3,lba=256-130000")
    torn = {f"t{i}": bytes_of(f"t{i}", SIZE) for i in range(10)}
    for key, value in torn.items():
        assert store.put(key, value, config(1)) == 0
    fault(cluster, "a", "")
    # A read that was too late for its checksum is told by the next one.
    cluster.wait_until("counted", lambda: there(store, torn) or cluster.metric(
        "master_checksum_mismatch_total") == len(torn), 60)
    assert there(store, torn) == set()
    expect(cluster, store, good)
    for key, value in torn.items():  # and they can be stored again
        cluster.wait_until("dropped", lambda k=key: not store.is_exist(k))
        assert store.put(key, value, config(1)) == 0
    expect(cluster, store, {**good, **torn})
    store.close()


def test_f12_no_space_under_a_target(cluster, long_deadlines):
    """A sparse file in a file system that is full: such puts fail and are not
    visible; what is there is served."""
    unshare = shutil.which("unshare")
    folder = cluster.path("small")
    os.mkdir(folder)
    mount = f"mount -t tmpfs -o size=24m none {folder}"
    if not unshare or subprocess.run(
            [unshare, "-m", "sh", "-c", mount], check=False,
            capture_output=True).returncode:
        pytest.skip("mounts are not allowed here")
    cluster.master(*FAST, PATIENT)
    port = cluster.target_ports["a"] = free_port()
    target = cluster.start(
        "a", unshare, "-m", "sh", "-c",
        f"{mount} && truncate -s 64m {folder}/a.img && exec "
        f"{cluster.program('mooncake_nof_target')} "
        f"--listen=127.0.0.1:{port} --nqn=nqn.2026-11.io.mooncake:a "
        f"--namespace={folder}/a.img")
    target.wait_for(lambda: f"ready 127.0.0.1:{port}" in target.text())
    cluster.register("a")
    store = new_store(cluster, **POOL)
    codes = {f"k{i}": store.put(f"k{i}", bytes_of(f"k{i}", MIB))
             for i in range(40)}
    assert 0 in codes.values() and set(codes.values()) != {0}
    for key, code in codes.items():
        if code:
            assert store.get(key) == b"" and not store.is_exist(key), key
    expect(cluster, store, {key: bytes_of(key, MIB)
                            for key, code in codes.items() if code == 0})
    assert target.is_alive()
    store.close()


# --- F13, F15: who owns a namespace ---

def test_f13_registered_by_another_address(cluster):
    """Another port, another name of the host: the same segment, one more
    path, no second owner of its blocks."""
    cluster.master(*FAST)
    port = cluster.target_ports["a"] = free_port()
    other = free_port()
    cluster.target("a", "a.img:64m", flags=[f"--listen=127.0.0.1:{other}"])

    def register(host, port):
        r = cluster.run(
            "mooncake_ssd_register", f"--master={cluster.master_addr}",
            f"--endpoint=traddr:{host} trsvcid:{port} "
            "subnqn:nqn.2026-11.io.mooncake:a trtype:TCP ns:1")
        assert r.returncode == 0, r.stdout + r.stderr

    register("127.0.0.1", port)
    store = new_store(cluster, **POOL)
    data = fill(store, 10)
    size = cluster.metric("master_total_nof_capacity_bytes")
    register("127.0.0.1", other)
    register("localhost", port)
    register("localhost", other)
    assert len(cluster.segments()) == 1
    assert cluster.metric("master_total_nof_capacity_bytes") == size
    data.update(fill(store, 10, name="late"))
    expect(cluster, store, data)
    store.close()


def test_f13_registered_by_another_nqn(cluster):
    """Its target was set up anew under another name: what the namespace says
    of itself and what is written on it make it the same segment, with the
    former name as a path that is dead."""
    def serve(name):
        sock = cluster.path(name + ".sock")
        cluster.target(name, "ram:32m", flags=[f"--rpc_socket={sock}"])
        for method, params in (
                ("bdev_aio_create", {"name": "disk", "block_size": 4096,
                                     "filename": cluster.path("disk.img")}),
                ("nvmf_subsystem_add_ns", {
                    "nqn": "nqn.2026-11.io.mooncake:" + name, "namespace": {
                        "bdev_name": "disk", "nsid": 7, "uuid":
                        "11111111-2222-4333-8444-555555555555"}})):
            r = cluster.run("mooncakectl", "target", f"--rpc_socket={sock}",
                            "rpc", method, json.dumps(params))
            assert r.returncode == 0, r.stderr

    def register(name):
        r = cluster.run(
            "mooncake_ssd_register", f"--master={cluster.master_addr}",
            "--endpoint=traddr:127.0.0.1 trsvcid:%d subnqn:%s ns:7" % (
                cluster.target_ports[name],
                "nqn.2026-11.io.mooncake:" + name))
        assert r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    with open(cluster.path("disk.img"), "wb") as f:
        f.truncate(64 << 20)
    cluster.master(*FAST)
    serve("former")
    assert "Successfully registered: 1" in register("former")
    store = new_store(cluster, **POOL)
    data = fill(store, 10)
    size = cluster.metric("master_total_nof_capacity_bytes")
    cluster.children.pop("former").stop()
    serve("latter")
    assert "Already registered (skipped): 1" in register("latter")
    assert len(cluster.segments()) == 1
    assert cluster.metric("master_total_nof_capacity_bytes") == size
    expect(cluster, store, data)
    data.update(fill(store, 10, name="late"))
    expect(cluster, store, data)
    store.close()


def test_f15_two_clusters(cluster):
    """The second one is refused, in words, and writes nothing."""
    start(cluster, "a")
    store = new_store(cluster, **POOL)
    data = fill(store, 10)
    first = cluster.master_port, cluster.admin_port
    old = cluster.children.pop("master")
    try:
        cluster.master_port = cluster.admin_port = None
        cluster.master(*FAST, "--cluster_id=other")
        r = cluster.run(
            "mooncake_ssd_register", f"--master={cluster.master_addr}",
            f"--discover=127.0.0.1:{cluster.target_ports['a']}")
        assert r.returncode == 1
        assert "mooncake_cluster" in r.stdout + r.stderr
        assert cluster.segments() == []
        cluster.master_port, cluster.admin_port = first
        assert there(store, data) == set(data)
        data.update(fill(store, 10, name="late"))
        assert there(store, data) == set(data)
    finally:
        old.stop()
    store.close()


# --- F20, F21 ---

def test_f20_full_pool_under_load(cluster, monkeypatch):
    """Four threads put much more than there is room for, get and remove:
    evictions, back-pressure, no wrong byte, no call that does not end."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "10000")
    start(cluster, "ab", size="32m")
    store = new_store(cluster, **POOL)
    errors, codes, right = [], set(), []

    def work(n):
        rng = random.Random(SEED + n)
        try:
            for i in range(80):
                key = f"t{n}-{i}"
                codes.add(store.put(key, bytes_of(key, MIB)))
                old = f"t{rng.randrange(4)}-{rng.randrange(i + 1)}"
                got = store.get(old)
                assert got in (b"", bytes_of(old, MIB)), old
                right.append(bool(got))
                if i % 9 == 0:
                    store.remove(old, True)
        except BaseException as e:  # told below
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a call does not end"
    assert not errors, errors
    assert 0 in codes and codes <= {0, -200}, codes
    assert any(right)
    assert cluster.metric("master_evicted_key_count_nof") > 0
    # and when it is over, there is room for all again
    assert store.remove_all(True) >= 0
    cluster.wait_until("all space is back", lambda: cluster.metric(
        "master_nof_allocated_bytes") == 0)
    store.close()


def test_f21_half_a_batch(cluster):
    """Each key has a status of its own; what failed was never visible."""
    start(cluster, "ab")
    store = new_store(cluster, **POOL)
    for name in "ab":
        fault(cluster, name,
              f"kind=error,op=write,p=0.2,seed={SEED},lba=256-130000")
    keys = [f"k{i}" for i in range(60)]
    values = [bytes_of(k, SIZE) for k in keys]
    buffers = [ctypes.create_string_buffer(v, SIZE) for v in values]
    codes = store.batch_put_from(
        keys, [ctypes.addressof(b) for b in buffers], [SIZE] * len(keys))
    for name in "ab":
        fault(cluster, name, "")
    assert 0 in codes and set(codes) != {0}, codes
    for key, value, code in zip(keys, values, codes):
        assert store.is_exist(key) == (code == 0), (key, code)
        assert store.get(key) == (b"" if code else value), (key, code)
    left = [k for k, code in zip(keys, codes) if code]
    assert store.put_batch(left, [bytes_of(k, SIZE) for k in left]) == 0
    expect(cluster, store, dict(zip(keys, values)))
    store.close()


# --- F23 ---

class Stranger(http.server.BaseHTTPRequestHandler):
    def handle(self):
        self.wfile.write(b"220 not what you are looking for\r\n")


def test_f23_address_of_somebody_else(cluster):
    """Behind a known address: another protocol, another subsystem, another
    pool's disk under the same name. Misses; and nothing is written there."""
    start(cluster, "a")
    store = new_store(cluster, **POOL)
    data = fill(store, 10)
    port = cluster.target_ports["a"]
    cluster.children["a"].stop()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Stranger)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert there(store, data) == set()
    server.shutdown()
    thread.join()
    server.server_close()

    cluster.target("a", "b.img:64m", nqn="nqn.2026-11.io.other:b")
    assert there(store, data) == set()
    cluster.wait_until("offline", lambda: cluster.segments()[0][
        "state"].lower() == "offline", 30)
    cluster.children["a"].stop()

    cluster.target("a", "b.img")  # the name is right, the disk is not
    assert there(store, data) == set()
    assert store.put("k", b"x") != 0
    cluster.wait_until("named", lambda: cluster.segments()[0].get(
        "message"), 30)
    cluster.children["a"].stop()
    with open(cluster.path("b.img"), "rb") as f:
        assert not f.read().strip(b"\0"), "the stranger's disk was written"

    cluster.target("a", "a.img")
    expect(cluster, store, data)
    store.close()


# --- F28 ---

def is_live(store, port):
    """Whether this client's path there is."""
    return re.search(r'^mooncake_client_path_live{path="[^"]*trsvcid:'
                     rf'{port} [^"]*"}} 1$', store.metrics(), re.M)


def test_f28_targets_replaced_one_by_one(cluster, long_deadlines):
    """Each one is told to end while it is used, and comes back: objects with
    two replicas are read all the time."""
    start(cluster, "abc", PATIENT)
    store = new_store(cluster, replica_num="0", nof_replica_num="2")
    data = fill(store, 20, 2)
    is_over, errors, rounds = threading.Event(), [], []

    def load():
        try:
            while not is_over.is_set():
                for key, value in data.items():
                    assert store.get(key) == value, key
                key = f"w{len(rounds)}"
                if store.put(key, bytes_of(key, SIZE)) == 0:
                    assert store.get(key) == bytes_of(key, SIZE), key
                rounds.append(1)
        except BaseException as e:  # told below
            errors.append(e)

    def more(n):
        want = len(rounds) + n
        cluster.wait_until("rounds", lambda: errors or len(rounds) >= want,
                           180)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    for name in "abc":
        more(2)
        assert cluster.children[name].stop(timeout=120) == 0
        more(2)
        cluster.target(name, f"{name}.img")
        cluster.wait_until("all online", lambda: all(
            s["state"].lower() == "online" for s in cluster.segments()), 120)
        cluster.wait_until("the client uses it again", lambda: is_live(
            store, cluster.target_ports[name]), 120)
    more(2)
    is_over.set()
    thread.join(180)
    assert not thread.is_alive() and not errors, errors
    store.close()
