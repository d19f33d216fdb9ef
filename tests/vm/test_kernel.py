# SPDX-License-Identifier: Apache-2.0
"""The Linux kernel's NVMe/TCP against ours, both ways.

The kernel runs in a VM (tests/vm/vm); our programs run here, on loopback.
"""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from cluster import Cluster, free_port
from conftest import BUILD, FAST, new_store
from peer import Guest

MIB = 1 << 20
NQN = "nqn.2026-11.io.mooncake:vm"
RAM_BYTES, FILE_BYTES = 8 * MIB, 12 * MIB  # small: the guest is slow
DISKS = ("ram:8m", "disk.img:12m")


def name_of(kind):
    return f"test-{kind}-{os.getpid()}"


@pytest.fixture(scope="module")
def port():
    """Our target's: the VM must know it when it starts."""
    return free_port()


@pytest.fixture(scope="module")
def guest(port):
    with Guest(name_of("host"), "--map-host", str(port)) as g:
        yield g


@pytest.fixture
def target(cluster, port):
    """Namespace 1 is memory, 2 is a file."""
    cluster.target_ports["vm"] = port
    cluster.target("vm", *DISKS, nqn=NQN)
    return cluster


def sha256(path, size):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read(size)).hexdigest()


# --- the kernel's initiator, our target ---

LOOK = r"""
port=$1 nqn=$2
modprobe nvme-tcp
part discover; nvme discover -t tcp -a 127.0.0.1 -s $port -o json
part connect; join $port $nqn
one=$(nvme-wait $nqn 1); two=$(nvme-wait $nqn 2); ctrl=${one%n*}
part ctrl; nvme id-ctrl $ctrl -o json
part list; nvme list-ns $ctrl -o json
part ns1; nvme id-ns $one -o json
part ns2; nvme id-ns $two -o json
part descs; nvme ns-descs $two -o json
part smart; nvme smart-log $ctrl -o json
part errors; nvme error-log $ctrl -o json
part effects; nvme effects-log $ctrl >/dev/null && echo ok
part firmware; nvme fw-log $ctrl >/dev/null && echo ok
part keepalive; nvme get-feature $ctrl -f 0x0f
part size; blockdev --getsize64 $one $two
part flush; nvme flush $one; nvme flush $two
part leave; leave $nqn
part gone; ls /sys/class/nvme-subsystem/*/nvme* -d 2>/dev/null || echo none
"""


@pytest.mark.smoke
def test_discover_connect_identify(guest, target, port):
    guest.complaints()
    out = guest.script(LOOK, str(port), NQN)
    log = json.loads(out["discover"])["records"]
    assert [(r["subnqn"], r["traddr"], r["trsvcid"]) for r in log
            if r["subtype"] == "nvme subsystem"] == [
                (NQN, "127.0.0.1", str(port))]
    ctrl = json.loads(out["ctrl"])
    assert ctrl["subnqn"] == NQN and ctrl["mn"].strip()
    assert ctrl["mdts"] == 0 or ctrl["mdts"] >= 8  # at least 1 MiB
    assert ctrl["ioccsz"] * 16 >= 64 + 16384 or ctrl["ioccsz"] >= 4 + 1024
    assert [n["nsid"] for n in json.loads(out["list"])["nsid_list"]] == [1, 2]
    sizes = []
    for part in ("ns1", "ns2"):
        ns = json.loads(out[part])
        lba = 1 << ns["lbafs"][ns["flbas"] & 15]["ds"]
        sizes.append(ns["nsze"] * lba)
        assert int(ns["nguid"], 16) != 0
    assert sizes == [RAM_BYTES, FILE_BYTES]
    assert [int(s) for s in out["size"].split()] == sizes
    assert "uuid" in out["descs"]
    assert json.loads(out["smart"])["critical_warning"] in (0, {"value": 0})
    assert json.loads(out["errors"])
    assert out["effects"] == out["firmware"] == "ok\n"
    assert "disconnected 1 controller" in out["leave"]
    assert out["gone"] == "none\n"
    assert guest.complaints() == []


WORK = r"""
port=$1 nqn=$2; shift 2
join $port $nqn "$@"
one=$(nvme-wait $nqn 1); two=$(nvme-wait $nqn 2)
for dev in $one $two; do
	verify $dev 4K 512K randwrite
	verify $dev 1M 4M write
	ragged $dev 0
done
nvme flush $one; nvme flush $two
part one; digest $one $(blockdev --getsize64 $one)
part two; digest $two $(blockdev --getsize64 $two)
part leave; leave $nqn
"""


def check_work(guest, target, port, *options):
    guest.complaints()
    out = guest.script(WORK, str(port), NQN, *options)
    assert "disconnected 1 controller" in out["leave"]
    assert guest.complaints() == []
    # what the guest wrote is what the file holds, byte for byte
    assert out["two"].strip() == sha256(target.path("disk.img"), FILE_BYTES)
    # the guest read the RAM namespace back as well: fio compared it; nothing
    # of it may be empty
    assert out["one"].strip() != hashlib.sha256(bytes(RAM_BYTES)).hexdigest()


