# SPDX-License-Identifier: Apache-2.0
"""A journal's directory is damaged: whatever it is, what the programs say to
do is done, and the master runs again."""
import glob
import json
import os
import random
import shlex
import shutil
import signal
import struct

import pytest

from conftest import FAST, new_store

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
POOL = {"replica_num": "0", "nof_replica_num": "1"}


class Operator:
    def __init__(self, cluster):
        print(f"seed: T_SEED={SEED}")
        self.cluster, rng = cluster, random.Random(SEED)
        self.dir = cluster.path("journal")
        self.flags = [f"--journal_dir={self.dir}", *FAST]
        self.data = {f"k{i}": rng.randbytes(70_001) for i in range(10)}
        cluster.master(*self.flags)
        cluster.target("a", "a.img:128m")
        cluster.register("a")
        self.store = new_store(cluster, **POOL)
        assert self.store.put_batch(list(self.data),
                                    list(self.data.values())) == 0

    def kill(self):
        self.cluster.children["master"].kill(signal.SIGKILL)
        self.cluster.children["master"].proc.wait()

    def start(self):
        self.cluster.master(*self.flags)

    def restart(self):
        self.kill()
        self.start()
        self.online()

    def online(self):
        self.cluster.wait_until("the namespace is there", lambda:
                                self.states() == ["ONLINE"], 30)

    def states(self):
        return [s["state"].upper() for s in self.cluster.segments()]

    def files(self, end):
        return sorted(glob.glob(os.path.join(self.dir, "*" + end)))

    def ctl(self, *args, status=0):
        r = self.cluster.run("mooncakectl", "journal", *args)
        assert r.returncode == status, r.stdout + r.stderr
        return r.stdout if status == 0 else r.stderr

    def refusal(self):
        """Of the master; that of check has to be the same."""
        r = self.cluster.run("mooncake_master", *self.flags, "--rpc_port=0",
                             "--port=0", "--metrics_port=0")
        assert r.returncode == 1, r.stderr
        said = r.stderr.splitlines()[-1].split(f"{self.dir}: ", 1)[1]
        check = self.cluster.run("mooncakectl", "journal", "check", self.dir)
        assert check.returncode == 1
        assert check.stderr.strip().endswith(said)
        self.advice = check.stdout.strip()
        assert self.advice in r.stderr
        return said

    def cut(self):
        """What the refusal says to type, and what it says is left then."""
        command, left = self.advice.split(": ", 1)[1].split(" keeps ")
        objects = int(left.split()[0])
        assert shlex.split(command) == ["mooncakectl", "journal", "cut",
                                        self.dir]
        said = self.ctl("cut", self.dir)
        assert f"whole: {objects} objects" in self.ctl("check", self.dir)
        return said

    def fenced(self):
        """The journal is older than the disk: what to do is said wherever one
        looks, and nobody advises what destroys the objects."""
        c = self.cluster
        c.wait_until("it is fenced", lambda: "--force" in c.run(
            "mooncakectl", f"--master={c.master_addr}", "segments").stdout)
        r = c.run("mooncakectl", "doctor", "--json",
                  f"--master={c.master_addr}",
                  f"--admin=127.0.0.1:{c.admin_port}")
        found = [f for f in json.loads(r.stdout)["findings"]
                 if f["result"] == "FAIL"]
        assert {f["check"] for f in found} == {"segments", "superblock"}
        for f in found:
            assert "if no other master goes on with it: " \
                "mooncake_ssd_register --force" in f["advice"], f
            assert "mooncake_ssd_unregister" not in f["advice"], f
            assert "epoch" in f["text"], f

    def expect(self):
        """Nothing wrong, and puts work."""
        got = self.store.get_batch(sorted(self.data))
        assert all(v in (b"", self.data[k])
                   for k, v in zip(sorted(self.data), got))
        self.cluster.wait_until("puts work", lambda: self.store.put(
            "new", b"3" * 5000) in (0, -705), 30)
        assert self.store.get("new") == b"3" * 5000
        return sum(map(bool, got))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 0x41]))


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


OBJECT, MARKS, UNKNOWN = 4, 7, 200


def records(path):
    """Where each one begins, its length and type (docs/on-disk.md)."""
    with open(path, "rb") as f:
        data = f.read()
    at = 256
    while at < len(data):
        _, n, _, kind = struct.unpack_from("<IIQB", data, at)
        yield at, 20 + n, kind
        at += 20 + n


def set_type(path, at, n, kind):
    """A whole record with a right checksum."""
    with open(path, "r+b") as f:
        f.seek(at)
        data = bytearray(f.read(n))
        data[16] = kind
        struct.pack_into("<I", data, 0, crc32c(data[4:]))
        f.seek(at)
        f.write(data)


