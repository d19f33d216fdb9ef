# SPDX-License-Identifier: Apache-2.0
"""What stripes do to one large object on four disks.

Real programs on loopback; each target answers no faster than a disk of
--disk bytes per second would.  One object at a time, put and got whole, so
with a stripe on every disk four of them work at once; the floor of every
figure is the same without stripes, in the same round.  With --disk=0 nothing
is limited: what then is lost is what stripes cost.
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

KiB, MiB = 1 << 10, 1 << 20
TARGETS = 4
NAMES = {"256k": 256 * KiB, "512k": 512 * KiB, "1m": MiB, "2m": 2 * MiB,
         "4m": 4 * MiB, "8m": 8 * MiB, "32m": 32 * MiB}
REST_S = 0.3


def sizes(text):
    try:
        return [NAMES[s] for s in text.split(",")]
    except KeyError as e:
        raise argparse.ArgumentTypeError(
            f"{e}: some of {','.join(NAMES)}") from e


def name_of(size):
    return next((n for n, s in NAMES.items() if s == size), "off")


def options():
    ap = argparse.ArgumentParser(
        prog="bench/run stripes", description=__doc__.split("\n", 1)[0])
    ap.add_argument("--disk", default="200m", metavar="BYTES",
                    help="per second, of each; 0 = no limit (200m)")
    ap.add_argument("--stripes", type=sizes, default="256k,1m,4m",
                    metavar="LIST", help="--nof_stripe_bytes (256k,1m,4m)")
    ap.add_argument("--sizes", type=sizes, default="2m,8m,32m",
                    metavar="LIST", help="of objects (2m,8m,32m)")
    ap.add_argument("--rounds", type=int, default=3, metavar="N",
                    help="of which the medians are shown (3)")
    ap.add_argument("--bytes", type=int, default=256 * MiB, metavar="N",
                    help="moved per figure (268435456)")
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    return ap.parse_args()


def target(cluster, name, rate):
    sock = f"--rpc_socket={cluster.path(name + '.sock')}"
    cluster.target(name, "ram:512m", flags=(sock,))
    cluster.register(name)
    if rate == "0":
        return
    r = cluster.run("mooncakectl", "target", sock, "fault", "set",
                    f"kind=rate,bytes_per_s={rate}")
    if r.returncode:
        raise SystemExit(f"--disk={rate}: {r.stdout}{r.stderr}")


def start(cluster, stripe, args):
    """A store on four targets."""
    from mooncake.store import MooncakeDistributedStore
    cluster.master("--default_kv_lease_ttl=1", "--quarantine_margin_ms=100",
                   f"--nof_stripe_bytes={stripe}")
    for i in range(TARGETS):
        target(cluster, f"t{i}", args.disk)
    store = MooncakeDistributedStore()
    ret = store.setup({
        "local_hostname": "127.0.0.1", "protocol": "tcp",
        "metadata_server": "P2PHANDSHAKE", "global_segment_size": "0",
        "local_buffer_size": "0", "master_server_addr": cluster.master_addr,
        "replica_num": "0", "nof_replica_num": "1"})
    if ret:
        raise SystemExit(f"setup: {ret}: {store.setup_error()}")
    return store


def timed(call, keys, at, size):
    begin = time.monotonic()
    for key in keys:
        ret = call(key, at, size)
        if ret < 0:
            raise SystemExit(f"{call.__name__} of {size} bytes: {ret}")
    return size * len(keys) / (time.monotonic() - begin)


def one_stripe(stripe, args, memory, samples):
    at = floors.address(memory)
    with Cluster(args.build_dir) as cluster:
        store = start(cluster, stripe, args)
        store.register_buffer(at, len(memory))
        for size in args.sizes:
            keys = [f"{size}/{i}" for i in range(max(1, args.bytes // size))]
            timed(store.put_from, ["warm"], at, size)
            timed(store.get_into, ["warm"], at, size)
            for op, call in (("put", store.put_from), ("get", store.get_into)):
                samples.setdefault((size, stripe, op), []).append(
                    timed(call, keys, at, size))
            store.remove_all(force=True)
            time.sleep(REST_S)
        store.close()


def rows_of(samples):
    for (size, stripe, op), rates in samples.items():
        off = samples[size, 0, op]
        yield {"object": name_of(size), "stripe": name_of(stripe), "op": op,
               "gb_per_s": statistics.median(rates) / 1e9,
               "of_unstriped": statistics.median(
                   a / b for a, b in zip(rates, off))}


def main():
    args = options()
    memory, samples = floors.memory(max(args.sizes)), {}
    for n in range(args.rounds):
        print(f"round {n + 1} of {args.rounds} …", file=sys.stderr)
        for stripe in (0, *args.stripes):
            one_stripe(stripe, args, memory, samples)
    rows = list(rows_of(samples))
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    line = "{:<7} {:<7} {:<3} {:>7} {:>13}".format
    print(line("object", "stripes", "op", "GB/s", "of unstriped"))
    for r in sorted(rows, key=lambda r: (r["op"], NAMES[r["object"]])):
        print(line(r["object"], r["stripe"], r["op"], f"{r['gb_per_s']:.3f}",
                   f"{r['of_unstriped']:.2f}"))
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
