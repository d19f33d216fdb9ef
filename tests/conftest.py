# SPDX-License-Identifier: Apache-2.0
"""Fixtures: real programs on loopback, built in $MOONCAKE_BUILD."""
import pytest

from common import BUILD, FAST, ROOT, new_store  # noqa: F401 (for tests)
from cluster import Cluster


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "smoke: the part of tests/vm that tools/check runs")


@pytest.fixture
def cluster():
    """An empty one; the test starts what it needs."""
    with Cluster(BUILD) as c:
        yield c


@pytest.fixture
def short_deadlines(monkeypatch):
    """For this client, the programs started from here, and their targets."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "1500")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "1500000")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "2000")


@pytest.fixture(scope="module")
def pool():
    """Master, one RAM target of two namespaces, one memory segment."""
    with Cluster(BUILD) as c:
        c.master(*FAST)
        c.target("ssd", "ram:192m", "ram:192m")
        c.register("ssd")
        c.store_service("128mb")
        yield c


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
