# SPDX-License-Identifier: Apache-2.0
"""The master: keys per second, answers to single calls, memory per object.

The master has one core, the load (master_load.c) the other: one connection,
enough calls under way that nobody waits, protobuf at both ends.  Keys per
second are those per second of CPU time of the master's metadata thread, of
which there is one (the kernel's count, /proc/PID/task/PID/schedstat), because
here the network threads and the load share two cores with it.  What all of the
master's threads take, and what was seen from outside, stands beside it.  Of
each the best run counts: nothing that happens beside it makes it better.
"""
import os
import statistics
import sys
import tempfile

from figures import ROOT, figure, main, rss

sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import free_port  # noqa: E402

KEYS = 300_000  # of a round
DEPTH = 16  # calls under way


def master(bench, *flags):
    return bench.serving(
        "mooncake_master", "--rpc_address=127.0.0.1",
        f"--rpc_port={free_port()}", f"--metrics_port={free_port()}",
        "--default_kv_lease_ttl=1s", *flags, ready=r" rpc=127.0.0.1:(\d+) ")


def load(bench, keys, *flags, of=(), ms=None):
    """One run on a master of its own: ({phase: figures}, bytes it grew)."""
    with master(bench, *of) as (child, port):
        before = rss(child.pid)
        runs = bench.phases("master_load", port, child, f"--keys={keys}",
                            f"--depth={DEPTH}", *flags, ms=ms)
        return {r["phase"]: r for r in runs}, rss(child.pid) - before


def speed(run):
    return run["bytes"] / run["seconds"]


def per_core(run):
    """Keys per second of the metadata thread."""
    return run["bytes"] / run["peer_main_cpu_s"]


PUT = "put_start+put_end: keys/s of a core"
PHASES = {"put": (PUT + ", new memory", False), "again": (PUT, True),
          "get": ("get: keys/s of a core", True)}


def batches(bench, runs, phases, goal):
    out = []
    for phase in phases:
        name, has_goal = PHASES[phase]
        core = max(per_core(r[phase]) for r in runs)
        every = max(r[phase]["bytes"] / r[phase]["peer_cpu_s"] for r in runs)
        best = max(speed(r[phase]) for r in runs)
        out.append(figure(
            name, core, f">= {goal}" if has_goal else None,
            not has_goal or core >= goal,
            f"all threads {every:,.0f}; seen {best:,.0f}; median run "
            f"{statistics.median(per_core(r[phase]) for r in runs):,.0f}"))
    return out


def volatile(bench):
    runs = [load(bench, KEYS)[0] for _ in range(bench.args.rounds)]
    return batches(bench, runs, ("put", "again", "get"), 1_000_000)


def journal(bench):
    """With what --journal_dir alone switches on."""
    runs = []
    for _ in range(bench.args.rounds):
        with tempfile.TemporaryDirectory(dir=bench.log) as folder:
            runs.append(load(bench, KEYS, of=[f"--journal_dir={folder}"])[0])
    return batches(bench, runs, ("put", "again", "get"), 500_000)


def single(bench):
    """Half of the calls that the master answers when there are always eight,
    each when it is due.  The load polls, so that its own wake-ups are not measured, and only for so
    long: with --fifo the kernel stops who does not sleep for most of a
    second.  Beside it what plain sockets need for 4 KiB when both ends sleep,
    in the same minute."""
    runs, floors = [], []
    for _ in range(bench.args.rounds):
        runs.append(load(bench, 10_000, "--depth=8", "--spin_us=1000",
                         ms=200)[0]["paced"])
        with bench.serving("nvmf_floor", "--serve") as (child, port):
            floors.append(bench.client("nvmf_floor", port, child, "--bs=4k",
                                       "--depth=1", ms=200)["p99_us"])
    best = min(runs, key=lambda r: r["p99_us"])
    p99 = best["p99_us"]
    middle = statistics.median(r["p99_us"] for r in runs)
    return [figure("p99 at half load, us", p99, "< 200", p99 < 200,
                   f"{speed(best):,.0f} calls/s, p50 {best['p50_us']:.0f} us; "
                   f"median run {middle:.0f}; plain sockets "
                   f"{min(floors):.0f}, median {statistics.median(floors):.0f}"
                   )]


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
    "batch-128": volatile,
    "journal": journal,
    "single": single,
    "memory": memory,
}

if __name__ == "__main__":
    sys.exit(main("master", __doc__, CASES, [
        ("--objects", "most objects of the memory curve", 2_000_000)]))
