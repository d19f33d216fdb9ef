# SPDX-License-Identifier: Apache-2.0
"""Faults of real processes: misses, never wrong bytes, and back again."""
import os
import random
import signal
import subprocess
import time

import pytest

from clients import bytes_of
from common import fault
from conftest import FAST, new_store

PUT_NOF = {"replica_num": "0", "nof_replica_num": "1"}


def values(n, size, seed):
    rng = random.Random(seed)
    return {f"v{i}": rng.randbytes(size) for i in range(n)}


def put_all(store, data):
    assert store.put_batch(list(data), list(data.values())) == 0


def right_or_missing(store, data):
    """How many are there; none may be wrong."""
    got = store.get_batch(list(data))
    for key, value in zip(data, got):
        assert value in (b"", data[key]), f"wrong bytes for {key}"
    return sum(1 for v in got if v)


def test_target_killed_and_started_again(cluster):
    cluster.master(*FAST)
    cluster.target("a", "a.img:128m")
    cluster.target("b", "b.img:128m")
    for name in "ab":
        cluster.register(name)
    store = new_store(cluster, **PUT_NOF)
    data = values(120, 200_001, 1)
    put_all(store, data)
    assert right_or_missing(store, data) == 120
    on_b = [k for k in data if f"trsvcid:{cluster.target_ports['b']} " in
            store.get_replica_desc(k)[0].get_memory_descriptor()
            .buffer_descriptor.transport_endpoint]
    assert 10 < len(on_b) < 110
    cluster.children["b"].kill(signal.SIGKILL)
    cluster.children["b"].proc.wait()
    t = time.monotonic()
    assert right_or_missing(store, data) == 120 - len(on_b)
    assert time.monotonic() - t < 30
    cluster.wait_until("segment offline", lambda: any(
        s["state"].lower() == "offline"
        for s in cluster.segments()))
    more = {f"m{k}": v for k, v in values(20, 50_000, 2).items()}
    put_all(store, more)  # go to the other target
    assert right_or_missing(store, more) == 20
    cluster.target("b", "b.img")
    cluster.wait_until("objects are back", lambda:
                       right_or_missing(store, data) == 120)
    store.close()


def test_target_stopped_not_dead(cluster):
    """SIGSTOP: TCP lives, nothing answers; calls end, others are served."""
    cluster.master(*FAST)
    cluster.target("a", "ram:96m")
    cluster.target("b", "ram:96m")
    for name in "ab":
        cluster.register(name)
    store = new_store(cluster, **PUT_NOF)
    data = values(60, 100_000, 3)
    put_all(store, data)
    cluster.children["b"].kill(signal.SIGSTOP)
    t = time.monotonic()
    there = right_or_missing(store, data)
    assert 0 < there < 60
    assert time.monotonic() - t < 30
    cluster.children["b"].kill(signal.SIGCONT)
    cluster.wait_until("objects are back", lambda:
                       right_or_missing(store, data) == 60, 30)
    store.close()


def corrupt(path, value):
    """Flips one bit of the stored value on disk."""
    with open(path, "r+b") as f:
        image = f.read()
        at = image.find(value[:64])
        assert at > 0
        f.seek(at + len(value) // 2)
        byte = f.read(1)[0]
        f.seek(at + len(value) // 2)
        f.write(bytes([byte ^ 0x10]))
        f.flush()
        os.fsync(f.fileno())


def test_f09_corrupt_byte_is_a_miss_and_counted(cluster):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster)
    data = values(4, 500_000, 4)
    put_all(store, data)
    corrupt(cluster.path("a.img"), data["v2"])
    assert cluster.metric("master_checksum_mismatch_total") == 0
    assert store.get("v2") == b""
    assert right_or_missing(store, data) == 3
    cluster.wait_until("counted", lambda: cluster.metric(
        "master_checksum_mismatch_total") == 1)
    # the bad replica is gone: the key can be stored again
    cluster.wait_until("dropped", lambda: store.is_exist("v2") == 0)
    assert store.put("v2", data["v2"]) == 0
    assert right_or_missing(store, data) == 4
    store.close()


def test_f09_corrupt_replica_other_one_serves(cluster):
    cluster.master(*FAST)
    for name in "ab":
        cluster.target(name, f"{name}.img:64m")
        cluster.register(name)
    store = new_store(cluster, replica_num="0", nof_replica_num="2")
    data = values(8, 300_000, 5)
    put_all(store, data)
    for key in list(data)[:4]:
        corrupt(cluster.path("a.img"), data[key])
    assert cluster.metric("master_checksum_mismatch_total") == 0

    def found():
        assert right_or_missing(store, data) == 8
        return cluster.metric("master_checksum_mismatch_total")
    # which one is read first is the client's choice
    cluster.wait_until("wrong bytes were read", found)
    store.close()


def test_f14_target_returns_with_an_empty_disk(cluster):
    """Somebody swapped the disk: fenced, misses, named."""
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster)
    data = values(10, 100_000, 6)
    put_all(store, data)
    cluster.children["a"].stop()
    os.unlink(cluster.path("a.img"))
    cluster.target("a", "a.img:64m")
    time.sleep(0.2)
    assert right_or_missing(store, data) == 0
    cluster.wait_until("fenced", lambda: any(
        s["state"].lower() == "offline" and s.get("message")
        for s in cluster.segments()))
    store.close()


