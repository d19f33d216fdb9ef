# SPDX-License-Identifier: Apache-2.0
"""What was lost is copied again, what has to move is moved, what rots is
found: by real clients on real targets."""
import os
import random
import signal
import threading

import pytest

from conftest import FAST, new_store
from mooncake.store import ReplicateConfig

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
SIZE = 2 * 2**20 + 12345
BLOCK = 4096  # of a target's file


@pytest.fixture(autouse=True)
def seed(short_deadlines):
    print(f"seed: T_SEED={SEED}")


def start(cluster, names, *flags, size="64m"):
    cluster.master(*FAST, *flags)
    for name in names:
        cluster.target(name, f"{name}.img:{size}")
        cluster.register(name)


def config(n):
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num = 0, n
    return c


def fill(store, n, replicas):
    rng = random.Random(SEED)
    data = {f"k{i}": rng.randbytes(SIZE) for i in range(n)}
    for key, value in data.items():
        assert store.put(key, value, config(replicas)) == 0
    return data


def check(store, data):
    for key, value in data.items():
        assert store.get(key) == value, key


def whole(store, data, n):
    return all(len(store.get_replica_desc(key)) == n for key in data)


def segment(cluster, name):
    port = f"trsvcid:{cluster.target_ports[name]} "
    seg, = [s for s in cluster.segments() if port in s["name"] + " "]
    return seg


def drain(cluster, name, *flags):
    return cluster.run(
        "mooncake_ssd_unregister", f"--master={cluster.master_addr}",
        f"--segment={segment(cluster, name)['id']}", "--drain", *flags)


def rot(cluster, name):
    """All that is on that disk: every byte of data inverted."""
    with open(cluster.path(f"{name}.img"), "r+b") as f:
        f.seek(2**20)
        data = f.read()
        f.seek(2**20)
        f.write(data.translate(bytes(b ^ 0xff for b in range(256))))
        f.flush()
        os.fsync(f.fileno())


@pytest.mark.parametrize("stripes", ["0", "256k"])
def test_drain_moves(cluster, stripes):
    start(cluster, "abc", f"--nof_stripe_bytes={stripes}")
    store = new_store(cluster)
    data = fill(store, 12, 1)
    there = segment(cluster, "b")["objects"]
    assert there > 0
    r = drain(cluster, "b")
    assert r.returncode == 0, r.stdout + r.stderr
    assert f"{there} replica" in r.stderr and "moved" in r.stderr, r.stderr
    assert "last replica" not in r.stdout, r.stdout
    assert len(cluster.segments()) == 2
    check(store, data)
    assert cluster.metric("master_copies_total") == there
    store.close()


def test_drain_without_room(cluster):
    """What finds no room is dropped, and said to be; the rest is there."""
    start(cluster, "ab", "--nof_stripe_bytes=0", size="32m")
    store = new_store(cluster)
    data = fill(store, 20, 1)
    r = drain(cluster, "b")
    assert r.returncode == 0, r.stdout + r.stderr
    assert "moved" in r.stderr and "last replica" in r.stdout
    left = [k for k, v in data.items() if store.get(k) == v]
    assert 8 < len(left) < 20
    assert cluster.metric("master_evicted_key_count_nof") == 0
    store.close()


def test_wrong_bytes_are_repaired(cluster):
    start(cluster, "abc")
    store = new_store(cluster)
    data = fill(store, 6, 2)
    rot(cluster, "b")
    check(store, data)
    cluster.wait_until("repaired", lambda: check(store, data) or (
        whole(store, data, 2) and cluster.metric("master_copies_total") > 0))
    check(store, data)
    assert cluster.metric("master_checksum_mismatch_total") > 0
    store.close()


def test_scrub_finds_what_nobody_reads(cluster):
    start(cluster, "abc", "--scrub_interval=300ms", "--scrub_bytes_per_s=1g")
    store = new_store(cluster)
    data = fill(store, 6, 2)
    on_b = segment(cluster, "b")["objects"]
    assert on_b > 0
    rot(cluster, "b")
    cluster.wait_until("found", lambda: cluster.metric(
        "master_checksum_mismatch_total") >= on_b)
    cluster.wait_until("repaired", lambda: whole(store, data, 2))
    assert cluster.metric("master_scrubbed_objects_total") > 0
    before = cluster.metric("master_checksum_mismatch_total")
    cluster.children["a"].kill(signal.SIGKILL)  # either replica is good
    check(store, data)
    assert cluster.metric("master_checksum_mismatch_total") == before
    store.close()


