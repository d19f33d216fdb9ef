# SPDX-License-Identifier: Apache-2.0
"""The master's answer gets lost with its connection: the client asks again and
gets the same one, so that nothing is left half-done."""
import os
import random
import socket
import threading

import pytest

from conftest import FAST, new_store
from frames import HEAD, read_all

SEED = int(os.environ.get("T_SEED") or random.SystemRandom().getrandbits(32))
PUT_START, PUT_END = 6, 7


class Relay:
    """Between one client and the master; lose names the method whose next
    answer does not arrive."""

    def __init__(self, master):
        self.host, port = master.rsplit(":", 1)
        self.port, self.lose, self.lost = int(port), None, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addr = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                client = self.server.accept()[0]
            except OSError:
                return
            master = socket.create_connection((self.host, self.port))
            for way in ((client, master), (master, client)):
                threading.Thread(target=self.copy, args=way,
                                 daemon=True).start()

    def copy(self, source, sink):
        try:
            while True:
                head = read_all(source, HEAD.size)
                kind, method, size = (HEAD.unpack(head)[i] for i in (2, 3, 7))
                body = read_all(source, size)
                if kind == 2 and method == self.lose:
                    self.lose, self.lost = None, self.lost + 1
                    raise OSError("lost")
                sink.sendall(head + body)
        except OSError:
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the other direction was first

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()


@pytest.mark.parametrize("method", [PUT_START, PUT_END])
def test_lost_answer_of_a_put(cluster, method):
    print(f"seed: T_SEED={SEED}")
    cluster.master(*FAST)
    cluster.target("a", "a.img:64m")
    cluster.register("a")
    relay = Relay(cluster.master_addr)
    store = new_store(cluster, master_server_addr=relay.addr)
    rng = random.Random(SEED)
    for i in range(5):
        data = {f"k{i}.{k}": rng.randbytes(20_000) for k in range(3)}
        relay.lose = method
        assert store.put_batch(list(data), list(data.values())) == 0
        assert relay.lost == i + 1
        for key, value in data.items():
            assert store.get(key) == value
    assert cluster.metric("master_key_count") == 15
    store.close()
    relay.close()
