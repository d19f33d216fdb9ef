# SPDX-License-Identifier: Apache-2.0
"""What tools/demo does after it has built: see --help."""
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to clean up so far

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

from cluster import Cluster, Failed  # noqa: E402
from report import Bar, Latency, print_table, size_text  # noqa: E402
from workload import BadTrace, Lru, generate, load  # noqa: E402

SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_size(text):
    t = text.lower().removesuffix("ib").removesuffix("b")
    unit = t[-1:] if t[-1:] in ("k", "m", "g") else ""
    try:
        return int(float(t.removesuffix(unit)) * SIZES[unit])
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no size (256k, 1m, 2g)") from None


def positive(kind):
    """An argparse type: a finite number above 0."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(
                f"'{text}' is no number above 0")
        return value
    return parse


def options():
    ap = argparse.ArgumentParser(
        prog="tools/demo", allow_abbrev=False,
        description="Stores a KV-cache trace in an NVMe-oF SSD pool on this "
        "machine, serves it from there and checks every byte.")
    ap.add_argument("--seconds", type=positive(float), default=60, metavar="N",
                    help="stop replaying after so long (60)")
    ap.add_argument("--trace", metavar="FILE", help="JSONL with hash_ids, as "
                    "Mooncake publishes them; without it one is generated")
    ap.add_argument("--requests", type=positive(int), default=2000, metavar="N",
                    help="the first N requests of the trace (2000)")
    ap.add_argument("--object-size", type=parse_size, default=256 << 10,
                    metavar="SIZE", help="bytes per hash id (256k)")
    ap.add_argument("--pool", type=parse_size, default=2 << 30,
                    metavar="SIZE", help="SSD pool, over 4 files (2g)")
    ap.add_argument("--memory", type=parse_size, default=256 << 20,
                    metavar="SIZE", help="the store service's segment (256m)")
    ap.add_argument("--seed", type=int, default=None,
                    help="of the generated trace; printed when chosen here")
    ap.add_argument("--json", action="store_true",
                    help="the result as JSON on stdout")
    ap.add_argument("--keep", action="store_true",
                    help="leave the folder with logs and disks behind")
    ap.add_argument("--build-dir", metavar="DIR", default="build/demo",
                    help="where to build (build/demo)")
    ap.add_argument("--only-check-options", action="store_true",
                    help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.object_size < 128:
        ap.error("--object-size must be at least 128 bytes")
    if args.object_size > 256 << 20:
        ap.error("--object-size must be at most 256m")
    if args.pool < 64 << 20:
        ap.error("--pool must be at least 64m")
    if args.memory < 16 << 20:
        ap.error("--memory must be at least 16m")
    return args


def say(text):
    print(text, file=sys.stderr, flush=True)


def check_space(pool):
    """The pool's files take their full size at once."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < pool:
        raise Failed(f"the pool takes {size_text(pool)} and {folder} "
                     f"has {size_text(free)} free: choose a smaller --pool, "
                     "or a folder on another disk with TMPDIR")


def start(cluster, args):
    """The deployment, step by step, as an operator would type it."""
    step = "  {:<34} {}".format
    cluster.metadata()
    say(step("metadata server", cluster.metadata_url))
    cluster.master("--nof_heartbeat_interval_sec=1",
                   "--nof_eviction_high_watermark_ratio=0.98",
                   "--nof_eviction_ratio=0.01",
                   "--default_kv_lease_ttl=2000")
    say(step("master", f"{cluster.master_addr}, admin http://127.0.0.1:"
             f"{cluster.admin_port}"))
    disk = args.pool // 4 // (1 << 20)
    for name in ("ssd-a", "ssd-b"):
        cluster.target(name, f"{name}-1.img:{disk}m", f"{name}-2.img:{disk}m")
        cluster.register(name)
        say(step(f"target {name}", f"127.0.0.1:{cluster.target_ports[name]}, "
                 f"2 namespaces of {disk} MiB, registered"))
    cluster.store_service(str(args.memory))
    say(step("store service", f"{cluster.rest_url}, memory segment of "
             f"{size_text(args.memory)}"))


