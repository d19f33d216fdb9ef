# SPDX-License-Identifier: Apache-2.0
"""Methods before setup and after close return codes; nothing crashes."""
import ctypes
import os

import pytest

from mooncake.store import MooncakeDistributedStore

BAD = -600


def check_unset(store):
    buf = ctypes.create_string_buffer(64)
    at = ctypes.addressof(buf)
    assert store.put("k", b"v") == BAD
    assert store.put_batch(["k"], [b"v"]) == BAD
    assert store.put_parts("k", b"a", b"b") == BAD
    assert store.put_from("k", at, 64) == BAD
    assert store.put_from("k", at, 0) == BAD
    assert store.batch_put_from(["k"], [at], [64]) == [BAD]
    assert store.batch_put_from_multi_buffers(["k"], [[at]], [[64]]) == []
    assert store.get("k") == b""
    assert store.get_batch(["a", "b"]) == [b"", b""]
    assert store.get_buffer("k") is None
    assert store.batch_get_buffer(["k"]) == [None]
    assert store.get_into("k", at, 64) == BAD
    assert store.batch_get_into(["k"], [at], [64]) == [BAD]
    assert store.batch_get_into_multi_buffers(["k"], [[at]], [[64]]) == []
    assert store.is_exist("k") <= 0
    assert store.batch_is_exist(["k"]) == [BAD]
    assert store.remove("k") == BAD
    assert store.batch_remove(["k"]) == [BAD]
    assert store.remove_by_regex(".*") == BAD
    assert store.remove_all() == BAD
    assert store.get_size("k") == BAD
    assert store.register_buffer(at, 64) == BAD
    assert store.unregister_buffer(at) == BAD
    assert store.get_hostname() == ""
    assert store.health_check() == 1
    assert store.get_replica_desc("k") == []
    assert store.close() == 0


def test_before_setup():
    check_unset(MooncakeDistributedStore())


def test_after_close(pool):
    store = MooncakeDistributedStore()
    assert store.setup("127.0.0.1", "P2PHANDSHAKE", 0, 1 << 20, "tcp", "",
                       pool.master_addr) == 0
    assert store.close() == 0
    check_unset(store)
    assert store.setup("127.0.0.1", "P2PHANDSHAKE", 0, 1 << 20, "tcp", "",
                       pool.master_addr) == 0
    assert store.put("again", b"x") == 0
    assert store.remove("again", True) == 0
    assert store.close() == 0


@pytest.mark.parametrize("change", [
    {"global_segment_size": "50%"}, {"local_buffer_size": "100"},
    {"protocol": "carrier-pigeon"}, {"master_server_addr": "etcd://x:1"},
    {"master_server_addr": "127.0.0.1:port"}, {"nof_replica_num": "many"},
    {"replica_num": "0", "nof_replica_num": "0"},
    {"local_hostname": ""}])
def test_bad_setup_is_refused_with_a_sentence(pool, change):
    store = MooncakeDistributedStore()
    config = {"local_hostname": "127.0.0.1", "metadata_server": "x",
              "master_server_addr": pool.master_addr}
    assert store.setup({**config, **change}) < 0
    assert len(store.setup_error()) > 10
    check_unset(store)


def test_missing_keys():
    store = MooncakeDistributedStore()
    assert store.setup({}) == BAD
    assert store.setup({"local_hostname": "h"}) == BAD
    assert "metadata_server" in store.setup_error()


def test_exit_without_close(cluster):
    """A process may end without close(), also with a segment mounted."""
    cluster.master("--client_ttl=2")
    pid = os.fork()
    if pid == 0:
        store = MooncakeDistributedStore()
        ok = store.setup({"local_hostname": "127.0.0.1",
                          "metadata_server": "x",
                          "global_segment_size": "16mb",
                          "master_server_addr": cluster.master_addr}) == 0
        ok = ok and store.put("exit-without-close", b"x" * 5000) == 0
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    cluster.wait_until("its segment is dropped", lambda:
                       not cluster.admin("/get_all_segments").strip())


def test_fork_child_gets_codes(store):
    assert store.put("forked", b"1") == 0
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.put("child", b"1") < 0
                 and store.get("forked") == b"" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.get("forked") == b"1"
