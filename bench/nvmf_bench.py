# SPDX-License-Identifier: Apache-2.0
"""Initiator and target: the figures to reach, each beside its goal.

Two processes on loopback, one core each.  A ratio compares with plain
blocking sockets that move the same bytes (nvmf_floor.c); both are run in turn,
several times, and the median of the ratios counts, because other programs
take from both alike.  Of an absolute figure the best run counts: nothing that
happens beside it makes it better.
"""
import json
import statistics
import subprocess
import sys
import time

from figures import cost, cpu_s, cpus, figure, main, median_of, rate, rss

NQN = "nqn.2024-01.org.example:perf"
SPIN_US = 1000
IDLE_SUBSYSTEMS, IDLE_NAMESPACES = 32, 2
IDLE_S = 10
MANY = 1000
SPDK_IOPS = 490_000  # v26.05, same kind of machine


def target(bench, *flags):
    return bench.serving("mooncake_nof_target", "--listen=127.0.0.1:0",
                         f"--nqn={NQN}", "--namespace=ram:128m", *flags)


def bandwidth(bench, op, size, depth):
    flags = [f"--op={op}", f"--bs={size}", f"--depth={depth}"]
    with target(bench) as (tgt, port), \
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


def checksums(bench):
    """The pool with and without verification, in many short turns of one
    process: the difference is smaller than what the machine does meanwhile."""
    with target(bench) as (tgt, port):
        runs = bench.phases("vol_perf", port, tgt, "--bs=1m", "--depth=8",
                            f"--turns={4 * bench.args.rounds}",
                            ms=bench.args.time // 4)
    pairs = list(zip(*([r for r in runs if r["phase"] == phase]
                       for phase in ("verified", "plain"))))
    speed, ours, plain = median_of(pairs, rate)
    cpu, our_cpu, plain_cpu = median_of(pairs, cost)
    return [figure("bytes/s of unverified", speed, ">= 0.92", speed >= 0.92,
                   f"{ours / 1e9:.2f} of {plain / 1e9:.2f} GB/s"),
            figure("CPU/GB of unverified", cpu, None, True,
                   f"{our_cpu:.3f} of {plain_cpu:.3f} CPU s/GB")]


def small_reads(bench):
    flags = ["--bs=4k", "--depth=128", "--random", f"--spin_us={SPIN_US}"]
    with target(bench, f"--spin_us={SPIN_US}") as (tgt, port):
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
    with target(bench, *spin) as (tgt, port), \
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
    with target(bench) as (tgt, port):
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
    with target(bench) as (tgt, port):
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
    cases["checksums"] = checksums
    cases["idle-64"] = idle
    cases["connections-1000"] = many
    return cases


if __name__ == "__main__":
    sys.exit(main("nvmf", __doc__, all_cases(), [
        ("--minute", "seconds of connections-1000", 60)]))
