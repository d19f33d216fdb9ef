# SPDX-License-Identifier: Apache-2.0
"""Targets made on SSD nodes over a real sshd, and what goes wrong there."""
import json
import subprocess

import pytest

import nodes as nodes_lib
from conftest import FAST, new_store

NQN = "nqn.2016-06.io.spdk:cnode1"
pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


def create(cluster, nodes, *args, **more):
    return cluster.run("spdk_tgt_create", *args,
                       env={**nodes.env(), **more}, timeout=90)


def node_with_spdk(nodes, **more):
    n = nodes.add(SYSFS=f"{nodes.folder}/ssd{len(nodes.nodes)}/sys")
    return n, n.spdk(**more)


def rpc(node, method, socket="/var/tmp/spdk.sock"):
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method})
    code = ("import socket,sys;s=socket.socket(socket.AF_UNIX);"
            f"s.connect('{socket}');s.sendall(sys.argv[1].encode());"
            "print(s.recv(1<<20).decode())")
    out = node.must(f"python3 -c \"{code}\" '{text}'")
    return json.loads(out)["result"]


def subsystem(node, nqn=NQN, **more):
    for s in rpc(node, "nvmf_get_subsystems", **more):
        if s["nqn"] == nqn:
            return s
    return None


def info(node, spdk, more=""):
    return f"--spdk_target_info=ip:{node.addr} path:{spdk} {more}".strip()


@pytest.mark.parametrize("release", ["23.01", "26.05"])
def test_spdk_as_the_guide_says(cluster, nodes, release):
    n, spdk = node_with_spdk(nodes, disks=("0000:81:00.0", "0000:82:00.0"),
                             release=release)
    args = (info(n, spdk, f"pci:0000:81:00.0,0000:82:00.0 nqn:{NQN}"),
            "--transport-type=TCP", "--core-mask=0x3")
    # The plan first: nothing happens.
    r = create(cluster, nodes, *args, "--dry-run", "--verbose")
    assert r.returncode == 0, r.stderr
    assert "PCI_ALLOWED" in r.stdout and "nvmf_tgt" in r.stdout
    assert f"in the end {NQN} is served on {n.addr} port 4420" in r.stdout
    assert n.ssh("pgrep -x reactor_0").returncode != 0

    r = create(cluster, nodes, *args)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "Successfully deployed: 1" in r.stdout
    s = subsystem(n)
    assert [x["bdev_name"] for x in s["namespaces"]] == ["Nvme0n1", "Nvme1n1"]
    listener = s["listen_addresses"][0]
    listener.pop("transport", None)
    assert listener == {"trtype": "TCP", "adrfam": "IPv4", "traddr": n.addr,
                        "trsvcid": "4420"}
    assert len(s["listen_addresses"]) == 1
    assert s["serial_number"] and s["max_namespaces"] >= 32
    transport = rpc(n, "nvmf_get_transports")[0]
    assert transport["max_io_size"] == 131072
    assert transport["in_capsule_data_size"] == 4096

    # Again: nothing to do, nothing to remark, the target is the same process.
    pid = n.must("pgrep -x reactor_0")
    r = create(cluster, nodes, *args)
    assert r.returncode == 0 and "(0 steps)" in r.stdout, r.stdout
    assert "there already" not in r.stdout, r.stdout
    assert n.must("pgrep -x reactor_0") == pid

    # What it was told comes back when it is started anew.
    n.must("pkill -x reactor_0; rm -f /var/tmp/spdk.sock; "
           "while pgrep -x reactor_0; do sleep 0.05; done; "
           "setsid sh /etc/mooncake/mooncake-spdk-tgt.sh </dev/null "
           ">/dev/null 2>&1 & "
           "while [ ! -S /var/tmp/spdk.sock ]; do sleep 0.05; done")
    assert subsystem(n)["namespaces"] == s["namespaces"]


