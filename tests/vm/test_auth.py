# SPDX-License-Identifier: Apache-2.0
"""A kernel that authenticates again on connections that are in use."""
import os
import signal

import pytest

from peer import Failed, Served

NQN = "nqn.2026-11.io.mooncake:again"
HOST = "nqn.2026-11.io.mooncake:host"

WRITE = r"""
join $1 $2 --hostnqn=$3 --dhchap-secret="$4" --dhchap-ctrl-secret="$5"
hammer $(nvme-wait $2 1)
part leave; leave $2
"""

# A new secret; waits for what the kernel says of it
AGAIN = r"""
c=$(echo /sys/class/nvme/nvme*)
echo "$1" >$c/dhchap_secret
said() { dmesg | grep -q "$1"; }
until_is 180 said "$2"
part state; cat $c/state 2>/dev/null || echo gone
"""


class World:
    """Our target with two keys, and a kernel that writes to it."""

    def __init__(self, cluster, guest, ports):
        self.cluster, self.guest = cluster, guest
        self.host, self.ctrl = self.make("host"), self.make("ctrl")
        self.target = Served(cluster, NQN, ports, "ram:8m").start(
            f"--dhchap_key={HOST}={self.host}",
            f"--dhchap_ctrl_key={HOST}={self.ctrl}",
            "--dhchap_dhgroup=ffdhe2048", "--log_level=debug")
        self.job = guest.start_script(
            WRITE, str(ports[0]), NQN, HOST,
            *map(self.text, (self.host, self.ctrl)))
        self.target.wait_for_io(self.job)

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
        return self.target.child.text()

    def rotate(self):
        """The target has a new key; its text."""
        os.rename(self.make("next"), self.host)
        self.target.child.kill(signal.SIGHUP)
        self.cluster.wait_until("keys are read again", lambda:
                                "key files read again" in self.log())
        return self.text(self.host)


@pytest.fixture
def world(cluster, guest, guests):
    return World(cluster, guest, guests.ours)


def test_again_under_io(world):
    """On the same connections, with the new key, and no I/O fails."""
    out = world.guest.script(AGAIN, world.rotate(),
                             "re-authenticating controller")
    assert out["state"].strip() == "live"
    # both queues, twice
    world.cluster.wait_until("authenticated again", lambda: world.log()
                             .count(" host authenticated ") == 4, 180)
    world.target.wait_for_io(world.job)
    world.guest.command("touch", "/tmp/stop")
    assert "disconnected 1 controller" in world.job.result()["leave"]
    said = "\n".join(world.guest.log())
    assert "I/O error" not in said and "reset" not in said
    assert world.log().count("controller created") == 1


def test_again_with_wrong_key(world):
    """The kernel loses the controller and does not come in again."""
    wrong = world.text(world.make("wrong"))
    out = world.guest.script(AGAIN, wrong, "Removing ctrl")
    assert out["state"].strip() == "gone"
    assert "authentication failed" in "\n".join(world.guest.log())
    with pytest.raises(Failed):
        world.job.result()
    # both queues at first, nothing since
    assert world.log().count(" host authenticated ") == 2
    assert world.log().count(" host not authenticated ") >= 2
