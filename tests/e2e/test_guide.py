# SPDX-License-Identifier: Apache-2.0
"""docs/deployment.md as an operator types it: its commands, in its order.

In a network of its own, so that its addresses and ports are free, and with
proxy variables that lead nowhere: nothing of the cluster may ask a proxy.
"""
import json
import os
import re
import subprocess

import pytest

import nodes as nodes_lib
from cluster import Child, can_connect, http
from common import BUILD, ROOT

pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))
HERE = "10.0.0.1"
ADMIN = f"http://{HERE}:9003"
CNODE1 = "nqn.2016-06.io.spdk:cnode1"
DISK_BYTES = 256 << 20
PROXIES = {name: "http://127.0.0.1:9" for name in (
    "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy",
    "ALL_PROXY")}
ENGINE = os.path.join(ROOT, "tests", "e2e", "engine.py")


def read_guide():
    """{step: [text of each of its blocks]}"""
    with open(os.path.join(ROOT, "docs", "deployment.md"),
              encoding="utf-8") as f:
        text = f.read()
    guide = re.search(r"^## The guide\n(.*?)^## ", text, re.M | re.S).group(1)
    steps = {}
    for part in re.split(r"^### ", guide, flags=re.M)[1:]:
        title = re.match(r"\d+", part)
        steps[int(title.group())] = re.findall(r"^```\w*\n(.*?)^```\n", part,
                                               re.M | re.S)
    return steps


class Operator:
    """Who types, on the machine 10.0.0.1."""

    def __init__(self, cluster, nodes):
        self.cluster, self.nodes = cluster, nodes
        self.blocks = read_guide()
        self.typed = 0
        bin_dir = os.path.join(cluster.dir, "bin")
        os.mkdir(bin_dir)
        os.symlink("/usr/bin/python3", os.path.join(bin_dir, "python3"))
        self.env = {
            **PROXIES, **nodes.env(), "MOONCAKE_BIN_DIR": os.path.join(
                BUILD, "src", "cmd"),
            "PYTHONPATH": os.path.join(BUILD, "python", "pkg"),
            "PATH": f"{bin_dir}:{BUILD}/src/cmd:{os.environ['PATH']}"}
        for name in ("no_proxy", "NO_PROXY"):
            os.environ.pop(name, None)

    def block(self, step, starts):
        """The block of that step that starts so."""
        found = [b for b in self.blocks[step] if b.startswith(starts)]
        assert len(found) == 1, (step, starts, self.blocks[step])
        self.blocks[step].remove(found[0])
        self.typed += 1
        return found[0]

    def type(self, command, status=0, timeout=300):
        r = subprocess.run(["bash", "-c", command], text=True, timeout=timeout,
                           capture_output=True, cwd=self.cluster.dir,
                           stdin=subprocess.DEVNULL,
                           env={**os.environ, **self.env})
        assert r.returncode == status, (command, r.stdout, r.stderr)
        return r.stdout

    def start(self, name, command, port):
        folder = self.cluster.dir
        c = Child(name, ["bash", "-c", f"cd {folder} && exec {command}"],
                  self.cluster.path(name + ".log"), self.env)
        self.cluster.children[name] = c
        return c.wait_for(lambda: can_connect(port, HERE))

    @staticmethod
    def page(path):
        status, body = http(ADMIN + path)
        assert status == 200, (path, status, body)
        return body.decode()

    def save(self, name, text):
        with open(self.cluster.path(name), "w", encoding="utf-8") as f:
            f.write(text)


@pytest.fixture
def operator(cluster, tmp_path):
    with nodes_lib.own_network(), nodes_lib.Nodes(tmp_path) as nodes:
        yield Operator(cluster, nodes)
        cluster.close()


def ssd_nodes(op):
    """10.0.0.7 with SPDK and two disks, 10.0.0.9 with our program."""
    seven = op.nodes.add(name="node7", addrs=(HERE, "10.0.0.7"),
                         SYSFS=f"{op.nodes.folder}/node7/sys")
    bdfs = ("0000:81:00.0", "0000:82:00.0")
    seven.spdk(disks=bdfs)
    seven.spdk_serves(op.cluster.program("mooncake_nof_target"),
                      {bdf: DISK_BYTES for bdf in bdfs})
    seven.must(f"ln -s {seven.path}/spdk /opt/spdk")
    nine = op.nodes.add(name="node9", addrs=(HERE, "10.0.0.9"))
    nine.must("ln -s " + op.cluster.program("mooncake_nof_target") +
              " /usr/local/bin/")
    return seven, nine


