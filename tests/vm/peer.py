# SPDX-License-Identifier: Apache-2.0
"""A Linux kernel as NVMe/TCP peer: a VM of ./vm, and scripts run in it."""
import os
import re
import shutil
import signal
import subprocess
import time

VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm")

# What every guest script can use.  Its output is cut into parts: "== name"
# begins one; parse() below takes it apart again.
PRELUDE = r"""
set -euo pipefail
part() { echo "== $1"; }
# join PORT NQN [OPTION...]: connects to a target on the host's loopback; a lost
# one is tried again every second (-c), and given up after a minute (-l)
join() {
	modprobe nvme-tcp
	nvme connect -t tcp -a 127.0.0.1 -s "$1" -n "$2" -c 1 -l 60 "${@:3}"
}
leave() { nvme disconnect -n "$1"; }
# verify DEVICE BLOCK SIZE MODE: fio writes, then reads back what it wrote
verify() {
	fio --name=v --filename="$1" --bs="$2" --size="$3" --rw="$4" --direct=1 \
		--ioengine=libaio --iodepth=8 --verify=crc32c --do_verify=1 \
		--verify_fatal=1 --randseed=1 --minimal >/tmp/fio.out 2>&1 || {
		echo "fio $* failed:"
		cat /tmp/fio.out
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

# Words of the kernel that mean that the peer, or the kernel, went wrong.
COMPLAINT = re.compile(
    r"(?i:nvme.*(error|fail|invalid|timeout|unsupported|mismatch|bad |"
    r"unexpected|reset|reconnect|I/O Cmd|protocol|reject|missing|bogus))"
    r"|blk_update_request|I/O error|BUG:|WARNING:|Call Trace")

# What nvmet says when a host closes a connection before it was served, as ours
# does when a probe misses its deadline on a busy machine.
GAVE_UP = re.compile(r"nvmet_tcp: failed (to allocate queue, error -107"
                     r"|cmd \S+ id \d+ opcode 2, data_len: 4096)")


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
        self.name = name
        # it ends by itself should we be killed
        text = call("start", "--name", name, "--suite", suite, "--lifetime",
                    "1800", *options, timeout=600)
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

    def complaints(self):
        """Lines of the kernel's log since the last call that look wrong."""
        text = self.command("dmesg", "--read-clear")
        return [line for line in text.split("\n")
                if COMPLAINT.search(line) and not GAVE_UP.search(line)]


class Capture:
    """What goes over a port of the loopback, as tshark understands it."""

    def __init__(self, path, port):
        self.path, self.port, self.dropped = path, port, 0

    @staticmethod
    def why_not():
        """The reason why nothing can be captured here, or None."""
        if not shutil.which("tshark") or not shutil.which("dumpcap"):
            return "tshark is not installed"
        r = subprocess.run(["dumpcap", "-i", "lo", "-a", "duration:1", "-w",
                            "/dev/null"], capture_output=True, timeout=30,
                           check=False)
        return "no right to capture on lo" if r.returncode else None

    def __enter__(self):
        self.proc = subprocess.Popen(
            ["dumpcap", "-q", "-i", "lo", "-B", "128", "-f",
             f"tcp port {self.port}", "-w", self.path],
            stderr=subprocess.PIPE, text=True)
        time.sleep(2)  # it says that it captures before it does
        return self

    def __exit__(self, *exc):
        time.sleep(1)
        self.proc.send_signal(signal.SIGINT)
        said = self.proc.communicate(timeout=30)[1]
        m = re.search(r"received/dropped on interface .*: \d+/(\d+)", said)
        self.dropped = int(m.group(1)) if m else 0

    def fields(self, which, *names):
        """Those fields of every frame that the display filter shows."""
        argv = ["tshark", "-r", self.path, "-d",
                f"tcp.port=={self.port},nvme-tcp", "-T", "fields",
                "-o", "nvme-tcp.check_hdgst:TRUE",
                "-o", "nvme-tcp.check_ddgst:TRUE", "-Y", which]
        for name in names:
            argv += ["-e", name]
        r = subprocess.run(argv, capture_output=True, text=True, timeout=300,
                           check=False)
        if r.returncode:
            raise Failed(f"tshark -Y '{which}': {r.stderr[-1000:]}")
        return r.stdout.strip().split("\n") if r.stdout.strip() else []
