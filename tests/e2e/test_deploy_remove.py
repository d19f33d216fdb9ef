# SPDX-License-Identifier: Apache-2.0
"""--remove: what was made on SSD nodes goes again, and nothing else."""
import json

import pytest

import nodes as nodes_lib
from conftest import FAST
from test_deploy import (NQN, create, info, node_with_spdk, processes, rpc,
                         start_other, subsystem)

pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))
TCP = "--transport-type=TCP"
BOTH = "pci:0000:81:00.0,0000:82:00.0"
HOST = "nqn.2024-01.io.example:host"


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


def two_disks(nodes, **more):
    return node_with_spdk(nodes, disks=("0000:81:00.0", "0000:82:00.0"),
                          **more)


@pytest.fixture
def away(cluster):
    """Nothing is registered."""
    cluster.master(*FAST)
    return ("--remove", f"--master={cluster.master_addr}")


def done(cluster, nodes, *args):
    r = create(cluster, nodes, *args)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def refused(cluster, nodes, node, *args):
    """Its sentence; nothing is changed."""
    before = node.state()
    r = create(cluster, nodes, *args)
    assert r.returncode == 1, r.stdout
    assert node.state() == before
    return r.stdout


@pytest.mark.parametrize("release", ["23.01", "26.05"])
def test_spdk(cluster, nodes, away, release):
    """The node is as it was before, down to drivers; and again: nothing."""
    n, spdk = two_disks(nodes, release=release)
    before = n.state()
    args = (info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    done(cluster, nodes, *args)
    made = n.state()
    out = done(cluster, nodes, *args, *away, "--dry-run", "--verbose")
    assert "end and remove the service mooncake-spdk-tgt" in out
    assert n.state() == made
    out = done(cluster, nodes, *args, *away)
    assert "Successfully removed: 1" in out
    assert n.state() == before
    out = done(cluster, nodes, *args, *away, "--json")
    assert json.loads(out)["nodes"][0]["steps"] == []
    with open(spdk + "/calls", encoding="utf-8") as f:
        assert "nvmf_delete_subsystem" in f.read()
    # And back.
    done(cluster, nodes, *args)
    assert len(subsystem(n)["namespaces"]) == 2


def test_one_disk_of_spdk(cluster, nodes, away):
    """The others are served on; after a restart, too."""
    n, spdk = two_disks(nodes)
    done(cluster, nodes, info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    pids = processes(n)
    done(cluster, nodes, info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"),
         *away)
    assert processes(n) == pids
    assert [x["bdev_name"] for x in subsystem(n)["namespaces"]] == ["Nvme1n1"]
    assert subsystem(n)["listen_addresses"]
    saved = n.must("cat /etc/mooncake/mooncake-spdk-tgt.json")
    assert "82:00.0" in saved and "81:00.0" not in saved
    drivers = n.must(f"ls -l {n.path}/sys/bus/pci/devices/*/driver")
    assert "81:00.0/driver -> ../../drivers/nvme\n" in drivers
    assert "82:00.0/driver -> ../../drivers/vfio-pci\n" in drivers


def test_what_others_have_stays(cluster, nodes, away):
    """Another subsystem keeps its disk and the service; somebody's own one is
    not taken."""
    n, spdk = two_disks(nodes)
    done(cluster, nodes, info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"), TCP)
    done(cluster, nodes, info(
        n, spdk, "pci:0000:82:00.0 nqn:nqn.2026-11.io.example:b port:4421"), TCP)
    out = done(cluster, nodes, info(n, spdk, f"nqn:{NQN}"), *away)
    assert "service" not in out
    assert not subsystem(n) and len(
        subsystem(n, "nqn.2026-11.io.example:b")["namespaces"]) == 1
    assert "nqn.2026-11.io.example:b" in n.must("cat /etc/mooncake/mooncake-spdk-tgt.json")

    other = info(n, spdk, "nqn:nqn.2026-11.io.example:b serial:OTHER")
    assert "was made by somebody else" in refused(
        cluster, nodes, n, other, *away)
    done(cluster, nodes, other, "--remove", "--force")
    assert n.must("ls /etc/mooncake") == "" and not processes(n)


CALL = """import json, socket
s = socket.socket(socket.AF_UNIX)
s.connect("/var/tmp/spdk.sock")
s.sendall(json.dumps({{"jsonrpc": "2.0", "id": 1,
    "method": "nvmf_subsystem_remove_ns", "params": {}}}).encode())
assert json.loads(s.recv(1 << 20))["result"]
"""


def start_foreign(n, spdk, nqn):
    """Somebody else's target: one disk is a namespace, the other one not."""
    n.must(f"cd {spdk} && PCI_ALLOWED='0000:81:00.0 0000:82:00.0' "
           "./scripts/setup.sh")
    n.must("cat >/run/theirs.json <<'END'\n" + json.dumps({"subsystems": [
        {"subsystem": "all", "config": [
            *({"method": "bdev_nvme_attach_controller", "params": {
                "name": f"Nvme{i}", "trtype": "PCIe",
                "traddr": f"0000:8{i + 1}:00.0"}} for i in range(2)),
            {"method": "nvmf_create_subsystem", "params": {
                "nqn": nqn, "serial_number": "THEIRS"}},
            {"method": "nvmf_subsystem_add_ns", "params": {
                "nqn": nqn, "namespace": {
                    "bdev_name": "Nvme0n1", "nsid": 1}}}]}]}) + "\nEND\n")
    start_other(n, spdk, "/var/tmp/spdk.sock", "-c /run/theirs.json")


def controllers(n):
    return [x["name"] for x in rpc(n, "bdev_nvme_get_controllers")]


def test_foreign_target_keeps_its_disks(cluster, nodes, away):
    """A text whose NQN nobody there has: nothing is ours, whatever disks it
    names."""
    n, spdk = two_disks(nodes)
    start_foreign(n, spdk, "nqn.2026-11.io.example:theirs")
    for more in (f"{BOTH} nqn:{NQN}", BOTH):
        done(cluster, nodes, info(n, spdk, more), *away)
        assert controllers(n) == ["Nvme0", "Nvme1"]
    # A disk that our subsystem there does not serve is not ours, too.
    done(cluster, nodes, info(n, spdk, f"pci:0000:82:00.0 nqn:{NQN}"), TCP)
    out = done(cluster, nodes, info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"),
               *away)
    assert controllers(n) == ["Nvme0", "Nvme1"] and subsystem(n), out
    done(cluster, nodes, info(n, spdk, f"pci:0000:82:00.0 nqn:{NQN}"), *away)
    assert controllers(n) == ["Nvme0"] and not subsystem(n)


def test_claimed_disk_stays(cluster, nodes, away):
    """A volume's store on a disk of our target, which no subsystem shows."""
    n, spdk = two_disks(nodes)
    with open(f"{spdk}/two-namespaces", "w", encoding="utf-8"):
        pass
    done(cluster, nodes, info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    n.must("python3 - <<'END'\n" + CALL.format(json.dumps(
        {"nqn": NQN, "nsid": 4})) + "END\n")
    with open(f"{spdk}/claimed", "w", encoding="utf-8") as f:
        f.write("Nvme1n2")
    one = info(n, spdk, f"pci:0000:82:00.0 nqn:{NQN}")
    done(cluster, nodes, one.replace(NQN, NQN + "-no"), *away)
    assert controllers(n) == ["Nvme0", "Nvme1"]
    # Its other namespace was ours.
    out = done(cluster, nodes, one, *away, "--verbose")
    assert "Nvme1 (0000:82:00.0) stays" in out, out
    assert controllers(n) == ["Nvme0", "Nvme1"]
    assert [x["bdev_name"] for x in subsystem(n)["namespaces"]] == [
        "Nvme0n1", "Nvme0n2"]
    done(cluster, nodes, info(n, spdk, f"nqn:{NQN}"), *away)
    assert controllers(n) == ["Nvme1"] and processes(n)
    done(cluster, nodes, one, "--remove", "--force")
    assert not processes(n)


def test_hosts_are_connected(cluster, nodes, away):
    n, spdk = two_disks(nodes)
    args = (info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    done(cluster, nodes, *args)
    with open(f"{spdk}/connected", "w", encoding="utf-8"):
        pass
    said = refused(cluster, nodes, n, *args, *away)
    assert "1 hosts are connected" in said and "nqn.x:engine" in said
    assert "mooncake_ssd_unregister" in said
    done(cluster, nodes, *args, "--remove", "--force")
    assert not processes(n)


def test_failure_in_the_middle(cluster, nodes, away):
    """It is not said to be taken back, and the next run goes on."""
    n, spdk = two_disks(nodes)
    before = n.state()
    args = (info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    done(cluster, nodes, *args)
    with open(f"{spdk}/no-delete", "w", encoding="utf-8"):
        pass
    r = create(cluster, nodes, *args, *away)
    assert r.returncode == 1 and "delete the subsystem" in r.stdout
    assert "stays done" in r.stdout and "taken back" not in r.stdout
    n.must(f"rm {spdk}/no-delete")
    done(cluster, nodes, *args, *away)
    assert n.state() == before


def test_target_that_is_down(cluster, nodes, away):
    n, spdk = two_disks(nodes)
    args = (info(n, spdk, f"{BOTH} nqn:{NQN}"), TCP)
    done(cluster, nodes, *args)
    n.must("pkill -x reactor_0; while pgrep -x reactor_0; do sleep 0.05; done")
    assert "does not run" in refused(cluster, nodes, n, *args, *away)
    done(cluster, nodes, *args, "--remove", "--force")
    assert n.must("ls /etc/mooncake") == ""


def test_what_does_not_go_together(cluster):
    r = cluster.run("spdk_tgt_create", "--remove", "--node=ip:n1")
    assert r.returncode == 2 and "--master_server_address" in r.stderr
    for more in ("--replace", "--program=/bin/true"):
        r = cluster.run("spdk_tgt_create", "--remove", more, "--node=ip:n1")
        assert r.returncode == 2 and "--remove makes nothing" in r.stderr


def key_file(cluster, name):
    path = cluster.path(name)
    r = cluster.run("mooncakectl", "gen-dhchap-key", f"--output={path}")
    assert r.returncode == 0, r.stderr
    return path


def test_ours(cluster, nodes, away):
    """From a pool's disk to a node without anything but that disk's bytes."""
    n = nodes.add()
    node = f"--node=ip:{n.addr} backend:mooncake"
    disk = f"{n.path}/pool.img"
    n.must("mkdir /usr/local/lib")
    before = n.state()
    done(cluster, nodes, f"{node} disk:{disk}:64m",
         f"--program={cluster.program('mooncake_nof_target')}")
    pool = (f"--master={cluster.master_addr}",
            f"--spdk_target_info=ip:{n.addr} backend:mooncake")
    r = cluster.run("mooncake_ssd_register", *pool, env=nodes.env())
    assert r.returncode == 0, r.stdout + r.stderr
    said = refused(cluster, nodes, n, node, *away)
    assert "ns 1 is registered with the master" in said, said
    r = cluster.run("mooncake_ssd_unregister", *pool, env=nodes.env())
    assert r.returncode == 0, r.stdout + r.stderr
    bytes_ = n.must(f"md5sum {disk}")
    cluster.wait_until("the master has gone", lambda: create(
        cluster, nodes, node, *away).returncode == 0)
    assert n.state() == before
    assert n.must(f"md5sum {disk}") == bytes_
    assert "(0 steps)" in done(cluster, nodes, node, *away)


def test_keys_go(cluster, nodes, away):
    """Not one that another subsystem's host has."""
    n = nodes.add()
    n.must("ln -s " + cluster.program("mooncake_nof_target") +
           " /usr/local/bin/")
    before, key = n.state(), key_file(cluster, "host.key")
    for name, port in (("a", 4420), ("b", 4421)):
        done(cluster, nodes, f"--node=ip:{n.addr} backend:mooncake "
             f"disk:/srv/{name}.img:64m nqn:nqn.2026-11.io.example:{name} port:{port} "
             f"allow:{HOST} key:{key}")
    sock = "/run/mooncake-nof-target.sock"
    for name, keys in (("a", 1), ("b", 0)):
        done(cluster, nodes, f"--node=ip:{n.addr} backend:mooncake "
             f"nqn:nqn.2026-11.io.example:{name} allow:{HOST} "
             "key:/no/longer/there", *away)
        assert n.must("ls /etc/mooncake/keys 2>/dev/null | wc -l"
                      ).strip() == str(keys)
        if keys:
            assert len(rpc(n, "keyring_get_keys", sock)) == keys
    n.must("rm /srv/a.img /srv/b.img")
    assert n.state() == before


# A folder that behaves as configfs does, as far as deployment sees.
CONFIGFS = r"""
set -e
mount -t tmpfs none /sys/kernel
c=/sys/kernel/config/nvmet
mkdir -p $c/ports $c/subsystems $c/hosts
ln -s /bin/true /usr/local/bin/modprobe
cat >/usr/local/bin/mkdir <<'END'
#!/bin/sh
/bin/mkdir "$@" || exit
[ $PWD = /sys/kernel/config/nvmet ] || exit 0
case $1 in
ports/*) /bin/mkdir $1/subsystems ;;
subsystems/*/namespaces/*) echo 0 >$1/enable ;;
subsystems/*) /bin/mkdir $1/namespaces $1/allowed_hosts ;;
esac
END
cat >/usr/local/bin/rmdir <<'END'
#!/bin/sh
[ $PWD = /sys/kernel/config/nvmet ] && exec rm -r "$@"
exec /bin/rmdir "$@"
END
chmod 755 /usr/local/bin/mkdir /usr/local/bin/rmdir
"""


def test_nvmet_that_lost_its_disks(cluster, nodes, away):
    """After a boot without what exports them, in whole or in part: what is
    run at boots counts, too."""
    n = nodes.add()
    n.must(CONFIGFS)
    before = n.state()

    def node(*disks):
        names = "".join(f",/srv/{x}.img" for x in disks)[1:]
        return (f"--node=ip:{n.addr} backend:nvmet nqn:{NQN}" +
                f" disk:{names}" * bool(disks))

    made = node("a", "b", "c").replace(".img", ".img:64m")
    done(cluster, nodes, made, TCP)
    script = n.must("ls /etc/mooncake/*.sh").strip()
    lines = n.must(f"grep '^ns ' {script}").splitlines()
    assert len(lines) == 3

    # Nothing at all.
    n.must("rm -r /sys/kernel/config/nvmet/*/*")
    for disks in ("a",), ():
        assert "does not export" in refused(cluster, nodes, n, node(*disks),
                                            *away)
    done(cluster, nodes, node("c"), "--remove", "--force")
    assert n.must(f"grep '^ns ' {script}").splitlines() == lines[:2]

    # One of two, and that is to go; then the one that the kernel lacks.
    ns = f"/sys/kernel/config/nvmet/subsystems/{NQN}/namespaces"
    n.must(f"sh {script} && rm -r {ns}/2")
    done(cluster, nodes, node("a"), *away)
    assert n.must(f"grep '^ns ' {script}").splitlines() == lines[1:2]
    assert n.must(f"ls {ns}") == ""
    done(cluster, nodes, node("b"), *away)
    n.must("rm /srv/*.img")
    assert n.state() == before
    assert n.must("ls /sys/kernel/config/nvmet/*").split() == [
        "/sys/kernel/config/nvmet/hosts:", "/sys/kernel/config/nvmet/ports:",
        "/sys/kernel/config/nvmet/subsystems:"]