def test_spdk_that_runs_is_added_to(cluster, nodes):
    n, spdk = node_with_spdk(nodes, disks=("0000:81:00.0", "0000:82:00.0"))
    args = ["--transport-type=TCP"]
    r = create(cluster, nodes, info(n, spdk, "pci:0000:81:00.0"), *args)
    assert r.returncode == 0, r.stdout + r.stderr
    nqn = json.loads(create(
        cluster, nodes, info(n, spdk, "pci:0000:81:00.0"), *args,
        "--json").stdout)["nodes"][0]["nqn"]
    assert n.name in nqn  # unique per node
    pid = n.must("pgrep -x reactor_0")
    with open(spdk + "/two-namespaces", "w"):
        pass
    r = create(cluster, nodes,
               info(n, spdk, "pci:0000:81:00.0,0000:82:00.0 "
                    "allow:nqn.2024-01.io.example:host"), *args)
    assert r.returncode == 0, r.stdout + r.stderr
    assert n.must("pgrep -x reactor_0") == pid
    s = subsystem(n, nqn)
    assert [x["bdev_name"] for x in s["namespaces"]] == \
        ["Nvme0n1", "Nvme1n1", "Nvme1n2"]
    assert s["hosts"] == [{"nqn": "nqn.2024-01.io.example:host"}]
    # Only on demand it is started anew.
    r = create(cluster, nodes, info(n, spdk, "pci:0000:81:00.0"), *args,
               "--replace")
    assert r.returncode == 0, r.stdout + r.stderr
    assert n.must("pgrep -x reactor_0") != pid
    assert len(subsystem(n, nqn)["namespaces"]) == 2


def start_other(node, spdk, socket, *args):
    """Somebody else's target."""
    node.must(f"cd {spdk} || exit 1; WORD=1 setsid ./build/bin/nvmf_tgt {' '.join(args)} "
              f"-r {socket} </dev/null >/dev/null 2>&1 & "
              f"while [ ! -S {socket} ]; do sleep 0.05; done")


def processes(node):
    """{socket: pid}"""
    out = node.must("for i in $(pgrep -x reactor_0); do "
                    "tr '\\0' ' ' </proc/$i/cmdline | "
                    "sed \"s/.* -r \\([^ ]*\\).*/\\1 $i/\"; echo; done")
    return dict(line.split() for line in out.split("\n") if line.strip())


def files(state):
    return [x for x in state.split("\n")
            if "mooncake-spdk-tgt.pid" not in x and "nvmf_tgt" not in x]


OTHER = "/run/other.sock"


def test_several_targets_on_a_node(cluster, nodes):
    """Told apart by their sockets; --replace ends one of them."""
    n, spdk = node_with_spdk(nodes, disks=("0000:81:00.0", "0000:82:00.0"))
    first = (info(n, spdk, "pci:0000:81:00.0"), "--transport-type=TCP")
    assert create(cluster, nodes, *first).returncode == 0
    start_other(n, spdk, OTHER, "-m", "0x2")
    before = n.state()

    r = create(cluster, nodes, *first)
    assert r.returncode == 1 and "several nvmf_tgt run there" in r.stdout
    assert "/var/tmp/spdk.sock" in r.stdout and OTHER in r.stdout
    assert "rpc_socket:PATH says which" in r.stdout
    cluster.master(*FAST)
    register = ("mooncake_ssd_register", f"--master={cluster.master_addr}")
    r = cluster.run(*register, info(n, spdk), env=nodes.env())
    assert "rpc_socket:PATH says which" in r.stdout, r.stdout
    assert n.state() == before

    ours = info(n, spdk, "pci:0000:81:00.0 rpc_socket:/var/tmp/spdk.sock")
    r = create(cluster, nodes, ours, *first[1:])
    assert r.returncode == 0 and "(0 steps)" in r.stdout, r.stdout
    r = create(cluster, nodes, info(
        n, spdk, f"pci:0000:82:00.0 port:4421 nqn:{NQN} rpc_socket:{OTHER}"),
        *first[1:])
    assert r.returncode == 0, r.stdout
    assert "started by somebody else" in r.stdout
    assert subsystem(n, NQN, socket=OTHER) and not subsystem(n, NQN)
    # A third can't be kept by the one service.
    r = create(cluster, nodes, info(
        n, spdk, "pci:0000:82:00.0 rpc_socket:/run/third.sock"), *first[1:])
    assert r.returncode == 1 and "keeps the nvmf_tgt" in r.stdout, r.stdout

    pids = processes(n)
    r = create(cluster, nodes, ours, *first[1:], "--replace")
    assert r.returncode == 0, r.stdout
    after = processes(n)
    assert after[OTHER] == pids[OTHER] and after.keys() == pids.keys()
    assert after["/var/tmp/spdk.sock"] != pids["/var/tmp/spdk.sock"]
    # What it had is kept beside.
    names = n.must("ls /etc/mooncake").split()
    kept = [x for x in names if ".json." in x]
    assert [x.split(".json.")[1].split("-")[0] for x in kept] == \
        ["before", "running"], names
    for name in kept:
        assert "0000:81:00.0" in n.must("cat /etc/mooncake/" + name)
        assert name in r.stdout
    assert n.must("ls /run | grep replaced || :") == ""


