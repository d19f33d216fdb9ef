# SPDX-License-Identifier: Apache-2.0
"""What the master shows of a live pool, and a namespace that is drained."""
import json
import re
import signal
import subprocess
import time

import pytest

from conftest import BUILD, FAST, new_store

UPSTREAM = """
master_nof_allocated_bytes master_total_nof_capacity_bytes
nof_segment_allocated_bytes nof_segment_total_capacity_bytes
master_mount_nof_segment_requests_total
master_mount_nof_segment_failures_total
master_unmount_nof_segment_requests_total
master_unmount_nof_segment_failures_total
master_remount_nof_segment_requests_total
master_remount_nof_segment_failures_total
master_nof_heartbeat_success_total master_nof_heartbeat_failure_total
master_nof_heartbeat_timeout_total
master_nof_segments_unmounted_by_heartbeat_total
master_nof_heartbeat_probe_latency_ms_bucket
master_successful_evictions_nof master_attempted_evictions_nof
master_evicted_key_count_nof master_evicted_size_bytes_nof
master_put_start_partial_allocations_total
master_put_start_alloc_failures_total
""".split()


def ctl(c, *args):
    r = c.run("mooncakectl", f"--master={c.master_addr}", *args)
    assert r.returncode == 0, r.stderr
    return r.stdout


def pool_json(c, *args):
    return json.loads(ctl(c, "--json", "pool", *args))


def value(c, name, **labels):
    """One sample; labels beside segment choose it."""
    for line in c.admin("/metrics").split("\n"):
        if re.match(name + r"[{ ]", line) and all(
                f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name} {labels}")


@pytest.fixture(scope="module")
def up():
    from cluster import Cluster
    with Cluster(BUILD) as c:
        c.master(*FAST)
        c.target("ssd", "ram:64m")
        c.register("ssd")
        c.store_service("32mb")
        yield c


def test_metrics_of_a_live_pool(up):
    store = new_store(up, replica_num="0", nof_replica_num="1")
    for i in range(4):
        assert store.put(f"m{i}", b"v" * 1_000_000) == 0
    assert store.get("m0") == b"v" * 1_000_000
    text = up.admin("/metrics")
    for name in UPSTREAM:
        assert f"\n{name}{{" in text or f"\n{name} " in text, name
    assert value(up, "nof_segment_state", state="ONLINE") == 1
    assert value(up, "nof_segment_probe_latency_us") > 0
    assert value(up, "nof_segment_hits_total") == 1
    assert value(up, "nof_segment_hit_bytes_total") == 1_000_000
    assert value(up, "nof_segment_errors_total", kind="timeout") == 0
    # what our target says of itself; it was read with the mount
    assert value(up, "nof_segment_temperature_kelvin") == 300
    assert value(up, "nof_segment_available_spare_percent") == 100
    assert value(up, "nof_segment_percentage_used") == 0
    assert value(up, "nof_segment_media_errors_total") == 0
    up.wait_until("the SMART log is read again", lambda: value(
        up, "nof_segment_data_written_bytes_total") >= 4_000_000)
    up.wait_until("a good probe", lambda: value(
        up, "master_nof_heartbeat_success_total") > 0)
    assert value(up, "nof_segment_last_success_age_ms") < 60_000
    store.remove_all(True)
    store.close()


def test_summary(up):
    text = up.admin("/metrics/summary")
    parts = [p.split(":")[0].strip() for p in text.split(" | ")]
    assert parts == ["Mem Storage", "NVMe-oF SSD", "SSD Storage", "Keys",
                     "Clients", "Requests (Success/Total per sec)",
                     "Batch Requests (per sec, Req=Success/PartialSuccess/"
                     "Total, Item=Success/Total)", "Eviction", "Mem Eviction",
                     "NoF Eviction", "Discard", "Promotion", "Snapshots"]
    line = re.compile(r"Master Admin Metrics: role=leader, state=serving, "
                      r"service_ready=true, master=\{Mem Storage: .*"
                      r"Snapshots: Success=0, Fail=0\}, ha=\{\}")
    master = up.children["master"]
    up.wait_until("the line in the log", lambda: line.search(master.text()))


