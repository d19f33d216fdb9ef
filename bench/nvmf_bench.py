# SPDX-License-Identifier: Apache-2.0
"""Initiator and target: the figures to reach, each beside its goal.

Two processes on loopback, one core each.  A ratio compares with plain
blocking sockets that move the same bytes (nvmf_floor.c); both are run in turn,
several times, and the median of the ratios counts, because other programs
take from both alike.  Of an absolute figure the best run counts: nothing that
happens beside it makes it better.
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
from cluster import Child  # noqa: E402

NQN = "nqn.2024-01.org.example:perf"
SPIN_US = 1000
IDLE_SUBSYSTEMS, IDLE_NAMESPACES = 32, 2
IDLE_S = 10
MANY = 1000
SPDK_IOPS = 490_000  # v26.05, same kind of machine


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
        self.log = tempfile.mkdtemp(prefix="nvmf-bench-")
        self.count = 0

    def program(self, name):
        folder = "src/cmd" if name.startswith("mooncake") else "bench"
        return os.path.join(self.dir, folder, name)

    @contextlib.contextmanager
    def serving(self, name, *flags):
        """(process, port) of what prints "ready …PORT"."""
        self.count += 1
        log = os.path.join(self.log, f"{self.count}-{name}.log")
        child = Child(name, [*self.first, "taskset", "-c", str(cpus()[1]),
                             self.program(name), *flags], log)
        try:
            child.wait_for(lambda: "\nready " in "\n" + child.text())
            text = ("\n" + child.text()).split("\nready ")[1].split("\n")[0]
            yield child, int(text.rsplit(":", 1)[-1])
        finally:
            child.stop()

    def target(self, *flags):
        return self.serving("mooncake_nof_target", "--listen=127.0.0.1:0",
                            f"--nqn={NQN}", "--namespace=ram:128m", *flags)

    def client(self, name, port, child, *flags, ms=None):
        """One run: what it prints."""
        r = subprocess.run(
            [*self.first, "taskset", "-c", str(cpus()[0]),
             self.program(name), f"--port={port}", f"--peer={child.pid}",
             f"--time={ms or self.args.time}ms", *flags],
            capture_output=True, text=True, timeout=120, check=False)
        if r.returncode:
            raise SystemExit(f"{name} {' '.join(flags)}: {r.stderr[-1000:]}")
        return json.loads(r.stdout)

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


def bandwidth(bench, op, size, depth):
    flags = [f"--op={op}", f"--bs={size}", f"--depth={depth}"]
    with bench.target() as (tgt, port), \
            bench.serving("nvmf_floor", "--serve") as (floor, fport):
        pairs = bench.pairs(
            lambda: bench.client("nvmf_perf", port, tgt, *flags),
            lambda: bench.client("nvmf_floor", fport, floor, *flags))
    least = 0.90 if op == "read" else 0.85
    speed, ours, plain = median_of(pairs, rate)
    cpu, our_cpu, plain_cpu = median_of(pairs, cost)
    out = [figure("bytes/s of the floor's", speed, f">= {least:.2f}",
                  speed >= least,
                  f"{ours / 1e9:.2f} of {plain / 1e9:.2f} GB/s")]
    text = f"{our_cpu:.3f} of {plain_cpu:.3f} CPU s/GB"
    if op == "read":
        out.append(figure("CPU/GB of the floor's", cpu, "<= 1.10",
                          cpu <= 1.10, text))
    else:
        out.append(figure("CPU/GB of the floor's", cpu, None, True, text))
    return out


def small_reads(bench):
    flags = ["--bs=4k", "--depth=128", "--random", f"--spin_us={SPIN_US}"]
    with bench.target(f"--spin_us={SPIN_US}") as (tgt, port):
        runs = [bench.client("nvmf_perf", port, tgt, *flags)
                for _ in range(bench.args.rounds)]
    iops = [r["ios"] / r["seconds"] for r in runs]
    best, middle = max(iops), statistics.median(iops)
    return [figure("IOPS", best, ">= 550000", best >= 550_000,
                   f"best; median {middle:,.0f}; {best / SPDK_IOPS:.2f} of "
                   "SPDK's 490,000")]


def round_trip(bench, is_spinning):
    spin = [f"--spin_us={SPIN_US}"] if is_spinning else []
    flags = ["--bs=4k", "--depth=1"]
    most = 1.25 if is_spinning else 2.0
    with bench.target(*spin) as (tgt, port), \
            bench.serving("nvmf_floor", "--serve") as (floor, fport):
        pairs = bench.pairs(
            lambda: bench.client("nvmf_perf", port, tgt, *flags, *spin),
            lambda: bench.client("nvmf_floor", fport, floor, *flags,
                                 *(["--spin"] if is_spinning else [])))
    ratio, ours, plain = median_of(pairs, lambda r: r["p50_us"])
    return [figure("median round trip of the floor's", ratio,
                   f"<= {most:.2f}", ratio <= most,
                   f"{ours:.1f} of {plain:.1f} us")]


def digest(bench):
    flags = ["--bs=128k", "--depth=8"]
    with bench.target() as (tgt, port):
        pairs = bench.pairs(
            lambda: bench.client("nvmf_perf", port, tgt, *flags,
                                 "--data_digest"),
            lambda: bench.client("nvmf_perf", port, tgt, *flags))
    speed, on, off = median_of(pairs, rate)
    return [figure("bytes/s of digest off", speed, ">= 0.85", speed >= 0.85,
                   f"{on / 1e9:.2f} of {off / 1e9:.2f} GB/s")]


def idle(bench):
    nqns = [f"{NQN}{i}" for i in range(IDLE_SUBSYSTEMS)]
    spec = ",".join(["ram:2m"] * IDLE_NAMESPACES)
    with bench.serving("mooncake_nof_target", "--listen=127.0.0.1:0",
                       *(f"--subsystem={n}={spec}" for n in nqns)) as (
            tgt, port), subprocess.Popen(
            [bench.program("nvmf_idle"), str(port), str(IDLE_NAMESPACES),
             *nqns], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        try:
            if host.stdout.readline() != b"ready\n":
                raise SystemExit("nvmf_idle: not connected")
            time.sleep(2)
            ends = {"client": host.pid, "target": tgt.pid}
            before = {n: cpu_s(p) for n, p in ends.items()}
            begin = time.monotonic()
            time.sleep(IDLE_S)
            took = time.monotonic() - begin
            out = []
            for n, p in ends.items():
                part = (cpu_s(p) - before[n]) / took * 100
                mib = rss(p) / 2**20
                out.append(figure(f"{n}: % of a core", part, "< 0.5",
                                  part < 0.5, f"{part:.3f} %"))
                out.append(figure(f"{n}: MiB resident", mib, "< 64",
                                  mib < 64, f"{mib:.1f} MiB"))
            return out
        finally:
            host.kill()


def many(bench):
    """One command under way on each of many connections."""
    seconds = bench.args.minute
    with bench.target() as (tgt, port):
        with subprocess.Popen(
                ["taskset", "-c", str(cpus()[0]),
                 bench.program("nvmf_perf"), f"--port={port}", "--bs=4k",
                 "--depth=1", f"--connections={MANY}", "--random",
                 f"--time={seconds * 1000}ms"], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as host:
            ends = {"client": host.pid, "target": tgt.pid}
            # connected and warm by then
            time.sleep(min(seconds / 2, 10))
            before = {n: rss(p) for n, p in ends.items()}
            time.sleep(seconds - min(seconds / 2, 10))
            after = {n: rss(p) for n, p in ends.items()}
            out, err = host.communicate(timeout=60)
    if host.returncode and not out:
        raise SystemExit(f"nvmf_perf: {err[-1000:]}")
    run = json.loads(out)
    figures = [figure("errors", run["errors"], "= 0", run["errors"] == 0,
                      f"{run['ios']:,} reads in {run['seconds']:.0f} s")]
    for n in ends:
        grown = (after[n] - before[n]) / 2**20
        figures.append(figure(f"{n}: growth in MiB", grown, "< 1", grown < 1,
                              f"{after[n] / 2**20:.1f} MiB at the end"))
    return figures


def all_cases():
    cases = {}
    for op in ("read", "write"):
        for size in ("1m", "128k"):
            for depth in (8, 32):
                cases[f"{op}-{size}-{depth}"] = (
                    lambda b, o=op, s=size, d=depth: bandwidth(b, o, s, d))
    cases["read-4k-128"] = small_reads
    cases["latency-spin"] = lambda b: round_trip(b, True)
    cases["latency-sleep"] = lambda b: round_trip(b, False)
    cases["digest"] = digest
    cases["idle-64"] = idle
    cases["connections-1000"] = many
    return cases


def options(cases):
    ap = argparse.ArgumentParser(
        prog="bench/run nvmf", description=__doc__.split("\n", 1)[0],
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
    ap.add_argument("--minute", type=int, default=60, metavar="S",
                    help="length of connections-1000 (60)")
    ap.add_argument("--fifo", action="store_true",
                    help="run both ends at real-time priority, on a machine "
                    "that others use, too (needs root)")
    ap.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    args = ap.parse_args()
    for name in args.only + args.skip:
        if not any(c.startswith(name) for c in cases):
            ap.error(f"no case is called '{name}': see --list")
    return args


def main():
    cases = all_cases()
    args = options(cases)
    missed = 0
    if args.list:
        print("\n".join(cases))
        return 0
    bench = Bench(args)
    line = "{:<17} {:<32} {:>10} {:<10} {:<6} {}".format
    if not args.json:
        print(line("case", "figure", "value", "goal", "", ""), flush=True)
    for name, run in cases.items():
        if args.only and not any(name.startswith(o) for o in args.only):
            continue
        if any(name.startswith(s) for s in args.skip):
            continue
        for f in run(bench):
            missed += not f["ok"]
            word = "ok" if f["ok"] else "MISSED"
            if args.json:
                print(json.dumps({"case": name, **f}), flush=True)
            else:
                print(line(name, f["figure"], f"{f['value']:,.2f}",
                           f["goal"] or "", word if f["goal"] else "",
                           f["text"]), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
