# SPDX-License-Identifier: Apache-2.0
"""A target driven over its socket, in the order of upstream's spdk_tgt_create
and mooncake_ssd_register, by a client that speaks as SPDK's rpc.py does."""
import json
import os
import stat

import pytest

from cluster import free_port
from conftest import FAST
from jsonrpc import start

CNODE = "nqn.2016-06.io.spdk:cnode1"
TRANSPORT = {"trtype": "TCP", "max_queue_depth": 128,
             "max_io_qpairs_per_ctrlr": 127, "in_capsule_data_size": 4096,
             "max_io_size": 131072, "io_unit_size": 131072,
             "max_aq_depth": 128, "num_shared_buffers": 4096,
             "buf_cache_size": 32}


def deploy(rpc, disk, port):
    """Steps 6 to 10 of spdk_tgt_create, with a file for a drive."""
    assert rpc.call("nvmf_get_transports") == []
    assert rpc.call("nvmf_create_transport", **TRANSPORT) is True
    assert rpc.call("bdev_aio_create", name="Nvme0n1", filename=disk,
                    block_size=4096) == "Nvme0n1"
    assert rpc.call("nvmf_create_subsystem", nqn=CNODE, allow_any_host=True,
                    serial_number="SPDK00000000000001",
                    max_namespaces=12) is True
    assert rpc.call("nvmf_subsystem_add_ns", nqn=CNODE,
                    namespace={"bdev_name": "Nvme0n1"}) == 1
    assert rpc.call("nvmf_subsystem_add_listener", nqn=CNODE,
                    listen_address={"trtype": "TCP", "adrfam": "ipv4",
                                    "traddr": "127.0.0.1",
                                    "trsvcid": str(port)}) is True


def discovered(rpc):
    """What mooncake_ssd_register makes of the answers."""
    found = []
    for ss in rpc.call("nvmf_get_subsystems"):
        if ss["subtype"] != "NVMe":
            continue
        at = ss["listen_addresses"][0]
        for ns in ss["namespaces"]:
            bdev, = rpc.call("bdev_get_bdevs", name=ns["bdev_name"])
            found.append((ss["nqn"], ns["nsid"], at["traddr"], at["trsvcid"],
                          bdev["block_size"] * bdev["num_blocks"]))
    return found


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.img"
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    return str(path)


def test_life_of_a_deployment(cluster, disk, tmp_path):
    port, state = free_port(), cluster.path("state.json")
    child, rpc = start(cluster, "nof", f"--state={state}")
    deploy(rpc, disk, port)
    assert discovered(rpc) == [
        (CNODE, 1, "127.0.0.1", str(port), 64 << 20)]

    # Bytes through our own client.
    cluster.target_ports["nof"] = port
    cluster.master(*FAST)
    cluster.register("nof")
    src, out = tmp_path / "src", tmp_path / "out"
    src.write_bytes(os.urandom(3_000_000))

    def ctl(*args):
        return cluster.run("mooncakectl", f"--master={cluster.master_addr}",
                           *args)
    r = ctl("put", "k", str(src), "--replica_num=0", "--nof_replica_num=1")
    assert r.returncode == 0, r.stderr
    io, = rpc.call("bdev_get_iostat", names=["Nvme0n1"])["bdevs"]
    assert io["bytes_written"] >= 3_000_000

    # What was made by calls outlives the program, however it ended.
    before = rpc.call("nvmf_get_subsystems")
    child.kill()
    child.proc.wait()
    child, rpc = start(cluster, "nof", f"--state={state}")
    assert rpc.call("nvmf_get_subsystems") == before

    def get():
        return ctl("get", "k", "-o", str(out)).returncode == 0
    cluster.wait_until("the object is there again", get)
    assert out.read_bytes() == src.read_bytes()
    assert rpc.call("spdk_kill_instance", sig_name="SIGTERM") is True
    assert child.proc.wait(20) == 0
    assert not os.path.exists(cluster.path("nof.sock"))


