# SPDX-License-Identifier: Apache-2.0
"""A target with two addresses: one of the paths is cut, then stands still,
while objects are written and read. None is lost, none fails."""
import os
import random
import re

import pytest

from conftest import FAST, new_store
from cluster import free_port
from wire import Wire

SIZE = 700_001
SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))


class World:
    def __init__(self, cluster):
        cluster.master(*FAST)
        port = cluster.target_ports["a"] = free_port()
        other = free_port()
        cluster.target("a", "a.img:256m",
                       flags=[f"--listen=127.0.0.1:{other}"])
        self.cluster, self.wire = cluster, Wire(other)
        nqn = "subnqn:nqn.2026-11.io.mooncake:a"
        ends = [f"--endpoint=traddr:127.0.0.1 trsvcid:{p} {nqn}"
                for p in (port, self.wire.port)]
        r = cluster.run("mooncake_ssd_register",
                        f"--master_server_address={cluster.master_addr}",
                        *ends)
        assert r.returncode == 0, r.stdout + r.stderr
        assert len(cluster.segments()) == 1
        self.store = new_store(cluster, replica_num="0", nof_replica_num="1")
        self.rng, self.count, self.data = random.Random(SEED), 0, {}

    def close(self):
        self.store.close()
        self.wire.close()

    def metric(self, name):
        """Of the path over the wire."""
        found = re.search(
            rf'^mooncake_client_{name}{{path="[^"]*trsvcid:{self.wire.port} '
            r'[^"]*"} (\d+)$', self.store.metrics(), re.M)
        return int(found.group(1)) if found else 0

    def work(self, rounds):
        for _ in range(rounds):
            key, value = f"k{self.count % 20}", self.rng.randbytes(SIZE)
            self.count += 1
            self.store.remove(key, True)
            assert self.store.put(key, value) == 0
            self.data[key] = value
            old = self.rng.choice(sorted(self.data))
            assert self.store.get(old) == self.data[old], old

    def wait_live(self, live):
        """Until the path is lost, or carries something again."""
        before = self.metric("path_reads_total")

        def check():
            self.work(1)
            return self.metric("path_live") == live and (
                not live or self.metric("path_reads_total") > before)
        self.cluster.wait_until(f"path_live {live}", check, 30)


@pytest.fixture
def world(cluster, monkeypatch):
    print(f"seed: T_SEED={SEED}")
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "1500")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "1500000")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "2000")
    w = World(cluster)
    yield w
    w.close()


def test_both_paths_are_used(world):
    world.wait_live(1)
    before = world.metric("path_writes_total")
    world.work(10)
    assert world.metric("path_writes_total") > before
    assert world.metric("path_reads_total") > 0


def test_f13_one_path_is_cut(world):
    world.wait_live(1)
    for _ in range(3):
        world.wire.set(is_cut=True)
        world.wait_live(0)
        world.work(5)
        world.wire.set(is_cut=False)
        world.wait_live(1)
    assert world.metric("path_losses_total") >= 3


def test_f13_one_path_stands_still(world):
    world.wait_live(1)
    world.wire.set(is_frozen=True)
    world.wait_live(0)
    world.work(5)
    world.wire.set(is_frozen=False)
    world.wait_live(1)
    world.work(5)
