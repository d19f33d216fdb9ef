# SPDX-License-Identifier: Apache-2.0
"""Puts and gets of whole objects, divided by what the machine could do.

Real programs on loopback.  Each figure is the median over rounds, and so is
its ratio to a floor (floors.py) measured seconds before it in the same round:
on a shared machine the ratios hold, the figures do not.  CPU is that of this
process and of the one that has the medium, in seconds per GB moved.
"""
import argparse
import json
import os
import statistics
import sys
import time

import floors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import Cluster  # noqa: E402

MiB = 1 << 20
SHAPES = [  # name, bytes per object, objects at a time, bytes to move
    ("256 KiB", 256 << 10, 1, 64 * MiB),
    ("256 KiB", 256 << 10, 32, 256 * MiB),
    ("1 MiB", MiB, 1, 128 * MiB),
    ("1 MiB", MiB, 32, 256 * MiB),
    ("32 MiB + 28", 32 * MiB + 28, 1, 256 * MiB),
    ("32 MiB + 28", 32 * MiB + 28, 8, 512 * MiB),
]
SEGMENT = 1792 * MiB
MEDIA = ["remote", "sparse", "preallocated", "written", "own"]
MEMORY = ("remote", "own")
REST_S = 0.8  # the master's quarantine of freed space, and some
TICK = os.sysconf("SC_CLK_TCK")


def options():
    ap = argparse.ArgumentParser(
        prog="bench/run store", description=__doc__.split("\n", 1)[0],
        epilog="Media: remote = memory of another process; sparse, "
        "preallocated, written = a file behind a target; own = memory of this "
        "process.")
    ap.add_argument("--rounds", type=int, default=3, metavar="N",
                    help="rounds, of which the medians are shown (3)")
    ap.add_argument("--media", default=",".join(MEDIA), metavar="LIST",
                    help=f"some of {','.join(MEDIA)}")
    ap.add_argument("--sizes", default="", metavar="LIST",
                    help="some of 256k,1m,32m (all)")
    ap.add_argument("--dir", help="where the files lie (a new folder in "
                    "TMPDIR)")
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    args = ap.parse_args()
    args.media = args.media.split(",")
    if set(args.media) - set(MEDIA):
        ap.error(f"--media: some of {','.join(MEDIA)}")
    return args


