# SPDX-License-Identifier: Apache-2.0
"""Disks that must not be taken: looked at over a real sshd, where they hold
what the formats' own tools have written, or are in use."""
import contextlib
import hashlib
import os
import random
import shutil
import struct
import subprocess

import pytest

import nodes as nodes_lib
from common import BUILD
from cluster import Cluster
from conftest import FAST

MIB = 1 << 20
pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A node, and programs that know it."""
    with nodes_lib.Nodes(tmp_path_factory.mktemp("n")) as nodes, \
            Cluster(BUILD) as cluster:
        yield Place(nodes, cluster)


class Place:
    def __init__(self, nodes, cluster):
        self.nodes, self.cluster, self.node = nodes, cluster, nodes.add()

    def create(self, disk, *args):
        program = self.cluster.program("mooncake_nof_target")
        return self.cluster.run(
            "spdk_tgt_create", f"--program={program}", *args,
            f"--node=ip:{self.node.addr} backend:mooncake disk:{disk}",
            env=self.nodes.env(), timeout=60)

    def is_untouched(self):
        """Nothing was started, nothing lies there."""
        return self.node.must("ls /etc/mooncake; pgrep -x mooncake_nof_ta "
                              "|| :") == ""

    def refused(self, disk, why, *args):
        r = self.create(disk, *args)
        assert r.returncode == 1 and why in r.stdout, r.stdout + r.stderr
        assert str(disk) in r.stdout, r.stdout
        assert self.is_untouched()


def tool(*argv, **more):
    name = argv[0]
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"no {name} on this machine")
    r = subprocess.run([path, *argv[1:]], capture_output=True, check=False,
                       timeout=60, **more)
    assert r.returncode == 0, r.stdout + r.stderr


def sized(path, mib):
    path.touch()
    os.truncate(path, mib * MIB)
    return path


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Loop:
    """A disk of the kernel, which is that file."""

    def __init__(self, path, *options):
        r = subprocess.run(["losetup", "-f", "--show", *options, path],
                           capture_output=True, text=True, check=False)
        if r.returncode:
            pytest.skip("no loop devices here")
        self.dev = r.stdout.strip()

    def __enter__(self):
        return self.dev

    def __exit__(self, *exc):
        subprocess.run(["losetup", "-d", self.dev], check=False)


# --- images ---

def parted(label):
    return lambda path: tool("parted", "-s", path, "mklabel", label, "mkpart",
                             *(["primary"] if label == "msdos" else ["a"]),
                             "1MiB", "100%")


def pv(path):
    with Loop(path) as dev:
        tool("pvcreate", "-q", "-y", "--config", f'devices {{ scan = ["/dev"] '
             f'filter = ["a|^{dev}$|", "r|.*|"] }} activation {{ udev_sync = 0 '
             'udev_rules = 0 } global { event_activation = 0 }', dev)


def luks(kind):
    return lambda path: tool(
        "cryptsetup", "luksFormat", "-q", "--type", kind, "--pbkdf", "pbkdf2",
        "--pbkdf-force-iterations", "1000", path, "-", input=b"secret")


def mdadm(minor, sector):
    """Where no kernel here makes arrays: version 1 of the superblock (that of
    linux/raid/md_p.h), which mdadm itself then has to accept."""
    def make(path):
        sectors = os.path.getsize(path) // 512
        at = sector if sector >= 0 else (sectors - 16) & ~7
        sb = bytearray(258)
        struct.pack_into("<II", sb, 0, 0xa92b4efc, 1)
        sb[16:32] = random.Random(minor).randbytes(16)
        sb[32:42] = b"ssd1:array"
        struct.pack_into("<IIQII", sb, 72, 1, 0, 4096, 0, 2)
        struct.pack_into("<QQQ", sb, 128, 2048 if sector >= 0 else 0,
                         sectors - 4096, at)
        sb[168:184] = random.Random(minor + 9).randbytes(16)
        struct.pack_into("<I", sb, 220, 1)
        total = sum(struct.unpack("<64IH", sb))
        struct.pack_into("<I", sb, 216, (total & 0xffffffff) + (total >> 32))
        with open(path, "r+b") as f:
            f.seek(at * 512)
            f.write(sb)
        tool("mdadm", "--examine", path)
    return make


def bluestore(path):
    """The head of a BlueStore label; its tools are a whole Ceph."""
    with open(path, "r+b") as f:
        f.write(b"bluestore block device\n"
                b"5c6b0f0e-6f43-4d0c-8a5e-0e4a2c1d7b11\n\x02\x01" + bytes(64))


def zpool(place, path):
    """By zfs-fuse in the node, of which only the files were unpacked."""
    root = os.environ.get("MOONCAKE_ZFS", "/nowhere")
    if not os.path.exists(root + "/sbin/zpool"):
        pytest.skip("no zpool here (package zfs-fuse, see tools/check)")
    place.node.must(
        f"export LD_LIBRARY_PATH={root}/lib/x86_64-linux-gnu "
        f"PATH=$PATH:{root}/sbin; mkdir -p /run/zfs /run/lock; (setsid zfs-fuse -n </dev/null >/dev/null "
        "2>&1 &); i=0; until [ -S /run/zfs/zfs_socket ] || [ $i = 400 ]; do "
        "i=$((i + 1)); sleep 0.05; done; "
        f"zpool create -m none tank {path} && zpool export tank; "
        "r=$?; pkill -x zfs-fuse; exit $r")


def damaged(path):
    """The begin of a superblock of ours, and nothing behind it."""
    with open(path, "r+b") as f:
        f.write(b"MCPOOLSB" + bytes(24))


KINDS = {
    "ext4": (lambda p: tool("mke2fs", "-q", "-F", "-t", "ext4", p), "an ext4"),
    "xfs": (lambda p: tool("mkfs.xfs", "-q", p), "an XFS"),
    "btrfs": (lambda p: tool("mkfs.btrfs", "-q", p), "a Btrfs"),
    "gpt": (parted("gpt"), "a GPT partition table"),
    "mbr": (parted("msdos"), "an MBR partition table"),
    "lvm": (pv, "an LVM2 physical volume"),
    "md-1.2": (mdadm(2, 8), "a Linux MD RAID member"),
    "md-1.0": (mdadm(0, -1), "a Linux MD RAID member"),
    "luks1": (luks("luks1"), "a LUKS encrypted volume"),
    "luks2": (luks("luks2"), "a LUKS encrypted volume"),
    "swap": (lambda p: tool("mkswap", p), "a Linux swap area"),
    "ceph": (bluestore, "a Ceph BlueStore OSD"),
    "ours, damaged": (damaged, "a damaged Mooncake pool segment"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_holds(place, tmp_path, kind):
    make, what = KINDS[kind]
    path = sized(tmp_path / "it's.img", 320 if kind == "xfs" else 128)
    make(str(path))
    before = digest(path)
    place.refused(path, f"holds {what}")
    assert digest(path) == before


def test_zfs(place, tmp_path):
    path = sized(tmp_path / "zfs.img", 128)
    zpool(place, path)
    place.refused(path, "holds a ZFS pool member")


def test_force_takes_what_is_not_in_use(place, tmp_path):
    """Foreign data can be overruled, use can't.  The kernel has a mounted Btrfs
    under a number that is not the disk's."""
    path = sized(tmp_path / "btrfs.img", 128)
    KINDS["btrfs"][0](str(path))
    with Loop(path) as dev:
        r = place.create(dev, "--force", "--dry_run")
        assert r.returncode == 0, r.stdout
        place.node.must(f"mkdir -p /run/m && mount {dev} /run/m")
        try:
            place.refused(dev, "held by something in the kernel", "--force")
        finally:
            place.node.must("umount /run/m")


