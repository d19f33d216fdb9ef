# SPDX-License-Identifier: Apache-2.0
"""Targets made on nodes with hosts that have keys: who has not the key does
not get in, keys change, and their text is nowhere but in files of root's."""
import json
import os

import pytest

import nodes as nodes_lib
from conftest import FAST, new_store
from keyfiles import Keys
from test_deploy import NQN, create, info, node_with_spdk, rpc, subsystem

HOST = "nqn.2026-11.io.mooncake:engine"
pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


@pytest.fixture
def keys(cluster, monkeypatch):
    monkeypatch.setenv("MC_NVME_HOSTNQN", HOST)
    k = Keys(cluster, monkeypatch)
    k.use()
    k.said = ""
    yield k
    k.check(k.said)


def made(cluster, nodes, keys, *args, status=0):
    r = create(cluster, nodes, *args)
    keys.said += r.stdout + r.stderr
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout


def files_of(node):
    return node.must("cd /etc/mooncake/keys 2>/dev/null && stat -c '%a %U' . "
                     "&& stat -c '%a %U %n' *; :")


class Ours:
    """Our target on a node, from nothing."""

    def __init__(self, cluster, nodes, keys):
        self.cluster, self.nodes, self.keys = cluster, nodes, keys
        self.node = nodes.add()
        self.text = (f"--node=ip:{self.node.addr} backend:mooncake "
                     f"disk:{self.node.path}/pool.img:64m allow:{HOST} ")

    def create(self, more, *args, status=0):
        program = self.cluster.program("mooncake_nof_target")
        return made(self.cluster, self.nodes, self.keys, self.text + more,
                    f"--program={program}", *args, status=status)

    def gets_in(self):
        """Does a host with the keys of this process?"""
        r = self.cluster.run(
            "nof_worker_pool_bench", "--op=read", "--duration_sec=0.1",
            "--warmup_sec=0", f"--endpoints=traddr:{self.node.addr} "
            "trsvcid:4420 ns:1 "
            f"subnqn:nqn.2026-11.io.mooncake:{self.node.name}")
        self.keys.said += r.stdout + r.stderr
        assert r.returncode == 0 or any(
            why in r.stderr for why in ("asks for authentication",
                                        "refused this host",
                                        "did not prove")), r.stderr
        return r.returncode == 0

    def logs(self):
        return self.node.must("cat /var/log/mooncake* /etc/mooncake/*.*; "
                              "tr '\\0' ' ' </proc/$(pgrep -x "
                              "mooncake_nof_ta)/cmdline")


def test_ours(cluster, nodes, keys):
    first, ctrl = keys.make("first"), keys.make("ctrl", "--hash=none")
    ours = Ours(cluster, nodes, keys)
    for form in ("--verbose", "--json"):
        out = ours.create(f"key:{first} ctrl_key:{ctrl}", "--dry-run", form)
        assert "(a secret)" in out
    assert ours.node.must("ls -A /etc/mooncake") == ""

    ours.create(f"key:{first} ctrl_key:{ctrl}")
    assert files_of(ours.node).split("\n")[0] == "700 root"
    assert files_of(ours.node).count("600 root mooncake-") == 2
    assert "(0 steps)" in ours.create(f"key:{first} ctrl_key:{ctrl}")
    keys.use(first, ctrl)
    cluster.master(*FAST)
    r = cluster.run("mooncake_ssd_register", f"--master={cluster.master_addr}",
                    f"--spdk_target_info=ip:{ours.node.addr} "
                    "backend:mooncake", env=nodes.env())
    assert r.returncode == 0, r.stdout + r.stderr
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = {f"k{i}": os.urandom(200_000) for i in range(8)}
    for key, value in data.items():
        assert store.put(key, value) == 0
        assert store.get(key) == value
    store.close()
    # Another key, or none, is not enough; nor is a target without the key.
    for use in ((keys.make("wrong"), ctrl), (None, None),
                (first, keys.make("wrong-ctrl"))):
        keys.use(*use)
        assert not ours.gets_in()
    keys.said += ours.logs()

    # Started again by what lies there it asks as before.
    ours.node.must("pkill -KILL -x mooncake_nof_ta; "
                   "while pgrep -x mooncake_nof_ta; do sleep 0.05; done; "
                   "rm -f /run/mooncake-nof-target.sock; "
                   "setsid sh /etc/mooncake/mooncake-nof-target.sh "
                   "</dev/null >/dev/null 2>&1 & "
                   "while [ ! -S /run/mooncake-nof-target.sock ]; do "
                   "sleep 0.05; done")
    keys.use()
    assert not ours.gets_in()
    keys.use(first, ctrl)
    assert ours.gets_in()


