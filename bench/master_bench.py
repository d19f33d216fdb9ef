# SPDX-License-Identifier: Apache-2.0
"""The master: keys per second, answers to single calls, memory per object.

The master has one core, the load (master_load.c) the other: one connection,
protobuf at both ends.  Of keys per second the best run counts, both as seen
from outside and per second of the master's own CPU time: on two cores it is
often the load that is slower.
"""
import os
import statistics
import sys

from figures import ROOT, figure, main, rss

sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import free_port  # noqa: E402

KEYS = 300_000  # of a round


def master(bench, *flags):
    return bench.serving(
        "mooncake_master", "--rpc_address=127.0.0.1",
        f"--rpc_port={free_port()}", f"--metrics_port={free_port()}",
        "--default_kv_lease_ttl=1s", *flags, ready=r" rpc=127.0.0.1:(\d+) ")


def load(bench, keys, *flags, of=()):
    """One run on a master of its own: ({phase: figures}, bytes it grew)."""
    with master(bench, *of) as (child, port):
        before = rss(child.pid)
        runs = bench.phases("master_load", port, child, f"--keys={keys}",
                            *flags)
        return {r["phase"]: r for r in runs}, rss(child.pid) - before


def speed(run):
    return run["bytes"] / run["seconds"]


def per_core(run):
    return run["bytes"] / run["peer_cpu_s"]


def batches(bench, goal, *of):
    runs = [load(bench, KEYS, of=of)[0] for _ in range(bench.args.rounds)]
    out = []
    for phase, name in (("put", "put_start+put_end"), ("get", "get")):
        best = max(speed(r[phase]) for r in runs)
        core = max(per_core(r[phase]) for r in runs)
        middle = statistics.median(speed(r[phase]) for r in runs)
        out.append(figure(f"{name}: keys/s of a core", core,
                          f">= {goal}", core >= goal,
                          f"{best:,.0f} seen; median {middle:,.0f}"))
    return out


def single(bench):
    runs = [load(bench, 10_000, "--depth=1")[0]
            for _ in range(bench.args.rounds)]
    p99 = min(r["paced"]["p99_us"] for r in runs)
    rate = max(speed(r["paced"]) for r in runs)
    return [figure("p99 at half load, us", p99, "< 200", p99 < 200,
                   f"{rate:,.0f} calls/s; median run "
                   f"{statistics.median(r['paced']['p99_us'] for r in runs)}"
                   " us")]


def memory(bench):
    """Bytes per object, and whether they stay the same as objects come."""
    out, first = [], None
    keys = 500_000
    while keys <= bench.args.objects:
        runs, grown = load(bench, keys)
        each = grown / keys
        first = first or each
        out.append(figure(f"bytes per object, {keys / 1e6:g} million", each,
                          "<= 350", each <= 350,
                          f"put {speed(runs['put']):,.0f}/s, get "
                          f"{speed(runs['get']):,.0f}/s"))
        keys *= 2
    return out


CASES = {
    "batch-128": lambda b: batches(b, 1_000_000),
    "single": single,
    "memory": memory,
}

if __name__ == "__main__":
    sys.exit(main("master", __doc__, CASES, [
        ("--objects", "most objects of the memory curve", 2_000_000)]))
