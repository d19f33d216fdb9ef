# SPDX-License-Identifier: Apache-2.0
"""The Linux kernel's NVMe/TCP against ours, both ways.

The kernel runs in a VM (tests/vm/vm); our programs run here, on loopback.
"""
import hashlib
import json
import os
import random
import signal
import time

import pytest

from cluster import Cluster, free_port
from conftest import BUILD, FAST, new_store
from peer import Capture, Guest

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
	join $port $nqn
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


COMMANDS = r"""
port=$1 nqn=$2
join $port $nqn
one=$(nvme-wait $nqn 1); two=$(nvme-wait $nqn 2); ctrl=${one%n*}
head -c 65536 /dev/urandom >/tmp/blocks; head -c 65536 /dev/zero >/tmp/zeros
for dev in $one $two; do
	part compare-$dev
	nvme write $dev -s 16 -c 15 -z 65536 -d /tmp/blocks >/dev/null
	nvme compare $dev -s 16 -c 15 -z 65536 -d /tmp/blocks
	nvme compare $dev -s 16 -c 15 -z 65536 -d /tmp/zeros 2>&1 || true
	part zeroes-$dev
	nvme write-zeroes $dev -s 16 -c 7
	cmp -n 32768 /tmp/zeros <(dd if=$dev bs=4096 skip=16 iflag=direct status=none) && echo same
	part discard-$dev
	blkdiscard $dev
	cmp -n 65536 /tmp/zeros <(dd if=$dev bs=4096 skip=16 iflag=direct status=none) && echo same
	nvme dsm $dev --ad -s 0,32 -b 8,8
	blkdiscard -z -o 0 -l 1048576 $dev
	nvme verify $dev -s 0 -c 7
done
part errors; nvme read $two -s 99999999 -c 0 -z 4096 >/dev/null 2>&1 || true
nvme error-log $ctrl -e 4 -o json
part smart; nvme smart-log $ctrl -o json
part id; nvme id-ctrl $ctrl -o json
part ns; nvme id-ns $two -o json
part feature; nvme set-feature $ctrl -f 4 --value=0x140; nvme get-feature $ctrl -f 4
nvme get-feature $ctrl -f 1 -s 1; nvme get-feature $ctrl -f 7 -s 3
part logs; nvme supported-log-pages $ctrl >/dev/null && echo ok
part register; nvme resv-register $one -n 1 --nrkey=0xabc --rrega=0
part acquire; nvme resv-acquire $one -n 1 --crkey=0xabc --rtype=1 --racqa=0
part report; nvme resv-report $one -n 1 -e -o json
part held; nvme write $one -s 0 -c 0 -z 4096 -d /tmp/blocks >/dev/null && echo ok
part release; nvme resv-release $one -n 1 --crkey=0xabc --rtype=1 --rrela=0
nvme resv-register $one -n 1 --crkey=0xabc --rrega=1
nvme resv-report $one -n 1 -e -o json
part leave; leave $nqn
"""


def test_commands(guest, target, port):
    """What nvme-cli and the kernel's block layer can ask for."""
    guest.complaints()
    out = guest.script(COMMANDS, str(port), NQN)
    for n in (1, 2):
        name = [k for k in out if k.startswith("zeroes-")][n - 1][7:]
        assert "ompare" in out[f"compare-{name}"]  # the second one failed
        assert out[f"zeroes-{name}"].endswith("same\n")
        assert "same" in out[f"discard-{name}"]
    # the discarded file has holes
    assert os.stat(target.path("disk.img")).st_blocks * 512 < FILE_BYTES
    errors = json.loads(out["errors"])["errors"]
    assert any(e["lba"] == 99999999 and e["nsid"] == 2 for e in errors)
    assert int(json.loads(out["smart"])["num_err_log_entries"]) > 0
    assert json.loads(out["id"])["oncs"] & 0xbd == 0xbd
    ns = json.loads(out["ns"])
    assert ns["dlfeat"] & 7 == 1 and ns["nsfeat"] & 1 and ns["rescap"] == 0xfe
    assert "0x00000140" in out["feature"]
    assert out["logs"] == "ok\n"
    held = json.loads(out["report"])
    assert held["rtype"] == 1 and held["regctl"] == 1
    assert out["held"].endswith("ok\n")
    assert '"regctl":0' in out["release"].replace(" ", "")
    assert "disconnected 1 controller" in out["leave"]


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


