# SPDX-License-Identifier: Apache-2.0
"""The VMs, the ports that they know, and what is looked at behind each test.

A VM lives until the end; one that a test has spoilt is replaced.
"""
import os

import pytest

from cluster import free_port
from peer import Capture, Failed, Guest, Served, call, lent

NQN = "nqn.2026-11.io.mooncake:vm"
DISKS = ("ram:8m", "disk.img:12m")  # small: the guest is slow
# Wireshark 4.0 reads two bytes too many behind an entry of the error log.
FAULTS = ("tcp and (nvme-tcp.hdgst.status == 0 or nvme-tcp.ddgst.status == 0 "
          'or ((_ws.malformed or (nvme-tcp and _ws.expert.severity == "Error"))'
          " and not nvme.cmd.get_logpage.errinf.errcnt))")
# What it says of segments that were captured in another order, and of a field
# of Arbitration that it has forgotten to make known to itself.
HARMLESS = ("overlaps old data", "Unregistered hf!")
TLS_FAULTS = ('tcp and (_ws.malformed or _ws.expert.severity == "Error" or '
              "tls.ignored_unknown_record)")


def unused_ports(count):
    found = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


class Guests:
    """What runs, by kind."""

    def __init__(self):
        self.running = {}
        self.subsystems = [NQN + "-512", NQN + "-4096", NQN + "-61",
                           NQN + "-new"]
        #: our target's three; nvmet's three; nvmet's in the old kernel, and
        #: in the newest
        some = unused_ports(8)
        self.ours, self.theirs = some[:3], some[3:6]
        self.old, self.new = some[6:7], some[7:]
        maps = [f"--map-host={p}" for p in self.ours]
        target = ["--target=tcp", "--backing=nullmem", "--size=96M", "--ns=1"]
        self.options = {
            "host": maps,
            "smp": [*maps, "--smp=2"],
            "target": [*target, "--blksize=512", f"--nqn={NQN}-512",
                       f"--port={self.theirs[0]}"] + [
                f"--forward={p}:127.0.0.1:{p}" for p in self.theirs[1:]],
            "old": [*maps, *target, f"--nqn={NQN}-61",
                    f"--port={self.old[0]}"],
            "new": [*target, "--blksize=512", f"--nqn={NQN}-new",
                    f"--port={self.new[0]}"],
        }
        self.suites = {"old": "bookworm", "new": "trixie-backports"}

    def get(self, kind):
        if kind not in self.running:
            self.running[kind] = Guest(
                f"test-{kind}-{os.getpid()}", *self.options[kind],
                suite=self.suites.get(kind, "trixie"))
            if kind == "target":
                self.running[kind].add_subsystem(NQN + "-4096",
                                                 "--blksize=4096")
        return self.running[kind]

    def forget(self, kind):
        if kind in self.running:
            self.running.pop(kind).stop()


@pytest.fixture(scope="session")
def guests():
    g = Guests()
    yield g
    for kind in list(g.running):
        g.forget(kind)


@pytest.fixture
def guest(guests):
    """A kernel for a host."""
    yield from lent(guests, "host")


@pytest.fixture(params=["host", "old"], ids=["6.12", "6.1"])
def any_guest(guests, request):
    """The same with an older kernel, too."""
    yield from lent(guests, request.param)


@pytest.fixture
def nvmet(guests):
    """The kernel's target: one subsystem of 512 B blocks, one of 4 KiB."""
    yield from lent(guests, "target")


@pytest.fixture
def new_nvmet(guests):
    """The newest kernel's target: one subsystem of 512 B blocks."""
    try:
        call("build", "--suite", guests.suites["new"], timeout=900)
    except Failed as e:
        pytest.skip(f"no image with a newer kernel: {e}")
    yield from lent(guests, "new")


@pytest.fixture
def port(guests):
    return guests.ours[0]


@pytest.fixture
def target(cluster, guests):
    """Ours.  Namespace 1 is memory, 2 is a file."""
    return Served(cluster, NQN, guests.ours, *DISKS).start()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """An emulated processor on a busy machine may need long for anything."""
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "60000")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "30000000")


@pytest.fixture(scope="session")
def no_capture():
    return Capture.why_not()


@pytest.fixture(autouse=True)
def capture(guests, no_capture, tmp_path, request):
    """Of everything; .digests: what must have been agreed on; .protocol: "tls"
    where all of it must have been encrypted."""
    if no_capture:
        yield None
        return
    path = str(tmp_path / "all.pcapng")
    cap = Capture(path, guests.ours + guests.theirs + guests.old)
    cap.digests = None
    with cap:
        yield cap
    if cap.dropped:
        request.node.add_report_section(
            "teardown", "capture", f"{cap.dropped} packets are missing")
        os.unlink(path)
        return
    is_tls = cap.protocol == "tls"
    found = cap.fields(TLS_FAULTS if is_tls else FAULTS, "frame.number",
                       "tcp.port", "_ws.expert.message")
    assert [f for f in found if not any(h in f for h in HARMLESS)] == []
    if cap.digests:
        check_digests(cap)
    if is_tls:
        assert cap.fields("tls.app_data", "frame.number")
    os.unlink(path)


def check_digests(cap):
    """Those were agreed on, they were there, and they were right."""
    assert set(cap.fields("nvme-tcp.icresp.digest",
                          "nvme-tcp.icresp.digest")) == {str(cap.digests)}
    for bit, name in ((1, "hdgst"), (2, "ddgst")):
        seen = cap.fields(f"nvme-tcp.{name}.status == 1", "frame.number")
        assert bool(seen) == bool(cap.digests & bit), name
