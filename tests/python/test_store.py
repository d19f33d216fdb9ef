# SPDX-License-Identifier: Apache-2.0
"""The store through its Python API, as engines call it."""
import ctypes
import os
import random
import threading

import pytest

from conftest import new_store
from mooncake.store import ObjectDataType, ReplicaStatus, ReplicateConfig

LMCACHE_CHUNK = 33_554_460  # 32 MiB and a 28-byte header


class Memory:
    """Host memory with an address."""

    def __init__(self, size, fill=None):
        self.buf = (ctypes.c_ubyte * max(size, 1))()
        self.at = ctypes.addressof(self.buf)
        if fill is not None:
            ctypes.memmove(self.at, fill, size)

    def bytes(self, n):
        return ctypes.string_at(self.at, n)


@pytest.mark.parametrize("size", [1, 2, 511, 512, 513, 4095, 4096, 4097,
                                  131071, 131072, 131073, 1 << 20,
                                  3_000_001, LMCACHE_CHUNK])
def test_any_length(nof_store, size):
    value = random.Random(size).randbytes(size)
    assert nof_store.put(f"len-{size}", value) == 0
    assert nof_store.get(f"len-{size}") == value
    assert nof_store.get_size(f"len-{size}") == size
    where = nof_store.get_replica_desc(f"len-{size}")
    assert [r.is_nof_replica() for r in where] == [True]
    assert [r.status for r in where] == [ReplicaStatus.COMPLETE]


def test_memory_tier(pool):
    s = new_store(pool, replica_num="1", nof_replica_num="0")
    value = os.urandom(1_000_003)
    assert s.put("in-memory", value) == 0
    assert s.get("in-memory") == value
    assert s.get_replica_desc("in-memory")[0].is_memory_replica()
    s.close()


def test_both_tiers(pool):
    s = new_store(pool)
    c = ReplicateConfig()
    c.replica_num = c.nof_replica_num = 1
    assert s.put("both", b"x" * 70000, c) == 0
    kinds = sorted(r.is_nof_replica() for r in s.get_replica_desc("both"))
    assert kinds == [False, True]
    s.close()


def test_existing_key_keeps_its_value(store):
    assert store.put("twice", b"first") == 0
    assert store.put("twice", b"second") == 0
    assert store.get("twice") == b"first"


def test_batches(store):
    keys = [f"b{i}" for i in range(300)]
    values = [os.urandom(1 + 37 * i) for i in range(300)]
    assert store.put_batch(keys, values) == 0
    assert store.get_batch(keys + ["nope"]) == values + [b""]
    assert store.batch_is_exist(keys + ["nope"]) == [1] * 300 + [0]
    assert all(type(v) is int for v in store.batch_is_exist(keys))
    assert store.put_batch(["a"], []) == -600
    assert store.put_batch([], []) == 0
    assert store.get_batch([]) == [] and store.batch_is_exist([]) == []


def test_key_with_a_nul(store):
    assert store.put("nul", b"v") == 0
    assert store.put("nul\0x", b"v") == -600
    assert store.is_exist("nul\0x") == -600
    assert store.batch_is_exist(["nul", "nul\0x"]) == [1, -600]
    assert store.get("nul\0x") == b""


def test_duplicate_keys_in_a_batch(store):
    assert store.put_batch(["dup", "dup"], [b"one", b"two"]) == 0
    assert store.get("dup") == b"one"


def test_pointers(store):
    n = 5
    src = [Memory(100_000, os.urandom(100_000)) for _ in range(n)]
    keys = [f"p{i}" for i in range(n)]
    sizes = [100_000 - i for i in range(n)]
    assert store.batch_put_from(keys, [m.at for m in src], sizes) == [0] * n
    dst = [Memory(100_000) for _ in range(n)]
    got = store.batch_get_into(keys, [m.at for m in dst], [100_000] * n)
    assert got == sizes
    for a, b, k in zip(src, dst, sizes):
        assert a.bytes(k) == b.bytes(k)
    assert store.get_into("p0", dst[0].at, 99_999) == -600
    assert store.get_into("absent", dst[0].at, 10) == -704
    assert store.batch_put_from(["x"], [], []) == [-600]
    assert store.batch_get_into(["x", "y"], [1], [1]) == [-600, -600]
    assert store.batch_put_from([], [], []) == []


