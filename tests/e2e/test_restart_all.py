# SPDX-License-Identifier: Apache-2.0
"""A whole machine dies at once and its programs are started again in any
order; a master that is away for a while, or comes back elsewhere."""
import itertools
import os
import random
import signal
import threading
import time

import pytest

from clients import Client, bytes_of
from cluster import Child, can_connect
from conftest import FAST, new_store

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 70_001
POOL = {"replica_num": "0", "nof_replica_num": "1"}
MEMORY = {"replica_num": "1", "nof_replica_num": "0"}


@pytest.fixture(autouse=True)
def seed(short_deadlines):
    print(f"seed: T_SEED={SEED}")


class Machine:
    """A master with a journal, two targets, a store service."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.flags = (f"--journal_dir={cluster.path('journal')}", *FAST,
                      "--client_ttl=3")
        cluster.master(*self.flags)
        for name in "ab":
            cluster.target(name, f"{name}.img:64m")
            cluster.register(name)
        cluster.store_service("64mb")

    def kill(self):
        for child in self.cluster.children.values():
            child.kill()
        for child in self.cluster.children.values():
            child.proc.wait()
        self.cluster.children.clear()

    def run(self, name):
        if name == "master":
            self.cluster.master(*self.flags)
        elif name == "service":
            self.cluster.store_service("64mb")
        else:
            for target in "ab":
                self.cluster.target(target, f"{target}.img")

    def start(self, order, monkeypatch):
        """One after the other; none is waited for before the next begins."""
        with monkeypatch.context() as m:
            m.setattr(Child, "wait_for", lambda child, *a, **k: child)
            for name in order:
                self.run(name)
        self.cluster.wait_until("the master serves", lambda: can_connect(
            self.cluster.master_port) and can_connect(
                self.cluster.admin_port))


def pairs(word, n=30):
    return {f"{word}{i}": bytes_of(f"{word}{i}", SIZE) for i in range(n)}


def all_there(store, data):
    got = store.get_batch(sorted(data))
    for key, value in zip(sorted(data), got):
        assert value in (b"", data[key]), f"wrong bytes: {key}"
    return all(got)


@pytest.mark.parametrize("order", itertools.permutations(
    ("master", "targets", "service")), ids="-".join)
def test_whole_machine(cluster, monkeypatch, order):
    """With its clients, one of them in the middle of puts. What the pool had
    acknowledged is there; memory is gone and nobody reads it."""
    machine = Machine(cluster)
    store = new_store(cluster, **POOL)
    pool = pairs("p")
    assert store.put_batch(list(pool), list(pool.values())) == 0
    memory = new_store(cluster, **MEMORY)
    gone = pairs("m", 10)
    assert memory.put_batch(list(gone), list(gone.values())) == 0
    memory.close()
    with Client(cluster) as writer:
        for i in range(50):
            writer.ask("put", f"w{i}", SIZE)
        for i in range(random.Random(SEED).randrange(20)):
            assert writer.answer() == "0"
            pool[f"w{i}"] = bytes_of(f"w{i}", SIZE)
        machine.kill()
    machine.start(order, monkeypatch)
    # who was connected all the time, and who comes new
    new = new_store(cluster, **POOL)
    for s in (store, new):
        cluster.wait_until("all is back", lambda s=s: all_there(s, pool), 60)
        for key in gone:
            assert s.get(key) == b""
        key = f"late-{'new' if s is new else 'old'}"
        cluster.wait_until("puts work", lambda s=s, k=key: s.put(
            k, b"1" * 1000) in (0, -705), 30)
        s.close()
    memory = new_store(cluster, **MEMORY)
    cluster.wait_until("memory is used again", lambda: memory.put(
        "again", b"2" * 1000) in (0, -705), 30)
    memory.close()


def test_reads_go_on_without_a_master(cluster):
    """A read that has its lease needs no master to end; other calls wait for
    it up to their deadline, and end well when it is back in time."""
    machine = Machine(cluster)
    sock = f"--rpc_socket={cluster.path('c.sock')}"
    cluster.target("c", "c.img:64m", flags=(sock,))
    cluster.register("c")
    store = new_store(cluster, **POOL)
    big = bytes_of("big", 20 << 20)
    assert store.put("big", big) == 0
    data = pairs("k")
    assert store.put_batch(list(data), list(data.values())) == 0
    r = cluster.run("mooncakectl", "target", sock, "fault", "set",
                    "kind=rate,op=read,lba=256-100000,bytes_per_s=3m")
    assert r.returncode == 0, r.stderr
    got = []
    reader = threading.Thread(target=lambda: got.append(store.get("big")))
    reader.start()
    # The master has counted the get before its answer is on the way.
    cluster.wait_until("the data is read", lambda: int(cluster.run(
        "mooncakectl", "target", sock, "fault", "list",
    ).stdout.splitlines()[1].split()[2]) > 0)
    master = cluster.children["master"]
    master.kill(signal.SIGKILL)
    master.proc.wait()
    reader.join(60)
    assert got == [big] and not master.is_alive()
    cluster.run("mooncakectl", "target", sock, "fault", "clear")

    codes = []
    writer = threading.Thread(target=lambda: codes.append(
        store.put("meanwhile", b"x" * 5000)))
    writer.start()
    writer.join(0.5)
    assert not codes, "a put can't have ended without a master"
    cluster.master(*machine.flags)
    writer.join(60)
    assert codes == [0], codes
    cluster.wait_until("all is back", lambda: all_there(
        store, {**data, "big": big, "meanwhile": b"x" * 5000}), 40)
    store.close()


def test_calls_end_without_a_master(cluster, monkeypatch):
    """With a status, after their deadline, not before."""
    monkeypatch.setenv("MC_RPC_TIMEOUT_MS", "1500")
    cluster.master(*FAST)
    cluster.target("a", "ram:64m")
    cluster.register("a")
    store = new_store(cluster, **POOL)
    assert store.put("k", b"v" * 5000) == 0
    cluster.children["master"].kill(signal.SIGSTOP)
    for call in (lambda: store.put("x", b"v"), lambda: store.remove("x"),
                 lambda: store.batch_is_exist(["k"])[0]):
        begin = time.monotonic()
        assert call() < 0
        assert 1 < time.monotonic() - begin < 40
    cluster.children["master"].kill(signal.SIGCONT)
    cluster.wait_until("served again", lambda: store.get("k") == b"v" * 5000)
    store.close()