def cpu_s(pid):
    """User and system seconds of a process, all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        part = f.read().rsplit(")", 1)[1].split()
    return (int(part[11]) + int(part[12])) / TICK


class Bench:
    """One medium of one round: a fresh cluster."""

    def __init__(self, cluster, medium, args):
        from mooncake.store import MooncakeDistributedStore
        self.cluster, self.medium = cluster, medium
        cluster.master("--default_kv_lease_ttl=1")
        own = 0
        if medium == "remote":
            self.owner = cluster.store_service(str(SEGMENT)).pid
        elif medium == "own":
            own, self.owner = SEGMENT, None
        else:
            path = cluster.path("disk.img")
            floors.make_file(path, SEGMENT, medium)
            self.owner = cluster.target("disk", path).pid
            cluster.register("disk", "--force")
        self.store = MooncakeDistributedStore()
        is_nof = int(medium not in ("remote", "own"))
        ret = self.store.setup({
            "local_hostname": "127.0.0.1", "protocol": "tcp",
            "metadata_server": "P2PHANDSHAKE",
            "global_segment_size": str(own), "local_buffer_size": "0",
            "master_server_addr": cluster.master_addr,
            "replica_num": str(1 - is_nof), "nof_replica_num": str(is_nof)})
        if ret:
            raise SystemExit(f"setup: {ret}: {self.store.setup_error()}")

    def touch(self, memory):
        """First writes to a memory segment are page faults: done here."""
        size = 32 * MiB
        for i in range(SEGMENT // size - 1):
            self.store.put_from(f"touch/{i}", floors.address(memory), size)
        self.empty()

    def empty(self):
        self.store.remove_all(force=True)
        time.sleep(REST_S)

    def cpu(self):
        return cpu_s(os.getpid()) + (cpu_s(self.owner) if self.owner else 0)

    def timed(self, step, batches):
        cpu, begin = self.cpu(), time.monotonic()
        bad = [c for b in batches for c in step(*b) if c < 0]
        took = time.monotonic() - begin
        if bad:
            raise SystemExit(f"{self.medium}: {step.__name__}: {bad[0]}")
        return took, self.cpu() - cpu

    def shape(self, name, size, batch, total, memory):
        """{'put': (bytes/s, CPU s per GB), 'get': …}"""
        at, count = floors.address(memory), max(1, total // size // batch)
        keys = [[f"{name}/{batch}/{b}/{i}" for i in range(batch)]
                for b in range(count)]
        ptrs = [at + i * (-(-size // 4096) * 4096) for i in range(batch)]
        batches = [(k, ptrs, [size] * batch) for k in keys]
        moved, out = size * batch * count, {}
        for op, step in (("put", self.store.batch_put_from),
                         ("get", self.store.batch_get_into)):
            took, cpu = self.timed(step, batches)
            out[op] = moved / took, cpu / moved * 1e9
        return out

    def close(self):
        self.store.close()


def measure_floors(medium, folder):
    """{'put': (bytes/s, CPU s per GB), 'get': …}"""
    total = 512 * MiB
    if medium == "own":
        one = two = floors.memcpy(total)
    elif medium == "remote":
        one = two = floors.sockets(total)
    else:
        path = os.path.join(folder, "floor.img")
        floors.make_file(path, total, medium)
        one = floors.disk(path, total, True)
        two = floors.disk(path, total, False)
        os.unlink(path)
    return {op: (rate, cpu / total * 1e9)
            for op, (rate, cpu) in (("put", one), ("get", two))}


def one_round(args, shapes, samples):
    largest = max(b * (-(-s // 4096) * 4096) for _, s, b, _ in shapes)
    memory = floors.memory(largest)
    for medium in args.media:
        with Cluster(args.build_dir) as cluster:
            bench = Bench(cluster, medium, args)
            bench.store.register_buffer(floors.address(memory), largest)
            if medium in MEMORY:
                bench.touch(memory)
            for name, size, batch, total in shapes:
                floor = measure_floors(medium, cluster.dir)
                got = bench.shape(name, size, batch, total, memory)
                for op, (rate, cpu) in got.items():
                    samples.setdefault((medium, name, batch, op), []).append(
                        (rate / 1e9, rate / floor[op][0], cpu, floor[op][1]))
            bench.close()


def main():
    args = options()
    if args.dir:
        os.environ["TMPDIR"] = args.dir
    short = {"256k": "256 KiB", "1m": "1 MiB", "32m": "32 MiB + 28"}
    names = [short.get(s) for s in args.sizes.split(",") if s]
    shapes = [s for s in SHAPES if not names or s[0] in names]
    samples = {}
    for n in range(args.rounds):
        print(f"round {n + 1} of {args.rounds} …", file=sys.stderr)
        one_round(args, shapes, samples)
    rows = [dict(zip(("medium", "object", "batch", "op", "gb_per_s",
                      "of_floor", "cpu_s_per_gb", "floor_cpu_s_per_gb"),
                     (*key, *(statistics.median(c) for c in zip(*s)))))
            for key, s in samples.items()]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    line = "{:<13} {:<12} {:>5} {:<3} {:>7} {:>9} {:>8} {:>9}".format
    print(line("medium", "object", "batch", "op", "GB/s", "of floor",
               "CPU s/GB", "floor's"))
    for r in rows:
        print(line(r["medium"], r["object"], r["batch"], r["op"],
                   f"{r['gb_per_s']:.2f}", f"{r['of_floor']:.0%}",
                   f"{r['cpu_s_per_gb']:.2f}",
                   f"{r['floor_cpu_s_per_gb']:.2f}"))
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
