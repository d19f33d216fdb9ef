# SPDX-License-Identifier: Apache-2.0
"""DH-HMAC-CHAP with the kernel, both ways.  Debian's 6.1 has none."""
import json
import os
import re
import signal

import pytest

from peer import Served
from stores import endpoint

MIB = 1 << 20
NQN = "nqn.2026-11.io.mooncake:vm"
HOST = "nqn.2026-11.io.mooncake:host"
HOSTID = "7ed5bd2a-29f8-4e3b-9bd6-e5d0a6a6f1b1"

# hash, Diffie-Hellman group, is it mutual, the key's hash and length
KINDS = (("sha256", "null", False, "none", 32),
         ("sha256", "ffdhe2048", True, "sha256", 32),
         ("sha384", "ffdhe3072", False, "sha384", 48),
         ("sha512", "ffdhe4096", True, "sha512", 64),
         ("sha384", "ffdhe6144", True, "none", 48),
         ("sha512", "ffdhe8192", False, "sha256", 64))
ids = ["-".join((h, g, "mutual" if m else "oneway"))
       for h, g, m, _, _ in KINDS]
kinds = pytest.mark.parametrize("kind", KINDS, ids=ids)


class Keys:
    """Files with keys, made by mooncakectl."""

    def __init__(self, cluster):
        self.cluster = cluster

    def make(self, name, keyhash="sha256", length=32):
        path = self.cluster.path(name + ".key")
        r = self.cluster.run("mooncakectl", "gen-dhchap-key",
                             f"--output={path}", f"--hash={keyhash}",
                             f"--length={length}")
        assert r.returncode == 0, r.stderr
        return path

    @staticmethod
    def text(path):
        with open(path, encoding="ascii") as f:
            return f.read().strip()


@pytest.fixture
def keys(cluster):
    return Keys(cluster)


# --- the kernel proves itself to our target ---

JOIN = r"""
port=$1 nqn=$2 host=$3 id=$4 secret=$5 ctrl=$6; shift 6
more=(); [ -z "$ctrl" ] || more=(--dhchap-ctrl-secret="$ctrl")
[ -z "$secret" ] || more+=(--dhchap-secret="$secret")
join $port $nqn --hostnqn=$host --hostid=$id "${more[@]}" "$@" || {
	part refused
	grep -c . /sys/class/nvme/nvme*/state 2>/dev/null || true
	exit 0
}
dev=$(nvme-wait $nqn 1)
part verify; verify $dev 64K 1M write
part leave; leave $nqn
"""


def attempt(guest, target, secret, ctrl, *options):
    return guest.script(JOIN, str(target.ports[0]), NQN, HOST, HOSTID,
                        secret, ctrl, *options)


def serve(cluster, guests, *flags):
    return Served(cluster, NQN, guests.ours, "ram:8m").start(*flags)


@kinds
def test_kernel_to_our_target(guest, cluster, guests, keys, kind):
    sha, group, mutual, keyhash, length = kind
    host, ctrl = (keys.make(n, keyhash, length) for n in ("host", "ctrl"))
    target = serve(cluster, guests, f"--dhchap_key={HOST}={host}",
                   f"--dhchap_ctrl_key={HOST}={ctrl}", f"--dhchap_hash={sha}",
                   f"--dhchap_dhgroup={group}")
    out = attempt(guest, target, keys.text(host),
                  keys.text(ctrl) if mutual else "",
                  *(("-g", "-G") if mutual else ()))
    assert "disconnected 1 controller" in out["leave"]


def test_kernel_is_refused(guest, cluster, guests, keys):
    """Wrong key, none, and a target that can't prove itself."""
    host, ctrl, other = map(keys.make, ("host", "ctrl", "other"))
    target = serve(cluster, guests, f"--dhchap_key={HOST}={host}",
                   f"--dhchap_ctrl_key={HOST}={ctrl}")
    right = keys.text(host)
    for secret, theirs in ((keys.text(other), ""), ("", ""),
                           (right, keys.text(other))):
        out = attempt(guest, target, secret, theirs)
        assert "refused" in out and "verify" not in out, (secret, theirs)
    assert "leave" in attempt(guest, target, right, keys.text(ctrl))


AGAIN = r"""
port=$1 nqn=$2 host=$3 id=$4 secret=$5 next=$6
join $port $nqn --hostnqn=$host --hostid=$id --dhchap-secret="$secret"
dev=$(nvme-wait $nqn 1); c=/sys/class/nvme/$(basename ${dev%n*})
hammer $dev & io=$!
until_is 300 [ -e /tmp/rotated ]
echo "$next" >$c/dhchap_secret
nvme reset ${dev%n*}
live 1
for i in 1 2 3; do verify $dev 16K 256K write 77 6291456; done
touch /tmp/stop
wait $io
part leave; leave $nqn
rm -f /tmp/rotated
"""


