# SPDX-License-Identifier: Apache-2.0
"""A node with several data addresses, one of them IPv6, by which it is logged
in to as well: each becomes a path of the namespace."""
import json
import os
import subprocess

import pytest

import nodes as nodes_lib
from conftest import FAST, new_store

pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


def add_ipv6(node):
    """Its address, on the link that it has."""
    net = f"fd00:{node.nodes.net:x}:{os.getpid() & 0xffff:x}"
    r = subprocess.run(["ip", "addr", "add", f"{net}::1/64", "dev", node.link,
                        "nodad"], capture_output=True, text=True, check=False)
    if r.returncode:
        pytest.skip(f"no IPv6 here: {r.stderr}")
    node.must(f"ip addr add {net}::2/64 dev eth0 nodad")
    with open(node.nodes.known_hosts, "a", encoding="ascii") as f:
        f.write(f"{net}::2 {node.nodes.host_pub}\n")
    return f"{net}::2"


def test_every_address_is_a_path(cluster, nodes, short_deadlines):
    n = nodes.add(sshd=("ListenAddress ::",))
    six = add_ipv6(n)
    node = (f"ip:[{six}] backend:mooncake disk:{n.path}/pool.img:64m "
            f"addr:{n.addr},{six}")
    args = ("spdk_tgt_create", f"--node={node}",
            f"--program={cluster.program('mooncake_nof_target')}")
    for say in ("Successfully deployed: 1", "(0 steps)"):
        r = cluster.run(*args, env=nodes.env(), timeout=90)
        assert r.returncode == 0 and say in r.stdout, r.stdout + r.stderr

    cluster.master(*FAST)
    register = ("mooncake_ssd_register", f"--master={cluster.master_addr}",
                f"--spdk_target_info=ip:[{six}] backend:mooncake")
    for say in ("Successfully registered: 1", "Already registered"):
        r = cluster.run(*register, env=nodes.env())
        assert r.returncode == 0 and say in r.stdout, r.stdout + r.stderr
    r = cluster.run("mooncakectl", f"--master={cluster.master_addr}", "--json",
                    "pool", "paths")
    seg, = json.loads(r.stdout)
    paths = {p["endpoint"] for p in seg["paths"]}
    nqn = f"nqn.2026-11.io.mooncake:{n.name}"
    assert paths == {
        f"traddr:{n.addr} trsvcid:4420 subnqn:{nqn} trtype:TCP adrfam:IPv4 "
        "ns:1",
        f"traddr:{six} trsvcid:4420 subnqn:{nqn} trtype:TCP adrfam:IPv6 ns:1"}

    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = {f"k{i}": os.urandom(300_000) for i in range(8)}
    for key, value in data.items():
        assert store.put(key, value) == 0
    # One of them goes: what is there is read by the other one.
    subprocess.run(["ip", "addr", "del", n.here, "peer", n.addr, "dev",
                    n.link], check=True)
    cluster.wait_until("objects are read by IPv6", lambda: all(
        store.get(key) == value for key, value in data.items()), 40)
    store.close()
    r = cluster.run("mooncake_ssd_unregister",
                    f"--master={cluster.master_addr}",
                    f"--spdk_target_info=ip:[{six}] ns:1 nqn:{nqn}")
    assert r.returncode == 0, r.stdout + r.stderr
    assert cluster.segments() == []
