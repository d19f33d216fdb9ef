# SPDX-License-Identifier: Apache-2.0
"""Operators' commands against a real cluster, and what the admin pages say."""
import itertools
import json
import socket
import threading

import pytest

from cluster import http
from conftest import FAST, new_store


@pytest.fixture(scope="module")
def up(request):
    from cluster import Cluster
    from conftest import BUILD
    with Cluster(BUILD) as c:
        c.metadata()
        c.master(*FAST)
        c.target("ssd", "ram:64m", "ram:64m")
        c.register("ssd")
        c.store_service("32mb")
        yield c


def ctl(c, *args, **kw):
    return c.run("mooncakectl", f"--master={c.master_addr}", *args, **kw)


def test_status_and_segments(up):
    r = ctl(up, "status")
    assert r.returncode == 0, r.stderr
    r = ctl(up, "segments")
    assert r.returncode == 0 and "nqn." in r.stdout
    rows = up.segments()
    assert len(rows) == 3
    assert {s["kind"].lower() for s in rows} == {"memory", "nof_ssd"} or \
        {s["kind"].lower() for s in rows} == {"memory", "nof"}


def test_put_get_ls_rm(up, tmp_path):
    src = tmp_path / "src"
    src.write_bytes(b"some bytes\n" * 100_000)
    out = tmp_path / "out"
    assert ctl(up, "put", "tool/key", str(src)).returncode == 0
    r = ctl(up, "ls", "tool/")
    assert r.returncode == 0 and "tool/key" in r.stdout
    r = ctl(up, "--json", "ls", "tool/")
    assert json.loads(r.stdout)
    assert ctl(up, "get", "tool/key", "-o", str(out)).returncode == 0
    assert out.read_bytes() == src.read_bytes()
    r = ctl(up, "get", "tool/absent")
    assert r.returncode != 0 and "tool/absent" in r.stderr
    assert ctl(up, "rm", "--force", "tool/key").returncode == 0
    assert ctl(up, "rm", "tool/key").returncode != 0


def test_put_without_a_place(up, tmp_path):
    src = tmp_path / "src"
    src.write_bytes(b"x")
    r = ctl(up, "put", "none", str(src), "--replica_num=0",
            "--nof_replica_num=0")
    assert r.returncode == 1 and "nowhere to store it" in r.stderr
    r = ctl(up, "put", "three", str(src), "--replica_num=0",
            "--nof_replica_num=3")
    assert r.returncode == 1 and "mooncakectl segments" in r.stderr


def test_tables_fit_a_terminal(up):
    """80 columns, but for names that are longer by themselves."""
    for args in (("status",), ("segments",), ("ls",)):
        for line in ctl(up, *args).stdout.split("\n"):
            assert len(line) <= 80, line


def test_unknown_command(up):
    r = ctl(up, "explode")
    assert r.returncode != 0 and "explode" in r.stderr
    assert ctl(up).returncode != 0


def test_admin_pages(up):
    health = json.loads(up.admin("/health"))
    assert health["status"] == "ok"
    assert json.loads(up.admin("/leader")) == {
        "present": True, "leader_address": up.master_addr, "view_version": 0}
    assert json.loads(up.admin("/kv_events/status"))["enabled"] is False
    store = new_store(up)
    assert store.put("admin-key", b"v" * 10_000) == 0
    assert store.get("admin-key")
    assert "admin-key" in up.admin("/get_all_keys").split("\n")
    names = up.admin("/get_all_segments").split("\n")
    assert sum(1 for n in names if "subnqn:" in n) == 2
    text = up.admin("/metrics")
    for name in ("master_key_count", "master_total_capacity_bytes",
                 "master_total_nof_capacity_bytes",
                 "master_put_start_requests_total",
                 "nof_segment_total_capacity_bytes"):
        assert name in text or name.replace("put_start", "batch_put_start") \
            in text, name
    assert up.metric("master_total_nof_capacity_bytes") > 100 << 20
    assert "NVMe-oF SSD" in up.admin("/metrics/summary")
    store.remove("admin-key", True)
    store.close()


def test_metadata_server(up):
    url = up.metadata_url
    assert http(url + "?key=a%2Fb", "PUT", b"one")[0] == 200
    assert http(url + "?key=a%2Fb") == (200, b"one")
    assert http(url + "?key=a%2Fb", "DELETE")[0] == 200
    status, body = http(url + "?key=a%2Fb")
    assert (status, body.strip()) == (404, b"metadata not found")
    rpc = url + "?key=mooncake%2Frpc_meta%2Fh"
    assert http(rpc, "PUT", b"x")[0] == 200
    assert http(rpc, "PUT", b"x")[0] == 200
    assert http(rpc, "PUT", b"y")[0] == 400
    assert http(url)[0] == 400
    assert http(url + "?key=k", "POST", b"")[0] == 405


