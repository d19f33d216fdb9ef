# SPDX-License-Identifier: Apache-2.0
"""The master dies and comes back, alone or with others: what was acknowledged
is there with the right bytes, and no client has to be started again."""
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading

import pytest

from conftest import FAST, new_store
from cluster import Failed, free_port

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 70_001
POOL = {"replica_num": "0", "nof_replica_num": "1"}


@pytest.fixture(autouse=True)
def seed(short_deadlines):
    print(f"seed: T_SEED={SEED}")


class Deployment:
    def __init__(self, cluster):
        self.cluster = cluster
        self.dir = cluster.path("journal")
        self.flags = [f"--journal_dir={self.dir}", *FAST]

    def master(self, *more):
        return self.cluster.master(*self.flags, *more)

    def kill(self, name="master"):
        self.cluster.children[name].kill(signal.SIGKILL)
        self.cluster.children[name].proc.wait()

    def target(self, name="a", new=True):
        self.cluster.target(name, f"{name}.img:128m" if new
                            else f"{name}.img")
        if new:
            self.cluster.register(name)

    def expect(self, store, data, timeout=40):
        """Every object comes, with its bytes; never other bytes."""
        def all_there():
            got = store.get_batch(sorted(data))
            for key, value in zip(sorted(data), got):
                assert value in (b"", data[key]), f"wrong bytes: {key}"
            return all(got)
        self.cluster.wait_until("all objects are back", all_there, timeout)


@pytest.fixture
def there(cluster):
    return Deployment(cluster)


def some(rng, n, name="k"):
    return {f"{name}{i}": rng.randbytes(SIZE) for i in range(n)}


def put_all(store, data):
    assert store.put_batch(list(data), list(data.values())) == 0


class Writer:
    """Puts, and removes now and then, until it is told to stop; knows what
    was acknowledged."""

    def __init__(self, store):
        self.store, self.error = store, None
        self.rng = random.Random(SEED + 1)
        self.acked, self.open = {}, set()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            i = 0
            while not self.is_over.is_set():
                i += 1
                key, value = f"w{i}", self.rng.randbytes(20_000)
                if self.store.put(key, value) == 0:
                    self.acked[key] = value
                if i % 7 == 0 and self.acked:
                    key = self.rng.choice(sorted(self.acked))
                    value = self.acked.pop(key)
                    if self.store.remove(key, True) != 0:
                        self.open.add(key)
        except BaseException as e:  # told by __exit__
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def more(self, n, cluster):
        want = len(self.acked) + n
        cluster.wait_until("more puts", lambda: self.error or
                           len(self.acked) >= want, 60)

    def __exit__(self, *exc):
        self.is_over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a call does not end"
        if self.error:
            raise self.error


@pytest.mark.parametrize("sync", ["interval", "always"])
def test_f08_killed_under_load(cluster, there, sync):
    there.flags.append(f"--journal_sync={sync}")
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    with Writer(store) as writer:
        for _ in range(3):
            writer.more(20, cluster)
            there.kill()
            there.master()
        writer.more(10, cluster)
    there.expect(store, writer.acked)
    there.kill()
    there.master()
    there.expect(store, writer.acked)
    assert cluster.metric("master_key_count") >= len(writer.acked)
    store.close()


def test_memory_comes_back_with_its_node(cluster, there):
    rng = random.Random(SEED)
    there.master()
    cluster.store_service("64mb")
    store = new_store(cluster, replica_num="1")
    data = some(rng, 50)
    put_all(store, data)
    there.kill()
    there.master()
    there.expect(store, data)
    # With another node behind the address, it is gone and not read.
    there.kill()
    there.kill("service")
    there.master("--client_ttl=2")
    cluster.store_service("64mb")
    cluster.wait_until("the old segment is dropped", lambda:
                       len(cluster.segments()) == 1, 20)
    assert all(value == b"" for value in store.get_batch(sorted(data)))
    store.close()


def segment_ids(cluster):
    return {s["id"] for s in cluster.segments()}