@pytest.mark.parametrize("whose", ["ours", "other"])
@pytest.mark.parametrize("fail", ["no-start", "no-listener"])
def test_replaced_target_comes_back(cluster, nodes, whose, fail):
    """The new one does not start, or refuses: the old one serves again what
    it was told, also what nobody has saved."""
    n, spdk = node_with_spdk(nodes, disks=("0000:81:00.0", "0000:82:00.0"))
    args = (info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"),
            "--transport-type=TCP")
    if whose == "other":
        start_other(n, spdk, "/var/tmp/spdk.sock", "-m", "0x2")
    assert create(cluster, nodes, *args).returncode == 0
    code = ("import socket;s=socket.socket(socket.AF_UNIX);"
            "s.connect('/var/tmp/spdk.sock');s.sendall(b'{\"jsonrpc\":\"2.0\","
            "\"id\":1,\"method\":\"nvmf_create_subsystem\",\"params\":"
            "{\"nqn\":\"nqn.x:told\"}}');print(s.recv(999))")
    n.must(f"python3 -c '{code.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'")
    before, was = n.state(), subsystem(n)
    pid = processes(n)["/var/tmp/spdk.sock"]
    command = f"tr '\\0' '\\n' </proc/{pid}/cmdline | head -n 6; "\
        f"readlink /proc/{pid}/cwd; grep -cz WORD=1 /proc/{pid}/environ || :"
    said = n.must(command)
    # Only the new one fails: it has another mask.
    with open(f"{spdk}/{fail}", "w") as f:
        f.write("0x4")
    r = create(cluster, nodes, *args, "--replace", "--core-mask=0x4")
    assert r.returncode == 1, r.stdout
    assert "all taken back" in r.stdout, r.stdout
    now = processes(n)["/var/tmp/spdk.sock"]
    assert now != pid
    assert n.must(command.replace(pid, now)) == said
    assert subsystem(n) == was and subsystem(n, "nqn.x:told")
    assert n.must("ls /etc/mooncake /run").count("-2") == 0
    # Files are as they were; the process has another number and its
    # configuration from a file now.
    assert files(n.state()) == files(before)


def test_replaced_target_ends_late(cluster, nodes):
    """Only when it is being taken back: that waits, and starts it again."""
    n, spdk = node_with_spdk(nodes)
    args = (info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"),
            "--transport-type=TCP")
    assert create(cluster, nodes, *args).returncode == 0
    was, before = processes(n), files(n.state())
    # Put aside for the new one, and back before anything else is.
    with open(f"{spdk}/ends-after", "w") as f:
        f.write("/etc/mooncake/mooncake-spdk-tgt.json")
    r = create(cluster, nodes, *args, "--replace", "--command_timeout=20s")
    assert r.returncode == 1, r.stdout
    pid = was.popitem()[1]
    assert f"process {pid} does not end; all taken back" in r.stdout, r.stdout
    assert pid not in processes(n).values()
    assert len(subsystem(n)["namespaces"]) == 1
    assert files(n.state()) == before