def test_in_use(place, tmp_path):
    """By the kernel in several ways, and by a program."""
    path = sized(tmp_path / "disk.img", 64)
    with Loop(path) as dev:
        place.refused(path, f"is not free: behind the loop device {dev}")
        tool("mkswap", dev)
        if subprocess.run(["swapon", dev], capture_output=True,
                          check=False).returncode == 0:
            try:
                place.refused(dev, "is not free: swap", "--force")
            finally:
                tool("swapoff", dev)
        tool("mke2fs", "-q", "-F", dev)
        place.node.must(f"mkdir -p /run/m && mount {dev} /run/m")
        try:
            place.refused(dev, "mounted on /run/m", "--force")
        finally:
            place.node.must("umount /run/m")
    parted("gpt")(path)
    with Loop(path, "-P") as dev:
        if os.path.exists(f"/sys/class/block/{dev[5:]}/{dev[5:]}p1"):
            place.refused(dev, "is not free: partitioned", "--force")
            place.refused(dev + "p1", "a partition of another disk",
                          "--force")


@pytest.mark.parametrize("is_block", [False, True], ids=["file", "disk"])
def test_open_in_a_program(place, tmp_path, is_block):
    """Who writes keeps it; who only reads does not."""
    path = sized(tmp_path / "disk.img", 64)
    what = Loop(path) if is_block else contextlib.nullcontext(path)
    with what as disk:
        place.node.must(f"setsid tail -f /dev/null <{disk} >/dev/null 2>&1 "
                        "& setsid sleep 1000 <>{0} >/dev/null 2>&1 &"
                        .format(disk))
        place.refused(disk, "is not free: open for writing in sleep (process ",
                      "--force")
        place.node.must("pkill -x sleep; while pgrep -x sleep; do :; done")
        r = place.create(disk, "--dry_run")
        assert r.returncode == 0, r.stdout
        place.node.must("pkill -x tail")


