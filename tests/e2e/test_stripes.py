# SPDX-License-Identifier: Apache-2.0
"""Objects that are cut into stripes, on real targets."""
import os
import random
import signal

import pytest

from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 5 * 2**20 + 12345


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch):
    print(f"seed: T_SEED={SEED}")
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "700")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "700000")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "1000")


def start(cluster, names, *flags):
    cluster.master(*FAST, *flags)
    for name in names:
        cluster.target(name, f"{name}.img:64m")
        cluster.register(name)


def replicas(n):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = 0, n
    return c


def used(cluster):
    return [s["used"] for s in cluster.segments()]


def test_stripes_on_all_targets(cluster):
    start(cluster, "abcd")
    store = new_store(cluster)
    rng = random.Random(SEED)
    value = rng.randbytes(SIZE)
    assert store.put("one", value, replicas(1)) == 0
    assert all(2**20 <= n <= 2**21 + 4096 for n in used(cluster))
    assert store.get("one") == value
    # any pieces, any alignment
    small = rng.randbytes(2**20 + 1)
    assert store.put("small", small, replicas(1)) == 0
    assert store.get("small") == small
    store.close()


def test_without_stripes(cluster):
    start(cluster, "abcd", "--nof_stripe_bytes=0")
    store = new_store(cluster)
    value = random.Random(SEED).randbytes(SIZE)
    assert store.put("one", value, replicas(1)) == 0
    assert sorted(used(cluster))[:3] == [0, 0, 0]
    assert store.get("one") == value
    store.close()


def test_a_dead_target_takes_one_replica(cluster):
    """Two replicas of striped objects share no target."""
    start(cluster, "abcd")
    store = new_store(cluster)
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(SIZE) for i in range(4)}
    single = {f"s{i}": rng.randbytes(SIZE) for i in range(2)}
    for key, value in data.items():
        assert store.put(key, value, replicas(2)) == 0
    for key, value in single.items():
        assert store.put(key, value, replicas(1)) == 0
    cluster.children["b"].kill(signal.SIGKILL)
    cluster.children["b"].proc.wait()
    for key, value in data.items():
        assert store.get(key) == value
    for key, value in single.items():
        assert store.get(key) in (b"", value)
    cluster.target("b", "b.img")
    for key, value in single.items():
        cluster.wait_until("it is back", lambda k=key, v=value:
                           store.get(k) == v, 40)
    store.close()
