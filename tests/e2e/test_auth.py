# SPDX-License-Identifier: Apache-2.0
"""DH-HMAC-CHAP with real programs: who has the key is served as always, who
has not is told what to do, keys change while I/O runs, and no secret is ever
in a log or a command line."""
import base64
import glob
import os
import re
import signal
import stat
import threading

import pytest

from conftest import FAST, new_store
from keyfiles import CTRL_KEY, KEY, Keys

SIZE = 300_001
TIMEOUT = 30  # nothing here may hang


@pytest.fixture
def keys(cluster, monkeypatch, capfd):
    monkeypatch.setenv("MC_NVME_COMMAND_TIMEOUT_MS", "10000")
    k = Keys(cluster, monkeypatch)
    k.use()
    yield k
    out, err = capfd.readouterr()
    k.check(out + err + getattr(k, "said", ""))


@pytest.fixture
def world(cluster, keys):
    """Everything with the cluster's two keys."""
    keys.host, keys.ctrl = keys.make("host"), keys.make("ctrl", "--hash=none")
    keys.use(keys.host, keys.ctrl)
    # no probe fails because the machine is busy
    cluster.master(*FAST, "--nof_heartbeat_probe_timeout_ms=20000")
    cluster.target("a", "a.img:64m", flags=[f"--dhchap_key=*={keys.host}",
                                            f"--dhchap_ctrl_key=*={keys.ctrl}"])
    return cluster


def put_and_get(store, word):
    for i in range(8):
        key, value = f"{word}{i}", os.urandom(SIZE)
        assert store.put(key, value) == 0
        assert store.get(key) == value


@pytest.mark.parametrize("is_mutual", [False, True], ids=["one", "mutual"])
def test_all_parts_with_keys(world, keys, is_mutual):
    """SSD and memory segments; the master looks at the SSD, too."""
    keys.use(keys.host, keys.ctrl if is_mutual else None)
    world.register("a")
    world.store_service("64mb")
    for replicas in ({"replica_num": "0", "nof_replica_num": "1"},
                     {"replica_num": "1", "nof_replica_num": "0"}):
        store = new_store(world, **replicas)
        put_and_get(store, "k" + replicas["replica_num"])
        store.close()
    world.wait_until("the master has looked", lambda: world.metric(
        "master_nof_heartbeat_success_total") > 0)
    assert world.metric("master_nof_heartbeat_failure_total") == 0
    assert "not authenticated" not in world.children["a"].text()


