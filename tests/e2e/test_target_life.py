# SPDX-License-Identifier: Apache-2.0
"""How mooncake_nof_target starts, takes leave and ends, and what a program says
whose start fails."""
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

NQN = "nqn.2026-11.io.mooncake:life"
HOST = "nqn.2026-11.io.mooncake:host"


class Nvme:
    """Just enough of a host: ICReq, then a Connect of an admin queue."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.s.sendall(struct.pack("<BBBBIHBBI", 0, 0, 128, 0, 128, 0, 0, 0, 0)
                       + bytes(112))
        self.recv(128)

    def recv(self, n):
        out = b""
        while len(out) < n:
            more = self.s.recv(n - len(out))
            if not more:
                raise EOFError
            out += more
        return out

    def connect(self, hostnqn):
        data = (bytes(15) + b"\x01" + struct.pack("<H", 0xffff) + bytes(238) +
                NQN.encode().ljust(256, b"\0") +
                hostnqn.encode().ljust(256, b"\0") + bytes(256))
        sqe = (struct.pack("<BBHI", 0x7f, 0x40, 1, 1) + bytes(16) +
               struct.pack("<QIBBBB", 0, len(data), 0, 0, 0, 1) +
               struct.pack("<HHHBBII", 0, 0, 31, 0, 0, 0, 0) + bytes(8))
        assert len(sqe) == 64
        self.s.sendall(struct.pack("<BBBBI", 4, 0, 72, 72, 72 + len(data)) +
                       sqe + data)
        cqe = self.recv(24)[8:]
        return self.status(cqe)

    @staticmethod
    def status(cqe):
        return struct.unpack("<H", cqe[14:16])[0] >> 1 & 0x7ff

    def keep_alive(self):
        """Sends it and does not wait for the answer."""
        sqe = struct.pack("<BBHI", 0x18, 0x40, 2, 0) + bytes(56)
        self.s.sendall(struct.pack("<BBBBI", 4, 0, 72, 0, 72) + sqe)


def start(cluster, *flags, env=None):
    p = subprocess.Popen(
        [cluster.program("mooncake_nof_target"), "--listen=127.0.0.1:0",
         f"--nqn={NQN}", "--namespace=ram:16m", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(env or {})})
    for line in p.stdout:
        if line.startswith("ready 127.0.0.1:"):
            return p, int(line.rsplit(":", 1)[1])
    pytest.fail("the target did not start")


def end(p):
    if p.poll() is None:
        p.kill()
    return p.communicate(timeout=10)[0]


def test_only_listed_hosts(cluster):
    p, port = start(cluster, f"--host={HOST}")
    try:
        assert Nvme(port).connect(HOST) == 0
        assert Nvme(port).connect(HOST + "2") == 0x184
        p.terminate()
        assert p.wait(timeout=10) == 0
    finally:
        out = end(p)
    assert f"host is not allowed host={HOST}2" in out


def test_hosts_are_sent_away(cluster):
    p, port = start(cluster, "--drain_seconds=30")
    try:
        host = Nvme(port)
        assert host.connect(HOST) == 0
        began = time.monotonic()
        p.terminate()
        with pytest.raises((EOFError, ConnectionError)):
            host.recv(1)
        assert p.wait(timeout=20) == 0  # idle: nothing to wait for
        assert time.monotonic() - began < 20
    finally:
        end(p)


def test_second_signal_ends_at_once(cluster):
    # An answer that does not come would hold up the end for long.
    p, port = start(cluster, "--drain_seconds=600",
                    "--fault=kind=delay,op=admin,ms=60000")
    try:
        host = Nvme(port)
        assert host.connect(HOST) == 0
        host.keep_alive()
        assert Nvme(port).connect(HOST) == 0  # so that it has been read
        p.send_signal(signal.SIGTERM)
        for line in p.stdout:
            if "target stops" in line:
                break
        p.send_signal(signal.SIGTERM)
        assert p.wait(timeout=20) == 1
    finally:
        end(p)


def test_service_manager_is_told(cluster, tmp_path):
    path = str(tmp_path / "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(10)
    p, _ = start(cluster, env={"NOTIFY_SOCKET": path})
    try:
        assert s.recv(64) == b"READY=1"
        p.terminate()
        assert s.recv(64) == b"STOPPING=1"
        assert p.wait(timeout=10) == 0
    finally:
        end(p)
        s.close()


def resident_kib(p):
    with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def test_hundreds_of_hosts_at_once(cluster):
    p, port = start(cluster, "--threads=2")
    try:
        before = resident_kib(p)
        hosts = [Nvme(port) for _ in range(400)]
        assert all(h.connect(HOST) == 0 for h in hosts)
        # A queue of depth 128 takes what its commands need, not 128 slots.
        assert (resident_kib(p) - before) / len(hosts) < 48
        p.terminate()
        assert p.wait(timeout=20) == 0
    finally:
        end(p)


def start_already_stopped(cluster, program, *flags, env=None):
    """Of a start that fails with a SIGTERM on its way: status and output."""
    def stop():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)

    r = subprocess.run([cluster.program(program), *flags], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       preexec_fn=stop, timeout=60, check=False,
                       env={**os.environ, **(env or {})})
    return r.returncode, r.stdout


@pytest.mark.parametrize("backend", ["uring", "epoll"])
@pytest.mark.parametrize("program, flags, said", [
    ("mooncake_master", ["--journal_dir=/dev/null", "--rpc_port=0",
                         "--metrics_port=0"], "/dev/null"),
    ("mooncake_nof_target", ["--listen=127.0.0.1:0",
                             "--namespace=/nowhere/a.img"], "/nowhere"),
    ("mooncake_nof_target", ["--listen=192.0.2.1:4420",
                             "--namespace=ram:16m"], "192.0.2.1"),
])
def test_failed_start_says_why(cluster, program, flags, said, backend):
    """Whatever comes in between."""
    status, out = start_already_stopped(cluster, program, *flags,
                                        env={"MC_IO_BACKEND": backend})
    assert status == 1, out
    assert said in out.splitlines()[-1]