def test_owner_of_memory_segment_dies(cluster):
    cluster.master(*FAST, "--client_ttl=2")
    cluster.store_service("64mb")
    store = new_store(cluster)
    data = values(10, 100_000, 7)
    put_all(store, data)
    assert right_or_missing(store, data) == 10
    cluster.children["service"].kill(signal.SIGKILL)
    t = time.monotonic()
    assert right_or_missing(store, data) == 0
    assert time.monotonic() - t < 30
    cluster.wait_until("segment gone", lambda:
                       not cluster.segments())
    assert store.put("x", b"1") == -200
    store.close()


def test_master_restarts(cluster):
    """Clients reconnect; the disk is adopted again, objects start anew."""
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster)
    assert store.put("before", b"x" * 1000) == 0
    cluster.children["master"].kill(signal.SIGKILL)
    cluster.children["master"].proc.wait()
    t = time.monotonic()
    assert store.get("before") == b""
    assert store.batch_is_exist(["before"])[0] < 0
    assert time.monotonic() - t < 70
    cluster.master(*FAST)
    cluster.register("a")
    cluster.wait_until("put works again", lambda:
                       store.put("after", b"y" * 1000) == 0)
    assert store.get("after") == b"y" * 1000
    store.close()


def test_f04_writers_killed(cluster):
    """A put that never ended is never visible, nor is what it wrote; those
    before it are there."""
    size, many = 4 << 20, 80
    cluster.master(*FAST, "--put_start_discard_timeout_sec=3")
    cluster.target("a", "ram:512m",
                   flags=(f"--rpc_socket={cluster.path('a')}.sock",))
    cluster.register("a")
    fault(cluster, "a", "kind=rate,op=write,bytes_per_s=20m")
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        s = new_store(cluster, **PUT_NOF)
        for i in range(0, many, 8):
            keys = [f"w{k}" for k in range(i, i + 8)]
            if s.put_batch(keys, [bytes_of(k, size) for k in keys]) == 0:
                os.write(tell, b"8")
        os._exit(0)
    os.close(tell)
    assert os.read(told, 1) == b"8"
    cluster.wait_until("the next ones have begun", lambda: cluster.metric(
        "master_key_count") > 8)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ended = 8 + 8 * len(os.read(told, many))
    os.close(told)
    fault(cluster, "a", "")
    store = new_store(cluster, **PUT_NOF)
    begun = cluster.metric("master_key_count")
    seen = 0
    for n, key in enumerate(f"w{k}" for k in range(many)):
        v = store.get(key)
        assert v in (b"" if n >= ended else None, bytes_of(key, size)), key
        assert store.is_exist(key) == bool(v), f"{key} is there, or is it not?"
        seen += bool(v)
    assert ended <= seen < begun
    store.close()


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        parts = f.read().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_uses_no_cpu(cluster):
    """Everything up and connected, nobody asks for anything."""
    cluster.metadata()
    cluster.master()
    cluster.target("a", "ram:64m")
    cluster.register("a")
    cluster.store_service("64mb")
    store = new_store(cluster, **PUT_NOF)
    assert store.put("k", b"v") == 0 and store.get("k") == b"v"
    pids = {n: c.pid for n, c in cluster.children.items()}
    pids["this client"] = os.getpid()
    before = {n: cpu_s(p) for n, p in pids.items()}
    time.sleep(4)
    for name, pid in pids.items():
        assert cpu_s(pid) - before[name] <= 0.08, name
    store.close()


def test_no_root_needed(cluster):
    """Everything runs as user nobody without any capability."""
    drop = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
            "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    if os.getuid() != 0:
        pytest.skip("not root: every other test has shown it already")
    if subprocess.run([*drop, cluster.program("mooncake_master"),
                       "--version"], check=False,
                      capture_output=True).returncode:
        pytest.skip("user nobody can't read the build folder")
    os.chmod(cluster.dir, 0o777)
    find = cluster.program
    cluster.program = lambda name: find(name) if name[0] != "/" else name
    start = cluster.start
    cluster.start = lambda name, program, *args, env=None: start(
        name, drop[0], *drop[1:], find(program), *args, env=env)
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster)
    assert store.put("k", b"v" * 100_000) == 0
    assert store.get("k") == b"v" * 100_000
    store.close()