@pytest.mark.parametrize("why", ["stood still", "no journal"])
def test_forgotten_memory_is_another_segment(cluster, there, why):
    """What the master does not know any more comes back by itself and can be
    used, where late writers of its former life can't reach it."""
    rng = random.Random(SEED)
    there.flags = [*(there.flags if why == "stood still" else FAST),
                   "--client_ttl=2"]
    there.master()
    node = cluster.store_service("64mb")
    store = new_store(cluster, replica_num="1")
    data = some(rng, 50)
    put_all(store, data)
    before = segment_ids(cluster)
    assert len(before) == 1
    if why == "stood still":
        node.kill(signal.SIGSTOP)
        cluster.wait_until("the segment is dropped", lambda:
                           not segment_ids(cluster), 20)
        node.kill(signal.SIGCONT)
    else:
        there.kill()
        there.master()
    cluster.wait_until("a segment", lambda: segment_ids(cluster), 20)
    assert not segment_ids(cluster) & before
    assert all(value == b"" for value in store.get_batch(sorted(data)))
    put_all(store, data)
    there.expect(store, data)
    store.close()


@pytest.mark.parametrize("order", [("target", "master"), ("master", "target")])
def test_everything_restarts(cluster, there, order):
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 50)
    put_all(store, data)
    there.kill()
    there.kill("a")
    for what in order:
        if what == "master":
            there.master()
        else:
            there.target(new=False)
    there.expect(store, data)
    late = some(rng, 20, "late")
    cluster.wait_until("puts work", lambda: store.put(
        "first", b"1" * 1000) in (0, -705), 30)
    put_all(store, late)
    there.expect(store, {**data, **late})
    store.close()


def test_orderly_stop(cluster, there):
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 50)
    put_all(store, data)
    assert cluster.children["master"].stop() == 0
    there.master()
    there.expect(store, data)
    store.close()


def test_moved(cluster, there):
    """To another host: another port, another directory."""
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 30)
    put_all(store, data)
    store.close()
    there.kill()
    shutil.move(there.dir, cluster.path("elsewhere"))
    there.flags[0] = f"--journal_dir={cluster.path('elsewhere')}"
    cluster.master_port = cluster.admin_port = None
    there.master()
    store = new_store(cluster, **POOL)
    there.expect(store, data)
    store.close()


def test_f15_a_copy_takes_over(cluster, there):
    """Two masters with copies of one journal: who writes last has the disks,
    and the other one sees it."""
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 20)
    put_all(store, data)
    shutil.copytree(there.dir, cluster.path("copy"))
    first = cluster.master_port, cluster.admin_port
    there.flags[0] = f"--journal_dir={cluster.path('copy')}"
    cluster.master_port = cluster.admin_port = None
    old = cluster.children.pop("master")
    try:
        there.master()
        other = new_store(cluster, **POOL)
        there.expect(other, data)
        other.close()
        cluster.master_port, cluster.admin_port = first
        cluster.wait_until("the first one is fenced", lambda: "fenced" in
                           cluster.admin("/get_segments_detail"), 20)
        assert all(v == b"" for v in store.get_batch(sorted(data)))
        # Who lost it is told so, and gets nothing by force.
        out = cluster.register("a", "--force").stdout
        assert "it is OFFLINE: fenced" in out and "taken over" not in out, out
    finally:
        old.stop()
    store.close()