@pytest.mark.smoke
def test_verified_io(guest, target, port):
    check_work(guest, target, port)


@pytest.mark.parametrize("options", [("-g",), ("-G",), ("-g", "-G")],
                         ids=" ".join)
def test_digests(guest, target, port, options):
    check_work(guest, target, port, *options)


KILL = r"""
port=$1 nqn=$2 phase=$3
case $phase in
before)
	# -c: seconds between attempts, -l: seconds until it gives up
	join $port $nqn -c 1 -l 60
	dev=$(nvme-wait $nqn 2)
	verify $dev 64K 4M write
	part sum; digest $dev 4194304
	;;
after)
	dev=$(nvme-wait $nqn 2)
	for ((i = 0; i < 300; i++)); do
		grep -qx live /sys/class/nvme-subsystem/*/nvme*/state && break
		sleep 0.1
	done
	part sum; digest $dev 4194304
	verify $dev 4K 1M randwrite
	part sum2; digest $dev 4194304
	part leave; leave $nqn
	;;
esac
"""


def test_target_killed_and_started_again(guest, target, port):
    before = guest.script(KILL, str(port), NQN, "before")
    target.children["vm"].kill(signal.SIGKILL)
    target.children["vm"].proc.wait()
    time.sleep(2)  # the kernel notices, and tries in vain at least once
    target.target("vm", "ram:8m", "disk.img", nqn=NQN)
    after = guest.script(KILL, str(port), NQN, "after")
    assert after["sum"] == before["sum"]
    assert after["sum2"].strip() == sha256(target.path("disk.img"), 4 * MIB)
    guest.complaints()


RESET = r"""
port=$1 nqn=$2
join $port $nqn
dev=$(nvme-wait $nqn 2); ctrl=${dev%n*}
verify $dev 16K 12M randwrite & io=$!
for i in 1 2 3; do
	sleep 0.7
	nvme reset $ctrl
done
wait $io
part sum; digest $dev 12582912
part leave; leave $nqn
"""


def test_reset_under_load(guest, target, port):
    """nvme reset drops the queues; the kernel repeats what was under way."""
    out = guest.script(RESET, str(port), NQN)
    assert out["sum"].strip() == sha256(target.path("disk.img"), FILE_BYTES)
    bad = [c for c in guest.complaints() if "resetting controller" not in c]
    assert bad == []


def run_in_other_guest(cluster, *options, suite="trixie"):
    """The whole of LOOK's and WORK's subjects with another kind of guest."""
    p = free_port()
    cluster.target_ports["vm"] = p
    cluster.target("vm", *DISKS, nqn=NQN)
    with Guest(name_of("other"), "--map-host", str(p), *options,
               suite=suite) as g:
        look = g.script(LOOK, str(p), NQN)
        assert "disconnected 1 controller" in look["leave"]
        check_work(g, cluster, p)
        return g.script(QUEUES, str(p), NQN)


QUEUES = r"""
join $1 $2
dev=$(nvme-wait $2 2); ctrl=${dev%n*}
part queues; cat /sys/class/nvme/${ctrl##*/}/queue_count
part leave; leave $2
"""


def test_two_queues(cluster):
    out = run_in_other_guest(cluster, "--smp", "2")
    assert int(out["queues"]) == 3  # the admin queue and one per processor


def test_kernel_6_1(cluster):
    run_in_other_guest(cluster, suite="bookworm")


def can_capture():
    if not shutil.which("tshark") or not shutil.which("dumpcap"):
        return "tshark is not installed"
    r = subprocess.run(["dumpcap", "-i", "lo", "-a", "duration:0", "-w",
                        "/dev/null"], capture_output=True, text=True,
                       timeout=30, check=False)
    return "no right to capture on lo" if r.returncode else None