@pytest.fixture
def there(cluster, short_deadlines):
    operator = Operator(cluster)
    yield operator
    operator.store.close()


def test_header_of_a_log(cluster, there):
    """The starts that are cut have written higher epochs to the disk."""
    there.restart()
    there.restart()
    there.kill()
    flip(there.files(".log")[1], 100)
    assert "journal cut" in there.refusal()
    assert "cut at byte 0" in there.cut()
    there.start()
    there.fenced()
    cluster.register("a", "--force")
    there.online()
    assert there.expect() == len(there.data)


def test_copy_is_older(cluster, there):
    """By one life."""
    shutil.copytree(there.dir, there.dir + ".copy")
    there.restart()
    there.kill()
    shutil.rmtree(there.dir)
    shutil.copytree(there.dir + ".copy", there.dir)
    there.start()
    there.fenced()
    r = cluster.run("mooncake_ssd_register", "--json",
                    f"--master={cluster.master_addr}",
                    f"--discover=127.0.0.1:{cluster.target_ports['a']}")
    assert r.returncode == 1 and "--force takes it over" in r.stdout
    out = cluster.register("a", "--force").stdout
    assert "taken over" in out and "already" not in out, out
    assert out.endswith("Total SSDs: 1\nSuccessfully registered: 1\n"
                        "Already registered (skipped): 0\nFailed: 0\n"), out
    there.online()
    assert there.expect() == len(there.data)
    out = cluster.register("a", "--force").stdout
    assert "\nalready " in out and "OFFLINE" not in out, out
    assert "Already registered (skipped): 1\n" in out, out


def test_snapshot(cluster, there):
    there.ctl(f"--master={cluster.master_addr}", "snapshot")
    there.kill()
    flip(there.files(".zst")[0], 300)
    said = there.refusal()
    assert "begin an empty one and register" in said
    assert said in there.ctl("cut", there.dir, status=1)
    shutil.move(there.dir, there.dir + ".bad")
    there.start()
    cluster.register("a")
    assert there.expect() == 0


def test_record_that_no_master_takes(cluster, there):
    there.kill()
    log = there.files(".log")[0]
    objects = [(at, n) for at, n, kind in records(log) if kind == OBJECT]
    assert len(objects) == len(there.data)
    at, n = objects[6]
    set_type(log, at, n, MARKS)
    assert "cannot be applied" in there.refusal()
    assert "'mooncakectl journal cut'" in there.refusal()
    assert " marks (its " in there.ctl("dump", there.dir)
    assert f"cut at byte {at} " in there.cut()
    assert "whole: 6 objects, 1 segments" in there.ctl("check", there.dir)
    there.start()
    there.online()
    assert there.expect() == 6


def test_record_of_a_newer_program(cluster, there):
    there.kill()
    log = there.files(".log")[0]
    at, n, kind = list(records(log))[-1]
    set_type(log, at, n, UNKNOWN)
    assert "newer" in there.refusal()
    assert "newer" in there.ctl("cut", there.dir, status=1)
    assert f"unknown type={UNKNOWN}" in there.ctl("dump", there.dir)
    set_type(log, at, n, kind)
    there.start()
    there.online()
    assert there.expect() == len(there.data)


def test_log_is_gone(cluster, there):
    there.restart()
    there.restart()
    there.kill()
    os.unlink(there.files(".log")[0])
    assert "is gone" in there.refusal()
    assert "nothing is left" in there.cut()
    there.start()
    cluster.register("a")
    there.online()
    assert there.expect() == 0


FRESH, EARLY = 1, 2


def write_log(folder, first, count, flags):
    """Of marks."""
    head = bytearray(256)
    struct.pack_into("<8sIIQQII", head, 0, b"MCJRNLOG", 1, 256, first, 0,
                     flags, 0)
    head[40:44] = b"test"
    struct.pack_into("<I", head, 252, crc32c(head[:252]))
    for i in range(count):
        record = struct.pack("<IQI", 12, first + i, MARKS) + bytes(12)
        head += struct.pack("<I", crc32c(record)) + record
    with open(os.path.join(folder, f"journal-{first:016x}.log"), "wb") as f:
        f.write(head)


@pytest.mark.parametrize("flags, why", [
    (FRESH, "their snapshot is not there"),
    (EARLY, "the end of the log before them is lost"),
])
def test_check_says_why_logs_are_void(cluster, flags, why):
    folder = cluster.path("logs")
    os.mkdir(folder)
    write_log(folder, 1, 4, 0)
    write_log(folder, 6, 2, flags)
    r = cluster.run("mooncakectl", "journal", "check", folder)
    assert r.returncode == 0, r.stderr
    assert f"logs from record 6 on do not count: {why}\n" in r.stdout
