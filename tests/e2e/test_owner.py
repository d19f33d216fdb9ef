# SPDX-License-Identifier: Apache-2.0
"""One owner for a namespace: a second cluster, a master that was deposed and
its clients are refused by the target itself."""
import json
import shutil
import signal
import time

import pytest

from conftest import BUILD, FAST, new_store
from cluster import Cluster

POOL = {"replica_num": "0", "nof_replica_num": "1"}
OFF = "--nof_reservations=off"
NEVER = ("--nof_heartbeat_interval_sec=3600", "--default_kv_lease_ttl=1000")


@pytest.fixture
def other(cluster):
    """Another deployment, which reaches the same targets."""
    with Cluster(BUILD) as c:
        c.target_ports = cluster.target_ports
        yield c


def try_register(c, name, *flags):
    r = c.run("mooncake_ssd_register",
              f"--master_server_address={c.master_addr}",
              f"--discover=127.0.0.1:{c.target_ports[name]}", *flags)
    return r.returncode, " ".join((r.stdout + r.stderr).split())


def unregister(c, name):
    """The target is not asked."""
    r = c.run("mooncake_ssd_unregister",
              f"--master_server_address={c.master_addr}",
              f"--endpoint=traddr:127.0.0.1 trsvcid:{c.target_ports[name]} "
              f"subnqn:nqn.2026-11.io.mooncake:{name} trtype:TCP adrfam:IPv4 "
              "ns:1")
    assert r.returncode == 0, r.stdout + r.stderr


def pools(c):
    r = c.run("mooncakectl", f"--master={c.master_addr}", "--json", "pool",
              "list")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def pool(c):
    return pools(c)[0]


def show(c):
    r = c.run("mooncakectl", f"--master={c.master_addr}", "pool", "show",
              pool(c)["id"])
    assert r.returncode == 0, r.stderr
    return r.stdout


def is_ours(c):
    return pool(c)["state"] == "online" and \
        pool(c)["reservation"].startswith("ours, key ")


def refused(store):
    return sum(float(line.rsplit(" ", 1)[1])
               for line in store.metrics().split("\n")
               if line.startswith("mooncake_client_path_refused_errors_total{"))


def wipe(c, name):
    with open(c.path(name + ".img"), "r+b") as f:
        f.write(bytes(4096))


def test_a_second_cluster_is_refused(cluster, other):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    assert is_ours(cluster)
    assert "Reserved    ours, key " in show(cluster)
    store = new_store(cluster, **POOL)
    assert store.put("k", b"a" * 5000) == 0
    other.master("--cluster_id=other", *FAST)
    code, text = try_register(other, "a")
    assert code != 0 and "belongs to cluster" in text
    # Without the superblock the target's word is left.
    wipe(cluster, "a")
    code, text = try_register(other, "a")
    assert code != 0 and "is reserved at its target for another owner" in text
    code, text = try_register(other, "a", "--force")
    assert code == 0, text
    assert is_ours(other)
    cluster.wait_until("the first owner sees that", lambda:
                       pool(cluster)["state"] == "offline")
    mine = new_store(other, **POOL)
    assert mine.put("k", b"b" * 5000) == 0
    assert mine.get("k") == b"b" * 5000
    store.close()
    mine.close()


def test_a_deposed_masters_client_is_refused(cluster, other):
    """It never looks at the namespace again, nor does its client."""
    cluster.master(f"--journal_dir={cluster.path('j')}", *NEVER)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    store = new_store(cluster, **POOL)
    assert store.put("old", b"o" * 5000) == 0
    shutil.copytree(cluster.path("j"), other.path("j"))
    other.master(f"--journal_dir={other.path('j')}", *FAST)
    other.wait_until("the new master has it", lambda: is_ours(other))
    assert store.put("late", b"l" * 5000) != 0
    assert refused(store) >= 1
    new = new_store(other, **POOL)
    assert new.put("new", b"n" * 5000) == 0
    assert new.get("old") == b"o" * 5000
    assert new.get("new") == b"n" * 5000
    # It is refused, not lost: reading goes on, and the pool is not given up.
    assert pool(cluster)["state"] == "online"
    assert new.get("late") == b""
    store.close()
    new.close()