def deploy(op):
    command = op.block(4, "python3 -m mooncake.spdk_tgt_create --transport")
    assert "PCI_ALLOWED" in op.type(command.rstrip() + " --dry_run --verbose")
    out = op.type(command)
    assert "Successfully deployed: 2" in out, out
    out = op.type(command)
    assert out.count("(0 steps)") == 2, out
    # The kernel's target needs its modules: tests/vm has them.
    op.block(4, "python3 -m mooncake.spdk_tgt_create --spdk_target_info=\"ip:"
             "10.0.0.8 backend:nvmet")


def register(op):
    command = op.block(5, "mooncake_ssd_register --master_server_address="
                       "10.0.0.1:50051 \\")
    out = op.type(command)
    assert "Successfully registered: 3" in out, out
    out = op.type(command)
    assert "Already registered (skipped): 3" in out, out
    out = op.type(op.block(5, "mooncake_ssd_register --master_server_address="
                           "10.0.0.1:50051 --discover"))
    assert "Already registered (skipped): 1" in out, out
    return command


def look(op):
    lines = op.block(6, "curl").splitlines()
    metrics, summary, segments, pool, paths = map(op.type, lines)
    assert metrics.count("nof_segment_total_capacity_bytes{") == 3, metrics
    assert re.search(r"NVMe-oF SSD: .* / 200\.50 GB \(", summary), summary
    for ip in ("10.0.0.7", "10.0.0.9"):
        assert f"traddr:{ip} trsvcid:4420" in segments
        assert ip in pool and ip in paths
    assert pool.count("online") == 3, pool


def unregister(op, register_again):
    one, whole = op.block(7, "mooncake_ssd_unregister").splitlines()
    assert "Successfully unregistered: 1" in op.type(one)
    assert f"{CNODE1} trtype:TCP adrfam:IPv4 ns:1" not in op.page(
        "/get_all_segments")
    out = op.type(whole)
    assert "Successfully unregistered: 1" in out, out
    assert "Not registered (skipped): 1" in out and "Failed: 0" in out, out
    assert "10.0.0.7" not in op.page("/get_all_segments")
    out = op.type(register_again)
    assert "Successfully registered: 2" in out, out


def bench(op):
    out = op.type(op.block(8, "nof_worker_pool_bench"))
    values = dict(re.findall(r"(\S+?)\s*=\s*(\S+)", out))
    assert int(values["completed_ops"]) > 0, out
    assert values["failed_ops"] == "0" and values["endpoints"] == "2", out


def lmcache(op):
    """An engine in each of the two shapes of LMCache, and a trace."""
    op.save("lmcache.yaml", op.block(9, "chunk_size"))
    environment = op.block(9, "export MC_NOF_WORKERS")
    for how in ("released", "with-the-key"):
        out = json.loads(op.type(
            f"{environment}\nexec python3 {ENGINE} {how} lmcache.yaml",
            timeout=300))
        print(out)
        assert out["wrong"] == 0 and out["failed"] == 0, out
        assert out["hits"] > 0 and out["verified"] > 0, out
        # Every object lies on the pool and nowhere else.
        assert out["objects"] > 0 and out["nof"] == out["objects"], out
        assert out["memory"] == 0 and out["targets"], out


def take_away(op):
    """Not before they are out of the pool."""
    command = op.block(7, "spdk_tgt_create --remove")
    out = op.type(command, status=1)
    assert out.count("is registered with the master 10.0.0.1:50051") == 2, out
    for text in ("ip:10.0.0.7 path:/opt/spdk", "ip:10.0.0.9 backend:mooncake"):
        op.type("mooncake_ssd_unregister --master_server_address="
                f"10.0.0.1:50051 --spdk_target_info=\"{text}\"")
    out = op.type(command)
    assert "Successfully removed: 2" in out, out
    assert op.type(command).count("(0 steps)") == 2


def test_guide(operator):
    op = operator
    nodes = ssd_nodes(op)
    op.start("master", op.block(1, "mooncake_master"), 50051)
    op.start("metadata", op.block(2, "python3"), 8080)
    # A machine may have less memory than the guide's.
    op.save("store_service.json", op.block(3, "{").replace("50gb", "128mb"))
    op.start("service", op.block(3, "python3"), 8081)
    op.cluster.wait_until("memory is mounted", lambda: "10.0.0.1" in op.page(
        "/get_all_segments"))
    deploy(op)
    command = register(op)
    look(op)
    unregister(op, command)
    bench(op)
    lmcache(op)
    metrics = op.page("/metrics")
    hits = re.search(r"^nof_cache_hit_nums_ (\S+)", metrics, re.M)
    assert float(hits.group(1)) > 0
    assert re.search(r"^master_checksum_mismatch_total 0$", metrics, re.M)
    take_away(op)
    assert not any(op.blocks.values()), f"not typed: {op.blocks}"
    for name in ("service", "metadata", "master"):
        assert op.cluster.children[name].stop() == 0, name
    assert all(n.ssh("true").returncode == 0 for n in nodes)