def test_replaced_target_never_ends(cluster, nodes):
    """It goes on, and nobody says that it was taken back."""
    n, spdk = node_with_spdk(nodes)
    args = (info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}"),
            "--transport-type=TCP")
    assert create(cluster, nodes, *args).returncode == 0
    was, kept = processes(n), n.must("md5sum /etc/mooncake/*.json")
    with open(f"{spdk}/never-ends", "w"):
        pass
    r = create(cluster, nodes, *args, "--replace", "--command_timeout=20s")
    assert r.returncode == 1, r.stdout
    assert "does not end; NOT taken back: end the target at" in r.stdout
    assert processes(n) == was and subsystem(n)
    assert n.must("md5sum /etc/mooncake/*.json") == kept
    # What would start it again is there.
    assert "nvmf_tgt" in n.must("cat /run/mooncake-replaced-*/argv")


def test_failure_puts_the_node_back(cluster, nodes):
    n, spdk = node_with_spdk(nodes)
    with open(spdk + "/no-listener", "w"):
        pass
    r = create(cluster, nodes, info(n, spdk, "pci:0000:81:00.0"),
               "--transport-type=TCP")
    assert r.returncode == 1
    assert "listen on" in r.stdout and "all taken back" in r.stdout, r.stdout
    assert n.ssh("pgrep -x reactor_0").returncode != 0
    with open(spdk + "/calls") as f:
        calls = f.read()
    assert "nvmf_delete_subsystem" in calls and "setup reset" in calls
    assert n.must("ls /etc/mooncake") == ""


def test_target_that_does_not_start(cluster, nodes):
    n, spdk = node_with_spdk(nodes)
    with open(spdk + "/no-start", "w"):
        pass
    r = create(cluster, nodes, info(n, spdk, "pci:0000:81:00.0"),
               "--transport-type=TCP")
    assert r.returncode == 1
    assert "cannot reserve memory" in r.stdout, r.stdout
    assert "all taken back" in r.stdout


# rpc.py of an SPDK tree, as far as it matters: its options, its client, and
# the module that brings more commands.
RPC_PY = """import argparse, importlib, json, socket
class Client:
    def __init__(self, path, timeout):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(path)
        self.id, self.requests = 0, []
    def add_request(self, method, params):
        self.id += 1
        self.requests.append({"jsonrpc": "2.0", "method": method,
                              "id": self.id,
                              **({"params": params} if params else {})})
    def flush(self):
        self.s.sendall(json.dumps(self.requests.pop()).encode())
    def recv(self):
        got = b""
        while True:
            got += self.s.recv(65536)
            try:
                return json.loads(got)
            except ValueError:
                continue
p = argparse.ArgumentParser()
p.add_argument("-s", dest="addr")
p.add_argument("-t", dest="timeout", type=float)
p.add_argument("--plugin")
sub = p.add_subparsers()
first = argparse.ArgumentParser(add_help=False)
first.add_argument("--plugin")
importlib.import_module(first.parse_known_args()[0].plugin
                        ).spdk_rpc_plugin_initialize(sub)
a = p.parse_args()
a.client = Client(a.addr, a.timeout)
a.func(a)
"""
CARRIERS = {"python3": "/usr/bin/python3", "socat": "/usr/bin/socat",
            "nc": "/usr/bin/nc"}
NC = """#!/bin/sh
[ "$1" != -h ] || { echo "nc -U"; exit; }
exec $(dirname $0)/hidden-socat -t "$3" - "UNIX-CONNECT:$4"
"""