class Replay:
    """One engine: looks blocks up, verifies hits, stores what is missing."""

    def __init__(self, store, args, blocks):
        self.store, self.blocks = store, blocks
        self.size = args.object_size
        self.get_ms, self.put_ms = Latency(), Latency()
        self.hits = self.lookups = self.puts = self.failed_puts = 0
        self.wrong = 0
        self.busy_s = 0.0

    def lookup(self, ids):
        """Reads all; returns the set of ids that were there and right."""
        found = set()
        for at in range(0, len(ids), self.blocks.slots):
            part = ids[at:at + self.blocks.slots]
            keys, ptrs, sizes = self.blocks.slots_for(part)
            t = time.monotonic()
            codes = self.store.batch_get_into_multi_buffers(keys, ptrs, sizes)
            took = time.monotonic() - t
            self.get_ms.add(took * 1000)
            self.busy_s += took
            for slot, (i, code) in enumerate(zip(part, codes)):
                if code > 0 and not self.blocks.is_right(slot, i, code):
                    self.wrong += 1
                elif code > 0:
                    found.add(i)
        self.lookups += len(ids)
        self.hits += len(found)
        return found

    def store_all(self, ids):
        for at in range(0, len(ids), self.blocks.slots):
            part = ids[at:at + self.blocks.slots]
            keys, ptrs, sizes = self.blocks.values_for(part)
            t = time.monotonic()
            codes = self.store.batch_put_from_multi_buffers(keys, ptrs, sizes)
            took = time.monotonic() - t
            self.put_ms.add(took * 1000)
            self.busy_s += took
            self.puts += len(part)
            self.failed_puts += sum(1 for c in codes if c)

    def request(self, ids):
        found = self.lookup(ids)
        self.store_all([i for i in ids if i not in found])


def ids_on(cluster, store, blocks, ids, name, limit=200):
    """Ids whose only replicas lie on that target."""
    port = f"trsvcid:{cluster.target_ports[name]} "
    result = []
    for i in ids:
        where = store.get_replica_desc(blocks.key(i))
        if where and all(port in r.get_memory_descriptor().buffer_descriptor
                         .transport_endpoint + " " for r in where):
            result.append(i)
            if len(result) >= limit:
                break
    return result


def fail_over(cluster, replay, recent, report):
    """SIGKILLs a target: misses, nothing wrong; starts it: served again."""
    victim = "ssd-b"
    sample = ids_on(cluster, replay.store, replay.blocks, recent, victim)
    before = len(replay.lookup(sample))
    cluster.children[victim].kill(signal.SIGKILL)
    cluster.children[victim].proc.wait()
    t = time.monotonic()
    gone = len(replay.lookup(sample))
    report["first_read_after_kill_s"] = time.monotonic() - t
    down = len(replay.lookup(sample))
    disk = [p for p in (f"{victim}-1.img", f"{victim}-2.img")]
    cluster.target(victim, *disk)
    t = time.monotonic()
    back = 0
    while time.monotonic() - t < 20:
        back = len(replay.lookup(sample))
        if back >= before:
            break
        time.sleep(0.1)
    report.update(killed=victim, sample=len(sample), served_before=before,
                  served_while_down=max(gone, down), served_after=back,
                  back_after_s=time.monotonic() - t)


def replay_trace(cluster, args, requests, replay, lru, report):
    """All requests, with the kill half-way; the LRU sees what we see."""
    begin, recent, outage = time.monotonic(), [], 0.0
    bar = Bar("replaying", len(requests))
    killed, done = False, 0
    for n, (_, ids) in enumerate(requests):
        ids = list(dict.fromkeys(ids))
        elapsed = time.monotonic() - begin - outage
        if elapsed > args.seconds:
            break
        if not killed and (n >= len(requests) // 2
                           or elapsed > args.seconds / 2):
            killed = True
            bar.note("killing target ssd-b with SIGKILL …")
            t = time.monotonic()
            hits, lookups = replay.hits, replay.lookups
            fail_over(cluster, replay, list(dict.fromkeys(recent)), report)
            replay.hits, replay.lookups = hits, lookups
            outage = time.monotonic() - t
            bar.note(f"… it is back: {report['served_while_down']} of "
                     f"{report['sample']} of its objects were served while "
                     f"it was down, {report['served_after']} after")
        replay.request(ids)
        lru.request(ids)
        recent = (ids + recent)[:4000]
        done = n + 1
        bar.step(done, f"{replay.hits} hits, {replay.puts} puts, "
                 f"{replay.blocks.verified >> 20} MiB verified")
    bar.done()
    report.update(requests=done, seconds=time.monotonic() - begin - outage)