def test_multi_buffers_like_vllm(store):
    """160 pieces per object, odd addresses, other pieces when reading."""
    rng = random.Random(1)
    pieces = [rng.randint(1, 9000) for _ in range(160)]
    total = sum(pieces)
    src = Memory(total + 200, rng.randbytes(total + 200))
    ptrs, at = [], src.at + 3
    for n in pieces:
        ptrs.append(at)
        at += n
    assert store.batch_put_from_multi_buffers(["mb"], [ptrs], [pieces]) == [0]
    dst = Memory(total)
    cut = [total // 3, total // 3, total - 2 * (total // 3)]
    outs = [dst.at, dst.at + cut[0], dst.at + cut[0] + cut[1]]
    assert store.batch_get_into_multi_buffers(["mb"], [outs], [cut]) == [total]
    assert dst.bytes(total) == src.bytes(total + 3)[3:]
    assert store.batch_get_into_multi_buffers(["mb"], [[dst.at]],
                                              [[total - 1]]) == [-600]


def test_put_parts_and_handles_like_lmcache(store):
    head = bytes(range(28))
    body = (ctypes.c_ubyte * 1_000_000)()
    ctypes.memmove(body, os.urandom(1_000_000), 1_000_000)
    assert store.put_parts("parts", head, memoryview(body)) == 0
    handle, missing = store.batch_get_buffer(["parts", "no"])
    assert missing is None
    view = memoryview(handle)
    assert len(view) == 1_000_028 == handle.size() == len(handle)
    assert bytes(view[:28]) == head and bytes(view[28:]) == bytes(body)
    assert ctypes.string_at(handle.ptr(), 28) == head
    del handle
    assert bytes(view[:28]) == head  # the view keeps the memory
    with pytest.raises(RuntimeError):
        store.put_parts("bad", 5)
    assert store.put_parts("conf", b"a", config=ReplicateConfig()) == 0


def test_bad_arguments(store):
    m = Memory(64)
    assert store.put("", b"v") == -600
    assert store.put("k" * 4096, b"v") == 0
    assert store.put("k" * 4097, b"v") == -400
    assert store.put("empty", b"") == -600
    assert store.put_from("zero", m.at, 0) == 0
    assert store.is_exist("zero") == 0
    assert store.put_from("null", 0, 64) == -600
    assert store.put_from("wild", 0x1000, 64) == -600
    assert store.put("sane", b"x") == 0
    assert store.get_into("sane", 0x1000, 64) == -600
    assert store.get_into("sane", 0, 64) == -600
    with pytest.raises(TypeError):
        store.put("t", 5)
    with pytest.raises(TypeError):
        store.put(5, b"v")
    with pytest.raises(TypeError):
        store.put("c", b"v", "config")


def test_read_only_destination_is_refused(store):
    assert store.put("ro", b"x" * 100) == 0
    code = ctypes.cast(ctypes.CDLL(None).memcpy, ctypes.c_void_p).value
    assert store.get_into("ro", code, 100) == -600


def test_remove(store):
    assert store.put("r", b"x") == 0
    assert store.remove("r") == 0
    assert store.remove("r") == -704
    assert store.put_batch(["r1", "r2"], [b"1", b"2"]) == 0
    assert store.get("r1") == b"1"  # takes a lease
    assert store.remove("r1") == -706
    assert store.batch_remove(["r1", "r2", "r3"], force=True) == [0, 0, -704]


def test_remove_by_regex_and_all(store):
    keys = [f"{t}@{i}" for t in ("aa", "bb") for i in range(50)]
    assert store.put_batch(keys, [b"v"] * 100) == 0
    assert store.remove_by_regex(r"^aa@1\d?$", force=True) == 11
    assert store.remove_by_regex("(", force=True) == -600
    assert store.remove_all(force=True) == 89
    assert store.get("bb@1") == b""


def test_register_buffer(store):
    m = Memory(1 << 20)
    assert store.register_buffer(m.at, 1 << 20) == 0
    assert store.register_buffer(m.at, 1 << 20) == 0
    assert store.put_from("reg", m.at + 17, 1000) == 0
    assert store.unregister_buffer(m.at) == 0
    assert store.register_buffer(m.at, 0) in (0, -600)


def test_config_is_accepted(store):
    c = ReplicateConfig()
    c.data_type = ObjectDataType.TENSOR
    c.group_ids = ["g1", "g2"]
    c.with_soft_pin = True
    m = Memory(10, b"0123456789")
    assert store.batch_put_from(["g1k", "g2k"], [m.at, m.at], [10, 10],
                                c) == [0, 0]
    c = ReplicateConfig()
    c.replica_num = 0
    assert store.put("none", b"x", c) == -600


def test_hostname_and_health(store):
    host, port = store.get_hostname().rsplit(":", 1)
    assert host == "127.0.0.1" and 12300 <= int(port) <= 14300
    assert store.health_check() == 0


def test_two_clients_see_each_other(pool, store):
    other = new_store(pool, global_segment_size="32mb")
    try:
        assert other.put("shared", b"s" * 100_000) == 0
        assert store.get("shared") == b"s" * 100_000
        assert store.is_exist("shared") == 1 == store.isExist("shared")
    finally:
        other.close()


def test_threads(store):
    errors = []

    def work(t):
        rng = random.Random(t)
        for i in range(25):
            v = rng.randbytes(rng.randint(1, 300_000))
            if store.put(f"t{t}-{i}", v) or store.get(f"t{t}-{i}") != v:
                errors.append((t, i))
    threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not errors


def test_close_while_others_run(pool):
    s = new_store(pool)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            s.put("close-race", b"x" * 50_000)
            s.get("close-race")
            s.remove("close-race", True)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    assert s.close() == 0
    assert s.put("late", b"x") == -600
    stop.set()
    for t in threads:
        t.join(30)
        assert not t.is_alive()


def test_second_setup_changes_nothing(pool):
    """It is refused, and what is up stays up."""
    s = new_store(pool)
    assert s.setup_dummy(0, 0, pool.master_addr) == -600
    assert "already" in s.setup_error()
    m = Memory(1000, os.urandom(1000))
    at, sizes = [m.at, m.at + 600], [600, 400]
    assert s.batch_put_from_multi_buffers(["up"], [at], [sizes]) == [0]
    assert s.batch_get_into_multi_buffers(["up"], [at], [sizes]) == [1000]
    assert s.put_from("nothing", m.at, 0) == 0
    s.close()
    assert s.batch_put_from_multi_buffers(["up"], [at], [sizes]) == []
    assert s.put_from("nothing", m.at, 0) == -600


def test_preferred_segments_have_a_limit(store):
    c = ReplicateConfig()
    c.preferred_segments = ["none:1"] * 64
    assert store.put("wishes", b"x", c) == 0
    c.preferred_segments = ["none:1"] * 65
    assert store.put("too-many-wishes", b"x", c) == -600


def test_metrics_of_the_client(store):
    assert store.put("counted", b"x") == 0 and store.get("counted")
    text = store.metrics()
    assert text.endswith("\n") and "transfer" in text
