# SPDX-License-Identifier: Apache-2.0
"""The Linux kernel's NVMe/TCP against ours, both ways.

The kernel runs in a VM (tests/vm/vm); our programs run here, on loopback.
"""
import hashlib
import json
import os

import pytest

from common import FAST
from peer import lent
from stores import endpoint, registered, ssd, store_and_get

MIB = 1 << 20
NQN = "nqn.2026-11.io.mooncake:vm"
RAM_BYTES, FILE_BYTES = 8 * MIB, 12 * MIB


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
one=$(nvme-wait $nqn 1); two=$(nvme-wait $nqn 2); ctrl=${one%n*}
part queues; cat /sys/class/nvme/${ctrl##*/}/queue_count
jobs=()
for dev in $one $two; do
	jobs+=(--name=small --filename=$dev --bs=4K --size=512K --rw=randwrite)
	jobs+=(--name=large --filename=$dev --bs=1M --size=4M --rw=write --offset=1M)
done
checked "${jobs[@]}"
for dev in $one $two; do ragged $dev 0; done
nvme flush $one; nvme flush $two
part one; digest $one $(blockdev --getsize64 $one)
part two; digest $two $(blockdev --getsize64 $two)
part leave; leave $nqn
"""


def check_work(guest, target, *options):
    """How many I/O queues it had."""
    guest.complaints()
    out = guest.script(WORK, str(target.ports[0]), NQN, *options)
    assert "disconnected 1 controller" in out["leave"]
    assert guest.complaints() == []
    # what the guest wrote is what the file holds, byte for byte
    assert out["two"].strip() == sha256(target.cluster.path("disk.img"),
                                        FILE_BYTES)
    # the guest read the RAM namespace back as well: fio compared it; nothing
    # of it may be empty
    assert out["one"].strip() != hashlib.sha256(bytes(RAM_BYTES)).hexdigest()
    return int(out["queues"].split()[0]) - 1


@pytest.mark.smoke
def test_verified_io(guest, target):
    check_work(guest, target)


@pytest.mark.parametrize("options", [("-g",), ("-G",), ("-g", "-G")],
                         ids=" ".join)
def test_digests(guest, target, capture, options):
    if capture:
        capture.digests = ("-g" in options) + 2 * ("-G" in options)
    check_work(guest, target, *options)


def queues(write, poll):
    """Options; there can be as many of each as there are processors."""
    return f"--nr-write-queues={write}", f"--nr-poll-queues={poll}"


def test_queues_of_every_kind(guest, target):
    assert check_work(guest, target, *queues(1, 1)) == 3


def test_two_processors(guests, target):
    """Both submit at once, by two queues and by five."""
    for guest in lent(guests, "smp"):
        assert check_work(guest, target, "-g", "-G") == 2
        assert check_work(guest, target, *queues(2, 1)) == 5
    guests.forget("smp")


def test_kernel_6_1(guests, target, port):
    for guest in lent(guests, "old"):
        look = guest.script(LOOK, str(port), NQN)
        assert "disconnected 1 controller" in look["leave"]
        check_work(guest, target)


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
    assert os.stat(target.cluster.path("disk.img")).st_blocks * 512 < FILE_BYTES
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


# --- our initiator, the kernel's target ---

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
        ssd(cluster, "unregister", "--endpoint=" + endpoint(
            nvmet.info["trsvcid"], NQN + suffix))
    assert registered(cluster) == []
    assert nvmet.complaints() == []


@pytest.mark.parametrize("suffix", ["-512", "-4096"])
@pytest.mark.parametrize("digests", [("HEADER",), ("DATA",),
                                     ("HEADER", "DATA")], ids="+".join)
def test_store_with_digests(cluster, nvmet, monkeypatch, capture, suffix,
                            digests):
    for d in digests:
        monkeypatch.setenv(f"MC_NVME_{d}_DIGEST", "1")
    if capture:
        capture.digests = ("HEADER" in digests) + 2 * ("DATA" in digests)
    nvmet.complaints()
    cluster.master(*FAST)
    what = "--endpoint=" + endpoint(nvmet.info["trsvcid"], NQN + suffix)
    ssd(cluster, "register", what)
    assert len(registered(cluster)) == 1
    store_and_get(cluster, 2)
    ssd(cluster, "unregister", what)
    assert nvmet.complaints() == []


# Below 1024 the kernel's target refuses every Connect, the kernel's as well.
@pytest.mark.parametrize("inline", [1024, 8192, 65536])
def test_in_capsule_sizes(cluster, guests, nvmet, inline):
    """What fits goes with the command, the rest waits for R2T."""
    nqn, port = f"{NQN}-inl-{inline}", guests.theirs[2]
    nvmet.complaints()
    nvmet.add_subsystem(nqn, f"--inline={inline}", port=port)
    cluster.master(*FAST)
    what = "--endpoint=" + endpoint(port, nqn)
    ssd(cluster, "register", what)
    store_and_get(cluster, 3)
    ssd(cluster, "unregister", what)
    nvmet.remove_subsystem(nqn)
    assert nvmet.complaints() == []


def test_store_on_kernel_6_1(cluster, guests):
    for g in lent(guests, "old"):
        cluster.master(*FAST)
        ssd(cluster, "register", f"--discover=127.0.0.1:{g.info['trsvcid']}")
        assert len(registered(cluster)) == 1
        store_and_get(cluster, 4)
        assert g.complaints() == []


def test_capture(no_capture):
    """Every other test looks at its own; here is why, if none does."""
    if no_capture:
        pytest.skip(no_capture)
