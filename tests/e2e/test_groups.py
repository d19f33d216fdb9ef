# SPDX-License-Identifier: Apache-2.0
"""Groups: objects that are of use together only go together, also when the
master was restarted between."""
import signal

import pytest

from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

PARTS = 3
SIZE = 900_000


def names(group):
    return [f"g{group}-{part}" for part in range(PARTS)]


def put_group(store, group):
    config = ReplicateConfig()
    config.group_ids = [f"group {group}"] * PARTS
    return store.put_batch(names(group), [bytes([group]) * SIZE] * PARTS,
                           config)


def whole(store, groups):
    """Those that are there with all parts; none may be there in part."""
    found = []
    for group in groups:
        there = set(store.batch_is_exist(names(group)))
        assert len(there) == 1, f"group {group} is there in part"
        if there == {1}:
            found.append(group)
    return found


@pytest.mark.parametrize("restarts", [False, True])
def test_evicted_together(cluster, restarts):
    flags = (f"--journal_dir={cluster.path('j')}", *FAST)
    cluster.master(*flags)
    cluster.target("ssd", "ram:48m")
    cluster.register("ssd")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    for group in range(8):
        assert put_group(store, group) == 0
    assert whole(store, range(8)) == list(range(8))
    if restarts:
        cluster.children["master"].kill(signal.SIGKILL)
        cluster.children["master"].proc.wait()
        cluster.master(*flags)
        cluster.wait_until("its objects are back", lambda: set(
            store.batch_is_exist(names(0))) == {1})
    for group in range(8, 40):
        cluster.wait_until("there is room", lambda:
                           put_group(store, group) == 0)
    # The newest first: who is asked for has a lease, and others go for it.
    left = whole(store, reversed(range(40)))
    assert 39 in left and len(left) < 20
    assert all(store.get(name) == bytes([group]) * SIZE
               for group in left[:2] for name in names(group))
    store.close()


def test_wrong_number_of_ids(cluster):
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    config = ReplicateConfig()
    config.group_ids = ["a", "b", "c"]
    assert store.put_batch(["x", "y"], [b"x", b"y"], config) == -600
    assert store.put("x", b"x", config) == -600
    config.group_ids = ["a"]
    assert store.put("x", b"x", config) == 0
    store.close()
