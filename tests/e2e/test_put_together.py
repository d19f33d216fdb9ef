# SPDX-License-Identifier: Apache-2.0
"""Two clients put one key at the same time: what 0 says, and when."""
import contextlib
import re
import threading

import pytest

from clients import Client, bytes_of
from common import fault
from conftest import FAST, new_store

POOL = {"replica_num": "0", "nof_replica_num": "1"}
SIZE = 300_000


def count(store, name):
    return int(re.search(rf"^mooncake_client_{name}_total (\d+)$",
                         store.metrics(), re.M)[1])


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "60000")


@contextlib.contextmanager
def writing(cluster, rule, discard_s):
    """A client that is at "k", and gets no further."""
    cluster.master(*FAST, f"--put_start_discard_timeout_sec={discard_s}",
                   f"--put_start_release_timeout_sec={discard_s * 2}")
    cluster.target("a", "ram:64m",
                   flags=(f"--rpc_socket={cluster.path('a')}.sock",))
    cluster.register("a")
    with Client(cluster) as writer:
        writer.ask("put", "warm", SIZE)
        assert writer.answer() == "0"
        fault(cluster, "a", rule)
        used = cluster.metric("master_nof_allocated_bytes")
        writer.ask("put", "k", SIZE)
        cluster.wait_until("space is taken", lambda: cluster.metric(
            "master_nof_allocated_bytes") > used)
        yield writer


def put_beside(store, keys):
    """Puts keys in another thread: (their code, thread)."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(store.put_batch(
        keys, [bytes_of(key, SIZE) for key in keys])), daemon=True)
    thread.start()
    return codes, thread


def test_patience_has_an_end(cluster):
    """0 all the same, as ever; counted, and not there."""
    with writing(cluster, "kind=stall,op=write", 120):
        store = new_store(cluster, **POOL)
        assert store.put("k", bytes_of("k", SIZE)) == 0
        assert count(store, "puts_unfinished") == 1
        assert count(store, "puts_existing") == 1
        assert store.get("k") == b"" and not store.is_exist("k")
        store.close()


def test_the_other_one_dies(cluster, monkeypatch):
    """Its put is taken over, and 0 means stored; other keys of the batch do
    not wait for it."""
    monkeypatch.setenv("MC_STORE_PUT_WAIT_MS", "60000")
    with writing(cluster, "kind=stall,op=write", 6) as writer:
        store = new_store(cluster, **POOL)
        writer.proc.kill()
        writer.proc.wait()
        fault(cluster, "a", "")
        codes, thread = put_beside(store, ["k", "other"])
        cluster.wait_until("the other key is there", lambda: store.is_exist(
            "other"))
        thread.join(60)
        assert not thread.is_alive() and codes == [0]
        for key in ("k", "other"):
            assert store.get(key) == bytes_of(key, SIZE)
        assert count(store, "puts_unfinished") == 0
        store.close()


def test_the_other_one_ends_well(cluster, monkeypatch):
    """Waited for, and not written twice."""
    monkeypatch.setenv("MC_STORE_PUT_WAIT_MS", "60000")
    asked = "master_put_start_requests_total"
    with writing(cluster, "kind=stall,op=write", 120) as writer:
        store = new_store(cluster, **POOL)
        before = cluster.metric(asked)
        codes, thread = put_beside(store, ["k"])
        cluster.wait_until("it waits", lambda: cluster.metric(
            asked) > before + 2)
        assert not codes and thread.is_alive()
        fault(cluster, "a", "")
        assert writer.answer() == "0"
        thread.join(60)
        assert not thread.is_alive() and codes == [0]
        assert store.get("k") == bytes_of("k", SIZE)
        assert count(store, "puts_existing") == 1
        assert count(store, "puts_unfinished") == 0
        assert count(store, "puts") == 1
        store.close()
