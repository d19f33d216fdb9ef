# SPDX-License-Identifier: Apache-2.0
"""SSD nodes on one machine: a real sshd in namespaces of its own.

A node has its own network (a veth pair), processes, host name, and its own
/run, /var/tmp, /etc/mooncake, /usr/local, /opt, /srv; files elsewhere are the
machine's.
"""
import contextlib
import ctypes
import json
import os
import random
import shutil
import subprocess
import time

SSHD = "/usr/sbin/sshd"
if not os.path.exists(SSHD):
    SSHD = os.environ.get("MOONCAKE_SSHD", SSHD)


def why_not():
    """None, or why this machine can't have nodes."""
    if os.geteuid() != 0:
        return "namespaces for SSH nodes need root"
    if not os.path.exists(SSHD):
        return "no sshd (package openssh-server), see tools/check"
    r = subprocess.run(["unshare", "-m", "-p", "-n", "-u", "-f", "true"],
                       capture_output=True)
    return None if r.returncode == 0 else "no namespaces here"


def keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path],
                   check=True)
    with open(path + ".pub") as f:
        return " ".join(f.read().split()[:2])


@contextlib.contextmanager
def own_network():
    """This thread, and what it starts, in a network with no one else: any
    address and any port is free there."""
    libc = ctypes.CDLL(None, use_errno=True)
    old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        libc.setns(old, 0)
        os.close(old)


class Nodes:
    """A few nodes and the ssh configuration that reaches them."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.nodes = []
        self.net = random.randrange(64, 128)
        self.known_hosts = os.path.join(self.folder, "known_hosts")
        self.config = os.path.join(self.folder, "ssh_config")
        self.user_key = os.path.join(self.folder, "id")
        self.user_pub = keygen(self.user_key)
        self.host_key = os.path.join(self.folder, "host_key")
        self.host_pub = keygen(self.host_key)
        open(self.known_hosts, "w").close()
        with open(self.config, "w") as f:
            f.write(f"Host *\n  UserKnownHostsFile {self.known_hosts}\n"
                    f"  IdentityFile {self.user_key}\n  IdentitiesOnly yes\n"
                    "  GlobalKnownHostsFile /dev/null\n  User root\n")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for n in self.nodes:
            n.stop()

    def env(self):
        return {"MOONCAKE_SSH_COMMAND": f"ssh -F {self.config}",
                "SSH_AUTH_SOCK": ""}

    def add(self, **more):
        node = Node(self, len(self.nodes), **more)
        self.nodes.append(node)
        return node


NODE_SCRIPT = r"""
set -e
hostname $name
mount --make-rprivate /
mkdir -p /etc/mooncake
for d in /run /var/tmp /etc/mooncake /usr/local /opt /srv /var/log; do
  mount -t tmpfs -o mode=755 none $d; done
[ ! -e /root/.bashrc ] || mount --bind /dev/null /root/.bashrc
mkdir -p /run/sshd /usr/local/bin
install -m 644 $folder/authorized /run/authorized
echo "$name-$folder" >/run/machine-id
[ ! -e /etc/machine-id ] || mount --bind /run/machine-id /etc/machine-id
i=0; while ! ip link show eth0 >/dev/null 2>&1; do
  i=$((i + 1)); [ $i -lt 500 ] || exit 9; sleep 0.02; done
ip link set lo up; ip addr add $addr peer $here dev eth0; ip link set eth0 up
# A user without rights, and the one that sshd wants, where only its files were
# unpacked.
{ grep -v '^op:' /etc/passwd; echo 'op:x:65532:65534::/tmp:/bin/sh'
  grep -q ^sshd: /etc/passwd ||
    echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; } >/run/passwd
{ grep -v '^op:' /etc/shadow; echo "op:$password:19000:0:99999:7:::"; } \
  >/run/shadow