def test_metadata_inside_the_master(cluster):
    from cluster import free_port
    port = free_port()
    cluster.master("--enable_http_metadata_server=true",
                   "--http_metadata_server_host=127.0.0.1",
                   f"--http_metadata_server_port={port}")
    url = f"http://127.0.0.1:{port}/metadata?key=k"
    assert http(url, "PUT", b"v")[0] == 200
    assert http(url) == (200, b"v")


def test_unregister(cluster):
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m", "ram:64m")
    cluster.register("ssd")
    port = cluster.target_ports["ssd"]
    nqn = "nqn.2026-11.io.mooncake:ssd"
    ep = (f"traddr:127.0.0.1 trsvcid:{port} subnqn:{nqn} trtype:TCP "
          "adrfam:IPv4 ns:{}")
    addr = f"--master_server_address={cluster.master_addr}"
    r = cluster.run("mooncake_ssd_unregister", addr,
                    "--endpoint=" + ep.format(1))
    assert r.returncode == 0, r.stderr + r.stdout
    assert len(cluster.segments()) == 1
    r = cluster.run("mooncake_ssd_unregister", addr,
                    "--endpoint=" + ep.format(1))
    assert r.returncode != 0
    r = cluster.run("mooncake_ssd_unregister", addr,
                    f"--discover=127.0.0.1:{port}")
    assert not cluster.segments(), r.stdout + r.stderr
    # and in again: our own superblock is welcome
    cluster.register("ssd")
    assert len(cluster.segments()) == 2


def register_at(c, port):
    return c.run("mooncake_ssd_register",
                 f"--master_server_address={c.master_addr}",
                 f"--endpoint=traddr:127.0.0.1 trsvcid:{port} "
                 "subnqn:nqn.2026-11.io.mooncake:ssd trtype:TCP ns:1")


def test_same_namespace_by_another_address(cluster):
    """A second listener is another path of the same segment."""
    from cluster import free_port
    cluster.master(*FAST)
    port = free_port()
    cluster.target("ssd", "ram:64m", flags=(f"--listen=127.0.0.1:{port}",))
    for p in (cluster.target_ports["ssd"], port):
        r = register_at(cluster, p)
        assert r.returncode == 0, r.stdout + r.stderr
    assert len(cluster.segments()) == 1


class SlowAnswer:
    """In front of a target; holds back the end of a probe, which reads more
    than the first MiB of the disk."""

    def __init__(self, port):
        self.held = threading.Event()
        self.released = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(port,),
                         daemon=True).start()

    def accept(self, port):
        # The first connection is the controller's, the second its queue's;
        # once released they pass as they come.
        for i in itertools.count():
            near = self.listener.accept()[0]
            far = socket.create_connection(("127.0.0.1", port))
            for args in ((near, far, False), (far, near, i == 1)):
                threading.Thread(target=self.copy, args=args,
                                 daemon=True).start()

    def copy(self, src, dst, is_slow):
        seen = 0
        try:
            while data := src.recv(65536):
                seen += len(data)
                if is_slow and seen >= 1 << 20:
                    self.held.set()
                    self.released.wait(10)
                dst.sendall(data)
            dst.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_registered_while_it_is_being_registered(cluster):
    """The second one has read an empty disk when the first one labels it."""
    cluster.master(*FAST)
    cluster.target("ssd", "ram:64m")
    port = cluster.target_ports["ssd"]
    slow = SlowAnswer(port)
    late = []
    thread = threading.Thread(
        target=lambda: late.append(register_at(cluster, slow.port)))
    thread.start()
    assert slow.held.wait(10)
    r = register_at(cluster, port)
    slow.released.set()
    thread.join(20)
    assert r.returncode == 0, r.stdout + r.stderr
    assert late[0].returncode == 0, late[0].stdout + late[0].stderr
    assert "lready" in late[0].stdout
    assert len(cluster.segments()) == 1


def test_python_modules_are_the_programs(up):
    import os
    import subprocess
    import sys
    env = {**os.environ, "MOONCAKE_BIN_DIR": os.path.dirname(
        up.program("mooncakectl"))}
    from conftest import BUILD
    env["PYTHONPATH"] = os.path.join(BUILD, "python", "pkg")
    for module in ("http_metadata_server", "mooncake_store_service",
                   "mooncake_ssd_register", "mooncake_ssd_unregister"):
        r = subprocess.run([sys.executable, "-m", "mooncake." + module,
                            "--help"], env=env, capture_output=True,
                           text=True, check=False)
        assert r.returncode == 0 and "--" in r.stdout