@pytest.fixture
def capture(tmp_path):
    """Makes one for a port."""
    why = Capture.why_not()
    if why:
        pytest.skip(why)
    return lambda port: Capture(str(tmp_path / "x.pcapng"), port)


def check_capture(cap, digests):
    """Nothing malformed, every digest right, digests agreed on as asked."""
    if cap.dropped:
        pytest.skip(f"{cap.dropped} packets were not captured")
    assert len(cap.fields("nvme-tcp", "frame.number")) > 50
    assert cap.fields("_ws.malformed or (nvme-tcp and "
                      '_ws.expert.severity == "Error")', "frame.number",
                      "_ws.expert.message") == []
    bad, good = 0, 1
    for which in ("hdgst", "ddgst"):
        field = f"nvme-tcp.{which}.status"
        assert cap.fields(f"{field} == {bad}", "frame.number") == []
        assert cap.fields(f"{field} == {good}", "frame.number")
    agreed = cap.fields("nvme-tcp.icresp.digest", "nvme-tcp.icresp.digest")
    assert set(agreed) == digests


def test_capture_of_our_target(guest, target, port, capture):
    # Wireshark 4.0 reads two bytes too many behind an error log entry
    look = "\n".join(line for line in LOOK.split("\n")
                     if "error-log" not in line)
    with capture(port) as cap:
        guest.script(look, str(port), NQN)
        guest.script(CAPTURED, str(port), NQN)
    check_capture(cap, {"0", "3"})


CAPTURED = r"""
join $1 $2 -g -G
dev=$(nvme-wait $2 2)
verify $dev 4K 64K randwrite
verify $dev 256K 1M write
leave $2
"""


# --- our initiator, the kernel's target ---

SIZES = (1, 511, 512, 4095, 4097, 65_535, 131_073, MIB + 1, 2_222_222)


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


def registered(cluster):
    return [line for line in cluster.admin("/get_all_segments").split("\n")
            if "subnqn:" in line]


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """An emulated processor on a busy machine may need long for anything."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "60000")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "30000000")


def patiently(call, is_done):
    """Repeats what missed its deadline; to give up early is no excuse."""
    for _ in range(10):
        begin = time.monotonic()
        result = call()
        if is_done(result):
            return
        assert time.monotonic() - begin > 1.9, \
            f"failed long before its deadline: {str(result)[:200]}"
    pytest.fail("missed its deadline ten times")


def store_and_get(cluster, seed):
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = values(seed)
    keys = list(data)

    def is_right(got):
        for key, value in zip(keys, got):
            assert value in (b"", data[key]), f"wrong bytes for {key}"
        return b"" not in got

    for key, value in data.items():
        patiently(lambda: store.put(key, value), lambda ret: ret == 0)
    patiently(lambda: [store.get(key) for key in keys], is_right)
    patiently(lambda: store.get_batch(keys), is_right)
    for key in keys:
        assert store.remove(key, True) == 0
    store.close()


@pytest.mark.smoke
def test_store_on_kernel_target(cluster, nvmet):
    """Discovery names both subsystems; objects of odd sizes come back."""
    nvmet.complaints()
    cluster.master(*FAST)
    at = f"--discover=127.0.0.1:{nvmet.info['trsvcid']}"
    ssd(cluster, "register", at)
    assert len(registered(cluster)) == 2
    store_and_get(cluster, 1)
    for suffix in ("-512", "-4096"):
        ssd(cluster, "unregister",
            "--endpoint=" + endpoint(nvmet, NQN + suffix, 1))
    assert registered(cluster) == []
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
    assert len(registered(cluster)) == 1
    store_and_get(cluster, 2)
    ssd(cluster, "unregister", what)
    assert nvmet.complaints() == []


def test_capture_of_our_initiator(cluster, nvmet, monkeypatch, capture):
    monkeypatch.setenv("MC_NVME_HEADER_DIGEST", "1")
    monkeypatch.setenv("MC_NVME_DATA_DIGEST", "1")
    cluster.master(*FAST)
    what = "--endpoint=" + endpoint(nvmet, NQN + "-512", 1)
    with capture(nvmet.info["trsvcid"]) as cap:
        ssd(cluster, "register", what)
        store_and_get(cluster, 5)
        ssd(cluster, "unregister", what)
    check_capture(cap, {"3"})


# Below 1024 the kernel's target refuses every Connect, the kernel's as well.
@pytest.mark.parametrize("inline", [1024, 8192, 65536])
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
        assert len(registered(cluster)) == 2
        store_and_get(cluster, 4)
        assert g.complaints() == []