def test_pci_disk_with_data(place, tmp_path):
    """Before SPDK is given a controller its block devices are looked at."""
    node = place.nodes.add(SYSFS=f"{place.nodes.folder}/ssd1/sys")
    path = sized(tmp_path / "disk.img", 64)
    tool("mke2fs", "-q", "-F", path)
    # The second as the kernel names one of a disk that has several ports.
    with Loop(path) as dev, contextlib.ExitStack() as undo:
        for bdf, name, head in (("0000:81:00.0", "nvme970n1", "nvme970n1"),
                                ("0000:82:00.0", "nvme971c0n1", "nvme971n1")):
            os.symlink(dev, "/dev/" + head)
            undo.callback(os.unlink, "/dev/" + head)
            node.pci(bdf, block=name)
        spdk = node.spdk(disks=())
        for more, why in (
                ("pci:0000:81:00.0", "/dev/nvme970n1 holds an ext"),
                ("pci:0000:82:00.0", "/dev/nvme971n1 holds an ext"),
                ("", "no NVMe disk there is free")):
            r = place.cluster.run(
                "spdk_tgt_create", f"--node=ip:{node.addr} path:{spdk} {more}",
                env=place.nodes.env(), timeout=60)
            assert r.returncode == 1 and why in r.stdout, r.stdout
        assert not os.path.exists(spdk + "/calls")


def test_disk_of_another_pool(place, tmp_path):
    """It is served as it is; the master of another cluster refuses it."""
    disk = sized(tmp_path / "disk.img", 64)
    for name in ("one", "two"):
        with Cluster(BUILD) as cluster:
            cluster.master(*FAST, f"--cluster_id={name}")
            r = place.create(disk)
            assert r.returncode == 0, r.stdout + r.stderr
            r = cluster.run(
                "mooncake_ssd_register", f"--master={cluster.master_addr}",
                f"--spdk_target_info=ip:{place.node.addr} backend:mooncake",
                env=place.nodes.env())
            place.node.must("pkill -x mooncake_nof_ta; while pgrep -x "
                            "mooncake_nof_ta; do :; done; rm /etc/mooncake/*")
            if name == "one":
                assert r.returncode == 0, r.stdout + r.stderr
    assert r.returncode == 1, r.stdout
    assert "belongs to cluster 'one', this is 'two'" in r.stdout, r.stdout
