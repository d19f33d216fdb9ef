# SPDX-License-Identifier: Apache-2.0
"""Objects with reproducible bytes, and a check of every byte that is cheap.

Object i is a 64-byte header that names it, then a window into one random
pattern; the window's place depends on i.  So a put needs no copy, a check is
one memcmp, and bytes of another object can't pass.
"""
import ctypes
import mmap
import random
import struct

HEADER = 64
SPREAD = 1 << 20
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def _address(buf):
    return ctypes.addressof(ctypes.c_char.from_buffer(buf))


class Blocks:
    """slots objects can be read at a time."""

    def __init__(self, size, slots=None, seed=7):
        self.size, self.seed = size, seed
        self.slots = slots or max(1, min(128, (64 << 20) // size))
        body = size - HEADER
        self._pattern = bytearray(random.Random(seed).randbytes(body + SPREAD))
        self._pattern_at = _address(self._pattern)
        self._memory = mmap.mmap(-1, self.slots * size)
        self._memory_at = _address(self._memory)
        self._headers = bytearray(self.slots * HEADER)
        self._headers_at = _address(self._headers)
        self.verified = 0

    def key(self, i):
        return f"demo/{self.size}/{i}"

    def _window(self, i):
        return self._pattern_at + (i * 0x9E3779B1 + 12345) % SPREAD

    def header(self, i):
        return struct.pack("<QQQQ", i, self.size, self.seed,
                           i ^ 0xFFFFFFFFFFFFFFFF) * 2

    def values_for(self, ids):
        """keys, pointers and sizes to put from, in two pieces each."""
        ptrs = []
        for slot, i in enumerate(ids):
            self._headers[slot * HEADER:(slot + 1) * HEADER] = self.header(i)
            ptrs.append([self._headers_at + slot * HEADER, self._window(i)])
        return ([self.key(i) for i in ids], ptrs,
                [[HEADER, self.size - HEADER]] * len(ids))

    def slots_for(self, ids):
        """keys, pointers and sizes to get into."""
        return ([self.key(i) for i in ids],
                [[self._memory_at + s * self.size] for s in range(len(ids))],
                [[self.size]] * len(ids))

    def is_right(self, slot, i, length):
        """Checks every byte of what was read into a slot."""
        at = slot * self.size
        if length != self.size or \
                self._memory[at:at + HEADER] != self.header(i):
            return False
        self.verified += self.size
        return _memcmp(self._memory_at + at + HEADER, self._window(i),
                       self.size - HEADER) == 0
