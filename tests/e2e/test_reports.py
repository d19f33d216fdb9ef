# SPDX-License-Identifier: Apache-2.0
"""What clients tell the master of segments they can't reach, and what it makes
of that: its own probe has the last word."""
import os
import random

import pytest

from common import fault
from conftest import new_store
from mooncake.store import ReplicateConfig

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 100_001
NEVER = ("--nof_heartbeat_interval_sec=3600", "--default_kv_lease_ttl=1000")
# Behind the superblock and its copies, so that probes are as good as ever.
DATA = "op=read,lba=256-100000"


@pytest.fixture(autouse=True)
def seed():
    print(f"seed: T_SEED={SEED}")


def start(cluster, *names):
    cluster.master(*NEVER)
    for name in names:
        cluster.target(name, "ram:64m",
                       flags=(f"--rpc_socket={cluster.path(name)}.sock",))
        cluster.register(name)


def both():
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = 0, 2
    return c


def fill(store, n, nof):
    c = both()
    c.nof_replica_num = nof
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(SIZE) for i in range(n)}
    for key, value in data.items():
        assert store.put(key, value, c) == 0
    return data


def reports(cluster):
    return cluster.metric("master_unreachable_reports_total")


def offline(cluster):
    return cluster.metric("master_nof_segments_offline_total")


def test_own_impatience_is_not_reported(cluster, monkeypatch):
    """A get that would have been served, had it waited."""
    monkeypatch.setenv("MC_STORE_GET_TIMEOUT_MS", "200")
    monkeypatch.setenv("MC_STORE_HEDGE", "0")
    start(cluster, "a")
    store = new_store(cluster)
    data = fill(store, 10, 1)
    fault(cluster, "a", f"kind=delay,{DATA},ms=3000")
    assert store.get_batch(list(data)) == [b""] * 10
    # What is sent later is taken later.
    assert store.is_exist("k0") == 1
    assert reports(cluster) == 0
    assert offline(cluster) == 0
    fault(cluster, "a", "")
    cluster.wait_until("served again", lambda:
                       store.get("k0") == data["k0"])
    store.close()


@pytest.mark.parametrize("what", ["kind=delay,ms=3000",
                                  "kind=error,status=0x20"])
def test_slow_or_protected_is_not_reported(cluster, monkeypatch, what):
    """A put's own time is over, or what is there can only be read."""
    monkeypatch.setenv("MC_STORE_TRANSFER_TIMEOUT_MS", "200")
    start(cluster, "a")
    store = new_store(cluster)
    fault(cluster, "a", f"{what},{DATA.replace('read', 'write')}")
    one = both()
    one.nof_replica_num = 1
    assert store.put("k", b"k" * SIZE, one) != 0
    assert store.is_exist("k") == 0
    assert reports(cluster) == 0
    assert offline(cluster) == 0
    fault(cluster, "a", "")
    store.close()


def test_one_client_alone_takes_nothing_offline(cluster):
    """It can't read there, the master can: all others are still served."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 10, 2)
    probes = cluster.metric("master_nof_heartbeat_success_total")
    fault(cluster, "b", f"kind=error,{DATA},status=0x6")
    cluster.wait_until("five reports", lambda: [
        store.get(k) == v or pytest.fail(k) for k, v in data.items()] and
        reports(cluster) >= 5)
    cluster.wait_until("probed, an hour before its time", lambda: cluster.metric(
        "master_nof_heartbeat_success_total") > probes)
    assert offline(cluster) == 0
    assert [s["state"] for s in cluster.segments()] == ["online"] * 2
    store.close()


def test_a_dead_target_is_found_by_a_read(cluster):
    """Long before the interval is over, and by one report."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    data = fill(store, 10, 2)
    cluster.children["b"].kill()
    cluster.wait_until("OFFLINE", lambda: [
        store.get(k) == v or pytest.fail(k) for k, v in data.items()] and
        offline(cluster) == 1)
    store.close()


def test_a_dead_target_is_found_by_a_put(cluster):
    """Where nobody reads; by the probe that the report brings."""
    start(cluster, "a", "b")
    store = new_store(cluster)
    cluster.children["b"].kill()
    assert store.put("k", b"k" * SIZE, both()) != 0
    cluster.wait_until("OFFLINE", lambda: offline(cluster) == 1)
    assert reports(cluster) == 1
    store.close()