def test_pool_commands(up):
    text = ctl(up, "pool", "list")
    seg = pool_json(up, "list")[0]
    assert "online" in text and seg["id"] in text and "100%" in text
    assert seg["state"] == "online"
    assert seg["smart"]["spare_percent"] == 100
    assert seg["size"] > 60 << 20
    assert [p["answered_last"] for p in seg["paths"]] == [True]
    assert pool_json(up, "show", seg["id"][:8])["id"] == seg["id"]
    assert pool_json(up, "show", seg["name"])["id"] == seg["id"]
    for words in (("list",), ("paths",), ("stats",), ("show", seg["id"])):
        text = ctl(up, "pool", *words)
        assert seg["id"] in text and "nqn." in text, words
        for row in text.split("\n"):
            assert len(row) <= 80, row
    for words in (("show",), ("show", "zz"), ("explode",)):
        r = up.run("mooncakectl", f"--master={up.master_addr}", "pool", *words)
        assert r.returncode == 1 and r.stderr, words


def test_admin_pages(up):
    pages = json.loads(up.admin("/get_segments_detail"))
    seg, = [s for s in pages["segments"] if s["kind"] == "nof"]
    assert seg["status"] == "ONLINE"
    assert seg["health"]["smart"]["spare_percent"] == 100
    assert seg["health"]["paths"][0]["answered_last"]
    mem, = [s for s in pages["segments"] if s["kind"] == "memory"]
    assert "health" not in mem
    from urllib.parse import quote
    for name in (seg["segment_name"], seg["segment_id"]):
        status = json.loads(up.admin("/api/v1/segments/status?segment=" +
                                     quote(name)))
        assert status["status_name"] == "OK" and status["kind"] == "nof"
        page = up.admin("/query_segment?segment=" + quote(name)).split("\n")
        assert page[0] == seg["segment_name"]
        assert page[1].startswith("Used(bytes): ")
        assert page[2].startswith("Capacity(bytes) : ")


def test_hits_of_a_client_by_tier(up):
    store = new_store(up, replica_num="0", nof_replica_num="1")
    assert store.put("tier-nof", b"n" * 5000) == 0
    store.close()
    store = new_store(up, replica_num="1", nof_replica_num="0")
    assert store.put("tier-mem", b"m" * 3000) == 0
    assert store.get("tier-nof") and store.get("tier-mem")
    assert store.get("tier-mem")
    text = store.metrics()
    for name, want in (("gets_memory", 2), ("gets_nof", 1),
                       ("get_memory_bytes", 6000), ("get_nof_bytes", 5000)):
        assert f"\nmooncake_client_{name}_total {want}\n" in text, name
    store.remove_all(True)
    store.close()


def test_discovery_follows_referrals(cluster):
    """One address is enough for two services that refer to each other."""
    cluster.master(*FAST)
    for name in ("one", "two"):
        cluster.target(name, "ram:64m",
                       flags=(f"--rpc_socket={cluster.path(name)}.sock",))
    for name, to in (("one", "two"), ("two", "one")):
        at = {"address": {"trtype": "TCP", "adrfam": "IPv4",
                          "traddr": "127.0.0.1",
                          "trsvcid": str(cluster.target_ports[to])}}
        r = cluster.run("mooncakectl", "target",
                        f"--rpc_socket={cluster.path(name)}.sock", "rpc",
                        "nvmf_discovery_add_referral", json.dumps(at))
        assert r.returncode == 0, r.stderr
    r = cluster.register("one")
    assert "Successfully registered: 2" in r.stdout, r.stdout
    cluster.children["two"].kill()
    r = cluster.run("mooncake_ssd_register", f"--master={cluster.master_addr}",
                    f"--discover=127.0.0.1:{cluster.target_ports['one']}")
    assert r.returncode == 1
    assert "Already registered (skipped): 1\nFailed: 1" in r.stdout, r.stdout


# --- drain ---

def unregister(c, *args):
    return c.run("mooncake_ssd_unregister",
                 f"--master_server_address={c.master_addr}", *args)


