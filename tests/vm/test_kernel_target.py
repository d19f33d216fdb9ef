# SPDX-License-Identifier: Apache-2.0
"""Our store while things happen to the kernel's target.

Objects are read all the while: a byte that comes is right, a call that fails
has a reason, and all is well when it is over.
"""
import re

import pytest

from cluster import free_port
from common import FAST
from stores import Reader, endpoint, registered, ssd, store_and_get

NQN = "nqn.2026-11.io.mooncake:vm"
LIFE = NQN + "-life"

# The ports as they are found in the guest, and what is asked of the subsystem
HEAD = r"""
cd /sys/kernel/config/nvmet
sub=subsystems/$1
port_of() { # its port with that service id
	local p
	for p in ports/*; do
		[ "$(cat $p/addr_trsvcid)" = "$1" ] && echo $p && return
	done
	echo "no port $1" >&2
	return 1
}
"""


def complaints(nvmet):
    """But for hosts that come while the subsystem is away."""
    return [c for c in nvmet.complaints()
            if "connect request for invalid subsystem" not in c]


@pytest.fixture
def world(cluster, nvmet, guests):
    """A registered subsystem of its own, on a port of its own."""
    nvmet.add_subsystem(LIFE, port=guests.theirs[1])
    cluster.master("--nof_heartbeat_interval_sec=1",
                   "--default_kv_lease_ttl=1000")
    ssd(cluster, "register", "--endpoint=" + endpoint(guests.theirs[1], LIFE))
    assert len(registered(cluster)) == 1
    return cluster


def on(nvmet, port, body):
    return nvmet.script(HEAD + body, LIFE, str(port))


AWAY = "rm $(port_of $2)/subsystems/$1\n"
BACK = "ln -s $PWD/$sub $(port_of $2)/subsystems/\n"


def test_taken_off_its_port(world, nvmet, guests):
    port = guests.theirs[1]
    with Reader(world, 11) as r:
        for _ in range(3):
            r.wait(world, "good")
            on(nvmet, port, AWAY)
            r.wait(world, "failed", 1)
            on(nvmet, port, BACK)
        r.wait(world, "good")
    assert complaints(nvmet) == []


AGAIN = r"""
ids() { cat $sub/namespaces/1/device_$1; }
uuid=$(ids uuid) nguid=$(ids nguid) dev=$(ids path)
p=$(port_of $2)
rm $p/subsystems/$1
rmdir $p
echo 0 >$sub/namespaces/1/enable
rmdir $sub/namespaces/1
rmdir $sub
sleep 1
mkdir -p $sub/namespaces/1
echo 1 >$sub/attr_allow_any_host
echo $dev >$sub/namespaces/1/device_path
echo $uuid >$sub/namespaces/1/device_uuid
echo $nguid >$sub/namespaces/1/device_nguid
echo 1 >$sub/namespaces/1/enable
mkdir $p
echo tcp >$p/addr_trtype; echo ipv4 >$p/addr_adrfam
echo 127.0.0.1 >$p/addr_traddr; echo $2 >$p/addr_trsvcid
[ -z "${3:-}" ] || echo $3 >$p/param_inline_data_size
[ -z "${4:-}" ] || echo $4 >$p/param_max_queue_size
ln -s $PWD/$sub $p/subsystems/
"""


def test_removed_and_set_up_again(world, nvmet, guests):
    """All of it, each time with other limits."""
    port = str(guests.theirs[1])
    with Reader(world, 12) as r:
        for limits in ((), ("1024", "16"), ("65536", "64")):
            r.wait(world, "good")
            nvmet.script(HEAD + AGAIN, LIFE, port, *limits)
            r.wait(world, "good")
    assert complaints(nvmet) == []
    store_and_get(world, 13)


def test_number_of_queues(world, nvmet, guests):
    """nvmet ends its controllers when that changes."""
    port = guests.theirs[1]
    with Reader(world, 14) as r:
        for n in (1, 2, 8):
            on(nvmet, port, f"echo {n} >$sub/attr_qid_max\n")
            r.wait(world, "good")
    store_and_get(world, 15)


DISK = r"""
ns=$sub/namespaces/1
old=$(cat $ns/device_path)
null=/sys/kernel/config/nullb/other
mkdir $null
echo 96 >$null/size; echo 512 >$null/blocksize
echo 1 >$null/memory_backed; echo 1 >$null/power
new=/dev/other; [ -b $new ] || new=/dev/nullb$(cat $null/index)
echo 0 >$ns/enable
echo $new >$ns/device_path
echo 1 >$ns/enable
echo $old >/tmp/old
"""
RETURN = r"""
ns=$sub/namespaces/1
echo 0 >$ns/enable
cat /tmp/old >$ns/device_path
echo 1 >$ns/enable
echo 0 >/sys/kernel/config/nullb/other/power
rmdir /sys/kernel/config/nullb/other
"""