chmod 600 /run/shadow
for f in passwd shadow; do mount --bind /run/$f /etc/$f; done
exec $sshd -D -e -f $folder/$name.sshd
"""


# Of the user op: "correct horse".
PASSWORD = ("$6$mooncake$pVlF4CdtGZAtCccL.V5W6zoVJGIv6bt6w9/tbm"
            "03r6uomvs62oUmStQ/8Kh3Da23S01mwDeqaVLL85/yj9ILj.")


class Node:
    def __init__(self, nodes, number, is_known=True, name=None, addrs=None,
                 sshd=(), forwards=False, **env):
        """addrs: this machine's address and the node's; sshd: more lines for
        its configuration; forwards: it forwards ports and sockets; env: what
        its sessions find in their environment."""
        self.nodes = nodes
        self.name = name or f"ssd{number}"
        self.link = f"mc{os.getpid() % 100000}n{number}"
        third, fourth = divmod(number * 4, 256)
        base = f"10.{nodes.net}.{third}"
        self.here, self.addr = addrs or (f"{base}.{fourth + 1}",
                                         f"{base}.{fourth + 2}")
        folder = nodes.folder
        self.path = os.path.join(folder, self.name)
        os.mkdir(self.path)
        with open(os.path.join(folder, "authorized"), "w") as f:
            f.write(nodes.user_pub + "\n")
        with open(os.path.join(folder, self.name + ".sshd"), "w") as f:
            f.write(f"HostKey {nodes.host_key}\nPidFile none\nUsePAM no\n"
                    f"AuthorizedKeysFile /run/authorized\n"
                    "StrictModes no\nPermitRootLogin yes\n"
                    "ListenAddress 0.0.0.0\n"
                    "MaxStartups 100\nUseDNS no\n")
            if not forwards:
                f.write("DisableForwarding yes\n")
            for line in sshd:
                f.write(line + "\n")
            for key, value in env.items():
                f.write(f"SetEnv {key}={value}\n")
        if is_known:
            with open(nodes.known_hosts, "a") as f:
                f.write(f"{self.addr} {nodes.host_pub}\n")
        self.log = open(os.path.join(folder, self.name + ".log"), "wb")
        self.proc = subprocess.Popen(
            ["unshare", "-m", "-p", "-n", "-u", "--fork", "--mount-proc",
             "--kill-child", "sh", "-c", NODE_SCRIPT],
            env={**os.environ, "name": self.name, "addr": self.addr,
                 "here": self.here, "folder": folder, "sshd": SSHD,
                 "password": PASSWORD},
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.plug_in()
        self.wait_ssh()

    def inner_pid(self):
        path = f"/proc/{self.proc.pid}/task/{self.proc.pid}/children"
        for _ in range(500):
            with open(path) as f:
                pids = f.read().split()
            if pids:
                return pids[0]
            time.sleep(0.01)
        raise AssertionError("the node did not start")

    def plug_in(self):
        pid = self.inner_pid()
        for cmd in (f"ip link add {self.link} type veth peer name eth0 "
                    f"netns {pid}",
                    f"ip addr add {self.here} peer {self.addr} dev {self.link}",
                    f"ip link set {self.link} up"):
            subprocess.run(cmd.split(), check=True)

    def wait_ssh(self):
        end = time.monotonic() + 20
        while self.ssh("true").returncode:
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: no sshd")
            time.sleep(0.05)

    def ssh(self, command):
        return subprocess.run(
            ["ssh", "-F", self.nodes.config, "-oStrictHostKeyChecking=no",
             "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
             self.addr, command],
            capture_output=True, text=True, timeout=30,
            stdin=subprocess.DEVNULL)

    def must(self, command):
        r = self.ssh(command)
        assert r.returncode == 0, (command, r.stdout, r.stderr)
        return r.stdout

    # --- what goes wrong there ---

    def before(self, word, action):
        """From now on a JSON-RPC request with that word in it waits until the
        shell command has run there, once."""
        folder = os.path.join(self.path, "before")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, word), "w") as f:
            f.write(action + "\n")
        self.must(f"cat >/usr/local/bin/python3 <<'END'\n#!/bin/sh\n"
                  f"cd {folder} && cat >request\nfor w in *; do\n"
                  "  [ $w != request ] && grep -q \"$w\" request || continue\n"
                  "  mv $w ../done-$w; . ../done-$w; done\n"
                  "exec /usr/bin/python3 \"$@\" <request\nEND\n"
                  "chmod +x /usr/local/bin/python3")

    def state(self):
        """What a deployment may change there: files, processes, drivers."""
        return self.must(
            "cd / && find etc/mooncake etc/systemd usr/local/lib srv "
            "var/tmp run -not -path 'run/utmp*' -exec ls -ld {} + |"
            " awk '{print $1, $3, $5, $9, $10, $11}';"
            "ps -eo user,args | grep -v -e sshd -e 'ps -eo' -e awk -e grep -e sort "
            "-e 'sh -c' -e 'sh -s' -e '\\[' -e '^USER' | sort;"
            f"ls -l {self.path}/sys/bus/pci/devices/*/driver 2>/dev/null |"
            "sed 's/.*-> //' || :")

    def stop(self):
        self.proc.kill()
        self.proc.wait(20)
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)
        self.log.close()

    # --- a stand-in for an SPDK checkout ---

    def spdk(self, disks=("0000:81:00.0",), release="23.01"):
        """Makes PATH/spdk with a target that answers as nvmf_tgt does."""
        root = os.path.join(self.path, "spdk")
        here = os.path.dirname(os.path.abspath(__file__))
        os.makedirs(os.path.join(root, "scripts"))
        os.makedirs(os.path.join(root, "build", "bin"))
        setup = os.path.join(root, "scripts", "setup.sh")
        with open(setup, "w") as f:
            f.write(SETUP)
        os.chmod(setup, 0o755)
        target = os.path.join(root, "build", "bin", "nvmf_tgt")
        shutil.copy(os.path.join(here, "fake_spdk.py"), target)
        os.chmod(target, 0o755)
        with open(os.path.join(root, "release"), "w") as f:
            f.write(release)
        for bdf in disks:
            self.pci(bdf)
        return root

    def spdk_serves(self, program, sizes):
        """From its next start on, that target has bytes behind its disks:
        sizes is {bdf: bytes}."""
        disks = {}
        for bdf, size in sizes.items():
            disks[bdf] = os.path.join(self.path, bdf + ".img")
            with open(disks[bdf], "wb") as f:
                f.truncate(size)
        with open(os.path.join(self.path, "spdk", "serve"), "w") as f:
            json.dump({"program": program, "disks": disks}, f)

    def pci(self, bdf, driver="nvme", block=None):
        """A disk in the node's stand-in for sysfs (SYSFS)."""
        sys_dir = os.path.join(self.path, "sys")
        dev = os.path.join(sys_dir, "bus/pci/devices", bdf)
        os.makedirs(dev)
        with open(os.path.join(dev, "class"), "w") as f:
            f.write("0x010802\n")
        os.symlink(f"../../drivers/{driver}", os.path.join(dev, "driver"))
        if block:
            name = os.path.join(dev, "nvme/nvme0", block)
            os.makedirs(name)
            open(os.path.join(name, "size"), "w").close()


# As SPDK's: moves the driver of PCI_ALLOWED, remembers that it was called.
SETUP = r"""#!/bin/sh
set -e
cd "$(dirname "$0")/.."
echo "setup $* $PCI_ALLOWED" >>calls
driver=vfio-pci; [ "$1" != reset ] || driver=nvme
for bdf in $PCI_ALLOWED; do
  [ -d ../sys/bus/pci/devices/$bdf ] || continue
  ln -sfn ../../drivers/$driver ../sys/bus/pci/devices/$bdf/driver; done
"""
