# SPDX-License-Identifier: Apache-2.0
"""Where the programs are, and what several test folders need of them."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("MOONCAKE_BUILD",
                       os.path.join(ROOT, "build", "check", "release"))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
sys.path.insert(0, os.path.join(BUILD, "python", "pkg"))

FAST = ("--nof_heartbeat_interval_sec=1", "--default_kv_lease_ttl=1000")


def new_store(cluster, **more):
    """A client; more are setup keys."""
    from mooncake.store import MooncakeDistributedStore
    store = MooncakeDistributedStore()
    config = {"local_hostname": "127.0.0.1",
              "metadata_server": "P2PHANDSHAKE", "global_segment_size": "0",
              "local_buffer_size": "16777216", "protocol": "tcp",
              "master_server_addr": cluster.master_addr, **more}
    assert store.setup(config) == 0, store.setup_error()
    return store


def fault(cluster, name, rule):
    """Of a target whose RPC socket is NAME.sock; no rule: none any more."""
    r = cluster.run("mooncakectl", "target",
                    f"--rpc_socket={cluster.path(name)}.sock", "fault",
                    *(("set", rule) if rule else ("clear",)))
    assert r.returncode == 0, r.stderr
