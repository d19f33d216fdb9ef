# SPDX-License-Identifier: Apache-2.0
"""nof_worker_pool_bench against a real target."""
import json
import os
import signal
import subprocess

import pytest

BENCH = "nof_worker_pool_bench"
NQN = "nqn.2016-06.io.spdk:cnode1"
SHORT = ("--duration_sec=0.2", "--warmup_sec=0.05")


@pytest.fixture(scope="module")
def ssd(request):
    from cluster import Cluster
    from conftest import BUILD
    with Cluster(BUILD) as c:
        c.target("ssd", "ram:64m", "ram:64m", "ram:16m", nqn=NQN)
        yield c


def endpoint(c, nsid, port=None):
    return (f"traddr:127.0.0.1 trsvcid:{port or c.target_ports['ssd']} "
            f"subnqn:{NQN} trtype:TCP adrfam:IPv4 ns:{nsid}")


def bench(c, *args, **kw):
    return c.run(BENCH, *args, **kw)


def values(text):
    return dict(line.split("=", 1) for line in text.split("\n")
                if "=" in line)


def results(r):
    assert r.returncode == 0, r.stdout + r.stderr
    return values(r.stdout)


def test_the_guides_invocation(ssd):
    """As upstream's guide has it, blanks behind the comma included."""
    got = results(bench(
        ssd, f"--endpoints={endpoint(ssd, 1)}, {endpoint(ssd, 2)}",
        "--op=read", "--io_size=1048576", "--iodepth=8", "--warmup_sec=0",
        "--duration_sec=1"))
    assert got["endpoints"] == got["unique_handles"] == "2"
    assert got["bs"] == "1048576" and got["iodepth"] == "8"
    assert got["total_iodepth"] == "16" and got["failed_ops"] == "0"
    assert int(got["completed_ops"]) > 0
    assert int(got["completed_ops"]) == sum(
        int(got[f"endpoint[{i}].completed_ops"]) for i in (0, 1))
    for key in ("bw", "iops", "fail_iops", "clat_mean", "clat_p50",
                "clat_p95", "clat_p99", "runtime"):
        assert key in got, key


def test_interval_lines(ssd):
    r = bench(ssd, f"--endpoints={endpoint(ssd, 1)},{endpoint(ssd, 2)}",
              *SHORT, "--report_interval_ms=50")
    results(r)
    for name in ("total", "endpoint[0]", "endpoint[1]"):
        line = next(s for s in r.stderr.split("\n") if s.startswith(name))
        for key in ("bw=", "iops=", "fail_iops=", "submitted=",
                    "completed=", "failed="):
            assert key in line, line