def test_another_disk_under_the_same_ids(world, nvmet, guests):
    """An empty one: nothing is served from it, objects are given up rather
    than made up; the first one is taken into use again."""
    port = guests.theirs[1]
    with Reader(world, 16) as r:
        r.wait(world, "good")
        on(nvmet, port, DISK)
        r.wait(world, "failed", 3)
        good = r.good
        r.wait(world, "failed", 3)
        assert r.good == good
        world.wait_until("the segment is offline", lambda: not online(world))
        on(nvmet, port, RETURN)
    world.wait_until("the segment is online", lambda: online(world), 60)
    store_and_get(world, 21)


def online(cluster):
    return cluster.segments()[0]["state"].lower() == "online"


def test_namespace_switched_off_and_on(world, nvmet, guests):
    port = guests.theirs[1]
    with Reader(world, 17) as r:
        for _ in range(3):
            r.wait(world, "good")
            on(nvmet, port, "echo 0 >$sub/namespaces/1/enable\n")
            r.wait(world, "failed", 1)
            on(nvmet, port, "echo 1 >$sub/namespaces/1/enable\n")
        r.wait(world, "good")


# --- two ports ---

@pytest.fixture
def two_paths(cluster, nvmet, guests):
    one, two = guests.theirs[1:3]
    nvmet.add_subsystem(LIFE, port=one)
    nvmet.script(r"""
cd /sys/kernel/config/nvmet
p=ports/9; mkdir $p
echo tcp >$p/addr_trtype; echo ipv4 >$p/addr_adrfam
echo 127.0.0.1 >$p/addr_traddr; echo $2 >$p/addr_trsvcid
ln -s $PWD/subsystems/$1 $p/subsystems/
""", LIFE, str(two))
    cluster.master(*FAST)
    ssd(cluster, "register", *[f"--endpoint={endpoint(p, LIFE)}"
                               for p in (one, two)])
    assert len(cluster.segments()) == 1
    return cluster


def test_ana_states(two_paths, nvmet, guests):
    """One path is always left: no call fails."""
    ports = guests.theirs[1:3]

    def state(port, what):
        on(nvmet, port, f"echo {what} >$(port_of $2)/ana_groups/1/ana_state\n")

    with Reader(two_paths, 18) as r:
        for i, what in enumerate(("inaccessible", "non-optimized",
                                  "persistent-loss", "change")):
            state(ports[i % 2], what)
            r.wait(two_paths, "good")
            state(ports[i % 2], "optimized")
            r.wait(two_paths, "good")
        for port in ports:
            on(nvmet, port, AWAY)
            r.wait(two_paths, "good")
            on(nvmet, port, BACK)
            r.wait(two_paths, "good")
    assert r.early == 0 and r.failed <= 2
    # what is read where ANA does not let it be any more
    assert [c for c in complaints(nvmet) if not re.search(
        r"failed cmd \S+ id \d+ opcode 2, data_len: \d+", c)] == []


def test_both_paths_inaccessible_for_a_moment(two_paths, nvmet, guests):
    ports = guests.theirs[1:3]
    with Reader(two_paths, 19) as r:
        r.wait(two_paths, "good")
        on(nvmet, ports[0], "for p in ports/*; do echo inaccessible "
           ">$p/ana_groups/1/ana_state; done; sleep 0.5; for p in ports/*; do"
           " echo optimized >$p/ana_groups/1/ana_state; done\n")
        r.wait(two_paths, "good")


# --- many, and where they are ---

MANY = r"""
for n in $(seq 2 $3); do
	null=/sys/kernel/config/nullb/many$n; mkdir $null
	echo 16 >$null/size; echo 1 >$null/memory_backed; echo 1 >$null/power
	dev=/dev/many$n; [ -b $dev ] || dev=/dev/nullb$(cat $null/index)
	mkdir subsystems/$1/namespaces/$n
	echo $dev >subsystems/$1/namespaces/$n/device_path
	echo 1 >subsystems/$1/namespaces/$n/enable
done
r=$(port_of $2)/referrals/elsewhere; mkdir $r
echo tcp >$r/addr_trtype; echo ipv4 >$r/addr_adrfam
echo 127.0.0.1 >$r/addr_traddr; echo $4 >$r/addr_trsvcid
echo 1 >$r/enable
"""


def test_many_namespaces_and_a_referral(cluster, nvmet, guests):
    count, port = 24, guests.theirs[1]
    nvmet.add_subsystem(LIFE, port=port)
    nobody = free_port()
    nvmet.script(HEAD + MANY, LIFE, str(port), str(count), str(nobody))
    cluster.master(*FAST)
    r = cluster.run("mooncake_ssd_register", "--timeout=60s",
                    f"--master_server_address={cluster.master_addr}",
                    f"--discover=127.0.0.1:{port}", timeout=200)
    # nobody is where the referral leads to: that is said, the rest is in
    assert r.returncode == 1, r.stdout + r.stderr
    assert f"127.0.0.1:{nobody} " in r.stdout and "Failed: 1\n" in r.stdout
    assert len(registered(cluster)) == count
    store_and_get(cluster, 20)
    assert complaints(nvmet) == []