@pytest.mark.parametrize("carrier", ["forward", *CARRIERS, "rpc.py", None])
def test_what_carries_calls(cluster, nodes, carrier):
    """Each way by itself: the others are not there."""
    n = nodes.add(forwards=carrier == "forward")
    tools = f"{n.path}/tools"
    n.must(f"mkdir -p {tools}/scripts && cp /usr/bin/socat {tools}/hidden-socat"
           "; ln -s " + cluster.program("mooncake_nof_target") +
           " /usr/local/bin/")
    n.must(f"cp /usr/bin/python3 {tools}/python")  # for rpc.py only
    for name, path in CARRIERS.items():
        if name != carrier:
            n.must(f"[ ! -e {path} ] || mount --bind /dev/null {path}")
    if carrier == "nc":
        n.must(f"cat >{tools}/nc <<'END'\n{NC}END\nchmod 755 {tools}/nc; "
               f"ln -s {tools}/nc /usr/local/bin/nc; sed -i "
               f"'s|[$](dirname [$]0)|{tools}|' {tools}/nc")
    if carrier == "rpc.py":
        n.must(f"cat >{tools}/scripts/rpc.py <<'END'\n#!{tools}/python\n"
               f"{RPC_PY}END\nchmod 755 {tools}/scripts/rpc.py")
    node = (f"--node=ip:{n.addr} backend:mooncake path:{tools} "
            "disk:/srv/pool.img:64m")
    for say in ("Successfully deployed: 1", "(0 steps)"):
        r = create(cluster, nodes, node)
        if carrier:
            assert r.returncode == 0 and say in r.stdout, r.stdout
        else:
            assert r.returncode == 1 and "none of python3" in r.stdout
            assert "all taken back" in r.stdout
            return
    # An error is told in the target's words.
    r = create(cluster, nodes, node + " addr:192.0.2.7")
    assert r.returncode == 1 and "192.0.2.7" in r.stdout, r.stdout
    assert "all taken back" in r.stdout, r.stdout
    assert n.must("ls /tmp/tmp.*/mooncake_rpc.py 2>/dev/null || :") == ""


def test_socket_of_root(cluster, nodes):
    """Forwarding is allowed, but the user may not connect to the socket: then
    it is carried by sudo."""
    from test_deploy_faults import SUDO
    n = nodes.add(forwards=True)
    n.must("ln -s " + cluster.program("mooncake_nof_target") +
           " /usr/local/bin/")
    n.must(f"cat >/usr/local/bin/sudo.c <<'END'\n{SUDO}END\n"
           "cd /usr/local/bin && cc -o sudo sudo.c && rm sudo.c && "
           "chmod 4755 sudo")
    node = f"--node=ip:{n.addr} backend:mooncake disk:/srv/pool.img:64m"
    r = create(cluster, nodes, node, "--username=op")
    assert r.returncode == 0, r.stdout
    n.must("mount --bind /dev/null /usr/bin/python3; "
           "mount --bind /dev/null /usr/bin/socat")
    r = create(cluster, nodes, node, "--username=op")
    assert r.returncode == 1 and "none of python3" in r.stdout, r.stdout
    assert "(0 steps)" in create(cluster, nodes, node).stdout


@pytest.mark.parametrize("what,args,say", [
    ("disk", "pci:0000:99:00.0", "no NVMe disk at 0000:99:00.0"),
    ("path", None, "holds no built SPDK"),
])
def test_refusals(cluster, nodes, what, args, say):
    n, spdk = node_with_spdk(nodes)
    if what == "path":
        spdk = "/nowhere"
    r = create(cluster, nodes, info(n, spdk, args or ""),
               "--transport-type=TCP")
    assert r.returncode == 1 and say in r.stdout, r.stdout + r.stderr


def test_literal_values_are_explained(cluster, nodes):
    r = create(cluster, nodes, "--spdk_target_info=ip:192.0.2.1 path:/x",
               "--max-io-size=4096", "--in-capsule-data-size=131072")
    assert r.returncode == 2
    assert "--max-io-size=131072 --in-capsule-data-size=4096" in r.stderr


def test_ssh_that_fails(cluster, nodes):
    n = nodes.add(is_known=False)
    node = f"--node=ip:{n.addr} backend:mooncake disk:/tmp/x:1g"
    r = create(cluster, nodes, node)
    assert r.returncode == 1 and "verification" in r.stdout, r.stdout
    r = create(cluster, nodes, node.replace(n.addr, n.here))
    assert r.returncode == 1 and "refused" in r.stdout, r.stdout
    with open(nodes.known_hosts, "a") as f:
        f.write(f"{n.addr} {nodes.host_pub}\n")
    r = create(cluster, nodes, node, "--username=nosuchuser")
    assert r.returncode == 1 and "Permission denied" in r.stdout, r.stdout


