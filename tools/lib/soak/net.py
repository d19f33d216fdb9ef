# SPDX-License-Identifier: Apache-2.0
"""Hosts on one switch: network namespaces inside a private one, so that
nothing of it is seen outside and all of it goes with the last process.

tools/soak has called unshare(1) before and says so in MOONCAKE_SOAK_NET.
"""
import fcntl
import os
import shutil
import socket
import struct
import subprocess

PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
SUBNET = "10.77.0"


def sh(*argv, stdin=None):
    r = subprocess.run(argv, text=True, input=stdin, capture_output=True,
                       check=False, timeout=20)
    if r.returncode:
        raise OSError(f"{' '.join(argv[:6])}: {r.stderr.strip()[:200]}")
    return r.stdout


def up(device):
    """Without ip(8), which may be missing."""
    get, put, flags = 0x8913, 0x8914, 1  # SIOC[GS]IFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        name = device.encode()
        now = struct.unpack("16xH", fcntl.ioctl(
            s, get, struct.pack("16sH22x", name, 0))[:18])[0]
        fcntl.ioctl(s, put, struct.pack("16sH22x", name, now | flags))


class NoNet:
    """Everything on loopback; network faults are left out."""
    has_delay = False

    def __init__(self, why):
        self.why = why

    def add(self, name):
        return "127.0.0.1"

    def inside(self, name, argv):
        return argv


class Net:
    """A bridge here, a namespace with one address for each host."""
    why = None

    def __init__(self):
        self.ip, self.nft, self.tc = (shutil.which(p, path=PATH)
                                      for p in ("ip", "nft", "tc"))
        if not self.ip or not self.nft:
            raise OSError("ip or nft is not installed")
        self.addr = {}
        sh("mount", "-t", "tmpfs", "none", "/run")
        os.mkdir("/run/netns")
        sh(self.ip, "link", "add", "br0", "type", "bridge")
        sh(self.ip, "addr", "add", f"{SUBNET}.1/24", "dev", "br0")
        sh(self.ip, "link", "set", "br0", "up")
        self.add("probe")
        self.rules("probe", "input", ["drop"])
        self.rules("probe", "input", [])
        self.has_delay = self.delay("probe", 5)

    def add(self, name):
        ip = self.ip
        self.addr[name] = f"{SUBNET}.{len(self.addr) + 2}"
        sh(ip, "netns", "add", name)
        sh(ip, "link", "add", "v" + name, "type", "veth", "peer", "name",
           "eth0", "netns", name)
        sh(ip, "link", "set", "v" + name, "master", "br0", "up")
        sh(ip, "-n", name, "addr", "add", f"{self.addr[name]}/24", "dev",
           "eth0")
        for dev in ("lo", "eth0"):
            sh(ip, "-n", name, "link", "set", dev, "up")
        return self.addr[name]

    def inside(self, name, argv):
        return [self.ip, "netns", "exec", name, *argv]

    def rules(self, name, hooks, verdicts):
        """Per hook (input: what the host gets, output: what it sends) the
        nftables statements for what passes its link; none: as it was."""
        table = "table inet cut\ndelete table inet cut\n"
        if verdicts:
            chains = "".join(
                f"chain {h} {{\ntype filter hook {h} priority 0\n" + "".join(
                    f"{'iifname' if h == 'input' else 'oifname'} eth0 {v}\n"
                    for v in verdicts) + "}\n" for h in hooks.split())
            table += f"table inet cut {{\n{chains}}}\n"
        sh(*self.inside(name, [self.nft, "-f", "-"]), stdin=table)

    def delay(self, name, ms):
        """What it sends leaves so much later, unevenly; 0: at once.  False
        where the kernel has no netem."""
        if not self.tc:
            return False
        argv = [self.tc, "qdisc"]
        argv += (["replace", "dev", "eth0", "root", "netem", "delay",
                  f"{ms}ms", f"{ms // 2}ms"] if ms
                 else ["del", "dev", "eth0", "root"])
        try:
            sh(*self.inside(name, argv))
        except OSError:
            return False
        return True


def make():
    """A Net, or what stands in for it and why."""
    why = os.environ.get("MOONCAKE_SOAK_NET", "not asked for")
    if why != "private":
        return NoNet(why)
    up("lo")  # whatever comes of the rest, programs talk over it
    try:
        return Net()
    except OSError as e:
        return NoNet(str(e))
