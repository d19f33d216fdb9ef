# SPDX-License-Identifier: Apache-2.0
"""A target says that its medium has lost what is asked for. Is it some blocks,
or all that it has? Only one replica of each object is there."""
import os
import random
import signal
import threading

import pytest

from clients import bytes_of
from common import fault
from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 150_001
COUNT = 24
BLOCK = 4096  # of a target's file
LAST = 64 * 2**20 // BLOCK - 1


@pytest.fixture(autouse=True)
def seed(monkeypatch):
    print(f"seed: T_SEED={SEED}")
    # What is late is not what this is about.
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "20000")


@pytest.fixture
def flags(cluster):
    return [*FAST, "--nof_heartbeat_probe_timeout_ms=20000",
            f"--journal_dir={cluster.path('journal')}"]


@pytest.fixture
def store(cluster, flags):
    cluster.master(*flags)
    cluster.target("a", "a.img:64m",
                   flags=(f"--rpc_socket={cluster.path('a')}.sock",))
    cluster.register("a")
    store = new_store(cluster)
    yield store
    store.close()


@pytest.fixture
def data(store):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = 0, 1
    data = {f"k{i}": bytes_of(f"k{i}", SIZE) for i in range(COUNT)}
    for key, value in data.items():
        assert store.put(key, value, c) == 0
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


def expect_all(cluster, store, data):
    cluster.wait_until("all objects are there", lambda: there(
        store, data) == set(data), 60)
    assert cluster.metric("master_key_count") == len(data)


def state(cluster):
    seg, = cluster.segments()
    return seg["state"].lower()


def blocks_of(store, key):
    """LBAs of its one replica, as a rule's."""
    d = store.get_replica_desc(key)[0].get_memory_descriptor()
    first = d.buffer_descriptor.buffer_address // BLOCK
    return f"{first}-{first + SIZE // BLOCK}"


def said(cluster, text):
    return text in cluster.children["master"].text()


def restart_master(cluster, flags):
    cluster.children["master"].kill(signal.SIGKILL)
    cluster.children["master"].proc.wait()
    cluster.master(*flags)


def test_all_of_it_fails(cluster, flags, store, data):
    """The namespace goes OFFLINE and loses nothing, whoever asks for how much
    meanwhile, and the master may die over it."""
    fault(cluster, "a", "kind=error,op=read")
    cluster.wait_until("offline", lambda: there(store, data) or state(
        cluster) == "offline", 60)
    assert state(cluster) == "offline"
    assert there(store, data) == set()
    assert cluster.metric("master_media_error_total") == 0
    assert cluster.metric("master_key_count") == COUNT
    restart_master(cluster, flags)
    assert cluster.metric("master_key_count") == COUNT
    fault(cluster, "a", "")
    cluster.wait_until("online", lambda: state(cluster) == "online", 60)
    expect_all(cluster, store, data)


def test_all_but_the_superblock_fails(cluster, store, data):
    """Somebody's cache may still have that: no reason to forget the rest."""
    fault(cluster, "a", f"kind=error,op=read,lba=1-{LAST}")
    cluster.wait_until("looked at", lambda: there(store, data) or said(
        cluster, "neither can anything else that was tried"), 60)
    assert there(store, data) == set()
    fault(cluster, "a", "")
    expect_all(cluster, store, data)
    assert cluster.metric("master_media_error_total") == 0
    assert cluster.metric("master_nof_segments_offline_total") == 0


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "killed"])
def test_some_blocks_fail(cluster, flags, store, data, is_killed):
    """They cost the objects that have them, once, and no others; by a reader
    after a restart, if the master dies over the first one's report."""
    bad = {"k3", "k7"}
    for key in bad:
        fault(cluster, "a",
              f"kind=error,op=read,lba={blocks_of(store, key)}")
    if is_killed:
        assert store.get("k3") == b""
        restart_master(cluster, flags)
        cluster.wait_until("online", lambda: state(cluster) == "online", 60)
    errors = []

    def read():
        try:
            for _ in range(5):
                there(store, data)
        except AssertionError as e:
            errors.append(e)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a call does not end"
    assert not errors, errors
    cluster.wait_until("dropped", lambda: there(store, data) == set(
        data) - bad and not any(store.is_exist(key) for key in bad), 60)
    if not is_killed:
        assert cluster.metric("master_media_error_total") == len(bad)
    fault(cluster, "a", "")  # the disk has mapped them to good ones
    for key in bad:
        assert store.put(key, data[key]) == 0
    expect_all(cluster, store, data)
    assert cluster.metric("master_nof_segments_offline_total") == 0


def test_once_is_never(cluster, store, data):
    """What can be read when the master looks stays."""
    fault(cluster, "a",
          f"kind=error,op=read,lba={blocks_of(store, 'k5')},once")
    assert store.get("k5") == b""
    cluster.wait_until("looked at", lambda: said(
        cluster, "it can be read"), 60)
    expect_all(cluster, store, data)
    assert cluster.metric("master_media_error_total") == 0