# Goes on when the nine good nodes have come to it: all are worked on at once.
MEET = """
mkdir -p {folder}/met; : >{folder}/met/{name}
i=0; while [ $(ls {folder}/met | wc -l) -lt 9 ]; do
  i=$((i + 1)); [ $i -lt 500 ] || {{ echo 'the others do not come' >&2; exit 1; }}
  sleep 0.1; done
"""


def test_one_bad_node_of_ten(cluster, nodes):
    """All at once; a node that hangs costs the others nothing."""
    args = ["--transport-type=TCP", "--connect_timeout=15s"]
    for i in range(10):
        n, spdk = node_with_spdk(nodes)
        args.append(info(n, spdk, "pci:0000:81:00.0"))
        with open(spdk + "/scripts/setup.sh", "a") as f:
            f.write(MEET.format(folder=nodes.folder, name=n.name))
    bad = nodes.nodes[4]
    # Its network swallows everything.
    subprocess.run(["ip", "link", "set", bad.link, "down"], check=True)
    r = create(cluster, nodes, *args, "--json")
    assert r.returncode == 1
    out = json.loads(r.stdout)
    assert out["failed"] == 1, r.stdout
    for node, result in zip(nodes.nodes, out["nodes"]):
        assert result["ok"] == (node is not bad)
        assert node is bad or len(subsystem(
            node, result["nqn"])["namespaces"]) == 1


def test_our_target_from_nothing_to_objects(cluster, nodes):
    """A node without anything: our program is copied there, serves a file, is
    registered over SSH, holds objects, and comes back with its disks."""
    n = nodes.add()
    disk = f"{n.path}/pool.img"
    node = f"ip:{n.addr} backend:mooncake disk:{disk}:64m"
    program = cluster.program("mooncake_nof_target")
    r = create(cluster, nodes, f"--node={node}", f"--program={program}")
    assert r.returncode == 0, r.stdout + r.stderr
    r = create(cluster, nodes, f"--node={node}", f"--program={program}")
    assert r.returncode == 0 and "(0 steps)" in r.stdout, r.stdout

    cluster.master(*FAST)
    # Over SSH, and once more: the same namespace.
    for want in ("Successfully registered: 1", "Already registered"):
        r = cluster.run("mooncake_ssd_register",
                        f"--master={cluster.master_addr}",
                        f"--spdk_target_info=ip:{n.addr} backend:mooncake",
                        env=nodes.env())
        assert r.returncode == 0 and want in r.stdout, r.stdout + r.stderr
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = {f"k{i}": bytes([i]) * 300_000 for i in range(20)}
    for key, value in data.items():
        assert store.put(key, value) == 0
    # The node's target dies and is started again by what was left there.
    n.must("pkill -KILL -x mooncake_nof_ta; "
           "while pgrep -x mooncake_nof_ta; do sleep 0.05; done; "
           "setsid sh /etc/mooncake/mooncake-nof-target.sh </dev/null "
           ">/dev/null 2>&1 &")
    cluster.wait_until("objects are back", lambda: all(
        store.get(key) == value for key, value in data.items()))
    store.close()
    r = cluster.run("mooncake_ssd_unregister",
                    f"--master={cluster.master_addr}",
                    f"--spdk_target_info=ip:{n.addr} backend:mooncake",
                    env=nodes.env())
    assert r.returncode == 0 and "unregistered: 1" in r.stdout, r.stdout


def test_listeners_of_other_transports(cluster, nodes):
    """The pool speaks NVMe/TCP: others are named, and the rest goes on."""
    n, spdk = node_with_spdk(nodes)
    args = info(n, spdk, "pci:0000:81:00.0")
    assert create(cluster, nodes, args, "--transport-type=RDMA"
                  ).returncode == 0
    cluster.master(*FAST)
    r = cluster.run("mooncake_ssd_register", f"--master={cluster.master_addr}",
                    info(n, spdk), env=nodes.env())
    assert r.returncode == 1, r.stdout
    assert "only with other transports" in r.stdout, r.stdout
    assert r.stderr.count(f"the listener RDMA {n.addr} port 4420 of ") == 1
    assert "the pool speaks NVMe/TCP" in r.stderr