def result(cluster, args, replay, lru, report):
    size, blocks = args.object_size, replay.blocks
    mem = cluster.metric("mem_cache_hit_nums_")
    nof = cluster.metric("nof_cache_hit_nums_")
    report.update(
        object_size=size, lookups=replay.lookups, hits=replay.hits,
        puts=replay.puts, failed_puts=replay.failed_puts,
        hits_memory=mem, hits_nof=nof,
        hit_rate=replay.hits / max(replay.lookups, 1),
        lru_hit_rate=lru.hits / max(lru.lookups, 1),
        lru_objects=lru.capacity,
        moved_bytes=(replay.hits + replay.puts) * size,
        gb_per_s=(replay.hits + replay.puts) * size / 1e9
        / max(replay.busy_s, 1e-9),
        bytes_verified=blocks.verified, wrong=replay.wrong,
        checksum_mismatches=cluster.metric("master_checksum_mismatch_total"),
        get_ms=replay.get_ms.summary(), put_ms=replay.put_ms.summary())
    return report


def show(r):
    g, p = r["get_ms"], r["put_ms"]
    print_table("Result", [
        ("requests replayed", f"{r['requests']} in {r['seconds']:.1f} s"),
        ("objects", f"{size_text(r['object_size'])} each, {r['lookups']} "
         f"looked up, {r['puts']} stored, {r['failed_puts']} refused"),
        ("hit rate", f"{r['hit_rate']:.1%}; an ideal LRU of "
         f"{r['lru_objects']} objects: {r['lru_hit_rate']:.1%}"),
        ("hits by tier (master's count)", f"memory {r['hits_memory']:.0f}, "
         f"NVMe-oF pool {r['hits_nof']:.0f}"),
        ("throughput while busy", f"{r['gb_per_s']:.2f} GB/s"),
        ("get, per batch", f"p50 {g['p50']:.1f} ms, p99 {g['p99']:.1f} ms "
         f"({g['count']} batches)"),
        ("put, per batch", f"p50 {p['p50']:.1f} ms, p99 {p['p99']:.1f} ms "
         f"({p['count']} batches)"),
        ("target killed half-way", f"{r['killed']}: {r['served_before']} of "
         f"its objects served before, {r['served_while_down']} while down, "
         f"{r['served_after']} after" if "killed" in r else "not reached"),
        ("bytes verified", size_text(r["bytes_verified"])),
        ("wrong bytes", str(r["wrong"])),
    ])


def main():
    args = options()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 31)
    try:
        requests = (load(args.trace, args.requests) if args.trace
                    else generate(args.requests, args.seed))
    except (OSError, BadTrace) as e:
        say(f"tools/demo: {e}")
        return 2
    if args.only_check_options:
        return 0
    # That a path is lost when its target is killed needs no warning here.
    os.environ.setdefault("MC_LOG_LEVEL", "error")
    from blocks import Blocks
    from mooncake.store import MooncakeDistributedStore
    say(f"trace: {args.trace or f'generated, seed {args.seed}'}, "
        f"{len(requests)} requests")
    report = {}
    check_space(args.pool)
    with Cluster(args.build_dir, args.keep) as cluster:
        say(f"starting (logs in {cluster.dir})")
        start(cluster, args)
        store = MooncakeDistributedStore()
        ret = store.setup({
            "local_hostname": "127.0.0.1",
            "metadata_server": cluster.metadata_url,
            "global_segment_size": "0", "local_buffer_size": "16777216",
            "protocol": "tcp", "master_server_addr": cluster.master_addr,
            "replica_num": "1", "nof_replica_num": "1"})
        if ret:
            raise Failed(f"setup: {ret}: {store.setup_error()}")
        replay = Replay(store, args, Blocks(args.object_size))
        lru = Lru(args.pool // -(-args.object_size // 4096 * 4096))
        try:
            replay_trace(cluster, args, requests, replay, lru, report)
            result(cluster, args, replay, lru, report)
        finally:
            store.close()
        report["exit_statuses"] = {n: c.stop() for n, c in
                                   reversed(cluster.children.items())}
        if args.keep:
            say(f"left behind: {cluster.dir}")
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    bad = [n for n, s in report["exit_statuses"].items() if s]
    if bad:
        say(f"tools/demo: did not end well: {', '.join(bad)}")
    ok = (report["wrong"] == 0 and not bad and
          ("killed" not in report or
           report["served_after"] >= report["served_before"]))
    return 0 if ok else 1


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(signo, frame):
    """Once: cleaning up is not interrupted again."""
    for s in ENDING:
        signal.signal(s, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for signo in ENDING:
        signal.signal(signo, interrupted)
    try:
        status = main()
    except (Failed, OSError) as e:
        say(f"tools/demo: {e}")
        status = 1
    except KeyboardInterrupt:
        say("\ntools/demo: interrupted; everything it started has ended")
        status = 130
    sys.stdout.flush()
    os._exit(status)
