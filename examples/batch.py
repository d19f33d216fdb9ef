#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How an inference engine moves KV-cache blocks: many at a time, from and into
memory of its own, without a copy.

    MOONCAKE_MASTER=127.0.0.1:50051 python3 batch.py
"""
import ctypes
import mmap
import os
import sys
import time

from mooncake.store import MooncakeDistributedStore, ReplicateConfig

BLOCKS, BLOCK = 64, 256 << 10


def memory(size):
    """Pages, as an engine would have them pinned; and their address."""
    pages = mmap.mmap(-1, size)
    return pages, ctypes.addressof(ctypes.c_char.from_buffer(pages))


def speed(what, seconds):
    size = BLOCKS * BLOCK
    print(f"{what}: {size >> 20} MiB in {seconds * 1000:.0f} ms, "
          f"{size / seconds / 1e9:.2f} GB/s")


store = MooncakeDistributedStore()
if store.setup({"local_hostname": "127.0.0.1",
                "metadata_server": "P2PHANDSHAKE",
                "master_server_addr": os.environ.get("MOONCAKE_MASTER",
                                                     "127.0.0.1:50051"),
                "global_segment_size": 0, "local_buffer_size": 0}):
    sys.exit(store.setup_error())

src, src_at = memory(BLOCKS * BLOCK)
dst, dst_at = memory(BLOCKS * BLOCK)
for at in range(0, len(src), BLOCK):
    src[at:at + BLOCK] = os.urandom(BLOCK)
# RDMA will need this; with TCP it costs nothing.
store.register_buffer(src_at, len(src))
store.register_buffer(dst_at, len(dst))

keys = [f"batch/{os.getpid()}/{i}" for i in range(BLOCKS)]
sizes = [BLOCK] * BLOCKS
where = ReplicateConfig()  # without one the policy decides
where.replica_num, where.nof_replica_num = 0, 1

begin = time.monotonic()
codes = store.batch_put_from(keys, range(src_at, src_at + len(src), BLOCK),
                             sizes, where)
speed("batch_put_from", time.monotonic() - begin)
if any(codes):
    sys.exit(f"batch_put_from: {codes}")

print("there:", sum(store.batch_is_exist(keys)), "of", BLOCKS)

begin = time.monotonic()
got = store.batch_get_into(keys, range(dst_at, dst_at + len(dst), BLOCK),
                           sizes)
speed("batch_get_into", time.monotonic() - begin)
if got != sizes or src[:] != dst[:]:
    sys.exit(f"batch_get_into: {got}")
print("all bytes are right")

store.batch_remove(keys, True)
store.unregister_buffer(src_at)
store.unregister_buffer(dst_at)
store.close()