@pytest.fixture
def two(request, cluster, monkeypatch):
    """Two namespaces on two targets; a lease (ms) is long enough to be seen,
    and nobody moves anything."""
    lease = getattr(request, "param", 3000)
    monkeypatch.setenv("MC_STORE_TASKS", "0")
    cluster.master("--nof_heartbeat_interval_sec=1",
                   f"--default_kv_lease_ttl={lease}")
    for name in ("one", "two"):
        cluster.target(name, "ram:64m")
        cluster.register(name)
    return cluster


def segment_of(c, name):
    seg, = [s for s in c.segments() if name in s["name"]]
    return seg


def test_drain_waits_for_a_lease(two):
    store = new_store(two, replica_num="0", nof_replica_num="2")
    assert store.put("both", b"b" * 100_000) == 0
    store.close()
    store = new_store(two, replica_num="0", nof_replica_num="1")
    for i in range(8):
        assert store.put(f"k{i}", b"x" * 10_000) == 0
    one = segment_of(two, ":one")
    only = one["objects"] - 1
    assert only > 0, two.segments()
    assert all(store.get(f"k{i}") for i in range(8))
    begin = time.monotonic()
    r = unregister(two, f"--segment={one['id']}", "--drain")
    assert r.returncode == 0, r.stdout + r.stderr
    assert time.monotonic() - begin > 1
    assert f"{only} object" in r.stderr and "only there" in r.stderr
    assert "1 object (97.66 KB) elsewhere, too" in r.stderr, r.stderr
    assert f"{only} object" in r.stdout and "last replica" in r.stdout
    assert [s["id"] for s in two.segments()] != [one["id"]]
    assert len(two.segments()) == 1
    assert store.get("both") == b"b" * 100_000
    store.close()


def test_drain_that_gives_up_and_is_undone(two):
    """A reader that never stops: the segment stays, and takes nothing."""
    store = new_store(two, replica_num="0", nof_replica_num="1")
    for i in range(8):
        assert store.put(f"k{i}", b"x" * 10_000) == 0
    one = segment_of(two, ":one")
    tool = subprocess.Popen(
        [two.program("mooncake_ssd_unregister"),
         f"--master={two.master_addr}", f"--segment={one['id']}",
         "--drain=1s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    while tool.poll() is None:
        assert all(store.get(f"k{i}") for i in range(8))
    out, err = tool.communicate()
    assert tool.returncode == 1, out + err
    assert "still read or written" in out and "DRAINING" in out
    assert segment_of(two, ":one")["state"] == "draining"
    assert value(two, "nof_segment_state", state="DRAINING",
                 segment=one["name"]) == 1
    assert all(store.get(f"k{i}") == b"x" * 10_000 for i in range(8))
    for i in range(8):
        assert store.put(f"new{i}", b"y" * 10_000) == 0
    assert segment_of(two, ":one")["objects"] == one["objects"]
    r = two.register("one")
    assert "takes new objects again" in r.stdout, r.stdout
    assert segment_of(two, ":one")["state"] == "online"
    store.close()


@pytest.mark.parametrize("two", [600000], indirect=True)
def test_drain_interrupted(two):
    store = new_store(two, replica_num="0", nof_replica_num="1")
    for i in range(8):
        assert store.put(f"k{i}", b"x" * 10_000) == 0
    assert all(store.get(f"k{i}") for i in range(8))
    one = segment_of(two, ":one")
    tool = subprocess.Popen(
        [two.program("mooncake_ssd_unregister"),
         f"--master={two.master_addr}", f"--segment={one['id']}", "--drain"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    two.wait_until("it drains", lambda:
                   segment_of(two, ":one")["state"] == "draining")
    # only now is the signal certainly expected
    tool.send_signal(signal.SIGINT)
    out, err = tool.communicate(timeout=20)
    assert tool.returncode == 1, out + err
    assert "interrupted" in out and "mooncake_ssd_register takes it back" in out
    assert segment_of(two, ":one")["state"] == "draining"
    r = unregister(two, f"--segment={one['id']}")
    assert r.returncode == 0, r.stdout + r.stderr
    store.close()