# What the host has, and what it is told.
REFUSED = {
    "none": (None, None, ("asks for authentication", KEY)),
    "wrong": ("wrong", None, ("refused this host", KEY)),
    "wrong_ctrl": ("host", "wrong", ("did not prove", CTRL_KEY)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(world, keys, case, capfd):
    key, ctrl, words = REFUSED[case]
    keys.make("wrong")
    world.register("a")
    world.store_service("64mb")
    keys.use(*(name and world.path(name + ".key") for name in (key, ctrl)))
    r = world.run("mooncake_ssd_register", "--discover="
                  f"127.0.0.1:{world.target_ports['a']}",
                  f"--master_server_address={world.master_addr}",
                  timeout=TIMEOUT)
    assert r.returncode == 1, r.stdout + r.stderr
    for word in words:
        assert word in r.stdout, r.stdout
    for replicas in ({"replica_num": "0", "nof_replica_num": "1"},
                     {"replica_num": "1", "nof_replica_num": "0"}):
        store = new_store(world, **replicas)
        assert store.put("k", bytes(SIZE)) != 0
        store.close()
    keys.said = "".join(capfd.readouterr())
    for word in words:
        assert word in keys.said
    # and who has the keys is served on
    keys.use(keys.host, keys.ctrl)
    store = new_store(world, replica_num="0", nof_replica_num="1")
    put_and_get(store, "after")
    store.close()


def test_host_without_need(cluster, keys):
    """A host that has a key does not go on without using it."""
    cluster.master(*FAST)
    cluster.target("a", "ram:16m")
    keys.use(keys.make("host"))
    r = cluster.run("mooncake_ssd_register", "--discover="
                    f"127.0.0.1:{cluster.target_ports['a']}",
                    f"--master_server_address={cluster.master_addr}",
                    timeout=TIMEOUT)
    assert r.returncode == 1
    assert "refused this host" in r.stdout and KEY in r.stdout


def test_file_of_others(cluster, keys):
    """Everybody who reads it refuses a key that others can read, too."""
    path = keys.make("host")
    os.chmod(path, 0o640)
    keys.use(path)
    for argv in (["mooncake_master", "--rpc_port=0"],
                 ["mooncake_nof_target", "--namespace=ram:1m",
                  "--listen=127.0.0.1:0", f"--dhchap_key=*={path}"]):
        r = cluster.run(*argv, timeout=TIMEOUT)
        assert r.returncode not in (0, 134, 139), r.stdout + r.stderr
        assert "chmod 600" in r.stderr and path in r.stderr, r.stderr
    from mooncake.store import MooncakeDistributedStore
    keys.use()
    cluster.master(*FAST)
    keys.use(path)
    store = MooncakeDistributedStore()
    assert store.setup({
        "local_hostname": "127.0.0.1", "metadata_server": "P2PHANDSHAKE",
        "global_segment_size": "0", "local_buffer_size": "0",
        "protocol": "tcp", "master_server_addr": cluster.master_addr}) != 0
    assert "chmod 600" in store.setup_error()


@pytest.mark.parametrize("flags,words", [
    (["--dhchap_key=nobody"], ("HOSTNQN=FILE", "nobody")),
    (["--dhchap_key=*=/nowhere"], ("/nowhere", "No such file")),
    (["--dhchap_ctrl_key=*=KEY"], ("without --dhchap_key",)),
    (["--dhchap_key=*=KEY", "--dhchap_hash=md5"], ("md5", "--help")),
    (["--dhchap_key=*=KEY", "--dhchap_dhgroup=null,x"], ("'x'", "--help")),
    (["--dhchap_key=*=/dev/null"], ("not a regular file",)),
    (["--dhchap_key=*=TEXT"], ("TEXT",))])
def test_bad_flags_of_the_target(cluster, keys, flags, words):
    key, text = keys.make("host"), cluster.path("text")
    with open(text, "w", encoding="ascii", opener=lambda path, how: os.open(
            path, how, 0o600)) as f:
        f.write("DHHC-1:00:" + keys.secrets[0][::-1] + ":\n")
    keys.secrets.append(keys.secrets[0][::-1])
    flags, words = ([w.replace("KEY", key).replace("TEXT", text) for w in ws]
                    for ws in (flags, words))
    r = cluster.run("mooncake_nof_target", "--namespace=ram:1m",
                    "--listen=127.0.0.1:0", *flags, timeout=TIMEOUT)
    assert r.returncode not in (0, 134, 139)
    for word in words:
        assert word in r.stderr, r.stderr
    keys.said = r.stdout + r.stderr


def test_ctrl_key_alone(cluster, keys):
    keys.use(None, keys.make("ctrl"))
    r = cluster.run("mooncake_master", "--rpc_port=0", timeout=TIMEOUT)
    assert r.returncode not in (0, 134, 139)
    assert CTRL_KEY in r.stderr and "without" in r.stderr


class Load:
    """Puts and gets from another thread; none of them may fail."""

    def __init__(self, cluster, store):
        self.cluster, self.store = cluster, store
        self.rounds, self.error, self.is_over = 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.is_over.is_set():
                put_and_get(self.store, "load")
                for i in range(8):
                    assert self.store.remove(f"load{i}", True) == 0
                self.rounds += 1
        except BaseException as e:  # told by __exit__
            self.error = e

    def more(self, n):
        want = self.rounds + n
        self.cluster.wait_until("rounds of puts and gets", lambda:
                                self.error or self.rounds >= want, 60)

    def __enter__(self):
        self.thread.start()
        self.more(1)
        return self

    def __exit__(self, *exc):
        self.is_over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a call does not end"
        if self.error:
            raise self.error


def read_again(cluster, words="key files read again"):
    target = cluster.children["a"]
    before = target.text().count(words)
    target.kill(signal.SIGHUP)
    cluster.wait_until(words, lambda: target.text().count(words) > before)


def test_f27_rotation_during_io(world, keys):
    """What is connected goes on, what is new needs the new key."""
    world.register("a")
    store = new_store(world, replica_num="0", nof_replica_num="1")
    with Load(world, store) as load:
        old = keys.host + ".old"
        os.link(keys.host, old)
        keys.replace(keys.host, keys.make("next"))
        read_again(world)
        load.more(3)
        keys.use(old, keys.ctrl)
        late = new_store(world, replica_num="0", nof_replica_num="1")
        assert late.put("late", bytes(SIZE)) != 0
        late.close()
        keys.use(keys.host, keys.ctrl)
        late = new_store(world, replica_num="0", nof_replica_num="1")
        put_and_get(late, "late")
        # a file that is no good changes nothing
        os.chmod(keys.host, 0o644)
        read_again(world, "the old keys stay")
        os.chmod(keys.host, 0o600)
        put_and_get(late, "later")
        late.close()
        load.more(2)
    # Who has been connected all along finds the new key when it must: so
    # does the master, which looks at the SSD.
    world.children["a"].kill()
    world.children["a"].proc.wait()
    world.target("a", "a.img", flags=[f"--dhchap_key=*={keys.host}",
                                      f"--dhchap_ctrl_key=*={keys.ctrl}"])
    before = world.metric("master_nof_heartbeat_success_total")
    world.wait_until("all is as before", lambda: store.put(
        "again", b"x") == 0 and store.get("again") == b"x", 40)
    world.wait_until("the master has looked", lambda: world.metric(
        "master_nof_heartbeat_success_total") > before)
    store.close()


@pytest.mark.parametrize("name,size", [("none", 32), ("sha256", 32),
                                       ("sha384", 48), ("sha512", 64)])
def test_gen_dhchap_key(cluster, keys, name, size):
    path = keys.make("new", f"--hash={name}")
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o600
    with open(path, encoding="ascii") as f:
        text = f.read()
    number = ["none", "sha256", "sha384", "sha512"].index(name)
    m = re.fullmatch(rf"DHHC-1:0{number}:(\S+):\n", text)
    assert len(base64.b64decode(m.group(1), validate=True)) == size + 4
    # never over one that is there
    r = cluster.run("mooncakectl", "gen-dhchap-key", f"--output={path}")
    assert r.returncode and "exists" in r.stderr
    with open(path, encoding="ascii") as f:
        assert f.read() == text


def test_gen_dhchap_key_to_stdout(cluster, keys):
    keys.make("unused")
    r = cluster.run("mooncakectl", "gen-dhchap-key", "--output=-")
    assert r.returncode == 0 and re.fullmatch(r"DHHC-1:01:\S+:\n", r.stdout)
    r = cluster.run("mooncakectl", "gen-dhchap-key")
    assert r.returncode and "--output" in r.stderr and not r.stdout
    for flags, word in ((["--length=33"], "32, 48 or 64"),
                        (["--hash=md5"], "md5")):
        path = cluster.path("bad.key")
        r = cluster.run("mooncakectl", "gen-dhchap-key", *flags,
                        f"--output={path}")
        assert r.returncode and word in r.stderr
        assert not os.path.exists(path)
