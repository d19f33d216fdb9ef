# SPDX-License-Identifier: Apache-2.0
"""mooncakectl doctor on this host and on a real cluster: a healthy one, then
each thing that goes wrong gives its finding, with advice and exit status."""
import json
import os
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from conftest import FAST
from frames import HEAD, read_all

NO_PROXY = {name: "" for base in ("http_proxy", "https_proxy", "all_proxy",
                                  "no_proxy") for name in (base, base.upper())}


@pytest.fixture(scope="module")
def up():
    from cluster import Cluster
    from conftest import BUILD
    with Cluster(BUILD) as c:
        c.master(*FAST)
        c.target("ssd", "ram:64m", "ram:64m")
        c.register("ssd")
        c.store_service("32mb")
        yield c


def doctor(c, *args, env=None, **kw):
    return c.run("mooncakectl", "doctor", *args, env={**NO_PROXY, **(env or {})},
                 **kw)


def whole(c, *args, env=None):
    """(exit status, findings) with the master."""
    r = doctor(c, "--json", f"--master={c.master_addr}",
               f"--admin=127.0.0.1:{c.admin_port}", *args, env=env)
    return r.returncode, json.loads(r.stdout)["findings"]


def of(findings, check, *results):
    return [f for f in findings if f["check"] == check and
            (not results or f["result"] in results)]


def bad(findings):
    return [f for f in findings if f["result"] in ("WARN", "FAIL")]


def test_healthy_cluster(up):
    status, findings = whole(up)
    # what this machine is like is not the cluster's fault
    mine = [f for f in bad(findings) if f["check"] in (
        "master", "master admin", "segments", "target", "limits",
        "superblock", "paths", "environment", "keys", "configuration",
        "proxies")]
    assert mine == []
    assert status == 0, bad(findings)
    assert len(of(findings, "target", "OK")) == 3  # 2 disks, 1 memory
    assert len(of(findings, "superblock", "OK")) == 2
    assert any("as of the master" in f["text"]
               for f in of(findings, "superblock"))
    assert of(findings, "segments")[0]["text"] == "all 3 online"
    assert of(findings, "MTU", "OK")
    assert {f["text"] for f in of(findings, "master admin")} == {
        "healthy", "as here"}


def test_table_for_people(up):
    r = doctor(up, f"--master={up.master_addr}",
               f"--admin=127.0.0.1:{up.admin_port}")
    assert r.returncode == 0, r.stdout + r.stderr
    lines = r.stdout.split("\n")
    assert lines[0].split() == ["RESULT", "CHECK", "FINDING"]
    at = lines[0].index("FINDING")
    rows = [x for x in lines[1:] if x[:4].strip() in (
        "OK", "NOTE", "WARN", "FAIL")]
    assert len(rows) > 20 and all(x[at - 1] == " " and x[at] != " "
                                  for x in rows)
    assert lines[-2].endswith("0 failures")


def test_endpoint_and_discovery(up):
    port = up.target_ports["ssd"]
    r = doctor(up, "--json", f"--discover=127.0.0.1:{port}",
               "--endpoint=traddr:127.0.0.1 trsvcid:%d "
               "subnqn:nqn.2026-11.io.mooncake:ssd ns:1" % port)
    findings = json.loads(r.stdout)["findings"]
    assert r.returncode == 0
    assert len(of(findings, "superblock", "OK")) == 2  # ns 1 only once
    assert any("not compared" in f["text"]
               for f in of(findings, "superblock"))


def test_environment(up):
    status, findings = whole(up, env={"MC_NOF_WORKERS": "many",
                                      "MC_NVME_KEEP_ALIVE_MS": "-1",
                                      "MC_NOF_WORKER": "3"})
    found = {f["subject"]: f for f in of(findings, "environment")}
    assert status == 1
    assert set(found) == {"MC_NOF_WORKERS", "MC_NVME_KEEP_ALIVE_MS",
                          "MC_NOF_WORKER"}
    assert 'MC_NOF_WORKERS="many" is not a number' in \
        found["MC_NOF_WORKERS"]["text"]
    assert found["MC_NOF_WORKERS"]["result"] == "FAIL"
    assert "unset" in found["MC_NOF_WORKERS"]["advice"]
    assert found["MC_NOF_WORKER"]["result"] == "WARN"


