# SPDX-License-Identifier: Apache-2.0
"""A kernel that authenticates again on connections that are in use."""
import os
import signal

import pytest

from cluster import free_port
from peer import Guest

NQN = "nqn.2026-11.io.mooncake:again"
HOST = "nqn.2026-11.io.mooncake:host"


@pytest.fixture(scope="module")
def own_port():
    return free_port()


@pytest.fixture(scope="module")
def own_guest(own_port):
    with Guest(f"test-auth-{os.getpid()}", "--map-host", str(own_port)) as g:
        yield g


BEGIN = r"""
port=$1 nqn=$2
read -r key ctrl <<<"$3"
join $port $nqn --hostnqn=$4 --dhchap-secret="$key" \
	--dhchap-ctrl-secret="$ctrl"
dev=$(nvme-wait $nqn 1)
rm -f /tmp/fio.rc
setsid bash -c "fio --name=v --filename=$dev --bs=4k --size=1M \
	--rw=randwrite --direct=1 --ioengine=libaio --iodepth=4 \
	--verify=crc32c --verify_fatal=1 --time_based --runtime=40 --minimal \
	>/tmp/fio.out 2>&1; echo \$? >/tmp/fio.rc" </dev/null >/dev/null 2>&1 &
part ctrl; basename ${dev%n*}
"""

# A line with a new secret; what the kernel says within 40 s.
AGAIN = r"""
c=/sys/class/nvme/$1
echo "$2" >$c/dhchap_secret
for ((i = 0; i < 400; i++)); do
	dmesg | grep -q "$3" && break
	sleep 0.1
done
part said; dmesg --read-clear | grep nvme || true
part state; cat $c/state 2>/dev/null || echo gone
"""

END = r"""
for ((i = 0; i < 900; i++)); do [ -e /tmp/fio.rc ] && break; sleep 0.1; done
part rc; cat /tmp/fio.rc
part out; tail -n 5 /tmp/fio.out
part said; dmesg --read-clear | grep nvme || true
part leave; leave $1 || true
"""


class Served:
    """Our target with two keys, and a kernel that writes to it."""

    def __init__(self, cluster, guest, port):
        self.cluster, self.guest = cluster, guest
        self.host, self.ctrl = self.make("host"), self.make("ctrl")
        cluster.target_ports["a"] = port
        cluster.target("a", "ram:8m", nqn=NQN, flags=[
            f"--dhchap_key={HOST}={self.host}",
            f"--dhchap_ctrl_key={HOST}={self.ctrl}",
            "--dhchap_dhgroup=ffdhe2048", "--log_level=debug"])
        self.name = guest.script(
            BEGIN, str(port), NQN, " ".join(
                map(self.text, (self.host, self.ctrl))), HOST)["ctrl"].strip()

    def make(self, name):
        path = self.cluster.path(name + ".key")
        r = self.cluster.run("mooncakectl", "gen-dhchap-key",
                             f"--output={path}")
        assert r.returncode == 0, r.stderr
        return path

    @staticmethod
    def text(path):
        with open(path, encoding="ascii") as f:
            return f.read().strip()

    def log(self):
        return self.cluster.children["a"].text()

    def rotate(self):
        """The target has a new key; its text."""
        os.rename(self.make("next"), self.host)
        self.cluster.children["a"].kill(signal.SIGHUP)
        self.cluster.wait_until("keys are read again", lambda:
                                "key files read again" in self.log())
        return self.text(self.host)


@pytest.fixture
def served(cluster, own_guest, own_port):
    return Served(cluster, own_guest, own_port)


def test_again_under_io(served):
    """On the same connections, with the new key, and no I/O fails."""
    new = served.rotate()
    out = served.guest.script(AGAIN, served.name, new,
                              "re-authenticating controller")
    assert out["state"].strip() == "live", out["said"]
    # both queues, twice
    served.cluster.wait_until("authenticated again", lambda: served.log()
                              .count(" host authenticated ") == 4, 60)
    assert "controller created" in served.log()
    assert served.log().count("controller created") == 1
    end = served.guest.script(END, NQN)
    assert end["rc"].strip() == "0", end["out"]
    assert "I/O error" not in end["said"] and "reset" not in end["said"]
    assert served.log().count("controller created") == 1


def test_again_with_wrong_key(served):
    """The kernel loses the controller and does not come in again."""
    wrong = served.text(served.make("wrong"))
    out = served.guest.script(AGAIN, served.name, wrong, "Removing ctrl")
    assert out["state"].strip() == "gone", out["said"]
    assert "authentication failed" in out["said"]
    # both queues at first, nothing since
    assert served.log().count(" host authenticated ") == 2
    assert served.log().count(" host not authenticated ") >= 2
    served.guest.script("pkill fio || true")
