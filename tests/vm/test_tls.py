# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP over TLS with the Linux kernel's at the other end, both ways."""
import os

import pytest

from cluster import free_port
from common import FAST, new_store
from peer import Guest

NQN = "nqn.2026-11.io.mooncake:tls"
HOST = "nqn.2014-08.org.nvmexpress:uuid:2f1b3c4d-0000-4000-8000-000000000001"

# insert KEY: as the kernel's initiator and target want to find it
INSERT = r"""
tlshd-up
modprobe nvme-tcp
insert() {
	nvme check-tls-key -i -I 1 -n %(host)s -c %(nqn)s -d "$1" >/dev/null
}
""" % {"host": HOST, "nqn": NQN}


@pytest.fixture
def key(cluster):
    """Of 32 bytes: tlshd 1.0 makes binders of SHA-256 for the others, too, which
    TLS does not allow."""
    path = cluster.path("tls.key")
    r = cluster.run("mooncakectl", "gen-tls-key", f"--output={path}",
                    "--hash=sha256")
    assert r.returncode == 0, r.stderr
    return path


def text_of(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def test_kernel_connects_to_our_target(cluster, key):
    port = free_port()
    cluster.target_ports["vm"] = port
    cluster.target("vm", "ram:8m", nqn=NQN, listen=",tls",
                   flags=(f"--tls_key={HOST}={key}",))
    with Guest(f"test-tls-{os.getpid()}", "--map-host", str(port)) as g:
        out = g.script(INSERT + f"insert {text_of(key)}\n" + r"""
join $1 $2 --hostnqn $3 --tls
dev=$(nvme-wait $2 1)
verify $dev 4K 512K randwrite
verify $dev 1M 4M write
part leave; leave $2
""", str(port), NQN, HOST)
        assert g.complaints() == []
    assert "disconnected 1 controller" in out["leave"]


def test_our_store_on_the_kernels_target(cluster, key, monkeypatch):
    monkeypatch.setenv("MC_NVME_HOSTNQN", HOST)
    monkeypatch.setenv("MC_NVME_TLS_KEY_FILE", key)
    # This nvme-cli (2.13) derives keys as those before 2.16 do.
    monkeypatch.setenv("MC_NVME_TLS_IDENTITY", "1-compat")
    monkeypatch.setenv("MC_NVME_FABRICS_CONNECT_TIMEOUT_US", "20000000")
    with Guest(f"test-tls-{os.getpid()}", "--target", "tcp", "--tls",
               "--backing", "nullmem", "--size", "96M", "--ns", "1",
               "--nqn", NQN) as g:
        g.script(INSERT + f"insert {text_of(key)}\n")
        cluster.master(*FAST)
        r = cluster.run(
            "mooncake_ssd_register",
            f"--master_server_address={cluster.master_addr}",
            f"--endpoint=traddr:127.0.0.1 trsvcid:{g.info['trsvcid']} "
            f"subnqn:{NQN} trtype:TCP adrfam:IPv4 ns:1")
        assert r.returncode == 0, r.stdout + r.stderr
        store = new_store(cluster)
        value = os.urandom(1_000_001)
        assert store.put("k", value) == 0
        assert store.get("k") == value
        store.close()
        assert g.complaints() == []
