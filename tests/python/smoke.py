# SPDX-License-Identifier: Apache-2.0
"""Whichever python3 is first on PATH loads the package and stores a value.

No test runner: that python3 may have none.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import Cluster  # noqa: E402
from mooncake.store import MooncakeDistributedStore  # noqa: E402

with Cluster(os.environ["MOONCAKE_BUILD"]) as c:
    c.master()
    c.target("ssd", "ram:64m")
    c.register("ssd")
    store = MooncakeDistributedStore()
    ret = store.setup("127.0.0.1", "P2PHANDSHAKE", 0, 16 << 20, "tcp", "",
                      c.master_addr)
    assert ret == 0, store.setup_error()
    assert store.put("hello", b"world") == 0
    assert store.get("hello") == b"world"
    assert store.close() == 0
print(f"ok with {sys.executable} {sys.version.split()[0]}")
