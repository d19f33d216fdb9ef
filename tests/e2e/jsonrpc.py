# SPDX-License-Identifier: Apache-2.0
"""A client of a target's socket that speaks as SPDK's rpc.py does."""
import json
import socket


class RpcError(Exception):
    """The answer was an error: (code, message)."""


class Rpc:
    """One connection, requests without a newline, answers decoded one by one
    from whatever has come."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.next_id, self.buf = 1, ""

    def call(self, method, **params):
        request = {"jsonrpc": "2.0", "method": method, "id": self.next_id}
        if params:
            request["params"] = params
        self.next_id += 1
        self.sock.sendall(json.dumps(request).encode())
        answer = self.receive()
        assert answer["id"] == request["id"]
        if "error" in answer:
            raise RpcError(answer["error"]["code"],
                           answer["error"]["message"])
        return answer["result"]

    def receive(self):
        decoder = json.JSONDecoder()
        while True:
            self.buf = self.buf.lstrip()
            try:
                answer, end = decoder.raw_decode(self.buf)
                self.buf = self.buf[end:]
                return answer
            except ValueError:
                more = self.sock.recv(4096)
                assert more, "connection closed"
                self.buf += more.decode()


def start(cluster, name, *flags):
    path = cluster.path(name + ".sock")
    child = cluster.start(name, "mooncake_nof_target",
                          f"--rpc_socket={path}", *flags)
    child.wait_for(lambda: f"ready {path}\n" in child.text())
    return child, Rpc(path)
