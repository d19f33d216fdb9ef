# SPDX-License-Identifier: Apache-2.0
"""A Linux kernel as NVMe/TCP peer: a VM of ./vm, and scripts run in it."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

# Bytes that hammer() below writes to
HAMMERED = 384 * 1024

VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm")

# What every guest script can use.  Its output is cut into parts: "== name"
# begins one; parse() below takes it apart again.
PRELUDE = r"""
set -euo pipefail
part() { echo "== $1"; }
# join PORT NQN [OPTION...]: connects to a target on the host's loopback; a lost
# one is tried again every second (-c), and given up after ten minutes (-l)
join() {
	modprobe nvme-tcp
	nvme connect -t tcp -a 127.0.0.1 -s "$1" -n "$2" -c 1 -l 600 "${@:3}"
}
leave() { nvme disconnect -n "$1"; }
# checked OPTION...: fio writes, then reads back what it wrote, in every job
checked() {
	local out=/tmp/fio.$BASHPID
	# the kernel may send a command from fio's own thread, which gets SIGPIPE
	# when the connection is no more
	(
		trap '' PIPE
		exec fio --direct=1 --ioengine=libaio --iodepth=8 --nice=10 --verify=crc32c \
			--do_verify=1 --verify_fatal=1 --verify_state_save=0 --minimal "$@"
	) >"$out" 2>&1 && awk -F ';' '/^3;/ {n++; bad += !$6} END {exit bad || !n}' "$out" || {
		echo "fio $* failed:"
		cut -c 1-120 "$out"
		return 1
	}
}
# verify DEVICE BLOCK SIZE MODE [SEED [OFFSET]]: the seed is in every block, so
# that an older one is found out
verify() {
	checked --filename="$1" --bs="$2" --size="$3" --rw="$4" \
		--randseed="${5:-1}" --offset="${6:-0}" --name=v
}
# hammer DEVICE: one process writes small blocks, another larger ones, both in
# the first 384 KiB, other bytes each time, until somebody makes /tmp/stop
hammer() {
	checked --filename="$1" --rw=randwrite --randrepeat=0 --loops=1000000 \
		--trigger-file=/tmp/stop --trigger=true --iodepth=4 \
		--name=small --bs=4K --size=128K --name=large --bs=16K --size=256K \
		--offset=128K
}
hammered() { digest "$1" 393216; } # DEVICE
# until_is SECONDS COMMAND...: waits for it to come true; false if it does not
until_is() {
	local end=$((SECONDS + $1)) # a processor that is emulated may need long
	while ! "${@:2}"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
states() { # of the controllers, in $REPLY
	local c s
	REPLY=
	for c in /sys/class/nvme/nvme*; do
		{ read -r s <"$c/state"; } 2>/dev/null && REPLY+="$s "
	done
	true
}
are_live() {
	states
	[ "$REPLY" = "$(printf 'live %.0s' $(seq "$1"))" ]
}
# live COUNT: waits until so many controllers are connected, and no other
live() {
	until_is 180 are_live "$1" || {
		echo "the controllers are: $REPLY, not $1 times live"
		return 1
	}
}
# ragged DEVICE SEED: pieces of odd lengths at odd places, through the page
# cache (which reads, changes and writes whole blocks), then on the medium
ragged() {
	local i off len
	for i in 1 2 3 4 5 6; do
		off=$((i * 300007 + $2))
		len=$((i * 12345 + 1))
		head -c "$len" /dev/urandom | dd of="$1" bs=64K seek="$off" \
			oflag=seek_bytes iflag=fullblock conv=notrunc,fsync status=none
	done
}
digest() { # DEVICE BYTES: of what the medium holds, not the page cache
	dd if="$1" bs=1M count="$2" iflag=count_bytes,direct status=none |
		sha256sum | cut -d' ' -f1
}
"""

# remove SUBSYSTEM: of nvmet, with its namespaces and ports without another one
REMOVE = r"""
remove() {
	local ns dev null p
	rm -f ports/*/subsystems/$1
	for ns in subsystems/$1/namespaces/*; do
		[ -d $ns ] || continue
		dev=$(cat $ns/device_path)
		echo 0 >$ns/enable
		rmdir $ns
		for null in /sys/kernel/config/nullb/*; do # 6.1 names it by its index
			case $dev in /dev/${null##*/} | /dev/nullb$(cat $null/index 2>/dev/null))
				echo 0 >$null/power
				rmdir $null ;;
			esac
		done
	done
	rm -f subsystems/$1/allowed_hosts/*
	rmdir subsystems/$1
	for p in ports/*; do
		[ -n "$(ls $p/subsystems)" ] || {
			rmdir $p/referrals/* 2>/dev/null || true
			rmdir $p
		}
	done
}
"""
TIDY = REMOVE + r"""
rm -f /tmp/stop
ls /sys/class/nvme/nvme* >/dev/null 2>&1 && nvme disconnect-all
cd /sys/kernel/config/nvmet 2>/dev/null || exit 0
for s in $(ls subsystems); do
	case " $* " in *" $s "*) ;; *) remove $s ;; esac
done
rmdir hosts/* 2>/dev/null || true
"""

# Words of the kernel that mean that the peer, or the kernel, went wrong.
COMPLAINT = re.compile(
    r"(?i:nvme.*(error|fail|invalid|timeout|unsupported|mismatch|bad |"
    r"unexpected|reset|reconnect|I/O Cmd|protocol|reject|missing|bogus))"
    r"|blk_update_request|I/O error|BUG:|WARNING:|Call Trace")

# What no kernel may say, whatever is done to it.
BROKEN = re.compile(r"BUG:|WARNING:|Call Trace|blocked for more than")


class Failed(Exception):
    """A command of the VM failed; the text is what it said."""


def call(*args, timeout, stdin=None):
    r = subprocess.run([VM, *args], text=True, capture_output=True,
                       timeout=timeout, input=stdin, check=False,
                       stdin=None if stdin is not None else
                       subprocess.DEVNULL)
    if r.returncode:
        raise Failed(f"vm {' '.join(args[:4])}: status {r.returncode}\n"
                     f"{r.stdout[-3000:]}{r.stderr[-3000:]}")
    return r.stdout


def parse(text):
    """{part: its lines}"""
    parts = re.split(r"^== (\S+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]), **{"": parts[0]})


class Guest:
    """A running VM."""

    def __init__(self, name, *options, suite="trixie"):
        self.name, self.kept = name, []
        # it ends by itself should we be killed
        text = call("start", "--name", name, "--suite", suite, "--lifetime",
                    "7200", *options, timeout=600)
        self.info = dict(line.split("=", 1) for line in text.split())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        call("stop", "--name", self.name, timeout=60)

    def command(self, *argv, timeout=120):
        return call("exec", "--name", self.name, "--timeout", str(timeout),
                    "--", *argv, timeout=timeout + 60)

    def script(self, body, *args, timeout=300):
        """Runs body with bash in the guest; its output in parts."""
        return parse(call("exec", "--name", self.name, "--timeout",
                          str(timeout), "--stdin", "--", "bash", "-s", *args,
                          timeout=timeout + 60, stdin=PRELUDE + body))

    def start_script(self, body, *args, timeout=900):
        """The same while this program goes on."""
        return Job(self, body, args, timeout)

    def log(self):
        """The kernel's log since the last call."""
        lines = self.command("dmesg", "--read-clear").split("\n")
        self.kept += lines
        return lines

    def complaints(self):
        """Lines of it that look wrong."""
        return [line for line in self.log() if COMPLAINT.search(line)]

    def add_subsystem(self, nqn, *options, port=None):
        """To nvmet, on the port that it began with or another one."""
        words = [word for o in options for word in o.split("=", 1)]
        self.command("nvmet-up", "--traddr", "127.0.0.1", "--trsvcid",
                     str(port or self.info["trsvcid"]), "--backing",
                     "nullmem", "--size", "96M", "--ns", "1", "--nqn", nqn,
                     *words)

    def remove_subsystem(self, nqn):
        """With its namespaces, and the ports that have no other."""
        self.script(REMOVE + "cd /sys/kernel/config/nvmet; remove $1", nqn)

    def tidy(self, *nqns):
        """Nothing may be left for the next test but those subsystems."""
        self.script(TIDY, *nqns)


def lent(guests, kind):
    """A guest for one test; nothing in its kernel may be broken by it."""
    g = guests.get(kind)
    g.log()
    g.kept = []
    yield g
    try:
        g.tidy(*guests.subsystems)
        g.log()
    except Failed:
        guests.forget(kind)
        raise
    assert [line for line in g.kept if BROKEN.search(line)] == []


class Job:
    """A script that runs in a guest."""

    def __init__(self, guest, body, args, timeout):
        self.timeout = timeout
        self.proc = subprocess.Popen(
            [VM, "exec", "--name", guest.name, "--timeout", str(timeout),
             "--stdin", "--", "bash", "-s", *args], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.proc.stdin.write(PRELUDE + body)
        self.proc.stdin.close()
        self.proc.stdin = None

    def is_over(self):
        return self.proc.poll() is not None

    def result(self):
        out, err = self.proc.communicate(timeout=self.timeout + 60)
        if self.proc.returncode:
            raise Failed(f"a script in the VM: status {self.proc.returncode}"
                         f"\n{out[-3000:]}{err[-3000:]}")
        return parse(out)


class Served:
    """Our target, with its control socket."""

    def __init__(self, cluster, nqn, ports, *specs):
        self.cluster, self.nqn, self.ports = cluster, nqn, ports
        self.specs, self.sock = specs, cluster.path("vm.sock")
        cluster.target_ports["vm"] = ports[0]

    def start(self, *flags):
        self.cluster.target("vm", *self.specs, nqn=self.nqn, flags=[
            f"--rpc_socket={self.sock}", *flags])
        return self

    @property
    def child(self):
        return self.cluster.children["vm"]

    def kill(self, signo=signal.SIGKILL):
        self.child.kill(signo)
        return self.child.proc.wait(60)

    def ctl(self, *words):
        """mooncakectl target WORDS"""
        r = self.cluster.run("mooncakectl", "target", "-r", self.sock,
                             *words)
        if r.returncode:
            raise Failed(f"mooncakectl target {words}: {r.stderr}")
        return r.stdout

    def rpc(self, method, **params):
        return json.loads(self.ctl("rpc", method, json.dumps(params)))

    def add_subsystem(self, nqn, disk, ports):
        """One whose namespace is told with ANA states."""
        self.rpc("nvmf_create_subsystem", nqn=nqn, allow_any_host=True,
                 serial_number="MC0001", ana_reporting=True)
        if not disk.startswith("ram:"):
            disk = self.cluster.path(disk)
            with open(disk, "wb") as f:
                f.truncate(12 << 20)
        self.ctl("add-ns", nqn, disk)
        for port in ports:
            self.ctl("add-listener", nqn, f"127.0.0.1:{port}")

    def set_ana(self, nqn, port, state):
        self.rpc("nvmf_subsystem_listener_set_ana_state", nqn=nqn,
                 ana_state=state, listen_address={
                     "trtype": "TCP", "adrfam": "ipv4",
                     "traddr": "127.0.0.1", "trsvcid": str(port)})

    def commands(self):
        """How many reads and writes it has served."""
        return sum(b["num_read_ops"] + b["num_write_ops"] for b in
                   self.rpc("bdev_get_iostat")["bdevs"])

    def wait_for_io(self, job, count=100):
        """Until so many more have been served."""
        begin = self.commands()

        def check():
            if job.is_over():
                job.result()
                raise Failed("the job in the guest ended early")
            return self.commands() - begin >= count
        self.cluster.wait_until("I/O goes on", check, 300)


class Capture:
    """What goes over some ports of the loopback, as tshark sees it."""

    def __init__(self, path, ports):
        self.path, self.ports, self.dropped = path, ports, 0
        self.protocol = "nvme-tcp"

    @staticmethod
    def why_not():
        """The reason why nothing can be captured here, or None."""
        if not shutil.which("tshark") or not shutil.which("dumpcap"):
            return "tshark is not installed"
        r = subprocess.run(["dumpcap", "-i", "lo", "-a", "duration:1", "-w",
                            "/dev/null"], capture_output=True, timeout=30,
                           check=False)
        return "no right to capture on lo" if r.returncode else None

    def mark(self):
        """Waits until a packet that is sent now is in the file."""
        token, end = os.urandom(32), time.monotonic() + 60
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while token not in self.tail():
                if time.monotonic() > end:
                    raise Failed("dumpcap captures nothing")
                s.sendto(token, ("127.0.0.1", self.ports[0]))
                time.sleep(0.05)

    def tail(self):
        try:
            with open(self.path, "rb") as f:
                f.seek(max(0, os.path.getsize(self.path) - (1 << 20)))
                return f.read()
        except FileNotFoundError:
            return b""

    def __enter__(self):
        ports = " or ".join(f"port {p}" for p in self.ports)
        self.proc = subprocess.Popen(
            ["dumpcap", "-q", "-i", "lo", "-B", "128", "-f", ports, "-w",
             self.path], stderr=subprocess.PIPE, text=True)
        self.mark()
        return self

    def __exit__(self, *exc):
        self.mark()
        self.proc.send_signal(signal.SIGINT)
        said = self.proc.communicate(timeout=60)[1]
        m = re.search(r"received/dropped on interface .*: \d+/(\d+)", said)
        self.dropped = int(m.group(1)) if m else 0

    def fields(self, which, *names):
        """Those fields of every frame that the display filter shows."""
        argv = ["tshark", "-r", self.path, "-T", "fields", "-Y", which,
                "-o", "tcp.reassemble_out_of_order:TRUE",
                "-o", "nvme-tcp.check_hdgst:TRUE",
                "-o", "nvme-tcp.check_ddgst:TRUE"]
        for port in self.ports:
            argv += ["-d", f"tcp.port=={port},{self.protocol}"]
        for name in names:
            argv += ["-e", name]
        r = subprocess.run(argv, capture_output=True, text=True, timeout=600,
                           check=False)
        if r.returncode:
            raise Failed(f"tshark -Y '{which}': {r.stderr[-1000:]}")
        return r.stdout.strip().split("\n") if r.stdout.strip() else []
