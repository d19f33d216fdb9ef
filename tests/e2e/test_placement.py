# SPDX-License-Identifier: Apache-2.0
"""Where objects go: who asks wins in the documented order."""
import subprocess
import sys

from conftest import BUILD, FAST, new_store
from mooncake.store import ReplicateConfig


def kinds(store, key):
    """"m" per memory replica, "n" per NoF replica."""
    return "".join(sorted("n" if r.is_nof_replica() else "m"
                          for r in store.get_replica_desc(key)))


def put_kinds(store, key, config=None):
    code = store.put(key, b"x" * 5000, config)
    return kinds(store, key) if code == 0 else code


def config(replica, nof):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = replica, nof
    return c


def test_nof_when_there_is_no_memory(cluster):
    """Engines that never ask for the pool still use it (SGLang warm-up)."""
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    s = new_store(cluster)
    assert put_kinds(s, "plain") == "n"
    # LMCache always says replica_num = 1: that asks for nothing
    assert put_kinds(s, "lmcache", config(1, 0)) == "n"
    s.close()


def test_precedence(cluster):
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m", "ram:64m")
    cluster.register("ssd")
    cluster.store_service("64mb")
    s = new_store(cluster)
    assert put_kinds(s, "default") == "m"
    assert put_kinds(s, "explicit", config(0, 2)) == "nn"
    assert put_kinds(s, "both", config(1, 1)) == "mn"
    s.close()
    s = new_store(cluster, replica_num="0", nof_replica_num="1")
    assert put_kinds(s, "by-setup") == "n"
    assert put_kinds(s, "over-setup", config(1, 1)) == "mn"
    s.close()
    s = new_store(cluster, enable_mooncake_nof_pool="True")
    assert "n" in put_kinds(s, "lmcache-key")
    s.close()


def test_environment(cluster):
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    cluster.store_service("64mb")
    code = (
        "from mooncake.store import MooncakeDistributedStore as S\n"
        "s = S()\n"
        f"assert s.setup('127.0.0.1', 'x', 0, 0, 'tcp', '', "
        f"'{cluster.master_addr}') == 0\n"
        "assert s.put('env', b'v' * 100) == 0\n"
        "print([r.is_nof_replica() for r in s.get_replica_desc('env')])\n"
        "s.close()\n")
    r = subprocess.run([sys.executable, "-c", code], text=True, check=False,
                       capture_output=True, env={
                           "PYTHONPATH": BUILD + "/python/pkg",
                           "MOONCAKE_REPLICA_NUM": "0",
                           "MOONCAKE_NOF_REPLICA_NUM": "1"})
    assert r.stdout.strip() == "[True]", r.stderr


def test_master_flag(cluster):
    cluster.master(*FAST, "--default_replica_num=0",
                   "--default_nof_replica_num=1")
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    cluster.store_service("64mb")
    s = new_store(cluster)
    assert put_kinds(s, "flag") == "n"
    s.close()


def test_replicas_on_distinct_targets(cluster):
    cluster.master(*FAST)
    for name in "ab":
        cluster.target(name, "ram:64m", "ram:64m")
        cluster.register(name)
    s = new_store(cluster)
    for i in range(10):
        assert s.put(f"d{i}", b"x" * 5000, config(0, 2)) == 0
        where = {r.get_memory_descriptor().buffer_descriptor
                 .transport_endpoint.split(" subnqn")[0]
                 for r in s.get_replica_desc(f"d{i}")}
        assert len(where) == 2, where
    s.close()


def test_lmcache_zero_segment_keys(cluster):
    """The NoF guide's LMCache configuration, key by key."""
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    s = new_store(cluster, global_segment_size="0",
                  local_buffer_size="1073741824", device_name="",
                  enable_mooncake_nof_pool="True")
    assert s.put_parts("model@1@0@ff@bf16", b"h" * 28, b"k" * 100_000) == 0
    assert kinds(s, "model@1@0@ff@bf16") == "n"
    s.close()


def test_eviction_keeps_the_recent(cluster):
    """A pool smaller than the data: puts go on, the newest are there."""
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    s = new_store(cluster)
    n, size = 400, 500_000
    for i in range(n):
        assert s.put(f"e{i}", bytes([i % 256]) * size) == 0, i
    got = s.get_batch([f"e{i}" for i in range(n)])
    for i, v in enumerate(got):
        assert v in (b"", bytes([i % 256]) * size)
    held = [i for i, v in enumerate(got) if v]
    assert len(held) > 60 and n - 1 in held and 0 not in held
    assert held == list(range(held[0], n))
    assert cluster.metric("master_evicted_key_count_nof") > 0
    s.close()
