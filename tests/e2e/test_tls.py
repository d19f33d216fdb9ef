# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP over TLS with the real programs: a store on a target with TLS, and
what is said when the two ends don't fit."""
import os
import signal
import socket
import threading

import pytest
from cluster import free_port
from conftest import FAST, new_store
from jsonrpc import start

MAGIC = b"words that must not be seen on the wire "


@pytest.fixture
def key(cluster, monkeypatch):
    """A file with the cluster's key, in everybody's environment."""
    path = cluster.path("tls.key")
    r = cluster.run("mooncakectl", "gen-tls-key", f"--output={path}",
                    "--hash=sha384")
    assert r.returncode == 0, r.stderr
    assert os.stat(path).st_mode & 0o777 == 0o600
    monkeypatch.setenv("MC_NVME_TLS_KEY_FILE", path)
    return path


def other_key(cluster, name):
    path = cluster.path(name)
    r = cluster.run("mooncakectl", "gen-tls-key", f"--output={path}",
                    "--hash=sha384")
    assert r.returncode == 0, r.stderr
    return path


class Tap:
    """Passes bytes on to a port, and looks at them."""

    def __init__(self, to):
        self.to = to
        self.seen = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a = self.listener.accept()[0]
            except OSError:
                return
            b = socket.create_connection(("127.0.0.1", self.to))
            for pair in ((a, b), (b, a)):
                threading.Thread(target=self.pump, args=pair,
                                 daemon=True).start()

    def pump(self, a, b):
        try:
            while data := a.recv(1 << 16):
                self.seen += data
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def register(cluster, port, nqn):
    return cluster.run(
        "mooncake_ssd_register",
        f"--master_server_address={cluster.master_addr}",
        f"--endpoint=traddr:127.0.0.1 trsvcid:{port} subnqn:{nqn} "
        "trtype:TCP adrfam:IPv4 ns:1")


def register_code(cluster, port, nqn):
    r = register(cluster, port, nqn)
    return r.returncode, r.stdout + r.stderr


def discover(cluster, port, env=None):
    """Registers what the target's discovery service names: the program asks it
    itself."""
    r = cluster.run("mooncake_ssd_register",
                    f"--master_server_address={cluster.master_addr}",
                    f"--discover=127.0.0.1:{port}", env=env)
    return r.returncode, r.stdout + r.stderr


def test_store_over_tls(cluster, key):
    cluster.target("ssd", "ram:192m", listen=",tls",
                   flags=(f"--tls_key=*={key}",))
    cluster.master(*FAST)
    tap = Tap(cluster.target_ports["ssd"])
    r = register(cluster, tap.port, "nqn.2026-11.io.mooncake:ssd")
    assert r.returncode == 0, r.stdout + r.stderr
    store = new_store(cluster)
    values = {f"k{i}": MAGIC * (30000 * (i + 1)) + bytes([i])
              for i in range(4)}
    for k, v in values.items():
        assert store.put(k, v) == 0
    for k, v in values.items():
        assert store.get(k) == v
    store.close()
    assert len(tap.seen) > sum(len(v) for v in values.values())
    assert MAGIC not in tap.seen
    assert tap.seen[0] == 22  # a handshake record, from the first byte on


def test_discovery_and_memory_over_tls(cluster, key):
    """Registration by discovery, and a memory segment, which has TLS too."""
    cluster.target("ssd", "ram:64m", listen=",tls",
                   flags=(f"--tls_key=*={key}",))
    cluster.master(*FAST)
    cluster.register("ssd")
    cluster.store_service("64mb")
    store = new_store(cluster)
    assert store.put("k", MAGIC * 1000) == 0
    assert store.get("k") == MAGIC * 1000
    store.close()


def test_without_a_key(cluster, key):
    """A host that has none is refused, and told what to do; so is the other
    way round: neither end goes on in the clear."""
    cluster.target("ssd", "ram:64m", listen=",tls",
                   flags=(f"--tls_key=*={key}",))
    cluster.target("plain", "ram:64m")
    cluster.master(*FAST)
    code, text = discover(cluster, cluster.target_ports["ssd"],
                          {"MC_NVME_TLS": "0"})
    assert code and "wants TLS: set MC_NVME_TLS_KEY_FILE" in text
    target = cluster.children["ssd"]
    target.wait_for(lambda: "does not speak TLS 1.3" in target.text())
    code, text = discover(cluster, cluster.target_ports["plain"])
    assert code and "is this a port with TLS?" in text