def test_removal_under_load(cluster, disk):
    port = free_port()
    child, rpc = start(cluster, "nof")
    deploy(rpc, disk, port)
    bench = cluster.start(
        "bench", "nof_worker_pool_bench", "--rw=randread", "--bs=4096",
        "--iodepth=32", "--runtime=20", "--ramp_time=0",
        "--endpoints=traddr:127.0.0.1 trsvcid:%d subnqn:%s trtype:TCP "
        "adrfam:IPv4 ns:1" % (port, CNODE), f"--size={32 << 20}")

    def reads():
        io, = rpc.call("bdev_get_iostat", name="Nvme0n1")["bdevs"]
        return io["num_read_ops"]
    cluster.wait_until("reads are under way", lambda: reads() > 100)
    ctrl = rpc.call("nvmf_subsystem_get_controllers", nqn=CNODE)[0]
    assert ctrl["cntlid"] >= 1 and ctrl["hostnqn"].startswith("nqn.")
    assert ctrl["num_io_qpairs"] >= 1
    qpairs = rpc.call("nvmf_subsystem_get_qpairs", nqn=CNODE)
    assert {0, 1} <= {q["qid"] for q in qpairs}
    assert all(q["listen_address"]["trsvcid"] == str(port) for q in qpairs)
    group, = rpc.call("nvmf_get_stats")["poll_groups"]
    assert group["completed_nvme_io"] > 100
    assert rpc.call("bdev_aio_delete", name="Nvme0n1") is True
    assert rpc.call("bdev_get_bdevs") == []
    ss = rpc.call("nvmf_get_subsystems", nqn=CNODE)[0]
    assert ss["namespaces"] == []
    bench.kill()
    # The medium is free at once, and can be served again.
    rpc.call("bdev_uring_create", name="U", filename=disk, block_size=4096)
    assert rpc.call("nvmf_subsystem_add_ns", nqn=CNODE,
                    namespace={"bdev_name": "U", "nsid": 7}) == 7
    assert rpc.call("nvmf_delete_subsystem", nqn=CNODE) is True
    assert rpc.call("bdev_uring_delete", name="U") is True
    assert child.stop() == 0


def test_configuration(cluster, disk):
    """save, then --json_config: SPDK's own form."""
    port = free_port()
    child, rpc = start(cluster, "a")
    deploy(rpc, disk, port)
    sock = cluster.path("a.sock")
    assert stat.S_IMODE(os.stat(sock).st_mode) == 0o600
    r = cluster.run("mooncakectl", "target", "-r", sock, "save")
    assert r.returncode == 0, r.stderr
    config = cluster.path("config.json")
    with open(config, "w", encoding="utf-8") as f:
        f.write(r.stdout)
    before = rpc.call("nvmf_get_subsystems")
    r = cluster.run("mooncake_nof_target", f"--rpc_socket={sock}")
    assert r.returncode == 1 and "another program answers" in r.stderr
    assert child.stop() == 0
    child, rpc = start(cluster, "b", f"--json_config={config}")
    assert f"ready 127.0.0.1:{port}\n" in child.text()
    assert rpc.call("nvmf_get_subsystems") == before
    assert child.stop() == 0
    with open(config, "w", encoding="utf-8") as f:
        f.write(r.stdout + '{"subsystems": [')
    r = cluster.run("mooncake_nof_target", "--rpc_socket=none",
                    f"--json_config={config}")
    assert r.returncode == 1 and "config.json:1:" in r.stderr


def test_options_can_be_changed_too(cluster):
    """Namespaces of the options have names, and mooncakectl target works."""
    sock = cluster.path("s")
    cluster.target("t", "ram:16m", nqn=CNODE, flags=(f"--rpc_socket={sock}",))

    def ctl(*args):
        return cluster.run("mooncakectl", "target", f"--rpc_socket={sock}",
                           *args)
    r = ctl("list")
    assert r.returncode == 0, r.stderr
    assert "Malloc0" in r.stdout and "16.00 MB" in r.stdout
    assert ctl("add-ns", CNODE, "ram:1m").stdout == "namespace 2\n"
    assert ctl("rm-ns", CNODE, "1").returncode == 0
    assert len(json.loads(ctl("list", "--json").stdout)["bdevs"]) == 2
    r = ctl("rm-ns", CNODE, "1")
    assert r.returncode == 1 and "Invalid parameters" in r.stderr
    r = ctl("rpc", "nvmf_create_transport", '{"trtype": "TCP"}')
    assert r.returncode == 1 and "already exists" in r.stderr
    r = ctl("rpc", "bdev_get_bdevs", '{"name": "Malloc1"}')
    assert json.loads(r.stdout)[0]["num_blocks"] == 256
    assert ctl("rm-subsystem", CNODE).returncode == 0
    r = cluster.run("mooncakectl", "target", "-r", cluster.path("none"),
                    "list")
    assert r.returncode == 1 and "no target answers" in r.stderr
