#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores a value and reads it back.

    MOONCAKE_MASTER=127.0.0.1:50051 python3 hello.py
"""
import os
import sys

from mooncake.store import MooncakeDistributedStore

store = MooncakeDistributedStore()
if store.setup({"local_hostname": "127.0.0.1",
                "metadata_server": "P2PHANDSHAKE",
                "global_segment_size": 0,  # bytes of ours for others
                "local_buffer_size": 0,
                "master_server_addr": os.environ.get("MOONCAKE_MASTER",
                                                     "127.0.0.1:50051")}):
    sys.exit(store.setup_error())

code = store.put("hello", b"world")
if code:
    sys.exit(f"put: {code}")
print("is_exist:", store.is_exist("hello"))
print("get:     ", store.get("hello"))
print("missing: ", store.get("no such key"))  # b"": a miss is no exception
for replica in store.get_replica_desc("hello"):
    print("lies on: ", replica)
store.remove("hello", True)  # True: although our get still has a lease
store.close()
