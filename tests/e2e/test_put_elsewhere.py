# SPDX-License-Identifier: Apache-2.0
"""A put to a node that has just died goes to another one: the master hands the
dead node's memory out until its time is over."""
import os
import random

from conftest import FAST, new_store

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))


def segments(cluster, kind):
    return [s for s in cluster.segments() if s["kind"] == kind]


def test_put_after_a_node_has_died(cluster, monkeypatch):
    print(f"seed: T_SEED={SEED}")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "700000")
    cluster.master(*FAST, "--client_ttl=600")
    nodes = [cluster.store_service("64mb", name=f"node{i}") for i in range(3)]
    store = new_store(cluster)
    cluster.wait_until("three segments",
                       lambda: len(segments(cluster, "memory")) == 3)
    nodes[0].kill()
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(50_001) for i in range(60)}
    for key, value in list(data.items())[:30]:
        assert store.put(key, value) == 0, key
    rest = list(data)[30:]
    assert store.put_batch(rest, [data[k] for k in rest]) == 0
    assert len(segments(cluster, "memory")) == 3  # it is still handed out
    for key, value in data.items():
        assert store.get(key) == value
    store.close()


def test_nowhere_else(cluster):
    """The one node is dead: the failure is a failure to write."""
    cluster.master(*FAST, "--client_ttl=600")
    node = cluster.store_service("64mb")
    store = new_store(cluster)
    assert store.put("before", b"x" * 5000) == 0
    node.kill()
    assert store.put("after", b"x" * 5000) == -800
    assert store.is_exist("after") == 0
    store.close()
