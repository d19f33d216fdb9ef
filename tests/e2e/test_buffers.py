# SPDX-License-Identifier: Apache-2.0
"""A call that has returned leaves the caller's memory alone, whatever the
targets do afterwards: stopped in the middle, awake again, gone."""
import ctypes
import mmap
import random
import signal
import threading
import time

import pytest

from conftest import FAST, new_store

SIZE = 6 << 20
PUT_NOF = {"replica_num": "0", "nof_replica_num": "1"}
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def take(n):
    p = libc.mmap(None, n, mmap.PROT_READ | mmap.PROT_WRITE,
                  mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert p and p != ctypes.c_void_p(-1).value
    return p


def give(p, n):
    assert libc.munmap(p, n) == 0


@pytest.fixture
def slow(cluster, monkeypatch):
    """A store whose commands time out after 1 s, and its one target."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "1000")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "1000000")
    cluster.master(*FAST)
    cluster.target("a", "ram:256m")
    cluster.register("a")
    store = new_store(cluster, **PUT_NOF)
    yield cluster, store
    store.close()


def awake(cluster, store, key, value):
    """The target goes on; the store serves from it again."""
    cluster.children["a"].kill(signal.SIGCONT)
    cluster.wait_until("served again", lambda: store.get(key) == value, 30)


def test_stopped_before_the_read(slow):
    cluster, store = slow
    value = random.Random(1).randbytes(SIZE)
    assert store.put("k", value) == 0
    cluster.children["a"].kill(signal.SIGSTOP)
    gone, kept = take(SIZE), take(SIZE)
    t = time.monotonic()
    assert store.get_into("k", gone, SIZE) < 0
    give(gone, SIZE)
    assert store.get_into("k", kept, SIZE) < 0
    ctypes.memset(kept, 0x5a, SIZE)
    assert time.monotonic() - t < 30
    awake(cluster, store, "k", value)
    assert ctypes.string_at(kept, SIZE) == b"\x5a" * SIZE
    give(kept, SIZE)


def test_stopped_during_reads(slow):
    """Threads read while the target is stopped at odd moments."""
    cluster, store = slow
    value = random.Random(2).randbytes(SIZE)
    assert store.put("k", value) == 0
    wrong, kept, ends = [], [], threading.Event()

    def reader():
        while not ends.is_set():
            p = take(SIZE)
            n = store.get_into("k", p, SIZE)
            if n >= 0 and (n != SIZE or ctypes.string_at(p, SIZE) != value):
                wrong.append(n)
            if n < 0 and len(kept) < 8:
                ctypes.memset(p, 0x5a, SIZE)
                kept.append(p)
            else:
                give(p, SIZE)

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    for pause in (0.05, 0.011, 0.033):
        time.sleep(0.3 + pause)
        cluster.children["a"].kill(signal.SIGSTOP)
        time.sleep(2.5)
        cluster.children["a"].kill(signal.SIGCONT)
        time.sleep(0.5)
    ends.set()
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    awake(cluster, store, "k", value)
    assert not wrong
    for p in kept:
        assert ctypes.string_at(p, SIZE) == b"\x5a" * SIZE
        give(p, SIZE)


def test_stopped_during_writes(slow):
    """What a write left in the caller's hands may be unmapped at once."""
    cluster, store = slow
    value = random.Random(3).randbytes(SIZE)
    assert store.put("k", value) == 0
    cluster.children["a"].kill(signal.SIGSTOP)
    t = time.monotonic()
    for i in range(2):
        p = take(SIZE)
        ctypes.memmove(p, value, SIZE)
        assert store.put_from(f"w{i}", p, SIZE) < 0
        give(p, SIZE)
    assert time.monotonic() - t < 30
    awake(cluster, store, "k", value)
    for i in range(2):
        assert store.get(f"w{i}") in (b"", value)


def test_close_with_a_stuck_target(cluster, monkeypatch):
    """Close waits for calls under way, and for no target."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "2000")
    cluster.master(*FAST)
    cluster.target("a", "ram:256m")
    cluster.register("a")
    store = new_store(cluster, **PUT_NOF)
    value = random.Random(4).randbytes(SIZE)
    assert store.put("k", value) == 0
    p, got = take(SIZE), []
    cluster.children["a"].kill(signal.SIGSTOP)
    reader = threading.Thread(
        target=lambda: got.append(store.get_into("k", p, SIZE)))
    reader.start()
    time.sleep(0.2)
    t = time.monotonic()
    store.close()
    assert time.monotonic() - t < 30
    reader.join(30)
    assert got and got[0] < 0
    give(p, SIZE)
    cluster.children["a"].kill(signal.SIGCONT)
