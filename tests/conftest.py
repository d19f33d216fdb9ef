# SPDX-License-Identifier: Apache-2.0
"""Fixtures: real programs on loopback, built in $MOONCAKE_BUILD."""
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import Cluster  # noqa: E402

BUILD = os.environ.get("MOONCAKE_BUILD",
                       os.path.join(ROOT, "build", "check", "release"))
sys.path.insert(0, os.path.join(BUILD, "python", "pkg"))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "smoke: the part of tests/vm that tools/check runs")


FAST = ("--nof_heartbeat_interval_sec=1", "--default_kv_lease_ttl=1000")


@pytest.fixture
def cluster():
    """An empty one; the test starts what it needs."""
    with Cluster(BUILD) as c:
        yield c


@pytest.fixture(scope="module")
def pool():
    """Master, one RAM target of two namespaces, one memory segment."""
    with Cluster(BUILD) as c:
        c.master(*FAST)
        c.target("ssd", "ram:192m", "ram:192m")
        c.register("ssd")
        c.store_service("128mb")
        yield c


def new_store(cluster, **more):
    """A client; more are setup keys."""
    from mooncake.store import MooncakeDistributedStore
    store = MooncakeDistributedStore()
    config = {"local_hostname": "127.0.0.1",
              "metadata_server": "P2PHANDSHAKE", "global_segment_size": "0",
              "local_buffer_size": "16777216", "protocol": "tcp",
              "master_server_addr": cluster.master_addr, **more}
    assert store.setup(config) == 0, store.setup_error()
    return store


@pytest.fixture
def store(pool):
    s = new_store(pool)
    yield s
    s.remove_all(True)
    s.close()


@pytest.fixture
def nof_store(pool):
    s = new_store(pool, replica_num="0", nof_replica_num="1")
    yield s
    s.remove_all(True)
    s.close()