def test_key_is_changed_under_io(guest, cluster, guests, keys):
    """SIGHUP here, a new secret and a reset there: no I/O error."""
    host = keys.make("host")
    target = serve(cluster, guests, f"--dhchap_key={HOST}={host}")
    old, new = keys.text(host), keys.make("next")
    job = guest.start_script(AGAIN, str(target.ports[0]), NQN, HOST, HOSTID,
                             old, keys.text(new))
    target.wait_for_io(job)
    os.rename(new, host)
    target.child.kill(signal.SIGHUP)
    cluster.wait_until("keys are read again",
                       lambda: "key" in target.child.text(), 20)
    target.wait_for_io(job)
    guest.command("touch", "/tmp/rotated")
    assert "disconnected 1 controller" in job.result()["leave"]
    assert [c for c in guest.log() if "I/O error" in c] == []
    # and the old one is worth nothing
    assert "refused" in attempt(guest, target, old, "")


# --- we prove ourselves to the kernel's target ---

def bench(cluster, monkeypatch, port, nqn, **env):
    monkeypatch.setenv("MC_NVME_HOSTNQN", HOST)
    # an emulated processor takes long for the large groups, once per queue, and
    # nvmet's keep-alive timer does not wait for that
    monkeypatch.setenv("MC_NOF_WORKERS", "1")
    monkeypatch.setenv("MC_NVME_KEEP_ALIVE_MS", "120000")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "120000000")
    for name in ("KEY", "CTRL_KEY"):
        if name in env:
            monkeypatch.setenv(f"MC_NVME_DHCHAP_{name}_FILE", env[name])
        else:
            monkeypatch.delenv(f"MC_NVME_DHCHAP_{name}_FILE", raising=False)
    for _ in range(5):  # what missed its deadline says so
        r = cluster.run(
            "nof_worker_pool_bench", "--endpoints=" + endpoint(port, nqn),
            "--op=write", "--verify", "--yes_overwrite", "--bs=64k",
            "--size=8m", "--iodepth=4", "--duration_sec=0.5",
            "--warmup_sec=0", "--json", timeout=180)
        if "no answer in time" not in r.stderr:
            break
    return r


def works(r):
    assert r.returncode == 0, r.stdout + r.stderr
    got = json.loads(r.stdout)
    assert got["completed_ops"] > 0 and got["failed_ops"] == 0
    assert got["verify_errors"] == 0 and got["verified_bytes"] > 0


@kinds
def test_ours_to_kernel_target(cluster, nvmet, monkeypatch, keys, kind):
    sha, group, mutual, keyhash, length = kind
    host, ctrl = (keys.make(n, keyhash, length) for n in ("host", "ctrl"))
    port, nqn = nvmet.info["trsvcid"], NQN + "-auth"
    nvmet.add_subsystem(
        nqn, f"--hostnqn={HOST}", f"--dhchap-key={keys.text(host)}",
        *([f"--dhchap-ctrl-key={keys.text(ctrl)}"] if mutual else []),
        f"--dhchap-hash=hmac({sha})", f"--dhchap-dhgroup={group}")
    env = {"KEY": host, **({"CTRL_KEY": ctrl} if mutual else {})}
    if mutual:
        monkeypatch.setenv("MC_NVME_HEADER_DIGEST", "1")
        monkeypatch.setenv("MC_NVME_DATA_DIGEST", "1")
    works(bench(cluster, monkeypatch, port, nqn, **env))
    assert nvmet.complaints() == []


def test_ours_is_refused(cluster, nvmet, monkeypatch, keys):
    host, ctrl, other = map(keys.make, ("host", "ctrl", "other"))
    port, nqn = nvmet.info["trsvcid"], NQN + "-auth"
    nvmet.add_subsystem(
        nqn, f"--hostnqn={HOST}", f"--dhchap-key={keys.text(host)}",
        f"--dhchap-ctrl-key={keys.text(ctrl)}")
    works(bench(cluster, monkeypatch, port, nqn, KEY=host, CTRL_KEY=ctrl))
    for env in ({}, {"KEY": other}, {"KEY": host, "CTRL_KEY": other}):
        r = bench(cluster, monkeypatch, port, nqn, **env)
        assert r.returncode == 1 and re.search(
            "authenti|did not prove", r.stderr), (env, r.stderr)
    works(bench(cluster, monkeypatch, port, nqn, KEY=host, CTRL_KEY=ctrl))
