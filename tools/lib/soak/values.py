# SPDX-License-Identifier: Apache-2.0
"""Values that say which put of which key wrote them.

A header names key, version and size; the rest is a window into one random
pattern whose place follows from key and version.  So every byte is checked,
and bytes of another put can't pass.
"""
import hashlib
import random
import struct

HEAD = struct.Struct("<8sQQQ")
MAGIC = b"MCSOAK01"
LARGEST = 4 << 20
#: how many keys of a client another one looks back at most
LOOK_BACK = 3000
_SPREAD = 1 << 18


class WrongBytes(Exception):
    """Says what is there instead."""


def _name(key):
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8)
                          .digest(), "little")


class Values:
    def __init__(self, seed):
        self._pattern = random.Random(seed).randbytes(LARGEST + _SPREAD)

    def _body(self, name, version, size):
        at = (name ^ version * 0x9E3779B97F4A7C15) % _SPREAD
        return self._pattern[at:at + size - HEAD.size]

    def make(self, key, version, size):
        name = _name(key)
        return (HEAD.pack(MAGIC, name, version, size)
                + self._body(name, version, size))

    def header(self, key, version, size):
        """What to look for on a disk."""
        return HEAD.pack(MAGIC, _name(key), version, size)

    def version_of(self, key, data):
        """Which put of the key wrote this; every byte is looked at."""
        if len(data) < HEAD.size:
            raise WrongBytes(f"{len(data)} bytes")
        magic, name, version, size = HEAD.unpack_from(data)
        if magic != MAGIC:
            raise WrongBytes(f"{len(data)} bytes that begin with "
                             f"{bytes(data[:16]).hex()}")
        if name != _name(key):
            raise WrongBytes(f"the value of another key (version {version}, "
                             f"{size} bytes)")
        if size != len(data):
            raise WrongBytes(f"{len(data)} bytes of version {version}, which "
                             f"has {size}")
        want = self._body(name, version, size)
        if data[HEAD.size:] != want:
            at = next(i for i, (a, b) in enumerate(
                zip(data[HEAD.size:], want)) if a != b)
            raise WrongBytes(f"version {version} of {size} bytes, but wrong "
                             f"from byte {at + HEAD.size} on")
        return version
