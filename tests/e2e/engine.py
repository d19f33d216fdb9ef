# SPDX-License-Identifier: Apache-2.0
"""Calls the store as LMCache does, set up from a configuration of LMCache's.

    engine.py released|with-the-key lmcache.yaml

"released": of the file only extra_config reaches the store, and of that what
these versions hand on; "with-the-key": enable_mooncake_nof_pool does, too.
A generated trace is replayed, every byte that is read is checked, and the
result is printed as JSON.
"""
import collections
import ctypes
import json
import os
import random
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))

from mooncake.store import MooncakeDistributedStore, ReplicateConfig  # noqa: E402,E501
from workload import generate  # noqa: E402

OBJECT = 300_000  # no multiple of a block
HANDED_ON = ("local_hostname", "metadata_server", "global_segment_size",
             "local_buffer_size", "protocol", "device_name",
             "master_server_address")


def read_yaml(path):
    """The part of YAML that such a file needs: keys, one level down."""
    def value(text):
        text = text.strip().strip('"')
        return {"True": True, "False": False}.get(text, text)
    out = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if not line.strip():
                continue
            key, _, text = line.strip().partition(":")
            if line.startswith(" "):
                out["extra_config"][key] = value(text)
            else:
                out[key] = value(text) if text.strip() else {}
    return out


def setup_dict(config, how):
    extra = config["extra_config"]
    out = {k: str(extra[k]) for k in HANDED_ON if k in extra}
    if how == "released":
        out.update({k.removeprefix("mooncake_"): str(v)
                    for k, v in extra.items() if k.startswith("mooncake_")})
    else:
        out["enable_mooncake_nof_pool"] = str(
            config["enable_mooncake_nof_pool"])
    return out


class Engine:
    def __init__(self, store, seed):
        self.store = store
        self.seed = seed
        self.result = collections.Counter(wrong=0, failed=0, hits=0,
                                          verified=0, objects=0)

    def key(self, i):
        return f"meta-llama/Llama-3.1-8B@1@{self.seed}@{i:x}@half"

    def value(self, i):
        return struct.pack("<7i", *([i] * 7)) + \
            random.Random(self.seed ^ i).randbytes(OBJECT)

    def read(self, ids):
        """LMCache's batch: all as far as they are there without a gap."""
        there = []
        for i in ids:
            if not self.store.is_exist(self.key(i)):
                break
            there.append(i)
        buffers = self.store.batch_get_buffer([self.key(i) for i in there])
        for i, buffer in zip(there, buffers):
            if buffer is None:
                continue
            if memoryview(buffer) != self.value(i):
                self.result["wrong"] += 1
            self.result["hits"] += 1
            self.result["verified"] += len(memoryview(buffer))
        return there

    def write(self, ids):
        config = ReplicateConfig()
        config.replica_num = 1
        for i in ids:
            value = self.value(i)
            body = (ctypes.c_ubyte * OBJECT).from_buffer_copy(value[28:])
            if self.store.put_parts(self.key(i), value[:28], memoryview(body),
                                    config=config):
                self.result["failed"] += 1

    def replay(self, requests):
        seen = set()
        for _, ids in requests:
            ids = list(dict.fromkeys(ids))
            there = self.read(ids)
            self.write([i for i in ids if i not in there])
            seen.update(ids)
        self.read(sorted(seen))
        return seen


def where(store, keys):
    """Replicas by kind, and the namespaces."""
    out = {"memory": 0, "nof": 0, "targets": set()}
    for replicas in store.batch_get_replica_desc(keys).values():
        for r in replicas:
            at = r.get_memory_descriptor().buffer_descriptor
            is_nof = "subnqn:" in at.transport_endpoint
            out["nof" if is_nof else "memory"] += 1
            if is_nof:
                out["targets"].add(at.transport_endpoint)
    out["targets"] = sorted(out["targets"])
    return out


def main():
    how, path = sys.argv[1:]
    store = MooncakeDistributedStore()
    if store.setup(setup_dict(read_yaml(path), how)):
        sys.exit(store.setup_error())
    seed = random.SystemRandom().randrange(1 << 31)
    engine = Engine(store, seed)
    seen = engine.replay(generate(12, seed))
    engine.result["objects"] = len(seen)
    print(json.dumps({"seed": seed, **engine.result, **where(
        store, [engine.key(i) for i in seen])}))
    store.close()


main()
