# SPDX-License-Identifier: Apache-2.0
"""Who is stopped for long and goes on as if nothing had happened: a writer
whose space has been given to others, a reader whose object is gone."""
import signal
import time

import pytest

from clients import Client, bytes_of
from common import fault
from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

MIB = 2**20
POOL = {"replica_num": "0", "nof_replica_num": "1"}
# A writer has 6 s, its space is not given to others before 9 s.  A target lets
# go of a host that is silent for longer than its keep-alive, here 2 s: what
# had left the writer's program for its socket is not written either.
SHORT = (*FAST, "--put_start_discard_timeout_sec=9",
         "--put_start_release_timeout_sec=10")
WRITER = {"MC_NVME_KEEP_ALIVE_MS": "2000",
          "MC_NVME_COMMAND_TIMEOUT_MS": "60000"}
# Let go by nobody: that would hide what is looked for.
READER = {"MC_NVME_KEEP_ALIVE_MS": "120000", "MC_NVME_COMMAND_TIMEOUT_MS":
          "60000", "MC_STORE_GET_TIMEOUT_MS": "60000"}


def start(cluster, size="64m"):
    cluster.master(*SHORT)
    cluster.target("a", f"ram:{size}",
                   flags=(f"--rpc_socket={cluster.path('a')}.sock",))
    cluster.register("a")


def used(cluster):
    return cluster.metric("master_nof_allocated_bytes")


def fill(cluster, store, name, count):
    """So many MiB, as soon as there is room, and not to be evicted."""
    keys = [f"{name}{i}" for i in range(count)]
    config = ReplicateConfig()
    config.replica_num, config.nof_replica_num = 0, 1
    config.with_hard_pin = True
    for key in keys:
        cluster.wait_until("room", lambda k=key: store.put(
            k, bytes_of(k, MIB), config) == 0, 40)
    return keys


def test_f04_writer_killed_before_the_end(cluster):
    """The key stays absent; the space comes back, and not before the last
    moment at which the writer might have written."""
    start(cluster)
    store = new_store(cluster, **POOL)
    fault(cluster, "a", "kind=delay,op=write,ms=60000")
    with Client(cluster) as writer:
        begin = time.monotonic()
        writer.ask("put", "k", 40 * MIB)
        cluster.wait_until("space is taken", lambda:
                           used(cluster) >= 40 * MIB)
    fault(cluster, "a", "")
    assert store.get("k") == b"" and store.is_exist("k") == 0
    assert store.put("other", bytes(40 * MIB)) == -200 or \
        time.monotonic() - begin > 6
    cluster.wait_until("the space is back", lambda: store.put(
        "other", bytes(40 * MIB)) == 0, 40)
    assert time.monotonic() - begin > 6
    assert store.get("k") == b"" and store.is_exist("k") == 0
    assert store.get("other") == bytes(40 * MIB)
    store.close()


@pytest.mark.parametrize("pause", [0.02, 0.5])
@pytest.mark.parametrize("let_go", ["by the target", "by nobody"])
def test_f05_stale_writer(cluster, pause, let_go):
    """A writer stands still in the middle of a put, its space is given to
    others, and it goes on: nothing of theirs is damaged.  Where the target
    has not let go of it either, it has to stop by itself."""
    start(cluster)
    store = new_store(cluster, **POOL)
    env = dict(WRITER)
    if let_go == "by nobody":
        env["MC_NVME_KEEP_ALIVE_MS"] = READER["MC_NVME_KEEP_ALIVE_MS"]
    with Client(cluster, **env) as writer:
        writer.ask("put", "warm", 4096)
        assert writer.answer() == "0"
        fault(cluster, "a", "kind=rate,op=write,bytes_per_s=7m")
        writer.ask("put", "k", 40 * MIB)
        cluster.wait_until("space is taken", lambda:
                           used(cluster) >= 40 * MIB)
        time.sleep(pause)  # where in the put is all the same
        writer.stop()
        fault(cluster, "a", "")
        keys = fill(cluster, store, "other", 48)
        writer.go_on()
        assert writer.answer() != "0"
    assert store.get("k") == b""
    for key in keys:
        assert store.get(key) == bytes_of(key, MIB), key
    assert cluster.metric("master_checksum_mismatch_total") == 0
    store.close()


def test_f06_lease_ends_during_a_read(cluster):
    """Its bytes are other objects' before it has all of them: a miss."""
    start(cluster)
    store = new_store(cluster, **POOL)
    with Client(cluster, **READER) as reader:
        reader.ask("put", "k", 40 * MIB)
        assert reader.answer() == "0"
        fault(cluster, "a", "kind=rate,op=read,bytes_per_s=1m")
        reader.ask("get", "k", 40 * MIB)
        cluster.wait_until("it reads", lambda: cluster.metric(
            "total_get_nums_") > 0)
        assert store.remove("k", True) == 0
        keys = fill(cluster, store, "other", 48)
        fault(cluster, "a", "")
        assert reader.answer() == "miss"
        reader.ask("get", keys[0], MIB)
        assert reader.answer() == "right"
    for key in keys:
        assert store.get(key) == bytes_of(key, MIB), key
    store.close()


def test_f06_reader_stands_still(cluster):
    start(cluster)
    store = new_store(cluster, **POOL)
    with Client(cluster, **READER) as reader:
        reader.ask("put", "k", 40 * MIB)
        assert reader.answer() == "0"
        fault(cluster, "a", "kind=rate,op=read,bytes_per_s=20m")
        reader.ask("get", "k", 40 * MIB)
        cluster.wait_until("it reads", lambda: cluster.metric(
            "total_get_nums_") > 0)
        reader.proc.send_signal(signal.SIGSTOP)
        assert store.remove("k", True) == 0
        fault(cluster, "a", "")
        fill(cluster, store, "other", 48)
        reader.go_on()
        assert reader.answer() in ("right", "miss")
    store.close()
