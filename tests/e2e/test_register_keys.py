# SPDX-License-Identifier: Apache-2.0
"""The key options of mooncake_ssd_register and mooncake_ssd_unregister: with
the right keys namespaces are registered, hold objects and go again; a wrong one
is refused by name; and no key is ever to be seen."""
import glob
import json
import os
import socket
import subprocess
import threading

import pytest

from conftest import FAST, new_store
from keyfiles import Keys

HOST = "nqn.2014-08.org.nvmexpress:uuid:7d1f6a52-5c1e-4c43-9d0b-2f2a9c1e6b01"
NQN = "nqn.2026-11.io.mooncake:ssd"
SIZE = 300_001
# Which keys a host and the target have.
WAYS = {
    "one": ("dhchap_key",),
    "mutual": ("dhchap_key", "dhchap_ctrl_key"),
    "tls": ("tls_key",),
    "tls-mutual": ("tls_key", "dhchap_key", "dhchap_ctrl_key"),
}
REFUSED = {
    "dhchap_key": "refused this host",
    "dhchap_ctrl_key": "did not prove",
    "tls_key": "does not accept the TLS key of this host",
}


def variable(kind):
    return f"MC_NVME_{kind.upper()}_FILE"


class Gate:
    """In front of a target: who comes waits until it is opened."""

    def __init__(self, port):
        self.came, self.is_open = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(port,),
                         daemon=True).start()

    def accept(self, port):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            self.came.set()
            self.is_open.wait(20)
            far = socket.create_connection(("127.0.0.1", port))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=pair,
                                 daemon=True).start()

    @staticmethod
    def copy(src, dst):
        try:
            while data := src.recv(65536):
                dst.sendall(data)
            dst.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class World:
    """A target that asks for keys, and a master that has them.  Who is started
    from here has none, unless use() says so."""

    def __init__(self, cluster, monkeypatch, way):
        self.cluster, self.monkeypatch = cluster, monkeypatch
        self.keys = Keys(cluster, monkeypatch)
        self.kinds = WAYS[way]
        monkeypatch.setenv("MC_NVME_HOSTNQN", HOST)
        self.files = {kind: self.make(kind, "right") for kind in self.kinds}
        self.use(self.files)
        cluster.master(*FAST, "--nof_heartbeat_probe_timeout_ms=20000",
                       f"--journal_dir={cluster.path('journal')}")
        self.use({})
        cluster.target("ssd", "ssd.img:64m", flags=[
            f"--{kind}={HOST}={path}" for kind, path in self.files.items()],
            listen=",tls" if "tls_key" in self.kinds else "")
        self.said = ""

    def make(self, kind, name):
        make = self.keys.make_tls if kind == "tls_key" else self.keys.make
        return make(f"{name}-{kind}")

    def use(self, files):
        for kind in REFUSED:
            self.monkeypatch.delenv(variable(kind), raising=False)
        for kind, path in files.items():
            self.monkeypatch.setenv(variable(kind), path)

    @property
    def port(self):
        return self.cluster.target_ports["ssd"]

    def argv(self, program, files, *args):
        return (program, f"--master={self.cluster.master_addr}",
                *(f"--{kind}_file={path}" for kind, path in files.items()),
                *args)

    def run(self, files, *args, program="mooncake_ssd_register", status=0):
        r = self.cluster.run(*self.argv(program, files, *args))
        self.said += r.stdout + r.stderr
        assert r.returncode == status, r.stdout + r.stderr
        return r.stdout

    def put_and_get(self):
        self.use(self.files)
        store = new_store(self.cluster, replica_num="0", nof_replica_num="1")
        for i in range(8):
            key, value = f"k{i}", os.urandom(SIZE)
            assert store.put(key, value) == 0
            assert store.get(key) == value
        store.close()
        self.use({})

    def check(self):
        """Nothing that anybody can look at has a key."""
        c = self.cluster
        for page in ("/metrics", "/get_segments_detail"):
            self.said += c.admin(page)
        self.said += c.run("mooncakectl", "pool", "list", "--json",
                           f"--master={c.master_addr}").stdout
        for path in glob.glob(c.path("journal/*")):
            with open(path, encoding="latin-1") as f:
                self.said += f.read()
        self.keys.check(self.said)


@pytest.fixture
def world(request, cluster, monkeypatch, capfd):
    w = World(cluster, monkeypatch, request.param)
    yield w
    w.said += "".join(capfd.readouterr())
    w.check()