def test_two_masters_one_directory(cluster, there):
    there.master()
    r = cluster.run("mooncake_master", *there.flags, "--rpc_port=0",
                    "--port=0", "--metrics_port=0")
    assert r.returncode == 1
    assert "another master" in r.stderr


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_damaged_in_the_middle(cluster, there):
    """What was on disk is missed, also after the last burst."""
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 30)
    put_all(store, data)

    def journal(what):
        return cluster.run("mooncakectl", "journal", what, there.dir)

    cluster.wait_until("the last record says that the rest is on disk", lambda:
                       journal("dump").stdout.splitlines()[-1].split()[1] ==
                       "marks", 20)
    there.kill()
    log = os.path.join(there.dir, sorted(
        n for n in os.listdir(there.dir) if n.endswith(".log"))[-1])
    size = os.path.getsize(log)
    flip(log, size * 3 // 4)
    r = cluster.run("mooncake_master", *there.flags,
                    f"--rpc_port={free_port()}", "--metrics_port=0")
    assert r.returncode == 1
    assert "mooncakectl journal" in r.stderr
    assert os.path.getsize(log) == size
    r = journal("check")
    assert r.returncode == 1 and "damaged" in r.stderr
    # A torn tail is none of its business.
    flip(log, size * 3 // 4)
    os.truncate(log, size - 3)
    there.master()
    there.expect(store, data)
    there.kill()
    # Or what is behind the fault is given up.
    flip(log, size * 3 // 4)
    r = journal("cut")
    assert r.returncode == 0 and "cut at byte" in r.stdout
    kept = int(re.search(r"whole: (\d+) objects", journal("check").stdout)[1])
    assert 0 < kept < len(data)
    there.master()
    cluster.register("a", "--force")  # the last start's epoch is cut, too
    cluster.wait_until("what was before the fault is back", lambda: sum(
        map(bool, store.get_batch(sorted(data)))) == kept, 40)
    got = store.get_batch(sorted(data))
    assert all(v in (b"", data[k]) for k, v in zip(sorted(data), got))
    assert store.put("new", b"3" * SIZE) == 0
    assert store.get("new") == b"3" * SIZE
    store.close()


def test_full_disk(cluster, there):
    rng = random.Random(SEED)
    master = there.master()
    there.target()
    store = new_store(cluster, **POOL)
    data = some(rng, 30)
    put_all(store, data)
    used = max(os.path.getsize(os.path.join(there.dir, n))
               for n in os.listdir(there.dir))
    soft, hard = resource.prlimit(master.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (used, hard))
    acked, refused = {}, 0
    for i in range(20):
        value = rng.randbytes(SIZE)
        if store.put(f"full{i}", value) == 0:
            acked[f"full{i}"] = value
        else:
            refused += 1
    assert refused > 0
    there.expect(store, {**data, **acked})  # it goes on being read
    assert cluster.metric("master_journal_failures_total") >= 1
    # Killed now, it has what it acknowledged.
    saved = cluster.path("saved")
    shutil.copytree(there.dir, saved)
    resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (soft, hard))
    cluster.wait_until("puts work again", lambda: store.put(
        "again", b"2" * 500) in (0, -705), 30)
    acked["again"] = b"2" * 500
    there.expect(store, {**data, **acked})
    there.kill()
    there.master()
    there.expect(store, {**data, **acked})
    store.close()
    there.kill()
    del acked["again"]
    there.flags[0] = f"--journal_dir={saved}"
    there.master()
    store = new_store(cluster, **POOL)
    # Another life has had the disk since: what it holds is not this one's.
    assert cluster.metric("master_key_count") == len(data) + len(acked)
    store.close()


def test_mooncakectl_journal(cluster, there):
    rng = random.Random(SEED)
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    put_all(store, some(rng, 10))
    store.close()
    master = f"--master={cluster.master_addr}"

    def ctl(*args, status=0):
        r = cluster.run("mooncakectl", "journal", *args)
        assert r.returncode == status, r.stdout + r.stderr
        return r.stdout if status == 0 else r.stderr

    assert "kept" in cluster.run("mooncakectl", master, "status").stdout
    assert "10 object\n" in ctl("check", there.dir)
    assert "10 objects" in ctl(master, "snapshot")
    found = json.loads(ctl("--json", "check", there.dir))
    assert found["snapshot_records"] >= 11 and found["log_records"] == 0
    lines = ctl("dump", there.dir).splitlines()
    assert sum(' object key="k' in line for line in lines) == 10
    assert any(" segment no=" in line for line in lines)
    there.kill()
    snapshot = os.path.join(there.dir, next(
        n for n in os.listdir(there.dir) if n.endswith(".zst")))
    with open(snapshot, "r+b") as f:
        f.truncate(os.path.getsize(snapshot) - 1)
    assert "snapshot" in ctl("check", there.dir, status=1)
    assert "No such file" in ctl("check", there.dir + "x", status=1)


def test_snapshots_under_load(cluster, there):
    there.flags += ["--journal_snapshot_bytes=1mb"]
    there.master()
    there.target()
    store = new_store(cluster, **POOL)
    with Writer(store) as writer:
        for _ in range(3):
            writer.more(20, cluster)
            assert cluster.run(
                "mooncakectl", f"--master={cluster.master_addr}", "journal",
                "snapshot").returncode == 0
            writer.more(5, cluster)
            there.kill()
            there.master()
    there.expect(store, writer.acked)
    store.close()


def test_other_cluster(cluster, there):
    there.master()
    there.kill()
    r = subprocess.run([cluster.program("mooncake_master"), *there.flags,
                        "--cluster_id=other", "--port=0", "--metrics_port=0"],
                       capture_output=True, text=True, timeout=20,
                       check=False)
    assert r.returncode == 1
    assert "cluster" in r.stderr


def test_nothing_is_kept_without_a_journal(cluster, there):
    there.flags = list(FAST)
    there.master()
    there.target()
    there.kill()
    there.master()
    with pytest.raises(Failed):
        cluster.wait_until("a segment", lambda:
                           cluster.segments(), 1)