def test_another_key(cluster, nodes, keys):
    """Taken over at once; when something fails behind it, the old one is in
    force again."""
    first, second = keys.make("first"), keys.make("second")
    ours = Ours(cluster, nodes, keys)
    ours.create(f"key:{first}")
    out = ours.create(f"key:{second} addr:{ours.node.addr},192.0.2.77",
                      status=1)
    assert "all taken back" in out, out
    keys.use(second)
    assert not ours.gets_in()
    keys.use(first)
    assert ours.gets_in()

    ours.create(f"key:{HOST}={second}")
    assert "(0 steps)" in ours.create(f"key:{second}")
    assert not ours.gets_in()
    keys.use(second)
    assert ours.gets_in()


def test_spdk(cluster, nodes, keys):
    n, spdk = node_with_spdk(nodes)
    key, ctrl = keys.make("host"), keys.make("ctrl")
    text = info(n, spdk, f"pci:0000:81:00.0 nqn:{NQN}")
    # First without: then the door is open.
    made(cluster, nodes, keys, text, "--transport-type=TCP")
    assert subsystem(n)["allow_any_host"]
    text += f" allow:{HOST} key:{key} ctrl_key:{ctrl}"
    made(cluster, nodes, keys, text, "--transport-type=TCP")
    assert "(0 steps)" in made(cluster, nodes, keys, text,
                               "--transport-type=TCP")
    s = subsystem(n)
    names = [k["name"] for k in rpc(n, "keyring_get_keys")]
    assert s["hosts"] == [{"nqn": HOST, "dhchap_key": names[0],
                           "dhchap_ctrlr_key": names[1]}]
    assert not s["allow_any_host"]
    assert files_of(n).count("600 root mooncake-") == 2
    # The same after a boot.
    config = json.loads(n.must("cat /etc/mooncake/mooncake-spdk-tgt.json"))
    assert [m["params"]["name"] for x in config["subsystems"]
            if x["subsystem"] == "keyring" for m in x["config"]] == names
    keys.said += json.dumps(config) + n.must("cat /var/log/mooncake*")


def test_failure_leaves_no_key(cluster, nodes, keys):
    n, spdk = node_with_spdk(nodes)
    with open(spdk + "/no-listener", "w"):
        pass
    out = made(cluster, nodes, keys, info(
        n, spdk, f"pci:0000:81:00.0 allow:{HOST} key:{keys.make('a')}"),
        "--transport-type=TCP", status=1)
    assert "all taken back" in out
    assert n.must("ls -A /etc/mooncake") == ""


def test_spdk_that_is_too_old(cluster, nodes, keys):
    n, spdk = node_with_spdk(nodes)
    with open(spdk + "/no-keys", "w"):
        pass
    out = made(cluster, nodes, keys, info(
        n, spdk, f"pci:0000:81:00.0 allow:{HOST} key:{keys.make('a')}"),
        "--transport-type=TCP", status=1)
    assert "knows no DH-HMAC-CHAP (SPDK has it from 24.09 on)" in out
    assert n.must("ls -A /etc/mooncake") == ""


def test_files_that_are_no_keys(cluster, nodes, keys):
    """Said before anybody is asked."""
    good, bad = keys.make("good"), cluster.path("bad")
    with open(os.open(bad, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write("swordfish\n")
    text = f"--node=ip:192.0.2.1 backend:nvmet disk:/dev/x allow:{HOST} "
    for more, why in ((f"key:{bad}", "DHHC-1"),
                      ("key:/nowhere", "No such file"),
                      (f"ctrl_key:{good}", "ctrl_key: without key:"),
                      (f"key:{HOST}x={good}", "it lacks " + HOST + "x")):
        r = create(cluster, nodes, text + more)
        assert r.returncode != 0 and why in r.stderr, r.stderr
        keys.said += r.stdout + r.stderr
        assert "swordfish" not in keys.said
    os.chmod(good, 0o644)
    r = create(cluster, nodes, text + f"key:{good}")
    assert r.returncode == 1 and "others may reach it" in r.stderr, r.stderr