def command_lines():
    """Of everybody on this machine."""
    text = ""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        except OSError:
            pass  # it has just ended
    return text


@pytest.mark.parametrize("world", WAYS, indirect=True)
def test_registered_by_options(world):
    """What the options name goes before what the environment names."""
    wrong = {kind: world.make(kind, "wrong") for kind in world.kinds}
    gate = Gate(world.port)
    args = world.argv(
        world.cluster.program("mooncake_ssd_register"), world.files,
        f"--discover=127.0.0.1:{gate.port}", "--json")
    with subprocess.Popen(
            args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **{variable(kind): path for kind, path in
                                  wrong.items()}}) as tool:
        assert gate.came.wait(20)
        seen = command_lines()
        assert world.files[world.kinds[0]] in seen  # the tool is there
        gate.is_open.set()
        out, err = tool.communicate(timeout=30)
    world.said += seen + out + err
    assert tool.returncode == 0, out + err
    answer = json.loads(out)
    assert answer["registered"] == 1 and answer["failed"] == 0, out
    assert answer["namespaces"][0]["state"] == "new", out

    # A subsystem that is asked itself for what it has, and once more.
    out = world.run(world.files, f"--endpoint=traddr:127.0.0.1 trsvcid:"
                    f"{world.port} subnqn:{NQN} trtype:TCP")
    assert "Already registered (skipped): 1" in out, out
    world.put_and_get()
    world.cluster.wait_until("the master has looked", lambda: world.cluster
                             .metric("master_nof_heartbeat_success_total") > 0)
    assert world.cluster.metric("master_nof_heartbeat_failure_total") == 0
    out = world.run(world.files, f"--discover=127.0.0.1:{world.port}",
                    program="mooncake_ssd_unregister")
    assert "Successfully unregistered: 1" in out, out
    world.run(world.files, f"--discover=127.0.0.1:{world.port}")
    assert len(world.cluster.segments()) == 1


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("world,kind", [
    (way, kind) for way, kinds in WAYS.items() for kind in kinds],
    indirect=["world"])
def test_wrong_key(world, kind, form):
    """Which host, and why, is said; nothing is registered."""
    files = {**world.files, kind: world.make(kind, "wrong")}
    out = world.run(files, f"--discover=127.0.0.1:{world.port}",
                    *(["--json"] if form == "json" else []), status=1)
    if form == "json":
        answer = json.loads(out)
        assert answer["failed"] == 1 and answer["registered"] == 0, out
        why = answer["namespaces"][0]["message"]
    else:
        assert "Successfully registered: 0" in out and "Failed: 1" in out, out
        why = " ".join(out.split())
    assert HOST in why and REFUSED[kind] in why, out
    assert variable(kind) in why, out
    assert world.cluster.segments() == []
    world.run(world.files, f"--discover=127.0.0.1:{world.port}")
    world.put_and_get()


@pytest.mark.parametrize("world", ["one"], indirect=True)
def test_no_key(world):
    out = world.run({}, f"--discover=127.0.0.1:{world.port}", "--json",
                    status=1)
    why = json.loads(out)["namespaces"][0]["message"]
    assert HOST in why and "asks for authentication" in why, out
    world.run(world.files, f"--discover=127.0.0.1:{world.port}")


@pytest.mark.parametrize("world", ["tls-mutual"], indirect=True)
@pytest.mark.parametrize("kind", REFUSED)
def test_file_that_is_no_key(world, kind):
    """Named before a target is asked, and its text is not shown."""
    bad = world.cluster.path("bad")
    with open(os.open(bad, os.O_CREAT | os.O_WRONLY, 0o600), "w",
              encoding="ascii") as f:
        f.write("swordfish\n")
    for path, mode, word in ((bad, 0o600, "a key reads"),
                             (world.files[kind], 0o644, "chmod 600"),
                             ("/nowhere", None, "No such file")):
        if mode:
            os.chmod(path, mode)
        r = world.cluster.run(*world.argv(
            "mooncake_ssd_register", {**world.files, kind: path},
            f"--discover=127.0.0.1:{world.port}"))
        world.said += r.stdout + r.stderr
        assert r.returncode == 1, r.stdout + r.stderr
        assert word in r.stdout + r.stderr and path in r.stdout + r.stderr, \
            r.stdout + r.stderr
        assert "swordfish" not in r.stdout + r.stderr
    os.chmod(world.files[kind], 0o600)
