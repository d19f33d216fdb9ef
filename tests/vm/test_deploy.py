# SPDX-License-Identifier: Apache-2.0
"""A node whose kernel serves disks: deployed, used, booted, and put back."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from cluster import free_port
from common import FAST, new_store
from peer import BROKEN, Failed, Guest
from stores import endpoint, patiently, ssd, values

HERE = os.path.dirname(os.path.abspath(__file__))
NQN = "nqn.2026-11.io.mooncake:node"
HOST = "nqn.2026-11.io.mooncake:host"
# The two keys of the node's text that differ from a node in a rack.
AT = "addr:127.0.0.1 port:"

# Disks as a node has them, and what must not be taken.  Images come from the
# folder $1 of the host.
DISKS = r"""
modprobe -a null_blk loop ext4 dm_mod
for i in 0 1 2 3 4 5 6; do
	b=/sys/kernel/config/nullb/pool$i
	mkdir $b
	echo 64 >$b/size; echo 1 >$b/memory_backed; echo 1 >$b/power
	[ -b /dev/pool$i ] || ln -s /dev/nullb$(cat $b/index) /dev/pool$i
done
loop() { # NAME IMAGE: /dev/NAME is a disk that holds that
	cp "$2" /tmp/$1.img
	ln -sf "$(losetup -f --show -P /tmp/$1.img)" /dev/$1
}
for d in mounted forced parted member held; do loop $d $1/$d; done
mkdir -p /mnt/m /mnt/f
mount /dev/mounted /mnt/m
mount /dev/forced /mnt/f
dmsetup create over --table "0 8192 linear $(readlink -f /dev/member) 0"
setsid sleep 7000 <>/dev/held >/dev/null 2>&1 &
"""
# What systemctl does with a unit that is enabled, and nothing more.
SYSTEMCTL = r"""
mkdir -p /run/systemd/system /etc/systemd/system
cat >/usr/local/bin/systemctl <<'END'
#!/bin/sh
echo "$*" >>/run/systemctl.calls
[ ! -e /run/systemctl.fails ] || { echo "Unit is masked." >&2; exit 1; }
d=/etc/systemd/system w=/etc/systemd/system/multi-user.target.wants
for u; do :; done
case $1 in
enable) grep -qx WantedBy=multi-user.target $d/$u || exit 1
	mkdir -p $w; ln -sf $d/$u $w/$u ;;
disable) rm -f $w/$u ;;
esac
END
chmod 755 /usr/local/bin/systemctl
"""
# A kernel that knows nothing of it any more, as after a reboot.
FORGET = r"""
shopt -s nullglob
cd /sys/kernel/config/nvmet
rm -f ports/*/subsystems/* subsystems/*/allowed_hosts/*
for n in subsystems/*/namespaces/*; do echo 0 >$n/enable; rmdir $n; done
for d in ports/* subsystems/* hosts/*; do rmdir $d; done
cd /
for i in 1 2 3 4 5 6 7 8 9 10; do
	rmmod nvmet_tcp nvmet 2>/dev/null && break; sleep 0.3
done
part left; ls /sys/kernel/config/nvmet 2>/dev/null || true
"""
BOOT = r"""
for u in /etc/systemd/system/multi-user.target.wants/*.service; do
	eval "$(sed -n 's/^ExecStart=//p' $u)"
done
"""
# Everything that says what is exported, and what lies where deployment writes.
STATE = r"""
shopt -s nullglob
cd /sys/kernel/config/nvmet 2>/dev/null || exit 0
for f in ports/*/addr_tr* ports/*/subsystems/* subsystems/*/attr_serial \
	subsystems/*/attr_allow_any_host subsystems/*/allowed_hosts/* \
	hosts/* hosts/*/dhchap_* subsystems/*/namespaces/*/{enable,device_path,device_uuid}
do
	[ ! -f $f ] || echo "$f $(cat $f)"
	[ -f $f ] || echo $f