def test_progress_on_a_terminal(ssd):
    """One line, written again and again."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
            [ssd.program(BENCH), f"--endpoints={endpoint(ssd, 1)}", *SHORT,
             "--report_interval_ms=20"], stdout=subprocess.DEVNULL,
            stderr=theirs) as p:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert p.returncode == 0
    assert text.count(b"\rtotal") + text.count(b"\r\x1b[Ktotal") > 1, text
    assert b"\ntotal" not in text


def test_json_and_workers(ssd):
    r = bench(ssd, f"--endpoints={endpoint(ssd, 1)}", "--endpoints",
              endpoint(ssd, 1), *SHORT, "--json", "--nof_workers=3",
              "--nof_submit_chunk_bytes=64k",
              "--nof_inflight_bytes_limit=1m", "--numjobs=2")
    assert r.returncode == 0, r.stderr
    got = json.loads(r.stdout)
    assert got["endpoints"] == 2 and got["unique_handles"] == 1
    assert got["configured_nof_workers"] == 3
    assert got["effective_worker_bindings"] == 3
    assert got["completed_ops"] > 0 and got["failed_ops"] == 0
    assert got["clat_p50_us"] <= got["clat_p99.9_us"] <= got["clat_max_us"]
    assert got["cpu_s_per_gb"] > 0
    assert len(got["per_endpoint"]) == 2


def test_workers_that_the_target_limits(cluster):
    cluster.target("ssd", "ram:16m", nqn=NQN,
                   flags=["--max_io_qpairs_per_ctrlr=2"])
    r = bench(cluster, f"--endpoints={endpoint(cluster, 1)}", *SHORT,
              "--json", env={"MC_NOF_WORKERS": "4"})
    assert r.returncode == 0, r.stderr
    got = json.loads(r.stdout)
    assert got["configured_nof_workers"] == 4
    assert got["effective_worker_bindings"] == 2


def test_write_verify_and_refusal(cluster):
    cluster.target("ssd", "ram:16m", nqn=NQN)
    ep = f"--endpoints={endpoint(cluster, 1)}"
    verify = [ep, "--verify", "--bs=64k", "--iodepth=8"]
    # the whole of the range, however slow the machine is
    got = results(bench(cluster, *verify, *SHORT, "--op=write",
                        "--size=1m"))
    assert int(got["verified_bytes"]) > 1 << 20
    assert got["verify_errors"] == "0"
    # now it holds something
    r = bench(cluster, *verify, *SHORT, "--op=write", "--size=1m")
    assert r.returncode == 1 and "--yes-overwrite" in r.stderr
    assert "holds unknown data" in r.stderr
    got = results(bench(cluster, *verify, *SHORT, "--size=1m"))
    assert int(got["verified_bytes"]) > 0
    # another seed was not written
    r = bench(cluster, *verify, *SHORT, "--size=1m", "--seed=2")
    assert r.returncode == 1 and "did not read what was written" in r.stderr
    got = values(r.stdout)
    assert int(got["verify_errors"]) > 0 and got["failed_ops"] == "0"
    got = results(bench(cluster, *verify, *SHORT, "--rw=randrw",
                        "--size=1m", "--seed=3", "--yes-overwrite"))
    assert int(got["verified_bytes"]) > 0 and got["verify_errors"] == "0"


def test_sends_that_are_not_copied(cluster):
    """The kernel copies them all the same on the way to itself, and says so:
    both ends begin with such sends and go on with plain ones."""
    cluster.target("ssd", "ram:16m", nqn=NQN, flags=["--zerocopy_bytes=4k"])
    for bytes_ in ("4096", "0"):
        got = results(bench(
            cluster, f"--endpoints={endpoint(cluster, 1)}", "--verify",
            "--rw=randrw", "--bs=256k", "--iodepth=16", "--size=8m",
            "--yes-overwrite", *SHORT, env={"MC_NVME_ZEROCOPY_BYTES": bytes_}))
        assert int(got["verified_bytes"]) > 1 << 20
        assert got["verify_errors"] == got["failed_ops"] == "0"


def test_a_pool_segment_is_not_overwritten(cluster):
    cluster.master()
    cluster.target("ssd", "ram:16m", nqn=NQN)
    cluster.register("ssd")
    ep = f"--endpoints={endpoint(cluster, 1)}"
    for op in ("write", "mixed"):
        r = bench(cluster, ep, *SHORT, f"--op={op}")
        assert r.returncode == 1
        assert "a Mooncake pool segment" in r.stderr
    results(bench(cluster, ep, *SHORT, "--op=read"))


def test_wrong_options(ssd):
    ep = f"--endpoints={endpoint(ssd, 1)}"
    for args in (("--op=read", "--rw=write"), ("--io_size=4k", "--bs=8k"),
                 ("--numjobs=1", "--submit_threads=2"),
                 ("--runtime=1", "--duration_sec=2"),
                 ("--warmup_sec=1", "--ramp_time=0"),
                 ("--size=1m", "--range_bytes=2m"),
                 ("--status_interval=2", "--report_interval_ms=1000")):
        r = bench(ssd, ep, *args)
        assert r.returncode == 1 and "given different values" in r.stderr
        assert args[0].split("=")[0] in r.stderr
    results(bench(ssd, ep, *SHORT, "--op=read", "--rw=randread", "--bs=4k",
                  "--io_size=4096"))
    for args, text in ((("--bs=5000",), "no multiple of the block size"),
                       (("--size=1g",), "more than"),
                       (("--size=4k",), "less than one"),
                       (("--start_lba=1000000",), "behind the end"),
                       (("--runtime=0",), "--duration_sec"),
                       (("--socket_id=999",), "no such NUMA node"),
                       (("--op=erase",), "'erase'")):
        r = bench(ssd, ep, *args)
        assert r.returncode == 1 and text in r.stderr, r.stderr
    for args in ((ep, "--iodepth=0"), (ep, "--numjobs=0"), ()):
        assert bench(ssd, *args).returncode == 2


def test_endpoints_that_are_not_there(ssd):
    r = bench(ssd, f"--endpoints={endpoint(ssd, 1)},"
              f"{endpoint(ssd, 1, port=1)}")
    assert r.returncode == 1 and "is the target running" in r.stderr
    r = bench(ssd, f"--endpoints={endpoint(ssd, 9)}")
    assert r.returncode == 1 and "namespace 9 does not exist" in r.stderr
    r = bench(ssd, "--endpoints=here")
    assert r.returncode == 1 and "here" in r.stderr
    assert bench(ssd, "--endpoints=, ,").returncode == 1


def start(c, *args):
    """Running, with I/O under way."""
    p = subprocess.Popen(
        [c.program(BENCH), f"--endpoints={endpoint(c, 1)}", "--bs=4k",
         "--ramp_time=0", "--runtime=60", "--report_interval_ms=20", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if "total" in line and " completed=0 " not in line:
            return p
    raise AssertionError("no report")


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_prints_the_results_so_far(ssd, signo):
    p = start(ssd)
    p.send_signal(signo)
    out, _ = p.communicate(timeout=20)
    assert p.returncode == 130
    got = values(out)
    assert int(got["completed_ops"]) > 0 and got["failed_ops"] == "0"
    assert 0 < float(got["runtime"].rstrip("s")) < 60


def test_failures_change_the_exit_status(cluster):
    target = cluster.target("ssd", "ram:16m", nqn=NQN)
    p = start(cluster)
    target.kill()
    for line in p.stderr:
        if "total" in line and not line.rstrip().endswith("failed=0"):
            break
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 1 and "I/Os failed" in err
    assert int(values(out)["failed_ops"]) > 0
