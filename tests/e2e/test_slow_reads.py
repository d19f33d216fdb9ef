# SPDX-License-Identifier: Apache-2.0
"""Reads beside slow, silent and lying targets: the next replica, a second
read that is faster, a deadline that ends in a miss."""
import ctypes
import os
import random
import signal
import time

import pytest

from common import fault
from conftest import FAST, new_store
from mooncake.store import ReplicateConfig
from wire import Wire

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 100_001


@pytest.fixture(autouse=True)
def seed():
    print(f"seed: T_SEED={SEED}")


def start(cluster, *names):
    cluster.master(*FAST)
    for name in names:
        cluster.target(name, "ram:64m",
                       flags=(f"--rpc_socket={cluster.path(name)}.sock",))
        cluster.register(name)


def fill(store, n, replicas=2, size=SIZE):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = 0, replicas
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(size) for i in range(n)}
    for key, value in data.items():
        assert store.put(key, value, c) == 0
    return data


def count(store, name):
    for line in store.metrics().splitlines():
        if line.startswith(f"mooncake_client_{name}_total "):
            return float(line.split()[1])
    raise AssertionError(name)


def read(store, data, rounds=1):
    for _ in range(rounds):
        for key, value in data.items():
            assert store.get(key) == value, key


def until_won(cluster, store, ms, want, get_all):
    """Quiet reads that earn second ones, then one that takes ms, again and
    again until so many second reads have won.  A machine that is busy with
    other things makes some come too late or be spent in vain."""
    end = time.monotonic() + 120
    rounds = 0
    while count(store, "hedges_won") < want:
        assert time.monotonic() < end, store.metrics()
        rounds += 1
        for _ in range(8):
            get_all()
        name = "ab"[rounds % 2]
        fault(cluster, name, f"kind=delay,op=read,ms={ms},count=1")
        get_all()
        fault(cluster, name, "")


def test_f16_second_read_is_faster(cluster):
    """A disk that takes 5 s now and then costs nobody 5 s, nor many reads."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 10)
    took = []

    def get_all():
        for key, value in data.items():
            begin = time.monotonic()
            assert store.get(key) == value
            took.append(time.monotonic() - begin)

    for _ in range(20):
        get_all()
    until_won(cluster, store, 5000, 5, get_all)
    assert sum(t > 4 for t in took) < count(store, "hedges_won")
    assert count(store, "hedged_reads") <= len(took) * 0.05
    assert count(store, "checksum_misses") == 0
    store.close()


def test_into_the_callers_memory(cluster):
    """After the call the buffer is the caller's, whoever lost."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 4, size=2**20 + 5)
    buf = ctypes.create_string_buffer(2**20 + 5)
    read(store, data, 30)

    def get_all():
        for key, value in data.items():
            assert store.get_into(key, ctypes.addressof(buf),
                                  len(buf)) == len(value)
            assert buf.raw == value
            ctypes.memset(buf, 0xdd, len(buf))
            store.is_exist(key)
            assert buf.raw == b"\xdd" * len(buf)

    until_won(cluster, store, 1000, 3, get_all)
    store.close()


def test_a_large_object_is_read_again(cluster):
    """However many commands it takes: one that is late makes all of it late."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 1, size=32 * 2**20 + 28)
    read(store, data, 30)
    until_won(cluster, store, 5000, 1, lambda: read(store, data))
    store.close()


def test_without_second_reads(cluster, monkeypatch):
    monkeypatch.setenv("MC_STORE_HEDGE", "0")
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 10)
    read(store, data, 20)
    fault(cluster, "a", "kind=delay,op=read,ms=300,every=11")
    read(store, data, 3)
    assert count(store, "hedged_reads") == 0
    store.close()


@pytest.mark.parametrize("rule,here,there", [
    ("kind=error,op=read", "media_misses", "master_media_error_total"),
    ("kind=error,op=read,status=0x6", "get_other_replica",
     "master_unreachable_reports_total"),
    ("kind=corrupt,op=read", "checksum_misses",
     "master_checksum_mismatch_total")], ids=["media", "error", "corrupt"])
def test_next_replica(cluster, rule, here, there):
    """An error or wrong bytes: the other one, told to the master."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 10)
    fault(cluster, "a", rule)
    read(store, data, 3)
    assert count(store, here) > 0
    cluster.wait_until("told", lambda: cluster.metric(there) > 0)
    store.close()


def test_deadline_is_a_miss(cluster, monkeypatch):
    monkeypatch.setenv("MC_STORE_GET_TIMEOUT_MS", "1000")
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "20000")
    start(cluster, "a")
    store = new_store(cluster)
    data = fill(store, 3, replicas=1)
    read(store, data)
    fault(cluster, "a", "kind=delay,op=read,ms=20000")
    begin = time.monotonic()
    assert store.get("k0") == b""
    assert store.get_batch(list(data)) == [b""] * 3
    buf = ctypes.create_string_buffer(SIZE)
    assert store.get_into("k1", ctypes.addressof(buf), SIZE) == -704
    assert time.monotonic() - begin < 15
    fault(cluster, "a", "")
    cluster.wait_until("served again", lambda:
                       store.get("k0") == data["k0"])
    # Who does not answer at all, the master included.
    cluster.children["a"].kill(signal.SIGSTOP)
    begin = time.monotonic()
    assert store.get("k0") == b""
    cluster.children["a"].kill(signal.SIGCONT)
    cluster.children["master"].kill(signal.SIGSTOP)
    assert store.get("k0") == b""
    assert time.monotonic() - begin < 15
    cluster.children["master"].kill(signal.SIGCONT)
    cluster.wait_until("served again", lambda:
                       store.get("k0") == data["k0"])
    store.close()


def test_data_stop_arriving(cluster, monkeypatch):
    """A get whose time is over does not wait for the rest of what has begun
    to come."""
    monkeypatch.setenv("MC_STORE_GET_TIMEOUT_MS", "500")
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "30000")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "60000")
    cluster.master(*FAST)
    cluster.target("a", "ram:128m")
    wire = Wire(cluster.target_ports["a"])
    r = cluster.run("mooncake_ssd_register",
                    f"--master_server_address={cluster.master_addr}",
                    f"--endpoint=traddr:127.0.0.1 trsvcid:{wire.port} "
                    "subnqn:nqn.2026-11.io.mooncake:a")
    assert r.returncode == 0, r.stdout + r.stderr
    store = new_store(cluster)
    data = fill(store, 1, replicas=1, size=24 * 2**20 + 28)
    wire.set(left=2**20 + 12345)
    begin = time.monotonic()
    assert store.get("k0") == b""
    assert wire.is_frozen and time.monotonic() - begin < 10
    wire.set(is_frozen=False, left=None)
    cluster.wait_until("served again", lambda:
                       store.get("k0") == data["k0"], 60)
    store.close()
    wire.close()