def test_more_workers_than_cpus(up):
    status, findings = whole(up, env={"MC_NOF_WORKERS": "64"})
    assert status == 0
    assert "MC_NOF_WORKERS" in of(findings, "CPUs", "WARN")[0]["advice"]


def test_proxy(up):
    env = {"http_proxy": "http://10.9.9.9:3128"}
    status, findings = whole(up, env=env)
    found = of(findings, "proxies", "WARN")[0]
    assert status == 0  # our programs ignore it: the cluster was reached
    assert "no_proxy=127.0.0.1" in found["advice"]
    status, findings = whole(up, env={**env, "no_proxy": "a.b,127.0.0.1"})
    assert of(findings, "proxies")[0]["result"] == "OK"


def test_key_file(up, tmp_path):
    key = tmp_path / "key"
    r = up.run("mooncakectl", "gen-dhchap-key", f"--output={key}")
    assert r.returncode == 0, r.stderr
    key.chmod(0o644)
    status, findings = whole(up, env={"MC_NVME_DHCHAP_KEY_FILE": str(key)})
    found = of(findings, "keys", "FAIL")[0]
    assert status == 1 and "0644" in found["text"]
    assert "chmod 600" in found["advice"]
    assert of(findings, "target", "FAIL")  # nothing is asked without it
    status, findings = whole(
        up, env={"MC_NVME_DHCHAP_KEY_FILE": str(tmp_path / "none")})
    assert status == 1
    assert "can't be opened" in of(findings, "keys", "FAIL")[0]["text"]


def test_configuration_file(up, tmp_path):
    path = tmp_path / "store.json"
    config = {"local_hostname": "10.0.0.5", "metadata_server": "P2PHANDSHAKE",
              "master_server_address": "10.0.0.1:50051",
              "global_segment_size": "1gb"}
    path.write_text(json.dumps(config))
    r = doctor(up, "--json", f"--config={path}")
    assert of(json.loads(r.stdout)["findings"], "configuration", "OK")
    path.write_text(json.dumps({**config, "global_segment_size": "1gx"}))
    r = doctor(up, "--json", env={"MOONCAKE_CONFIG_PATH": str(path)})
    found = of(json.loads(r.stdout)["findings"], "configuration", "FAIL")
    assert r.returncode == 1 and "1gx" in found[0]["text"]


