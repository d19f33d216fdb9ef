# SPDX-License-Identifier: Apache-2.0
"""Frames of the master's RPC, for what stands between it and a client."""
import struct

# magic version type method id deadline status length crc: src/proto/frame.h
HEAD = struct.Struct("<IBBHQIiII")


def read_all(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data
