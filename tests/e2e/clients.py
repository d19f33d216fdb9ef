# SPDX-License-Identifier: Apache-2.0
"""Clients in processes of their own, to be stopped, killed and asked."""
import os
import random
import signal
import subprocess
import sys

from cluster import die_with_parent
from common import BUILD, ROOT

SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
import clients
clients.serve(sys.argv[1])
"""


def bytes_of(key, size):
    """What is stored under a key, here as there."""
    return random.Random(key).randbytes(size)


def serve(master):
    from mooncake.store import MooncakeDistributedStore
    store = MooncakeDistributedStore()
    assert store.setup({
        "local_hostname": "127.0.0.1", "metadata_server": "P2PHANDSHAKE",
        "global_segment_size": "0", "local_buffer_size": "16777216",
        "protocol": "tcp", "master_server_addr": master,
        "replica_num": "0", "nof_replica_num": "1"}) == 0
    for line in sys.stdin:
        what, key, size = line.split()
        value = bytes_of(key, int(size))
        if what == "put":
            print(store.put(key, value), flush=True)
        else:
            got = store.get(key)
            print("right" if got == value else "WRONG" if got else "miss",
                  flush=True)


class Client:
    """ask() does not wait; answer() does."""

    def __init__(self, cluster, master=None, wrap=(), **env):
        """wrap: what starts it, before its own command line."""
        self.proc = subprocess.Popen(
            [*wrap, sys.executable, "-c", SCRIPT,
             master or cluster.master_addr,
             os.path.join(BUILD, "python", "pkg"),
             os.path.join(ROOT, "tools", "lib"),
             os.path.join(ROOT, "tests"),
             os.path.join(ROOT, "tests", "e2e")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent, env={**os.environ, **env})

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.communicate(timeout=30)

    def ask(self, what, key, size):
        self.proc.stdin.write(f"{what} {key} {size}\n")
        self.proc.stdin.flush()

    def answer(self):
        line = self.proc.stdout.readline()
        assert line, "the client has ended"
        return line.strip()

    def stop(self):
        self.proc.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.proc.send_signal(signal.SIGCONT)
