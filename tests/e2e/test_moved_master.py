# SPDX-License-Identifier: Apache-2.0
"""A master that goes to another host with its journal; its name goes along,
and clients find it there without a restart."""
import shutil
import subprocess

import pytest

from clients import Client
from cluster import can_connect
from conftest import FAST

NAME = "mooncake-master.test"
SIZE = 100_001
HERE, THERE = "127.0.0.1", "127.0.0.2"
# A name server of the client's own: its /etc/hosts.
WRAP = ("unshare", "-rm", "sh", "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"')


def can_have_hosts(path):
    return subprocess.run([*WRAP, path, "true"], capture_output=True,
                          check=False).returncode == 0


def name_is_at(path, address):
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{address} {NAME}\n")


def start_there(cluster, *flags):
    """As cluster.master(), at the other address."""
    c = cluster.start("master", "mooncake_master", f"--rpc_address={THERE}",
                      f"--rpc_port={cluster.master_port}",
                      "--metrics_host=127.0.0.1",
                      f"--metrics_port={cluster.admin_port}", *flags)
    c.wait_for(lambda: can_connect(cluster.master_port, THERE))


def test_clients_find_it(cluster):
    hosts = cluster.path("hosts")
    name_is_at(hosts, HERE)
    if not can_have_hosts(hosts):
        pytest.skip("needs a mount namespace (root or user namespaces)")
    cluster.master(f"--journal_dir={cluster.path('journal')}", *FAST)
    cluster.target("a", "ram:64m")
    cluster.register("a")
    with Client(cluster, f"{NAME}:{cluster.master_port}",
                (*WRAP, hosts)) as client:
        for i in range(5):
            client.ask("put", f"k{i}", SIZE)
            assert client.answer() == "0"
        cluster.children["master"].kill()
        cluster.children["master"].proc.wait()
        shutil.move(cluster.path("journal"), cluster.path("moved"))
        name_is_at(hosts, THERE)
        start_there(cluster, f"--journal_dir={cluster.path('moved')}", *FAST)

        def is_served():
            client.ask("get", "k0", SIZE)
            return client.answer() == "right"

        cluster.wait_until("served from there", is_served, 60)
        for i in range(5):
            client.ask("get", f"k{i}", SIZE)
            assert client.answer() == "right"
        client.ask("put", "later", SIZE)
        assert client.answer() == "0"