def test_open_files(up):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (70, hard))
    try:
        status, findings = whole(up, env={"MC_NOF_WORKERS": "8"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert status == 1
    assert "LimitNOFILE" in of(findings, "open files", "FAIL")[0]["advice"]
    assert of(findings, "connections", "FAIL")


def test_wrong_options(up):
    for args in (["--nonsense"], ["--endpoint=nothing"],
                 ["--master=a:999999"], ["--timeout=never"]):
        r = doctor(up, *args)
        assert r.returncode == 2, (args, r.stdout, r.stderr)


def test_no_master(up):
    from cluster import free_port
    r = doctor(up, "--json", f"--master=127.0.0.1:{free_port()}")
    found = of(json.loads(r.stdout)["findings"], "master", "FAIL")
    assert r.returncode == 1 and "refused" in found[0]["text"]
    assert "firewall" in found[0]["advice"]


def test_silent_peers_end_in_time(up):
    """They accept and say nothing; each question has its deadline."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(64)
        port = s.getsockname()[1]
        begin = time.monotonic()
        r = doctor(up, "--json", f"--master=127.0.0.1:{port}",
                   f"--admin=127.0.0.1:{port}", "--timeout=300ms",
                   f"--endpoint=traddr:127.0.0.1 trsvcid:{port} "
                   "subnqn:nqn.2026-11.io.x:a ns:1")
        took = time.monotonic() - begin
    findings = json.loads(r.stdout)["findings"]
    assert r.returncode == 1 and took < 25  # it came back by itself
    for check in ("master", "master admin", "target"):
        assert of(findings, check, "FAIL"), check


def test_twins(up):
    """Two targets that show one and the same disk."""
    ends = []
    for name in ("twin1", "twin2"):
        sock = up.path(name + ".sock")
        nqn = "nqn.2026-11.io.mooncake:" + name
        up.target(name, "ram:32m", flags=[f"--rpc_socket={sock}"])
        for method, params in (
                ("bdev_malloc_create", {"num_blocks": 8192,
                                        "block_size": 4096, "name": "disk"}),
                ("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {
                    "bdev_name": "disk", "nsid": 7, "uuid":
                    "11111111-2222-4333-8444-555555555555"}})):
            r = up.run("mooncakectl", "target", f"--rpc_socket={sock}", "rpc",
                       method, json.dumps(params))
            assert r.returncode == 0, r.stderr
        ends.append("--endpoint=traddr:127.0.0.1 trsvcid:%d subnqn:%s ns:7" %
                    (up.target_ports[name], nqn))
    r = doctor(up, "--json", *ends)
    findings = json.loads(r.stdout)["findings"]
    found = of(findings, "paths", "WARN")
    assert len(found) == 1 and "twin1" in found[0]["text"]
    assert "one registration" in found[0]["advice"]
    assert len(of(findings, "superblock", "NOTE")) == 2
    for name in ("twin1", "twin2"):
        up.children.pop(name).stop()


def test_refused_host(up):
    up.target("private", "ram:32m",
              flags=["--host=nqn.2020-01.org.example:other"])
    r = doctor(up, "--json", "--endpoint=traddr:127.0.0.1 trsvcid:%d "
               "subnqn:nqn.2026-11.io.mooncake:private ns:1" %
               up.target_ports["private"])
    found = of(json.loads(r.stdout)["findings"], "target", "FAIL")
    assert r.returncode == 1 and "not on its list" in found[0]["text"]
    assert "add-host" in found[0]["advice"]
    up.children.pop("private").stop()


def test_disk_of_another_cluster(up):
    """A second master, which knows nothing of the first one's disks."""
    from cluster import Cluster
    with Cluster(up.build_dir) as other:
        other.master("--cluster_id=second", *FAST)
        r = doctor(up, "--json", f"--master={other.master_addr}",
                   f"--admin=127.0.0.1:{other.admin_port}",
                   f"--discover=127.0.0.1:{up.target_ports['ssd']}")
    findings = json.loads(r.stdout)["findings"]
    assert of(findings, "segments", "WARN")  # it has none
    assert {f["text"] for f in of(findings, "superblock", "NOTE")} == {
        "it belongs to cluster 'mooncake_cluster', the master is of 'second'"}


# What is asked in a network of its own: default ports are free there, and
# routes may be strange.
IN_A_NETWORK = """
set -eu
cd "$1"
ip link set lo up
ip addr add 10.77.0.1/24 dev lo
ip route add 10.78.0.0/24 dev lo src 10.77.0.1 mtu lock 1400
PATH=$2:$PATH
mooncake_master > master.log 2>&1 &
mooncake_nof_target --namespace=ram:32m > target.log 2>&1 &
# something else where a store service would be
python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 8080))
print("ready", flush=True)
while True:
    s.accept()[0].close()' > other.log 2>&1 &
for n in $(seq 200); do
        if grep -q "^ready" target.log && grep -q ready other.log &&
           mooncakectl status > /dev/null 2>&1; then break; fi
        sleep 0.1
done
mooncakectl doctor --json --master=127.0.0.1 --timeout=2s \\
        --endpoint="traddr:10.78.0.1 subnqn:nqn.2026-11.io.x:a ns:1" || true
kill %1 %2 %3
"""


def test_ports_and_mtu(up, tmp_path):
    can = subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"],
                         capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no network of its own here: {can.stderr!r}")
    r = subprocess.run(
        ["unshare", "-rnpf", "--kill-child", "bash", "-c", IN_A_NETWORK, "-",
         str(tmp_path), os.path.dirname(up.program("mooncakectl"))],
        env={**os.environ, **NO_PROXY}, capture_output=True, text=True,
        timeout=60, check=False)
    findings = json.loads(r.stdout)["findings"]
    ports = {f["subject"].split()[0]: f for f in of(findings, "ports")}
    assert ports["50051"]["text"] == "a master"
    assert ports["9003"]["text"] == "a master's admin pages"
    assert "NVMe/TCP target" in ports["4420"]["text"]
    assert ports["8009"]["text"] == "free"
    assert ports["8080"]["result"] == "WARN"
    assert "8080" in ports["8080"]["advice"]
    assert of(findings, "master admin", "OK")  # found by its default
    mtu = {f["subject"]: f for f in of(findings, "MTU")}
    assert mtu["127.0.0.1:50051"]["result"] == "OK"
    assert "path MTU 1400" in mtu["10.78.0.1:4420"]["text"]
    assert mtu["10.78.0.1:4420"]["result"] == "WARN"


# Two more hosts: one at the other end of a cable that takes less than our end
# thinks, one behind a router with a smaller cable, which says so.
CABLES = """
set -eu
unshare -n sleep 60 & lost=$!
unshare -n sleep 60 & router=$!
unshare -n sleep 60 & far=$!
at() { pid=$1; shift; nsenter -t $pid -n "$@"; }
for pid in $lost $router $far; do
        for n in $(seq 100); do
                [ "$(readlink /proc/$pid/ns/net)" = \
                  "$(readlink /proc/self/ns/net)" ] || break
                sleep 0.05
        done
        at $pid ip link set lo up
done
ip link set lo up
ip link add a0 mtu 9000 type veth peer name a1 netns $lost
ip link add b0 mtu 9000 type veth peer name b1 netns $router
at $router ip link add c0 type veth peer name c1 netns $far
at $lost ip link set a1 mtu 1500 up
at $router ip link set b1 mtu 9000 up
at $router ip link set c0 mtu 1400 up
at $far ip link set c1 mtu 1400 up
ip addr add 10.81.0.1/24 dev a0
ip addr add 10.82.0.1/24 dev b0
ip link set a0 up
ip link set b0 up
at $lost ip addr add 10.81.0.2/24 dev a1
at $router ip addr add 10.82.0.2/24 dev b1
at $router ip addr add 10.83.0.2/24 dev c0
at $router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
at $far ip addr add 10.83.0.3/24 dev c1
at $far ip route add default via 10.83.0.2
ip route add 10.83.0.0/24 via 10.82.0.2
"$1" doctor --json --timeout=2s \
        --endpoint="traddr:10.81.0.2 subnqn:nqn.2026-11.io.x:a ns:1" \
        --endpoint="traddr:10.82.0.2 subnqn:nqn.2026-11.io.x:a ns:1" \
        --endpoint="traddr:10.83.0.3 subnqn:nqn.2026-11.io.x:a ns:1" || true
kill $lost $router $far
"""


def test_packets_that_do_not_arrive(up):
    """The path MTU is tried, not only looked up."""
    can = subprocess.run(["unshare", "-rn", "ip", "link", "add", "cable0",
                          "type", "veth", "peer", "name", "cable1"],
                         capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"no network of its own here: {can.stderr!r}")
    r = subprocess.run(
        ["unshare", "-rnpfm", "--mount-proc", "--kill-child", "bash", "-c",
         CABLES, "-", up.program("mooncakectl")],
        env={**os.environ, **NO_PROXY}, capture_output=True, text=True,
        timeout=60, check=False)
    assert r.stdout, r.stderr
    mtu = {f["subject"]: f for f in of(json.loads(r.stdout)["findings"], "MTU")}
    lost = mtu["10.81.0.2:4420"]
    assert lost["result"] == "FAIL" and "packets of 9000 bytes" in lost["text"]
    assert "hang" in lost["advice"]
    good = mtu["10.82.0.2:4420"]
    assert good["result"] == "OK" and good["text"].endswith(", tried")
    far = mtu["10.83.0.3:4420"]
    assert far["result"] == "WARN" and "path MTU 1400" in far["text"]


def test_tls(up, tmp_path):
    """A port with TLS: without the key, with it, with another one."""
    keys = [str(tmp_path / n) for n in ("key", "other")]
    for key in keys:
        r = up.run("mooncakectl", "gen-tls-key", f"--output={key}")
        if "built without" in r.stderr:
            pytest.skip("this build has no TLS")
        assert r.returncode == 0, r.stderr
    up.target("tls", "ram:32m", flags=[f"--tls_key=*={keys[0]}"],
              listen=",tls")
    end = ("--endpoint=traddr:127.0.0.1 trsvcid:%d subnqn:%s ns:1" %
           (up.target_ports["tls"], "nqn.2026-11.io.mooncake:tls"))
    r = doctor(up, "--json", end)
    found = of(json.loads(r.stdout)["findings"], "target", "FAIL")
    assert r.returncode == 1
    assert "MC_NVME_TLS_KEY_FILE" in found[0]["advice"]
    r = doctor(up, "--json", end, env={"MC_NVME_TLS_KEY_FILE": keys[0]})
    findings = json.loads(r.stdout)["findings"]
    assert of(findings, "target", "OK") and of(findings, "superblock")
    assert "SHA-256, derived as 1" in of(findings, "TLS", "OK")[0]["text"]
    r = doctor(up, "--json", end, env={"MC_NVME_TLS_KEY_FILE": keys[1]})
    found = of(json.loads(r.stdout)["findings"], "target", "FAIL")
    assert r.returncode == 1 and "TLS" in found[0]["text"]
    up.children.pop("tls").stop()


class Admin(BaseHTTPRequestHandler):
    """A master's pages, an hour ago."""
    answer = (200, b'{"service_ready":true}')

    def do_GET(self):
        status, body = self.answer
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string(time.time() - 3600))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_clock_and_health_of_the_master(up):
    class Ill(Admin):
        answer = (503, b'{"service_ready":false}')
    for kind, results in ((Admin, ["OK", "NOTE"]), (Ill, ["FAIL", "NOTE"])):
        with HTTPServer(("127.0.0.1", 0), kind) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            r = doctor(up, "--json", f"--master={up.master_addr}",
                       f"--admin=127.0.0.1:{server.server_port}")
            server.shutdown()
            thread.join()
        found = of(json.loads(r.stdout)["findings"], "master admin")
        assert [f["result"] for f in found] == results
        assert "s behind this host's" in found[1]["text"]
        assert "chronyd" in found[1]["advice"]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def copy_frames(source, sink, old, new):
    """Until either ends; the body's length must stay."""
    try:
        while True:
            *head, length, _ = HEAD.unpack(read_all(source, HEAD.size))
            body = read_all(source, length).replace(old, new)
            sink.sendall(HEAD.pack(*head, length, crc32c(body)) + body)
    except OSError:
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other direction was first


def test_master_of_another_release(up):
    """What it says is changed on the way."""
    ours = up.run("mooncakectl", "--version").stdout.split()[1].encode()
    theirs = b"9" + ours[1:]
    host, port = up.master_addr.rsplit(":", 1)

    def relay(server):
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                return
            master = socket.create_connection((host, int(port)))
            for args in ((client, master, b"", b""),
                         (master, client, ours, theirs)):
                threading.Thread(target=copy_frames, args=args,
                                 daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=relay, args=(server,))
    thread.start()
    r = doctor(up, "--json",
               f"--master=127.0.0.1:{server.getsockname()[1]}",
               f"--admin=127.0.0.1:{up.admin_port}")
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    findings = json.loads(r.stdout)["findings"]
    found = of(findings, "master", "WARN")
    assert found, of(findings, "master")
    assert "version 9." in found[0]["text"]
    assert "Install the same release" in found[0]["advice"]


def test_dead_target(up):
    """From here on the disks are gone."""
    up.children["ssd"].kill()
    up.wait_until("the master sees it", lambda: sum(
        s["state"] == "offline" for s in up.segments()) == 2)
    status, findings = whole(up)
    assert status == 1
    gone = of(findings, "segments", "FAIL")
    assert len(gone) == 2 and "offline: " in gone[0]["text"]
    assert "mooncake_ssd_unregister" in gone[0]["advice"]
    unreachable = of(findings, "target", "FAIL")
    assert len(unreachable) == 2
    assert "refused" in unreachable[0]["text"].lower()
    assert "Is the target running" in unreachable[0]["advice"]
    assert not of(findings, "superblock", "FAIL")


def test_exchanged_disk(up):
    """The target is back at its address, with another (empty) disk."""
    up.children.pop("ssd")
    up.target("ssd", "ram:64m", "ram:64m")
    status, findings = whole(up)
    assert status == 1
    assert not of(findings, "target", "FAIL")
    found = of(findings, "superblock", "FAIL")
    assert len(found) == 2 and "it holds nothing" in found[0]["text"]
    assert "mooncake_ssd_unregister" in found[0]["advice"]