done
for f in /etc/mooncake/* /etc/mooncake/*/* /etc/systemd/system/*.service; do
	[ -d $f ] || echo "$f $(stat -c %a $f) $(md5sum <$f)"
done
ls /etc/systemd/system/multi-user.target.wants 2>/dev/null || true
"""


def run(*argv, **more):
    subprocess.run(argv, check=True, capture_output=True, **more)


def images(folder):
    """One file for each disk that is in use."""
    for name in ("mounted", "forced", "parted", "member", "held"):
        run("truncate", "-s", "8M", folder / name)
    for name in ("mounted", "forced"):
        run("mke2fs", "-q", "-F", "-t", "ext4", folder / name)
    run("sfdisk", "-q", folder / "parted", input=b"label: gpt\nsize=2M\n")
    return folder


class Node:
    def __init__(self, folder, suite="trixie"):
        self.ports = [free_port(), free_port()]
        self.guest = Guest(
            f"test-{suite}-node-{os.getpid()}", "--reach-host", f"--share={folder}",
            *(f"--forward={p}:127.0.0.1:{p}" for p in self.ports), suite=suite)
        try:
            self.guest.script(DISKS + SYSTEMCTL, str(folder))
        except Failed:
            self.guest.stop()
            raise
        self.env = {"SSH_AUTH_SOCK": "", "MOONCAKE_SSH_COMMAND":
                    f"{sys.executable} {HERE}/guest_ssh.py {self.guest.name}"}

    def text(self, *disks, more=""):
        return (f"ip:ssd1 backend:nvmet {AT}{self.ports[0]} nqn:{NQN} "
                f"disk:{','.join('/dev/' + d for d in disks)} {more}")

    def create(self, cluster, text, *args):
        return cluster.run("spdk_tgt_create", "--connect_timeout=60s",
                           f"--node={text}", *args, env=self.env, timeout=300)

    def made(self, cluster, text, *args):
        r = self.create(cluster, text, *args)
        assert r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    def state(self):
        return self.guest.script(STATE)[""]

    def reboot(self):
        out = self.guest.script(FORGET)
        assert out["left"] == ""
        self.guest.script(BOOT)


def served(folder, suite):
    if not all(map(shutil.which, ("mke2fs", "sfdisk"))):
        pytest.skip("no mke2fs, sfdisk here (packages e2fsprogs, fdisk)")
    n = Node(images(folder), suite)
    n.guest.log()
    yield n
    try:
        n.guest.log()
        assert [x for x in n.guest.kept if BROKEN.search(x)] == []
    finally:
        n.guest.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    yield from served(tmp_path_factory.mktemp("disks"), "trixie")


@pytest.fixture
def old_node(tmp_path):
    """Its kernel was built without CONFIG_NVME_TARGET_AUTH."""
    yield from served(tmp_path, "bookworm")


def put_all(cluster):
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = values(7)
    for key, value in data.items():
        patiently(lambda: store.put(key, value), lambda ret: ret == 0)
    return store, data


def check_all(store, data):
    for key, value in data.items():
        patiently(lambda: store.get(key), lambda got: got == value)


def test_deployed_used_and_booted(cluster, node):
    """Plan, two disks, nothing to do, one more; objects outlive a boot."""
    text = node.text("pool0", "pool1")
    before = node.state()
    out = node.made(cluster, text, "--dry-run", "--verbose")
    assert "export 2 disks" in out and "subsystems/" in out
    assert node.state() == before

    assert "Successfully deployed: 1" in node.made(cluster, text)
    state = node.state()
    assert "device_path /dev/pool0" in state
    assert "device_path /dev/pool1" in state
    assert state.count("/enable 1") == 2
    assert "(0 steps)" in node.made(cluster, text)
    assert node.state() == state

    # Over the wire: two namespaces, registered over SSH, with bytes in them.
    cluster.master(*FAST)
    ssd(cluster, "register", f"--spdk_target_info=ip:127.0.0.1 "
        "backend:nvmet", env=node.env)
    store, data = put_all(cluster)
    check_all(store, data)

    # One more, by a call that does not name the others.
    out = node.made(cluster, node.text("pool2"), "--json")
    assert json.loads(out)["failed"] == 0
    assert "(0 steps)" in node.made(cluster, text)
    more = node.state()
    # What was there is as it was; the third has an identity of its own.
    kept = [x for x in state.split("\n") if "namespaces/" in x]
    assert set(kept) < set(more.split("\n"))
    assert "namespaces/3/device_path /dev/pool2" in more
    check_all(store, data)

    # A boot brings back all of them.
    node.reboot()
    assert node.state() == more
    check_all(store, data)
    store.close()


def test_removed(cluster, node):
    """One disk, then all: not before it is out of the pool, and not what
    others have on the same port.  Its disks are its own."""
    before = node.state()
    other = NQN + "-stays"
    node.made(cluster, node.text("pool6").replace(NQN, other))
    stays = node.state()
    nqn = NQN + "-goes"

    def text(*disks):
        return node.text(*disks).replace(NQN, nqn)

    node.made(cluster, text("pool4", "pool5"))
    made = node.state()
    cluster.master(*FAST)
    away = ("--remove", f"--master={cluster.master_addr}")
    pool = f"--spdk_target_info=ip:127.0.0.1 backend:nvmet nqn:{nqn}"
    ssd(cluster, "register", pool, env=node.env)
    r = node.create(cluster, text("pool4"), *away)
    assert r.returncode == 1 and "is registered with" in r.stdout, r.stdout
    assert node.state() == made

    ssd(cluster, "unregister", pool, env=node.env)
    cluster.wait_until("nobody is connected", lambda: node.create(
        cluster, text("pool4"), *away).returncode == 0, timeout=120)
    state = node.state()
    assert f"{nqn}/namespaces/2/enable 1" in state
    assert f"{nqn}/namespaces/1/" not in state
    node.reboot()
    assert node.state() == state

    whole = node.text("x").replace(NQN, nqn).replace("disk:/dev/x", "")
    assert "no more" in node.made(cluster, whole, *away, "--dry-run")
    assert node.state() == state
    node.made(cluster, whole, *away)
    assert node.state() == stays
    assert "(0 steps)" in node.made(cluster, whole, *away)
    node.made(cluster, whole.replace(nqn, other), *away)
    assert node.state() == before


REFUSED = [
    ("mounted", "mounted on /mnt/m"),
    ("parted", "partitioned"),
    ("member", "a member of dm-"),
    ("held", "open for writing in sleep (process "),
    ("forced", "mounted on /mnt/f"),
    ("pool0", "exported by the Linux kernel target"),
]


def test_refused(cluster, node):
    """Each with its reason, also when --force is given; nothing is changed."""
    node.made(cluster, node.text("pool0"))
    before = node.state()
    for disk, why in REFUSED:
        text = node.text(disk).replace(NQN, NQN + "-other")
        r = node.create(cluster, text, *["--force"] * (disk == "forced"))
        assert r.returncode == 1, disk
        assert f"/dev/{disk} is not free: " in r.stdout, r.stdout
        assert why in r.stdout, r.stdout
    assert node.state() == before


def test_failure_is_taken_back(cluster, node):
    """In the kernel, or behind it: both leave what was there before."""
    node.made(cluster, node.text("pool0"))
    before = node.state()
    # Its other address does not exist: nvmet can't listen on it.
    r = node.create(cluster, node.text(
        "pool0", "pool3", more=f"addr:192.0.2.77 allow:{HOST}"))
    assert r.returncode == 1, r.stdout
    assert "export 2 disks" in r.stdout, r.stdout
    assert "all taken back" in r.stdout, r.stdout
    assert node.state() == before

    node.guest.script("touch /run/systemctl.fails")
    r = node.create(cluster, node.text("pool0", "pool3"))
    node.guest.script("rm /run/systemctl.fails")
    assert r.returncode == 1 and "Unit is masked" in r.stdout, r.stdout
    assert "all taken back" in r.stdout, r.stdout
    assert node.state() == before


def key_file(cluster, name, *flags):
    path = cluster.path(name + ".key")
    r = cluster.run("mooncakectl", "gen-dhchap-key", f"--output={path}", *flags)
    assert r.returncode == 0, r.stderr
    with open(path, encoding="ascii") as f:
        return path, f.read().strip()


def gets_in(cluster, node, nqn, key, ctrl):
    """Does a host with these keys?  A deadline that is missed is no answer."""
    env = {"MC_NVME_HOSTNQN": HOST, "MC_NVME_DHCHAP_KEY_FILE": key,
           "MC_NVME_DHCHAP_CTRL_KEY_FILE": ctrl, "MC_NOF_WORKERS": "1",
           "MC_NVME_FABRICS_CONNECT_TIMEOUT_US": "120000000"}
    for _ in range(5):
        r = cluster.run(
            "nof_worker_pool_bench",
            "--endpoints=" + endpoint(node.ports[1], nqn), "--op=write",
            "--verify", "--yes_overwrite", "--bs=64k", "--size=1m",
            "--iodepth=1", "--duration_sec=0.2", "--warmup_sec=0", env=env,
            timeout=180)
        if r.returncode == 0 or "no answer in time" not in r.stderr:
            assert r.returncode == 0 or re.search(
                "authenti|did not prove", r.stderr), r.stderr
            return r.returncode == 0
    raise Failed("no answer, five times")


def test_keys(cluster, node):
    """A host of the allow-list proves itself, and so does the kernel; another
    key later, taken back once; the same after a boot."""
    nqn = NQN + "-keys"
    (key, text), (ctrl, ctrl_text), (new, new_text) = (
        key_file(cluster, "host"), key_file(cluster, "ctrl", "--hash=none"),
        key_file(cluster, "new"))
    want = (f"ip:ssd1 backend:nvmet {AT}{node.ports[1]} nqn:{nqn} "
            f"disk:/dev/pool3 allow:{HOST} ctrl_key:{ctrl} key:")
    before = node.state()
    said = node.made(cluster, want + key, "--dry-run", "--verbose")
    node.guest.script("touch /run/systemctl.fails")
    r = node.create(cluster, want + key)
    node.guest.script("rm /run/systemctl.fails")
    assert r.returncode == 1 and "all taken back" in r.stdout, r.stdout
    assert node.state() == before

    said += r.stdout + node.made(cluster, want + key)
    state = node.state()
    assert f"hosts/{HOST}/dhchap_key {text}\n" in state
    assert f"hosts/{HOST}/dhchap_ctrl_key {ctrl_text}\n" in state
    assert gets_in(cluster, node, nqn, key, ctrl)
    assert not gets_in(cluster, node, nqn, new, ctrl)
    assert not gets_in(cluster, node, nqn, key, new)
    modes = node.guest.script(
        "stat -c '%a %F' /etc/mooncake/keys /etc/mooncake/keys/* "
        "/sys/kernel/config/nvmet/hosts/*/dhchap_*key")[""]
    assert set(modes.split("\n")) == {"700 directory", "600 regular file", ""}

    # Another key.
    node.guest.script("touch /run/systemctl.fails")
    r = node.create(cluster, want + new)
    node.guest.script("rm /run/systemctl.fails")
    assert r.returncode == 1 and "all taken back" in r.stdout, r.stdout
    assert node.state() == state
    said += r.stdout + node.made(cluster, want + new)
    assert f"hosts/{HOST}/dhchap_key {new_text}\n" in node.state()
    assert gets_in(cluster, node, nqn, new, ctrl)

    state = node.state()
    node.reboot()
    assert node.state() == state
    assert "(0 steps)" in node.made(cluster, want + new)
    assert not gets_in(cluster, node, nqn, key, ctrl)
    scripts = node.guest.script("cat /etc/mooncake/*.sh")[""]
    for secret in (text, ctrl_text, new_text):
        assert secret[10:30] not in said + scripts


def test_old_kernel(cluster, old_node):
    """Serves disks as any, but can't have keys: then nobody is let in."""
    node = old_node
    text = node.text("pool0", more=f"allow:{HOST}")
    key, _ = key_file(cluster, "host")
    before = node.state()
    r = node.create(cluster, f"{text} key:{key}")
    assert r.returncode == 1, r.stdout
    assert "knows no DH-HMAC-CHAP; all taken back" in r.stdout, r.stdout
    assert node.state() == before

    node.made(cluster, text)
    state = node.state()
    assert f"allowed_hosts/{HOST}\n" in state
    assert "attr_allow_any_host 0\n" in state
    node.reboot()
    assert node.state() == state
    assert "(0 steps)" in node.made(cluster, text)
