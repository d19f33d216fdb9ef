# SPDX-License-Identifier: Apache-2.0
"""The kernel's initiator while things happen to our target.

fio writes and compares all the while; unless a disk is taken from under it,
it must not notice.
"""
import contextlib
import hashlib
import json
import os
import signal

import pytest

from peer import HAMMERED, Served

MIB = 1 << 20
NQN = "nqn.2026-11.io.mooncake:vm"
ANA = NQN + "-ana"

# PORT NQN NSID OPTION...: until the host here says stop
HAMMER = r"""
port=$1 nqn=$2 nsid=$3; shift 3
join $port $nqn "$@"
dev=$(nvme-wait $nqn $nsid)
hammer $dev
part sum; hammered $dev
part state; cat /sys/class/nvme/nvme*/state
"""


@contextlib.contextmanager
def hammering(guest, target, options=()):
    """Yields a function that waits until more I/O has been served."""
    job = guest.start_script(HAMMER, str(target.ports[0]), NQN, "2",
                             *options)
    target.wait_for_io(job)
    yield lambda count=100: target.wait_for_io(job, count)
    guest.command("touch", "/tmp/stop")
    out = job.result()
    with open(target.cluster.path("disk.img"), "rb") as f:
        held = hashlib.sha256(f.read(HAMMERED)).hexdigest()
    assert out["sum"].strip() == held


def io_errors(guest):
    return [c for c in guest.log() if "I/O error" in c
            or "failing" in c or "Removing" in c]


def test_killed(any_guest, target):
    with hammering(any_guest, target) as go_on:
        for _ in range(3):
            target.kill()
            target.start()
            go_on()
    assert io_errors(any_guest) == []


def test_ended_and_started(guest, target):
    """SIGTERM: what is under way is answered, the rest is sent again."""
    with hammering(guest, target, options=("-g", "-G")) as go_on:
        for _ in range(3):
            assert target.kill(signal.SIGTERM) == 0
            target.start()
            go_on()
    assert io_errors(guest) == []


LOST = r"""
is_lost() { states; [ "$REPLY" = "connecting " ]; }
until_is 180 is_lost
"""


def test_stands_still(guest, target):
    """Longer than the kernel's keep-alive, shorter than its patience."""
    with hammering(guest, target, options=("-k", "2")) as go_on:
        for _ in range(2):
            target.child.kill(signal.SIGSTOP)
            try:
                guest.script(LOST)
            finally:
                target.child.kill(signal.SIGCONT)
            go_on()
    assert io_errors(guest) == []


LIMITS = r"""
live 1
part bytes; cat /sys/block/nvme*n2/queue/max_hw_sectors_kb
"""


def test_other_limits_after_a_restart(any_guest, target):
    """Shorter queues and smaller commands; then all that again.  (With queues
    for writes and for polling, fewer of them make both kernels panic.)"""
    seen = []
    with hammering(any_guest, target) as go_on:
        for flags in ((), ("--max_queue_depth=16", "--max_io_size=64k",
                           "--in_capsule_data_size=4k"),
                      ("--max_queue_depth=64", "--max_io_size=256k"), ()):
            target.kill()
            target.start(*flags)
            go_on()
            seen.append(int(any_guest.script(LIMITS)["bytes"].split()[0]))
    # Linux does not make the commands of a controller that it keeps larger
    # again (seen with 6.12)
    assert seen[:2] == [1024, 64] and seen[2] <= 256
    assert io_errors(any_guest) == []


RESETS = r"""
port=$1 nqn=$2
join $port $nqn
dev=$(nvme-wait $nqn 2); ctrl=${dev%n*}
hammer $dev & io=$!
for i in 1 2 3 4 5 6 7 8; do
	nvme reset $ctrl
	sleep 0.3
done
touch /tmp/stop
wait $io
part sum; hammered $dev
part leave; leave $nqn
"""


def test_resets(any_guest, target):
    """The kernel drops its queues again and again, and repeats what was
    under way."""
    out = any_guest.script(RESETS, str(target.ports[0]), NQN)
    with open(target.cluster.path("disk.img"), "rb") as f:
        assert out["sum"].strip() == hashlib.sha256(
            f.read(HAMMERED)).hexdigest()
    assert [c for c in any_guest.complaints()
            if "resetting controller" not in c] == []


# --- namespaces ---

# NSID BYTES: it is there with that size, or (0) is not
SEEN = r"""
seen() {
	local b id sectors size=0
	for b in /sys/class/nvme-subsystem/*/nvme*n*; do
		case ${b##*/} in *c*n*) continue ;; esac
		{ read -r id <$b/nsid && read -r sectors <$b/size; } 2>/dev/null || continue
		[ $id != $1 ] || size=$((sectors * 512))
	done
	[ $size = $2 ]
}
"""
SIZE = SEEN + r"""
until_is 180 seen $1 $2 || {
	echo "no namespace $1 with $2 bytes, but:"
	grep . /sys/class/nvme-subsystem/*/nvme*n*/{nsid,size}
	exit 1
}
"""
# it writes something of its own and reads it back
TRY = r"""
dev=$(nvme-wait $1 $2)
verify $dev 64K 256K write
part sum; digest $dev 262144
"""