def test_a_target_that_forgets_is_reserved_again(cluster):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    key = pool(cluster)["reservation"]
    store = new_store(cluster, **POOL)
    assert store.put("k", b"k" * 5000) == 0
    cluster.children["a"].stop()
    cluster.target("a", "a.img")
    cluster.wait_until("reserved again", lambda: is_ours(cluster))
    assert pool(cluster)["reservation"] == key
    cluster.wait_until("puts work", lambda: store.put("l", b"l" * 5000) == 0)
    assert store.get("k") == b"k" * 5000
    store.close()


def test_a_target_with_state_does_not_forget(cluster, other):
    state = f"--state={cluster.path('state')}"
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m", flags=(state,))
    cluster.register("a")
    assert ", persistent" in pool(cluster)["reservation"]
    cluster.children["master"].kill(signal.SIGKILL)
    cluster.children["a"].stop()
    cluster.target("a", "a.img", flags=(state,))
    wipe(cluster, "a")
    other.master("--cluster_id=other", *FAST)
    code, text = try_register(other, "a")
    assert code != 0 and "is reserved at its target for another owner" in text


def test_a_master_that_comes_back_goes_on(cluster):
    cluster.master(f"--journal_dir={cluster.path('j')}", *FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    was = pool(cluster)["reservation"]
    store = new_store(cluster, **POOL)
    assert store.put("k", b"k" * 5000) == 0
    cluster.children["master"].kill(signal.SIGKILL)
    cluster.children["master"].proc.wait()
    cluster.master(f"--journal_dir={cluster.path('j')}", *FAST)
    cluster.wait_until("it has the namespace again", lambda: is_ours(cluster))
    assert pool(cluster)["reservation"] != was
    cluster.wait_until("puts work", lambda: store.put("l", b"l" * 5000) == 0)
    assert store.get("k") == b"k" * 5000
    assert refused(store) == 0
    # Another life does without: what is left is given back first.
    cluster.children["master"].kill(signal.SIGKILL)
    cluster.children["master"].proc.wait()
    cluster.master(f"--journal_dir={cluster.path('j')}",
                   "--nof_reservations=off", *FAST)
    cluster.wait_until("ONLINE without a reservation", lambda:
                       pool(cluster)["state"] == "online" and
                       pool(cluster)["reservation"] == "free")
    cluster.wait_until("puts work", lambda: store.put("m", b"m" * 5000) == 0)
    store.close()


def test_unregistering_gives_it_back(cluster, other):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    unregister(cluster, "a")
    cluster.wait_until("it is given back", lambda: "reservation given back"
                       in cluster.children["master"].text())
    wipe(cluster, "a")
    other.master("--cluster_id=other", *FAST)
    code, text = try_register(other, "a")
    assert code == 0, text
    assert is_ours(other)


class Faulty:
    """A target whose faults come and go."""

    def __init__(self, c):
        self.c = c
        self.sock = c.path("a.sock")
        c.target("a", "a.img:64m", flags=[f"--rpc_socket={self.sock}"])

    def fault(self, *args):
        r = self.c.run("mooncakectl", "target", f"--rpc_socket={self.sock}",
                       "fault", *args)
        assert r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    def await_hit(self):
        self.c.wait_until("the fault hits", lambda: int(
            self.fault("list").splitlines()[1].split()[2]) > 0)


def kill_master(c):
    c.children["master"].kill(signal.SIGKILL)
    c.children["master"].proc.wait()


def test_force_without_reservations_of_its_own(cluster, other):
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    key = pool(cluster)["reservation"].split(", ")[1]
    other.master("--cluster_id=other", "--nof_reservations=off", *FAST)
    wipe(cluster, "a")
    code, text = try_register(other, "a")
    assert code != 0 and key in text and "--force takes it over" in text
    code, text = try_register(other, "a", "--force")
    assert code == 0, text
    assert pool(other)["state"] == "online"
    assert pool(other)["reservation"] == "free"
    cluster.wait_until("the first owner sees that", lambda:
                       pool(cluster)["state"] == "offline")
    store = new_store(other, **POOL)
    assert store.put("k", b"k" * 5000) == 0
    assert store.get("k") == b"k" * 5000
    store.close()


def test_what_can_not_be_given_back_is_told(cluster):
    cluster.master(*NEVER)
    target = Faulty(cluster)
    target.fault("set", "kind=error,op=write,status=0x4280")
    # Two reports, Register, Acquire; the fifth would give it back.
    target.fault("set", "kind=error,op=other,after=4,status=0x4006")
    code, text = try_register(cluster, "a")
    assert code != 0 and "cannot write the superblock" in text
    cluster.wait_until("that is logged", lambda: "reservation not given back"
                       in cluster.children["master"].text())
    target.fault("clear")
    cluster.register("a")
    assert is_ours(cluster)


def test_a_master_killed_while_it_claims(cluster, other):
    """Nobody but its cluster gets what it had taken by then."""
    journal = f"--journal_dir={cluster.path('j')}"
    cluster.master(journal, *NEVER)
    target = Faulty(cluster)
    target.fault("set", "kind=delay,op=write,ms=600000")
    cluster.start("register", "mooncake_ssd_register",
                  f"--master_server_address={cluster.master_addr}",
                  f"--discover=127.0.0.1:{cluster.target_ports['a']}")
    target.await_hit()
    kill_master(cluster)
    target.fault("clear")
    other.master("--cluster_id=other", *FAST)
    code, text = try_register(other, "a")
    assert code != 0 and "is reserved at its target for another owner" in text
    cluster.children["register"].kill()
    cluster.master(journal, *FAST)
    assert pools(cluster) == []
    cluster.register("a")
    assert is_ours(cluster)


def test_a_master_killed_before_it_gave_back(cluster, other):
    flags = (f"--journal_dir={cluster.path('j')}",
             "--put_start_discard_timeout_sec=3")
    cluster.master(*flags, *NEVER)
    target = Faulty(cluster)
    cluster.register("a")
    was = pool(cluster)["reservation"]
    target.fault("set", "kind=delay,op=admin,ms=600000")
    unregister(cluster, "a")
    target.await_hit()
    kill_master(cluster)
    target.fault("clear")
    cluster.master(*flags, *FAST)
    assert pools(cluster) == []
    wipe(cluster, "a")
    other.master("--cluster_id=other", *FAST)
    code, text = try_register(other, "a")
    assert code != 0 and "is reserved at its target for another owner" in text
    # Its own cluster's next life needs no force.
    cluster.wait_until("its writers' time is over", lambda:
                       try_register(cluster, "a")[0] == 0)
    assert is_ours(cluster) and pool(cluster)["reservation"] != was


def two_on_copies(cluster, other):
    """A pool with an object, and two masters' journals that know it."""
    cluster.master(f"--journal_dir={cluster.path('j')}", OFF, *FAST)
    target = Faulty(cluster)
    cluster.register("a")
    store = new_store(cluster, **POOL)
    assert store.put("old", b"o" * 5000) == 0
    store.close()
    cluster.children["master"].stop()
    shutil.copytree(cluster.path("j"), other.path("j"))
    return target


def start_copy(c):
    c.master(f"--journal_dir={c.path('j')}", OFF, *FAST,
             "--nof_heartbeat_probe_timeout_ms=20000")


def test_two_begin_at_once(cluster, other):
    """Without reservations: each has read the superblock before the other one
    wrote it.  One has it, the other one knows that, and what the one stores
    from the first moment on is there."""
    target = two_on_copies(cluster, other)
    target.fault("set", "kind=delay,op=read,ms=5000,count=2")
    start_copy(cluster)
    start_copy(other)

    def is_online(c):
        return pool(c)["state"] == "online"

    cluster.wait_until("one has it", lambda:
                       is_online(cluster) or is_online(other))
    owner, fenced = (cluster, other) if is_online(cluster) else \
        (other, cluster)
    mine, theirs = new_store(owner, **POOL), new_store(fenced, **POOL)

    def is_decided():
        states = {p["state"]: p["message"]
                  for p in (pool(cluster), pool(other))}
        return "online" in states and \
            states.get("offline", "").startswith("fenced: ")
    for i in range(20):
        assert mine.put(f"k{i}", bytes([i]) * 5000) == 0
    cluster.wait_until("the other one is fenced", is_decided)
    for i in range(20):
        assert theirs.put(f"t{i}", b"t" * 5000) != 0
    time.sleep(2.5)  # probes of both
    assert is_decided() and is_online(owner)
    assert mine.get("old") == b"o" * 5000
    for i in range(20):
        assert mine.get(f"k{i}") == bytes([i]) * 5000
    mine.close()
    theirs.close()


def test_a_wrong_word_is_named(cluster):
    r = cluster.run("mooncake_master", "--nof_reservations=maybe")
    assert r.returncode != 0
    assert "expected auto or off" in r.stderr
