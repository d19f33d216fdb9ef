# SPDX-License-Identifier: Apache-2.0
"""The kernel's target knows one owner of a namespace (Linux 6.13: resv_enable)
and refuses everybody else."""
import json

import pytest

from cluster import Cluster
from common import BUILD, FAST, new_store
from stores import endpoint, patiently, ssd, store_and_get

OWN = "nqn.2026-11.io.mooncake:vm-new"

RESERVABLE = r"""
ns=/sys/kernel/config/nvmet/subsystems/$1/namespaces/1
echo 0 >$ns/enable
echo 1 >$ns/resv_enable
echo 1 >$ns/enable
"""

# As a target that was restarted: it forgets
FORGET = r"""
ns=/sys/kernel/config/nvmet/subsystems/$1/namespaces/1
echo 0 >$ns/enable
echo 1 >$ns/enable
"""


@pytest.fixture
def where(new_nvmet, guests):
    new_nvmet.script(RESERVABLE, OWN)
    return endpoint(guests.new[0], OWN)


@pytest.fixture
def other(cluster):
    """Another deployment."""
    with Cluster(BUILD) as c:
        yield c


def reservation(cluster):
    r = cluster.run("mooncakectl", f"--master={cluster.master_addr}",
                    "--json", "pool", "list")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)[0]["reservation"]


def refused(store):
    return sum(float(line.rsplit(" ", 1)[1])
               for line in store.metrics().split("\n")
               if line.startswith("mooncake_client_path_refused_errors_total"))


def test_one_owner(cluster, other, new_nvmet, where):
    # The first one never looks again, nor does its client.
    cluster.master("--nof_heartbeat_interval_sec=3600",
                   "--default_kv_lease_ttl=1000")
    ssd(cluster, "register", "--endpoint=" + where)
    assert reservation(cluster).startswith("ours, key ")
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    patiently(lambda: store.put("k", b"k" * 5000), lambda ret: ret == 0)
    other.master("--cluster_id=other", *FAST)
    r = other.run("mooncake_ssd_register", "--timeout=60s",
                  f"--master_server_address={other.master_addr}",
                  "--endpoint=" + where, timeout=200)
    assert r.returncode != 0 and "belongs to cluster" in r.stdout + r.stderr
    ssd(other, "register", "--endpoint=" + where, "--force")
    assert reservation(other).startswith("ours, key ")
    assert store.put("late", b"l" * 5000) != 0
    assert refused(store) >= 1
    store.close()
    store_and_get(other, 31)
    # A new life of it takes over from the one before, which is not there.
    other.children["master"].stop()
    other.master("--cluster_id=other", *FAST)
    ssd(other, "register", "--endpoint=" + where)
    assert reservation(other).startswith("ours, key ")
    store_and_get(other, 32)
    new_nvmet.script(FORGET, OWN)
    other.wait_until("reserved again", lambda: reservation(
        other).startswith("ours, key "), 120)
    store_and_get(other, 33)
    # It says itself that it has refused one: 83h, do not retry.
    assert [c for c in new_nvmet.complaints() if "status: c106" not in c] == []
