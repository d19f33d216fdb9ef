# SPDX-License-Identifier: Apache-2.0
"""Bad input to real programs: a clear sentence, the right status, no hang."""
import json
import socket
import subprocess
import time

import pytest

from cluster import free_port, http
from conftest import FAST, new_store

PROGRAMS = ["mooncake_master", "mooncake_nof_target", "mooncakectl",
            "mooncake_http_metadata_server", "mooncake_store_service",
            "mooncake_ssd_register", "mooncake_ssd_unregister"]


def refused(r, *words):
    """It ended with an error that says all of these words."""
    assert r.returncode not in (0, 139, 134), r.stderr
    for word in words:
        assert str(word) in r.stderr + r.stdout, (word, r.stderr, r.stdout)
    assert "Sanitizer" not in r.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version(cluster, program):
    r = cluster.run(program, "--help")
    assert r.returncode == 0 and program in r.stdout
    assert "Usage" in r.stdout or "usage" in r.stdout
    assert max(map(len, r.stdout.split("\n"))) <= 100
    assert cluster.run(program, "--version").returncode == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_flag(cluster, program):
    refused(cluster.run(program, "--no_such_flag=1"), "no_such_flag",
            "--help")


@pytest.mark.parametrize("program,flag", [
    ("mooncake_master", "--eviction_high_watermark_ratio=1.5"),
    ("mooncake_master", "--rpc_port=70000"),
    ("mooncake_master", "--default_kv_lease_ttl=soon"),
    ("mooncake_nof_target", "--listen=nowhere:x"),
    ("mooncake_nof_target", "--namespace=ram:0"),
    ("mooncake_nof_target", "--namespace=ram:lots"),
    ("mooncake_http_metadata_server", "--port=-1")])
def test_bad_value(cluster, program, flag):
    refused(cluster.run(program, flag), flag.split("=")[1])


@pytest.mark.parametrize("text,words", [
    ('{"rpc_port": 1,\n  "oops"}', (":2:",)),
    ('{"no_such_key": 1}', ("no_such_key",)),
    ('{"eviction_ratio": "much"}', ("eviction_ratio", "much")),
    ('[1]', ("bad.json",))])
def test_bad_master_json(cluster, text, words):
    path = cluster.path("bad.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    refused(cluster.run("mooncake_master", f"--config_path={path}"),
            "bad.json", *words)


