# SPDX-License-Identifier: Apache-2.0
"""What benchmarks with goals have in common: two ends on a core each, runs by
turns, figures beside their goals, an exit status that tells the truth.
"""
import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import Child  # noqa: E402


def cpus():
    """One core for each end."""
    have = sorted(os.sched_getaffinity(0))
    return have[0], have[min(1, len(have) - 1)]


def cpu_s(pid):
    """CPU seconds of all threads of a process, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} has no memory")


class Bench:
    def __init__(self, args):
        self.args, self.dir = args, args.build_dir
        self.first = ["chrt", "-f", "10"] if args.fifo else []
        self.log = tempfile.mkdtemp(prefix="bench-")
        self.count = 0

    def program(self, name):
        folder = "src/cmd" if name.startswith("mooncake") else "bench"
        return os.path.join(self.dir, folder, name)

    @contextlib.contextmanager
    def serving(self, name, *flags, ready=r"^ready .*?(\d+)$"):
        """(process, port) of what prints that it is ready, and where."""
        self.count += 1
        log = os.path.join(self.log, f"{self.count}-{name}.log")
        child = Child(name, [*self.first, "taskset", "-c", str(cpus()[1]),
                             self.program(name), *flags], log)
        try:
            child.wait_for(lambda: re.search(ready, child.text(), re.M))
            yield child, int(re.search(ready, child.text(), re.M)[1])
        finally:
            child.stop()

    def client(self, name, port, child, *flags, ms=None):
        """One run: what it prints."""
        return self.phases(name, port, child, *flags, ms=ms)[-1]

    def phases(self, name, port, child, *flags, ms=None):
        """One run of a client that has several phases, each with its line."""
        r = subprocess.run(
            [*self.first, "taskset", "-c", str(cpus()[0]),
             self.program(name), f"--port={port}", f"--peer={child.pid}",
             f"--time={ms or self.args.time}ms", *flags],
            capture_output=True, text=True, timeout=900, check=False)
        if r.returncode:
            raise SystemExit(f"{name} {' '.join(flags)}: {r.stderr[-1000:]}")
        return [json.loads(line) for line in r.stdout.splitlines()]

    def pairs(self, run_a, run_b):
        """Each first as often as the other, so that a drift favours none."""
        out = []
        for n in range(self.args.rounds):
            if n % 2:
                b, a = run_b(), run_a()
            else:
                a, b = run_a(), run_b()
            out.append((a, b))
        return out


def rate(run):
    return run["bytes"] / run["seconds"]


def cost(run):
    """CPU seconds per GB, both ends."""
    return (run["cpu_s"] + run["peer_cpu_s"]) / run["bytes"] * 1e9


def median_of(pairs, what):
    """(median of the ratios, medians of either side)"""
    return (statistics.median(what(a) / what(b) for a, b in pairs),
            statistics.median(what(a) for a, b in pairs),
            statistics.median(what(b) for a, b in pairs))


def figure(name, value, goal, ok, text):
    return {"figure": name, "value": round(value, 4), "goal": goal,
            "ok": ok, "text": text}


def options(name, about, cases, more):
    ap = argparse.ArgumentParser(
        prog=f"bench/run {name}", description=about.split("\n", 1)[0],
        epilog="Exit status: 0 when all goals are reached, 1 when one is "
        "missed.")
    ap.add_argument("--list", action="store_true", help="names of the cases")
    ap.add_argument("--only", action="append", default=[], metavar="CASE",
                    help="this case, or all that begin so; may be repeated")
    ap.add_argument("--skip", action="append", default=[], metavar="CASE",
                    help="not this case")
    ap.add_argument("--json", action="store_true",
                    help="one line of JSON per figure")
    ap.add_argument("--rounds", type=int, default=5, metavar="N",
                    help="runs of each, of which the median counts (5)")
    ap.add_argument("--time", type=int, default=500, metavar="MS",
                    help="length of a run (500)")
    for flag, text, default in more:
        ap.add_argument(flag, type=int, default=default, metavar="N",
                        help=f"{text} ({default})")
    ap.add_argument("--fifo", action="store_true",
                    help="run both ends at real-time priority, on a machine "
                    "that others use, too (needs root)")
    ap.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    args = ap.parse_args()
    for name in args.only + args.skip:
        if not any(c.startswith(name) for c in cases):
            ap.error(f"no case is called '{name}': see --list")
    return args


def main(name, about, cases, more=()):
    """Runs what the command line asks for; 1 when a goal is missed."""
    args = options(name, about, cases, more)
    missed = 0
    if args.list:
        print("\n".join(cases))
        return 0
    bench = Bench(args)
    line = "{:<17} {:<32} {:>10} {:<10} {:<6} {}".format
    if not args.json:
        print(line("case", "figure", "value", "goal", "", ""), flush=True)
    for case, run in cases.items():
        if args.only and not any(case.startswith(o) for o in args.only):
            continue
        if any(case.startswith(s) for s in args.skip):
            continue
        for f in run(bench):
            missed += not f["ok"]
            word = "ok" if f["ok"] else "MISSED"
            if args.json:
                print(json.dumps({"case": case, **f}), flush=True)
            else:
                print(line(case, f["figure"], f"{f['value']:,.2f}",
                           f["goal"] or "", word if f["goal"] else "",
                           f["text"]), flush=True)
    return 1 if missed else 0

