# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP over TLS with the Linux kernel's at the other end, both ways."""
import pytest

from common import FAST
from stores import endpoint, ssd, store_and_get

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


@pytest.fixture(autouse=True)
def encrypted(capture):
    if capture:
        capture.protocol = "tls"


def test_kernel_connects_to_our_target(cluster, guest, port, key):
    cluster.target_ports["vm"] = port
    cluster.target("vm", "ram:8m", nqn=NQN, listen=",tls",
                   flags=(f"--tls_key={HOST}={key}",))
    out = guest.script(INSERT + f"insert {text_of(key)}\n" + r"""
join $1 $2 --hostnqn $3 --tls
dev=$(nvme-wait $2 1)
checked --filename=$dev --rw=randwrite --bs=4K --size=512K --name=small \
	--name=large --rw=write --bs=1M --offset=1M --size=4M
part leave; leave $2
""", str(port), NQN, HOST)
    assert guest.complaints() == []
    assert "disconnected 1 controller" in out["leave"]


def test_our_store_on_the_kernels_target(cluster, nvmet, guests, key,
                                         monkeypatch):
    monkeypatch.setenv("MC_NVME_HOSTNQN", HOST)
    monkeypatch.setenv("MC_NVME_TLS_KEY_FILE", key)
    # This nvme-cli (2.13) derives keys as those before 2.16 do.
    monkeypatch.setenv("MC_NVME_TLS_IDENTITY", "1-compat")
    port = guests.theirs[1]
    nvmet.add_subsystem(NQN, "--tls", port=port)
    nvmet.script(INSERT + f"insert {text_of(key)}\n")
    cluster.master(*FAST)
    ssd(cluster, "register", f"--endpoint={endpoint(port, NQN)}")
    store_and_get(cluster, 31)
    assert nvmet.complaints() == []