def test_capture_is_well_formed(guest, target, port, tmp_path):
    why = can_capture()
    if why:
        pytest.skip(why)
    pcap = str(tmp_path / "x.pcapng")
    cap = subprocess.Popen(["dumpcap", "-q", "-i", "lo", "-f",
                            f"tcp port {port}", "-w", pcap],
                           stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        guest.script(LOOK, str(port), NQN)
        guest.script(CAPTURED, str(port), NQN)
        time.sleep(1)
    finally:
        cap.send_signal(signal.SIGINT)
        cap.wait(20)
    show = ["tshark", "-r", pcap, "-d", f"tcp.port=={port},nvme-tcp",
            "-T", "fields", "-e", "frame.number", "-e", "_ws.expert.message",
            "-Y"]
    pdus = subprocess.run(show + ["nvme-tcp"], capture_output=True, text=True,
                          timeout=120, check=False).stdout.split("\n")
    assert len(pdus) > 100
    bad = subprocess.run(show + [
        '_ws.malformed or (nvme-tcp and _ws.expert.severity == "Error")'],
        capture_output=True, text=True, timeout=120, check=False)
    assert bad.stdout == "", bad.stdout[:2000]


CAPTURED = r"""
join $1 $2 -g -G
dev=$(nvme-wait $2 2)
verify $dev 4K 64K randwrite
verify $dev 256K 1M write
leave $2
"""


# --- our initiator, the kernel's target ---

SIZES = (1, 511, 512, 4095, 4097, 65_535, 131_073, MIB + 1, 3_333_333)


def values(seed):
    rng = random.Random(seed)
    return {f"vm-{n}": rng.randbytes(n) for n in SIZES}


def endpoint(nvmet, nqn, nsid):
    return (f"traddr:127.0.0.1 trsvcid:{nvmet.info['trsvcid']} "
            f"subnqn:{nqn} trtype:TCP adrfam:IPv4 ns:{nsid}")


@pytest.fixture(scope="module")
def nvmet():
    """The kernel's target: one subsystem of 512 B blocks, one of 4 KiB."""
    with Guest(name_of("target"), "--target", "tcp", "--backing", "nullmem",
               "--size", "96M", "--blksize", "512", "--ns", "1", "--nqn",
               NQN + "-512") as g:
        nvmet_add(g, "-4096", "--blksize", "4096")
        yield g


def nvmet_add(g, suffix, *options):
    g.command("nvmet-up", "--traddr", "127.0.0.1", "--trsvcid",
              g.info["trsvcid"], "--backing", "nullmem", "--size", "96M",
              "--ns", "1", "--nqn", NQN + suffix, *options)


def ssd(cluster, verb, *what):
    r = cluster.run("mooncake_ssd_" + verb,
                    f"--master_server_address={cluster.master_addr}",
                    "--timeout=60s", *what, timeout=200)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def store_and_get(cluster, seed, **setup):
    store = new_store(cluster, replica_num="0", nof_replica_num="1", **setup)
    data = values(seed)
    for key, value in data.items():
        assert store.put(key, value) == 0, key
    for key, value in data.items():
        assert store.get(key) == value, key
    assert store.get_batch(list(data)) == list(data.values())
    for key in data:
        assert store.remove(key, True) == 0
    store.close()


@pytest.mark.smoke
def test_store_on_kernel_target(cluster, nvmet):
    """Discovery names both subsystems; objects of odd sizes come back."""
    nvmet.complaints()
    cluster.master(*FAST)
    at = f"--discover=127.0.0.1:{nvmet.info['trsvcid']}"
    ssd(cluster, "register", at)
    rows = cluster.segments()["segments"]
    assert len(rows) == 2, rows
    store_and_get(cluster, 1)
    for suffix in ("-512", "-4096"):
        ssd(cluster, "unregister",
            "--endpoint=" + endpoint(nvmet, NQN + suffix, 1))
    assert not cluster.segments()["segments"]
    assert nvmet.complaints() == []


@pytest.mark.parametrize("suffix", ["-512", "-4096"])
@pytest.mark.parametrize("digests", [("HEADER",), ("DATA",),
                                     ("HEADER", "DATA")], ids="+".join)
def test_store_with_digests(cluster, nvmet, monkeypatch, suffix, digests):
    for d in digests:
        monkeypatch.setenv(f"MC_NVME_{d}_DIGEST", "1")
    nvmet.complaints()
    cluster.master(*FAST)
    what = "--endpoint=" + endpoint(nvmet, NQN + suffix, 1)
    ssd(cluster, "register", what)
    assert len(cluster.segments()["segments"]) == 1
    store_and_get(cluster, 2)
    ssd(cluster, "unregister", what)
    assert nvmet.complaints() == []


@pytest.mark.parametrize("inline", [0, 4096, 8192, 16384])
def test_in_capsule_sizes(cluster, inline):
    """What fits goes with the command, the rest waits for R2T."""
    with Guest(name_of("inline"), "--target", "tcp", "--backing", "nullmem",
               "--size", "96M", "--ns", "1", "--nqn", NQN + "-inl",
               "--inline", str(inline)) as g:
        cluster.master(*FAST)
        what = "--endpoint=" + endpoint(g, NQN + "-inl", 1)
        ssd(cluster, "register", what)
        store_and_get(cluster, 3)
        ssd(cluster, "unregister", what)
        assert g.complaints() == []


def test_store_on_kernel_6_1(cluster):
    with Guest(name_of("61"), "--target", "tcp", "--backing", "nullmem",
               "--size", "96M", "--ns", "2", "--nqn", NQN + "-61",
               suite="bookworm") as g:
        cluster.master(*FAST)
        ssd(cluster, "register", f"--discover=127.0.0.1:{g.info['trsvcid']}")
        assert len(cluster.segments()["segments"]) == 2
        store_and_get(cluster, 4)
        assert g.complaints() == []