def test_bad_yaml_and_missing_file(cluster):
    path = cluster.path("bad.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write("rpc_port: 1\n eviction_ratio: [\n")
    refused(cluster.run("mooncake_master", f"--config_path={path}"),
            "bad.yaml:")
    refused(cluster.run("mooncake_master", "--config_path=/no/such.json"),
            "/no/such.json")


@pytest.mark.parametrize("text,words", [
    ('{"local_hostname": }', (":1:",)),
    ('{"local_hostname": "h", "metadata_server": "x"}',
     ("master_server_address",)),
    ('{"local_hostname": "h", "metadata_server": "x", '
     '"master_server_address": "127.0.0.1:1", '
     '"global_segment_size": "50%"}', ("global_segment_size",))])
def test_bad_service_json(cluster, text, words):
    path = cluster.path("svc.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    refused(cluster.run("mooncake_store_service", f"--config={path}",
                        "--max-wait-time=1", f"--port={free_port()}"),
            *words)


@pytest.mark.parametrize("program,flags", [
    ("mooncake_master", "--rpc_address=127.0.0.1 --rpc_port={} "
     "--metrics_port=0"),
    ("mooncake_master", "--rpc_address=127.0.0.1 --rpc_port=0 --port={} "
     "--metrics_port=0"),
    ("mooncake_nof_target", "--listen=127.0.0.1:{} --namespace=ram:16m"),
    ("mooncake_http_metadata_server", "--host=127.0.0.1 --port={}")])
def test_port_in_use(cluster, program, flags):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        refused(cluster.run(program, *flags.format(port).split()), port,
                "in use")


def test_master_not_there(cluster):
    port = free_port()
    addr = f"127.0.0.1:{port}"
    t = time.monotonic()
    refused(cluster.run("mooncakectl", f"--master={addr}", "status"), addr)
    refused(cluster.run("mooncake_ssd_register",
                        f"--master_server_address={addr}",
                        "--endpoint=traddr:127.0.0.1 trsvcid:1 "
                        "subnqn:nqn.2026-11.io.x:y trtype:TCP ns:1"), addr)
    from mooncake.store import MooncakeDistributedStore
    store = MooncakeDistributedStore()
    assert store.setup("127.0.0.1", "x", 0, 0, "tcp", "", addr) in (-900,
                                                                    -901)
    assert addr in store.setup_error()
    assert time.monotonic() - t < 60


def register(cluster, endpoint, *more):
    return cluster.run("mooncake_ssd_register",
                       f"--master_server_address={cluster.master_addr}",
                       f"--endpoint={endpoint}", *more)


def test_bad_endpoints(cluster):
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m", "ram:64m", nqn="nqn.2026-11.io.t:a")
    port = cluster.target_ports["ssd"]
    ep = "traddr:127.0.0.1 trsvcid:{} subnqn:{} trtype:TCP adrfam:IPv4 ns:{}"
    nqn = "nqn.2026-11.io.t:a"
    t = time.monotonic()
    refused(register(cluster, ep.format(free_port(), nqn, 1)), "refused")
    refused(register(cluster, ep.format(port, "nqn.2026-11.io.t:no", 1)),
            "nqn.2026-11.io.t:no")
    refused(register(cluster, ep.format(port, nqn, 7)), "7", nqn)
    refused(register(cluster, ep.format(port, "not-an-nqn", 1)),
            "not-an-nqn")
    refused(register(cluster, ep.format("99999", nqn, 1)), "99999")
    refused(register(cluster, f"trsvcid:{port} ns:1"), "traddr")
    refused(register(cluster, ep.format(port, nqn, "x")), "x")
    refused(register(cluster, f"traddr:127.0.0.1 trsvcid:{port} subnqn:{nqn} "
                     "trtype:RDMA ns:1"), "RDMA")
    assert time.monotonic() - t < 60
    assert register(cluster, ep.format(port, nqn, 1)).returncode == 0
    r = register(cluster, ep.format(port, nqn, 1))
    assert r.returncode == 0 and "lready" in r.stdout
    assert len(cluster.segments()) == 1


def test_blackhole_endpoint_ends_in_time(cluster):
    """Somebody listens and never answers."""
    cluster.master(*FAST)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        t = time.monotonic()
        refused(register(cluster, "traddr:127.0.0.1 trsvcid:"
                         f"{s.getsockname()[1]} subnqn:nqn.2026-11.io.t:a "
                         "trtype:TCP ns:1"))
        assert time.monotonic() - t < 30


def disk_with(cluster, name, *command):
    path = cluster.path(name)
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run([a.format(path) for a in command], check=True,
                   input=b"label: gpt\n,,\n" if "sfdisk" in command[0]
                   else None, capture_output=True)
    return path


@pytest.mark.parametrize("name,command,word", [
    ("gpt.img", ("/usr/sbin/sfdisk", "{}"), "partition table"),
    ("ext4.img", ("/usr/sbin/mkfs.ext4", "-q", "-F", "{}"), "ext"),
    ("swap.img", ("/usr/sbin/mkswap", "{}"), "swap"),
    ("text.img", ("sh", "-c", "echo hello | dd of={} conv=notrunc"),
     "unknown")])
def test_foreign_disks_are_refused(cluster, name, command, word):
    cluster.master(*FAST)
    path = disk_with(cluster, name, *command)
    cluster.target("ssd", path)
    port = cluster.target_ports["ssd"]
    with open(path, "rb") as f:
        before = f.read(1 << 20)
    args = (f"--master_server_address={cluster.master_addr}",
            f"--discover=127.0.0.1:{port}")
    refused(cluster.run("mooncake_ssd_register", *args), word, "--force")
    with open(path, "rb") as f:
        assert f.read(1 << 20) == before
    r = cluster.run("mooncake_ssd_register", *args, "--force")
    assert r.returncode == 0, r.stderr + r.stdout


def test_f20_full_pool_says_so(cluster):
    cluster.master("--default_kv_lease_ttl=60000")
    cluster.target("ssd", "ram:32m")
    cluster.register("ssd")
    store = new_store(cluster)
    t = time.monotonic()
    assert store.put("too-big", bytes(1 << 30)) == -200
    keys = []
    for i in range(64):
        if store.put(f"pin{i}", bytes(1 << 20)):
            break
        store.is_exist(f"pin{i}")  # a lease: can't be evicted
        keys.append(i)
    assert 8 <= len(keys) < 40
    assert store.put("one-more", bytes(1 << 20)) == -200
    assert time.monotonic() - t < 30
    assert store.get("pin0") == bytes(1 << 20)
    store.close()


def test_one_gib_object(cluster):
    cluster.master()
    cluster.target("ssd", "ram:1200m")
    cluster.register("ssd")
    store = new_store(cluster)
    value = bytes(range(256)) * (1 << 22)
    assert store.put("giant", value) == 0
    assert store.get("giant") == value
    store.close()


def test_garbage_on_every_port(cluster):
    """Random bytes to each server: they stay up and serve others."""
    cluster.metadata()
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    cluster.register("ssd")
    cluster.store_service("16mb")
    ports = [cluster.master_port, cluster.admin_port,
             cluster.target_ports["ssd"],
             int(cluster.rest_url.rsplit(":", 1)[1])]
    for port in ports:
        for junk in (b"\0" * 200, b"\xff" * 5000, b"GET / HTTP/9\r\n\r\n",
                     bytes(range(256)) * 20):
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.settimeout(0.3)
                try:
                    s.sendall(junk)
                    s.recv(1000)
                except OSError:
                    pass
    for child in cluster.children.values():
        assert child.is_alive(), child.text()[-2000:]
    store = new_store(cluster)
    assert store.put("after", b"fine") == 0 and store.get("after") == b"fine"
    store.close()


def test_bad_rest_requests(cluster):
    cluster.master()
    cluster.store_service("16mb")
    url = cluster.rest_url

    def call(method, path, body=None):
        return http(url + path, method, body)
    assert call("PUT", "/api/put", b'{"key": "a"}')[0] == 400
    assert call("PUT", "/api/put", b'{"key": ')[0] == 400
    assert call("GET", "/api/get/none")[0] == 404
    assert call("DELETE", "/api/remove/none")[0] == 500
    assert call("GET", "/no/such")[0] == 404
    assert call("DELETE", "/api/put")[0] == 405
    body = json.dumps({"key": "a/b c", "value": "v"}).encode()
    assert call("PUT", "/api/put", body)[0] == 200
    assert call("GET", "/api/get/a%2Fb%20c") == (200, b"v")
    status, text = call("GET", "/api/exist/a%2Fb%20c")
    assert status == 200 and json.loads(text) == {"exists": True}