@pytest.mark.parametrize("finder", ["reader", "scrub"])
def test_lost_blocks_are_repaired(cluster, monkeypatch, finder):
    """They cost the replica that has them and no more; the rest of the
    namespace is as good as ever."""
    def fault(*args):
        r = cluster.run("mooncakectl", "target", f"--rpc_socket={sock}",
                        "fault", *args)
        assert r.returncode == 0, r.stdout + r.stderr

    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "10000")
    sock = cluster.path("b.sock")
    start(cluster, "ac", "--nof_stripe_bytes=0",
          "--nof_heartbeat_probe_timeout_ms=20000",
          *(["--scrub_interval=300ms", "--scrub_bytes_per_s=1g"]
            if finder == "scrub" else []))
    cluster.target("b", "b.img:64m", flags=[f"--rpc_socket={sock}"])
    cluster.register("b")
    store = new_store(cluster)
    data = fill(store, 24, 2)
    on_b = segment(cluster, "b")["objects"]
    # One of those that a reader reads there.
    port = f"trsvcid:{cluster.target_ports['b']} "
    first = [store.get_replica_desc(key)[0].get_memory_descriptor()
             .buffer_descriptor for key in data]
    lba = next(d.buffer_address for d in first
               if port in d.transport_endpoint) // BLOCK
    fault("set", f"kind=error,op=read,lba={lba}-{lba + SIZE // BLOCK}")
    cluster.wait_until("found", lambda: (
        finder == "scrub" or check(store, data) or True) and cluster.metric(
            "master_media_error_total") > 0)
    fault("clear", "1")  # the disk has mapped them to good ones
    cluster.wait_until("repaired", lambda: whole(store, data, 2))
    check(store, data)
    assert segment(cluster, "b")["objects"] >= on_b - 1
    assert cluster.metric("master_nof_segments_offline_total") == 0
    assert cluster.metric("master_unreachable_reports_total") == 0
    assert cluster.metric("master_checksum_mismatch_total") == 0
    if finder == "reader":
        assert "mooncake_client_media_misses_total 0" not in store.metrics()
    store.close()


def test_scrub_drops_what_is_the_only_one(cluster):
    start(cluster, "a", "--scrub_interval=300ms", "--scrub_bytes_per_s=1g")
    store = new_store(cluster)
    data = fill(store, 3, 1)
    rot(cluster, "a")
    cluster.wait_until("dropped", lambda: cluster.metric(
        "master_key_count") == 0)
    assert all(store.get(k) == b"" for k in data)
    store.close()


def test_target_lost_for_good(cluster):
    start(cluster, "abc", "--nof_lost_timeout_sec=1",
          "--nof_heartbeat_failures_threshold=1")
    store = new_store(cluster)
    data = fill(store, 6, 2)
    cluster.children["b"].kill(signal.SIGKILL)
    cluster.children["b"].proc.wait()
    cluster.wait_until("copied again", lambda: whole(store, data, 2) and
                       segment(cluster, "b")["objects"] == 0, 40)
    cluster.children["a"].kill(signal.SIGKILL)
    check(store, data)
    store.close()


def test_target_dies_while_it_is_copied_to(cluster):
    """Nothing half-written is ever read; it is tried again elsewhere."""
    start(cluster, "abcd", "--copy_bytes_per_s=4m", "--nof_lost_timeout_sec=1")
    store = new_store(cluster)
    data = fill(store, 8, 2)
    rot(cluster, "a")
    check(store, data)
    cluster.wait_until("copies run", lambda: cluster.metric(
        "master_copies_total") > 0)
    cluster.children["b"].kill(signal.SIGKILL)
    cluster.children["b"].proc.wait()
    for key, value in data.items():
        assert store.get(key) in (b"", value)
    cluster.target("b", "b.img")
    cluster.wait_until("whole again", lambda: whole(store, data, 2), 60)
    check(store, data)
    store.close()


def test_close_cancels_a_task(cluster, monkeypatch):
    """A check hangs on a target that does not answer; its client does not
    wait until that is called a failure."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "120000")
    sock = cluster.path("a.sock")
    cluster.master(*FAST, "--scrub_interval=300ms", "--scrub_bytes_per_s=1g")
    cluster.target("a", "a.img:64m", flags=[f"--rpc_socket={sock}"])
    cluster.register("a")
    store = new_store(cluster)
    fill(store, 3, 1)

    def fault(*args):
        r = cluster.run("mooncakectl", "target", f"--rpc_socket={sock}",
                        "fault", *args)
        assert r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    fault("set", "kind=delay,op=read,lba=256-100000,ms=600000")
    cluster.wait_until("a check reads", lambda: int(
        fault("list").splitlines()[1].split()[2]) > 0)
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join(60)  # its command would wait for twice as long
    assert not closing.is_alive()


def test_who_does_not_want_tasks(cluster, monkeypatch):
    """MC_STORE_TASKS=0: draining does not wait for who never comes."""
    monkeypatch.setenv("MC_STORE_TASKS", "0")
    start(cluster, "ab")
    store = new_store(cluster)
    fill(store, 4, 1)
    r = drain(cluster, "b")
    assert r.returncode == 0, r.stdout + r.stderr
    assert "which will be dropped" in r.stderr
    assert cluster.metric("master_copies_total") == 0
    store.close()