def test_namespaces_come_and_go(any_guest, target, tmp_path):
    """Told by events; the other namespace is not disturbed."""
    def has(nsid, size):
        any_guest.script(SIZE, str(nsid), str(size))

    with hammering(any_guest, target) as go_on:
        assert target.ctl("add-ns", NQN, "ram:4m") == "namespace 3\n"
        has(3, 4 * MIB)
        any_guest.script(TRY, NQN, "3")
        target.ctl("rm-ns", NQN, "3")
        has(3, 0)
        go_on()
        # the same number for another disk
        path = str(tmp_path / "other.img")
        with open(path, "wb") as f:
            f.truncate(6 * MIB)
        target.ctl("add-ns", NQN, path)
        has(3, 6 * MIB)
        out = any_guest.script(TRY, NQN, "3")
        with open(path, "rb") as f:
            assert out["sum"].strip() == hashlib.sha256(
                f.read(262144)).hexdigest()
        # replaced between two looks: the kernel drops what it had, as the ids
        # differ, and finds the other one when it looks again
        target.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=3)
        target.rpc("bdev_malloc_create", name="M3", block_size=4096,
                   num_blocks=512)
        target.rpc("nvmf_subsystem_add_ns", nqn=NQN,
                   namespace={"bdev_name": "M3", "nsid": 3})
        any_guest.script(SEEN + """
seen_again() { nvme ns-rescan /dev/nvme0 && seen "$@"; }
until_is 180 seen_again 3 2097152
""")
        any_guest.script(TRY, NQN, "3")
        go_on()
    assert [e for e in io_errors(any_guest) if "nvme0n2" in e] == []


TORN = r"""
dev=$(nvme-wait $1 2)
if fio --name=r --filename=$dev --bs=16K --rw=randread --size=4M --direct=1 \
	--ioengine=libaio --iodepth=8 --time_based --runtime=120 >/tmp/torn 2>&1
then echo "fio was served without a disk"; exit 1; fi
grep -E 'err=( |[1-9])' /tmp/torn | head -1
"""


def test_namespace_taken_from_under_io(guest, target):
    """Errors, at once, and nothing hangs; another disk comes in its place."""
    port = str(target.ports[0])
    guest.script("join $1 $2; nvme-wait $2 2", port, NQN)
    job = guest.start_script(TORN, NQN)
    target.wait_for_io(job)
    target.ctl("rm-ns", NQN, "2")
    job.result()
    target.rpc("bdev_malloc_create", name="M2", block_size=4096,
               num_blocks=512)
    target.rpc("nvmf_subsystem_add_ns", nqn=NQN,
               namespace={"bdev_name": "M2", "nsid": 2})
    guest.script(SIZE, "2", str(2 * MIB))
    guest.script(TRY, NQN, "2")


def test_disk_grows(guest, target):
    guest.script("join $1 $2; nvme-wait $2 2", str(target.ports[0]), NQN)
    os.truncate(target.cluster.path("disk.img"), 20 * MIB)
    guest.script("nvme ns-rescan $(ls /dev/nvme? | head -1)\n" + SIZE, "2",
                 str(20 * MIB))


MANY = r"""
join $1 $2
for n in $(seq 1 $3); do nvme-wait $2 $n >/dev/null; done
part sizes
for b in /sys/class/nvme-subsystem/*/nvme*n*; do
	case ${b##*/} in *c*n*) continue ;; esac
	read -r id <$b/nsid; read -r sectors <$b/size
	echo "$id $((sectors * 512))"
done
verify $(nvme-wait $2 1) 64K 256K write
verify $(nvme-wait $2 $3) 64K 256K write
part leave; leave $2
"""


def test_many_namespaces(guest, cluster, guests):
    """Each with a size of its own."""
    count = 40
    t = Served(cluster, NQN, guests.ours, *[
        f"ram:{n}m" for n in range(1, count + 1)]).start()
    out = guest.script(MANY, str(t.ports[0]), NQN, str(count))
    assert sorted(map(int, out["sizes"].split())) == sorted(
        [n for n in range(1, count + 1)] +
        [n * MIB for n in range(1, count + 1)])
    assert guest.complaints() == []


# --- several paths ---

@pytest.fixture
def ana(target):
    """A subsystem with two listeners."""
    target.add_subsystem(ANA, "disk2.img", target.ports[1:3])
    return target