def test_wrong_key(cluster, key):
    cluster.target("ssd", "ram:64m", listen=",tls",
                   flags=(f"--tls_key=*={key}",))
    cluster.master(*FAST)
    port = cluster.target_ports["ssd"]
    wrong = {"MC_NVME_TLS_KEY_FILE": other_key(cluster, "wrong.key")}
    code, text = discover(cluster, port, wrong)
    assert code and "does not accept the TLS key" in text
    # The new key counts when the file has been read again.
    os.replace(wrong["MC_NVME_TLS_KEY_FILE"], key)
    assert discover(cluster, port)[0]
    target = cluster.children["ssd"]
    target.kill(signal.SIGHUP)
    target.wait_for(lambda: "key files read again" in target.text())
    cluster.children["master"].stop()  # it has read the old one
    cluster.master(*FAST)
    code, text = discover(cluster, port)
    assert code == 0, text


def test_set_up_sentences(cluster, key):
    """What is wrong is named before anything listens or connects."""
    target = "mooncake_nof_target", "--namespace=ram:16m"
    r = cluster.run(*target, "--listen=127.0.0.1:0,tls")
    assert r.returncode and "give --tls_key HOSTNQN=FILE" in r.stderr
    r = cluster.run(*target, "--listen=127.0.0.1:0,ssl",
                    f"--tls_key=*={key}")
    assert r.returncode and "after the comma only tls is known" in r.stderr
    cluster.master(*FAST)
    os.chmod(key, 0o644)
    r = cluster.run(*target, "--listen=127.0.0.1:0,tls",
                    f"--tls_key=*={key}")
    assert r.returncode and "chmod 600 it" in r.stderr
    for env, words in (({}, "chmod 600 it"),
                       ({"MC_NVME_TLS_KEY_FILE": ""},
                        "set MC_NVME_TLS_KEY_FILE to a file"),
                       ({"MC_NVME_TLS": "maybe"}, "not 0, 1 or required"),
                       ({"MC_NVME_TLS_IDENTITY": "2"}, "0-compat")):
        code, text = discover(cluster, 4420,
                              {"MC_NVME_TLS": "required", **env})
        assert code and words in text, text


def test_by_calls(cluster, key, monkeypatch):
    """Key, host and listener by JSON-RPC; the same after a restart; another
    host of the same pool has no key there and stays out."""
    nqn, host = "nqn.2016-06.io.spdk:tls", "nqn.2014-08.org.example:host"
    port, state = free_port(), cluster.path("state.json")
    child, rpc = start(cluster, "nof", f"--state={state}")
    rpc.call("nvmf_create_transport", trtype="TCP")
    rpc.call("keyring_file_add_key", name="psk", path=key)
    rpc.call("bdev_malloc_create", name="M", num_blocks=16384,
             block_size=4096)
    rpc.call("nvmf_create_subsystem", nqn=nqn)
    rpc.call("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": "M"})
    rpc.call("nvmf_subsystem_add_host", nqn=nqn, host=host, psk="psk")
    rpc.call("nvmf_subsystem_add_listener", nqn=nqn, secure_channel=True,
             listen_address={"trtype": "TCP", "traddr": "127.0.0.1",
                             "trsvcid": str(port)})
    before = rpc.call("nvmf_get_subsystems")
    child.kill()
    child.proc.wait()
    child, rpc = start(cluster, "nof", f"--state={state}")
    assert rpc.call("nvmf_get_subsystems") == before
    with open(state, encoding="utf-8") as f:
        assert "NVMeTLSkey" not in f.read()
    monkeypatch.setenv("MC_NVME_HOSTNQN", "nqn.2014-08.org.example:other")
    cluster.master(*FAST)
    code, text = register_code(cluster, port, nqn)
    assert code and "does not accept the TLS key" in text, text
    cluster.children["master"].stop()
    monkeypatch.setenv("MC_NVME_HOSTNQN", host)
    cluster.master(*FAST)
    code, text = register_code(cluster, port, nqn)
    assert code == 0, text
    assert rpc.call("nvmf_subsystem_remove_host", nqn=nqn, host=host) is True
    assert rpc.call("keyring_file_remove_key", name="psk") is True
    assert child.stop() == 0
