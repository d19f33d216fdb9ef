# SPDX-License-Identifier: Apache-2.0
"""Real programs on loopback as captive children: for the demo and the tests.

Every child dies with this process (parent-death signal), has its output in a
log file of its own, and is waited for with a deadline.
"""
import ctypes
import http.client as http_client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def free_port():
    """A port that nobody listened on a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def http(url, method="GET", body=None, timeout=5):
    """(status, bytes) of one request, without any proxy; else OSError."""
    req = urllib.request.Request(url, data=body, method=method)
    try:
        with _no_proxy.open(req, timeout=timeout) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()
    except http_client.HTTPException as e:
        raise ConnectionError(f"{url}: half an answer: {e!r}") from e


class Failed(Exception):
    """A child did not do what it had to; the text holds its last words."""


class Child:
    """One running program."""

    def __init__(self, name, argv, log, env=None, stdin=None):
        self.name, self.argv, self.log, self.env = name, argv, log, env
        # a restarted one writes behind what its predecessor wrote
        self.log_begin = os.path.getsize(log) if os.path.exists(log) else 0
        with open(log, "ab") as out:
            self.proc = subprocess.Popen(
                argv, stdin=stdin or subprocess.DEVNULL, stdout=out,
                stderr=out,
                env={**os.environ, **(env or {})}, start_new_session=True,
                preexec_fn=die_with_parent)

    @property
    def pid(self):
        return self.proc.pid

    def text(self):
        with open(self.log, "rb") as f:
            f.seek(self.log_begin)
            return f.read().decode("utf-8", "replace")

    def is_alive(self):
        return self.proc.poll() is None

    def wait_for(self, ready, timeout=20, what="ready"):
        """Polls ready() until it is true; Failed when the child ends first."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if not self.is_alive():
                raise Failed(f"{self.name} ended with status "
                             f"{self.proc.returncode}:\n{self.text()[-2000:]}")
            if ready():
                return self
            time.sleep(0.02)
        raise Failed(f"{self.name} is not {what} after {timeout} s:\n"
                     f"{self.text()[-2000:]}")

    def kill(self, signo=signal.SIGKILL):
        if self.is_alive():
            self.proc.send_signal(signo)

    def stop(self, timeout=15):
        """SIGTERM, then SIGKILL; the exit status."""
        if self.is_alive():
            self.proc.terminate()
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                self.proc.kill()
        return self.proc.wait()


def can_connect(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False


class Cluster:
    """A folder of its own and the programs that run in it."""

    def __init__(self, build_dir, keep=False):
        self.build_dir = os.path.abspath(build_dir)
        self.dir = tempfile.mkdtemp(prefix="mooncake-")
        self.keep = keep
        self.children = {}
        self.master_port = self.admin_port = None
        self.target_ports = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        for child in reversed(list(self.children.values())):
            child.kill(signal.SIGTERM)
        for child in reversed(list(self.children.values())):
            child.stop(timeout=5)
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def program(self, name):
        return os.path.join(self.build_dir, "src", "cmd", name)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, name, program, *args, env=None, stdin=None):
        """A signal waits until the child is known, so that none is missed."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (
            signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            child = Child(name, [self.program(program), *args],
                          self.path(name + ".log"), env, stdin)
            self.children[name] = child
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return child

    def run(self, program, *args, timeout=30, env=None, stdin=None):
        """Runs a command to its end: CompletedProcess with text output."""
        return subprocess.run([self.program(program), *args], text=True,
                              capture_output=True, timeout=timeout,
                              input=stdin, check=False,
                              stdin=None if stdin else subprocess.DEVNULL,
                              env={**os.environ, **(env or {})})

    # --- the parts of a deployment ---

    def metadata(self):
        port = free_port()
        c = self.start("metadata", "mooncake_http_metadata_server",
                       "--host=127.0.0.1", f"--port={port}")
        c.wait_for(lambda: can_connect(port))
        self.metadata_url = f"http://127.0.0.1:{port}/metadata"
        return c

    def master(self, *flags):
        self.master_port = self.master_port or free_port()
        self.admin_port = self.admin_port or free_port()
        c = self.start("master", "mooncake_master",
                       "--rpc_address=127.0.0.1",
                       f"--rpc_port={self.master_port}",
                       "--metrics_host=127.0.0.1",
                       f"--metrics_port={self.admin_port}", *flags)
        return c.wait_for(lambda: can_connect(self.master_port)
                          and can_connect(self.admin_port))

    @property
    def master_addr(self):
        return f"127.0.0.1:{self.master_port}"

    def target(self, name, *namespaces, nqn=None, flags=(), listen=""):
        """namespaces: specs such as "ram:64m" or "a.img:1g" (in our dir);
        listen: what follows the port, ",tls"."""
        port = self.target_ports.setdefault(name, free_port())
        args = [f"--listen=127.0.0.1:{port}{listen}",
                f"--nqn={nqn or 'nqn.2026-11.io.mooncake:' + name}"]
        for spec in namespaces:
            if not spec.startswith(("ram:", "/")):
                spec = self.path(spec)
            args.append(f"--namespace={spec}")
        c = self.start(name, "mooncake_nof_target", *args, *flags)
        # A port that answers proves nothing: the listener of a program that
        # was killed may live on for some milliseconds.
        return c.wait_for(lambda: f"\nready 127.0.0.1:{port}\n" in
                          "\n" + c.text())

    def register(self, name, *flags):
        port = self.target_ports[name]
        r = self.run("mooncake_ssd_register",
                     f"--master_server_address={self.master_addr}",
                     f"--discover=127.0.0.1:{port}", *flags)
        if r.returncode:
            raise Failed(f"registration of {name}: {r.stdout}{r.stderr}")
        return r

    def store_service(self, segment="256mb", name="service", **more):
        config = {"local_hostname": "127.0.0.1",
                  "metadata_server": getattr(self, "metadata_url",
                                             "P2PHANDSHAKE"),
                  "master_server_address": self.master_addr,
                  "protocol": "tcp", "device_name": "",
                  "global_segment_size": segment, "local_buffer_size": 0,
                  **more}
        path = self.path(name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        port = free_port()
        c = self.start(name, "mooncake_store_service", f"--config={path}",
                       "--host=127.0.0.1", f"--port={port}")
        c.wait_for(lambda: can_connect(port) and http(
            f"http://127.0.0.1:{port}/health")[0] == 200)
        self.rest_url = f"http://127.0.0.1:{port}"
        return c

    # --- looking ---

    def admin(self, path):
        status, body = http(f"http://127.0.0.1:{self.admin_port}{path}")
        if status != 200:
            raise Failed(f"GET {path}: {status} {body[:200]!r}")
        return body.decode()

    def metric(self, name, default=0.0):
        """Sum over the label values of a metric of the master."""
        total, seen = 0.0, False
        for line in self.admin("/metrics").split("\n"):
            if line.startswith((name + " ", name + "{")):
                total += float(line.rsplit(" ", 1)[1])
                seen = True
        return total if seen else default

    def segments(self):
        r = self.run("mooncakectl", f"--master={self.master_addr}",
                     "--json", "segments")
        if r.returncode:
            raise Failed(f"mooncakectl segments: {r.stderr}")
        return json.loads(r.stdout)

    def wait_until(self, what, check, timeout=20):
        end = time.monotonic() + timeout
        while not check():
            if time.monotonic() > end:
                raise Failed(f"{what}: not after {timeout} s")
            time.sleep(0.05)