TWO = r"""
join $1 $3; join $2 $3
live 2
dev=$(nvme-wait $3 1)
hammer $dev
part sum; hammered $dev
"""


def commands_by_port(target):
    """Where the connected I/O queues are."""
    return sorted(q["listen_address"]["trsvcid"] for q in target.rpc(
        "nvmf_subsystem_get_qpairs", nqn=ANA) if q["qid"])


def test_ana_states(any_guest, ana):
    """One path after the other becomes inaccessible, for a moment both."""
    one, two = ana.ports[1:3]
    job = any_guest.start_script(TWO, str(one), str(two), ANA)
    ana.wait_for_io(job)
    for state in ("inaccessible", "non_optimized"):
        for bad, good in ((one, two), (two, one)):
            ana.set_ana(ANA, bad, state)
            ana.wait_for_io(job)
            ana.set_ana(ANA, good, "inaccessible")
            if state == "inaccessible":  # the host waits
                ana.set_ana(ANA, bad, "optimized")
            ana.wait_for_io(job)
            ana.set_ana(ANA, bad, "optimized")
            ana.set_ana(ANA, good, "optimized")
            ana.wait_for_io(job)
    # a path goes as a whole, and comes back
    for p in (one, two):
        ana.ctl("rm-listener", ANA, f"127.0.0.1:{p}")
        ana.wait_for_io(job)
        ana.ctl("add-listener", ANA, f"127.0.0.1:{p}")
        any_guest.script("live 2")
        ana.wait_for_io(job)
    any_guest.command("touch", "/tmp/stop")
    out = job.result()
    with open(ana.cluster.path("disk2.img"), "rb") as f:
        assert out["sum"].strip() == hashlib.sha256(
            f.read(HAMMERED)).hexdigest()
    assert io_errors(any_guest) == []


# --- discovery ---

WATCH = r"""
port=$1
modprobe nvme-tcp
busybox uevent env >/tmp/uevents 2>&1 & u=$!
told() { # so many times, and that is in the log by now
	[ "$(grep -c NVME_AEN=0x70f002 /tmp/uevents)" -ge $1 ] &&
		nvme discover -d $ctrl -o json >/tmp/disc && grep -q "$2" /tmp/disc
}
nvme discover -t tcp -a 127.0.0.1 -s $port -p -o json >/dev/null
ctrl=$(basename /sys/class/nvme/nvme*)
part before; nvme discover -d $ctrl -o json
step=0
for word in $2 referral; do
	step=$((step + 1))
	touch /tmp/go$step.ready
	until_is 180 told $step $word
	part step$step; cat /tmp/disc
done
kill $u
"""


def subsystems(text):
    # before and behind it nvme makes remarks
    log, _ = json.JSONDecoder().raw_decode(text[text.index("{"):])
    return {r["subnqn"]: r["subtype"] for r in log["records"]
            if r["trsvcid"]}, log["genctr"]


def test_persistent_discovery(guest, target, guests):
    """The host hears of a new subsystem and of a referral."""
    job = guest.start_script(WATCH, str(target.ports[0]), ANA)
    ready = "until_is 180 [ -e $1 ]"
    guest.script(ready, "/tmp/go1.ready")
    target.add_subsystem(ANA, "ram:4m", [target.ports[1]])
    guest.script(ready, "/tmp/go2.ready")
    target.rpc("nvmf_discovery_add_referral", address={
        "trtype": "TCP", "adrfam": "ipv4", "traddr": "127.0.0.1",
        "trsvcid": str(target.ports[2])})
    out = job.result()
    logs = [subsystems(out[p]) for p in ("before", "step1", "step2")]
    assert ANA not in logs[0][0] and ANA in logs[1][0]
    assert "referral" in str(logs[2][0].values())
    assert logs[0][1] < logs[1][1] < logs[2][1]


FOLLOW = r"""
modprobe nvme-tcp
nvme connect-all -t tcp -a 127.0.0.1 -s $1
for n in $2 $3; do nvme-wait $n 1 >/dev/null; done
part leave; nvme disconnect-all; ls -d /sys/class/nvme/nvme* 2>/dev/null || echo none
"""


def test_referral_is_followed(guest, target, cluster):
    """The kernel's tools connect to what another target of ours has."""
    other = NQN + "-other"
    p = target.ports[1]
    cluster.target_ports["other"] = p
    cluster.target("other", "ram:4m", nqn=other)
    target.rpc("nvmf_discovery_add_referral", address={
        "trtype": "TCP", "adrfam": "ipv4", "traddr": "127.0.0.1",
        "trsvcid": str(p)})
    out = guest.script(FOLLOW, str(target.ports[0]), NQN, other)
    assert out["leave"].endswith("none\n")
    assert guest.complaints() == []
