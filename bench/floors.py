# SPDX-License-Identifier: Apache-2.0
"""What this machine can do at best at this moment: sockets, memory, a disk.

Each function returns (bytes per second, CPU seconds) of moving that many
bytes by the plainest means, so that a figure of the store has something to be
divided by.
"""
import itertools
import mmap
import os
import resource
import socket
import threading
import time

PIECE = 1 << 20
DISK_BLOCK = 128 << 10
DISK_DEPTH = 8


def address(buf):
    import ctypes
    return ctypes.addressof(ctypes.c_char.from_buffer(buf))


def memory(size):
    """Zeroed and touched, so that no page fault is measured."""
    m = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m.madvise(mmap.MADV_HUGEPAGE)
    step = b"\xa5" * PIECE
    for at in range(0, size, PIECE):
        m[at:at + min(PIECE, size - at)] = step[:min(PIECE, size - at)]
    return m


def _cpu_s():
    return sum(r.ru_utime + r.ru_stime for r in (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN)))


def _no_pacing(s):
    """As the store does on loopback; BBR alone would halve the floor."""
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def _receive(port, total):
    buf = bytearray(PIECE)
    with socket.socket() as s:
        _no_pacing(s)
        s.connect(("127.0.0.1", port))
        while total:
            n = s.recv_into(buf, min(PIECE, total))
            if not n:
                break
            total -= n
        s.sendall(b"!")


def sockets(total):
    """Another process receives what we send in pieces of 1 MiB."""
    piece = bytes(PIECE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        _no_pacing(server)
        port = server.getsockname()[1]
        cpu = _cpu_s()
        pid = os.fork()
        if pid == 0:
            try:
                _receive(port, total)
            finally:
                os._exit(0)
        with server.accept()[0] as s:
            begin = time.monotonic()
            for _ in range(total // PIECE):
                s.sendall(piece)
            s.recv(1)
            took = time.monotonic() - begin
        os.waitpid(pid, 0)
    return total / took, _cpu_s() - cpu


def memcpy(total, size=64 << 20):
    import ctypes
    src, dst = memory(size), memory(size)
    to, frm = address(dst), address(src)
    cpu, begin = _cpu_s(), time.monotonic()
    for _ in range(total // size):
        ctypes.memmove(to, frm, size)
    took = time.monotonic() - begin
    return total // size * size / took, _cpu_s() - cpu


def disk(path, total, is_write):
    """O_DIRECT, 128 KiB at a time, 8 at a time, from the file's begin."""
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    turns = itertools.count()
    step = os.pwritev if is_write else os.preadv

    def work():
        buf = memory(DISK_BLOCK)
        for i in turns:
            if (i + 1) * DISK_BLOCK > total:
                return
            step(fd, [buf], i * DISK_BLOCK)

    threads = [threading.Thread(target=work) for _ in range(DISK_DEPTH)]
    cpu, begin = _cpu_s(), time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.monotonic() - begin
    os.close(fd)
    return total // DISK_BLOCK * DISK_BLOCK / took, _cpu_s() - cpu


def make_file(path, size, kind):
    """sparse: holes; preallocated: unwritten extents; written: zeros."""
    if os.path.exists(path):
        os.unlink(path)
    with open(path, "wb") as f:
        if kind == "sparse":
            f.truncate(size)
        else:
            os.posix_fallocate(f.fileno(), 0, size)
    if kind == "written":
        disk(path, size, True)
