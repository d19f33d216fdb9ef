# SPDX-License-Identifier: Apache-2.0
"""The steps of tools/check, their order, and the count at the end."""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "check")
ASAN, TSAN = os.path.join(OUT, "asan"), os.path.join(OUT, "tsan")
RELEASE, CLANG = os.path.join(OUT, "release"), os.path.join(OUT, "clang")
NOTLS = os.path.join(OUT, "notls")
DEBIAN_PYTHON = "/usr/bin/python3"  # has pytest; the first on PATH may not


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


def run(name, cmd, timeout, env=None):
    """Runs with output to OUT/name.log; returns (status, log path)."""
    log = os.path.join(OUT, name + ".log")
    with open(log, "w", encoding="utf-8") as f:
        try:
            p = subprocess.run(cmd, cwd=ROOT, stdout=f, timeout=timeout,
                               stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL,
                               env={**os.environ, **(env or {})}, check=False)
            return p.returncode, log
        except subprocess.TimeoutExpired:
            f.write(f"\n{name}: not done after {timeout} s, ended\n")
            return 124, log


def show_tail(log, lines=40):
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f.read().split("\n")[-lines:]:
            print("    " + line)


def one(name, cmd, timeout=300, env=None):
    """A step that is one test."""
    status, log = run(name, cmd, timeout, env)
    if status == 77:
        with open(log, encoding="utf-8") as f:
            lines = f.read().strip().split("\n")
        print(f"    skipped: {name}: {lines[-1] if lines else ''}")
        return Count(skipped=1)
    if status:
        show_tail(log)
        return Count(failed=1)
    return Count(passed=1)


def build(name, folder, options, env=None):
    """Compiles; a build that fails counts as one failed test."""
    cmd = ["bash", "-c", 'set -euo pipefail; . tools/lib/common.sh; '
           'build "$@"', "build", folder, *options]
    status, log = run(name, cmd, 1800, env)
    if status:
        show_tail(log)
    return status == 0


def cmocka_skips(out):
    return re.findall(r"\[  SKIPPED \] (\S+)", out)


def meson_test(name, folder, args=(), timeout=1800):
    """Counts each meson test; names what failed or was skipped."""
    log = os.path.join(folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    status, text = run(name, ["meson", "test", "-C", folder, "--no-rebuild",
                              "--print-errorlogs", *args], timeout)
    count = Count()
    try:
        with open(log, encoding="utf-8") as f:
            results = [json.loads(line) for line in f if line.strip()]
    except OSError:
        results = []
    for r in results:
        if r["result"] in ("OK", "EXPECTEDFAIL"):
            count.passed += 1
        elif r["result"] == "SKIP":
            count.skipped += 1
            why = (r.get("stdout") or "").strip().split("\n")[-1]
            print(f"    skipped: {r['name']}: {why}")
        else:
            count.failed += 1
            print(f"    FAILED: {r['name']} ({r['result']})")
            for line in ((r.get("stdout") or "")
                         + (r.get("stderr") or "")).split("\n")[-40:]:
                print("        " + line)
        for test in cmocka_skips((r.get("stdout") or "")
                                 + (r.get("stderr") or "")):
            print(f"    skipped inside {r['name']}: {test}")
    if status and not count.failed:
        show_tail(text)
        count.failed += 1
    return count


def pytest(name, folder, build_dir, timeout=3600):
    xml = os.path.join(OUT, name + ".xml")
    if os.path.exists(xml):
        os.unlink(xml)
    env = {"MOONCAKE_BUILD": build_dir, "PYTHONDONTWRITEBYTECODE": "1",
           "PYTHONPATH": os.path.join(build_dir, "python", "pkg")}
    status, log = run(name, [DEBIAN_PYTHON, "-m", "pytest", "-q", "-ra",
                             "-p", "no:cacheprovider", "--junitxml", xml,
                             os.path.join("tests", folder)], timeout, env)
    count = Count()
    try:
        for suite in ET.parse(xml).getroot().iter("testsuite"):
            bad = int(suite.get("failures")) + int(suite.get("errors"))
            skipped = int(suite.get("skipped"))
            count.failed += bad
            count.skipped += skipped
            count.passed += int(suite.get("tests")) - bad - skipped
        for case in ET.parse(xml).getroot().iter("testcase"):
            for s in case.iter("skipped"):
                print(f"    skipped: {case.get('name')}: {s.get('message')}")
    except (OSError, ET.ParseError):
        pass
    if status and not count.failed:
        count.failed += 1
    if count.failed:
        show_tail(log, 80)
    return count


# --- the steps, in order ---

def is_shell(path):
    if not os.path.isfile(path):
        return False
    with open(path, encoding="utf-8", errors="replace") as f:
        head = f.read(4096)
    return bool(re.match(r"#!.*(bash|/sh)\b", head)
                or re.search(r"^# shellcheck shell=", head, re.M))


def step_tidy():
    """house rules (tools/tidy), spelling, shell scripts"""
    count = one("tidy", ["python3", "tools/tidy", "--no-compile"])
    scripts = [p for folder in ("tools", "tools/lib", "debian", ".ci",
                                "tests/vm", "examples")
               for p in sorted(glob.glob(os.path.join(ROOT, folder, "*")))
               if is_shell(p)]
    count.add(one("shellcheck", ["shellcheck", "-x", "-P", "SCRIPTDIR", "-e", "SC1091",
                                 *scripts]))
    count.add(one("codespell", ["codespell", "-q", "3", "-L",
                                "inflight,datas,ket,nd,te,fo,crate,mis,ot,ans,ue,hist",
                                "src", "include", "python", "docs", "tools",
                                "examples",
                                "README.md", "ARCHITECTURE.md"]))
    return count


def step_asan():
    """gcc with ASan and UBSan: unit, property, simulated, wire, fuzz corpus"""
    if not build("build-asan", ASAN, ["-Dbuildtype=debugoptimized",
                                      "-Db_sanitize=address,undefined",
                                      "-Dpython=disabled"]):
        return Count(failed=1)
    count = one("headers", ["python3", "tools/tidy"],
                env={"MESON_BUILD_ROOT": ASAN})
    count.add(meson_test("test-asan", ASAN))
    return count


def step_tsan():
    """gcc with TSan: what threads meet in"""
    if not build("build-tsan", TSAN, ["-Dbuildtype=debugoptimized",
                                      "-Db_sanitize=thread",
                                      "-Dpython=disabled"]):
        return Count(failed=1)
    return meson_test("test-tsan", TSAN, ["--suite", "threads"])


def step_clang():
    """clang compiles everything without a warning; without TLS, with tests"""
    ok = build("build-clang", CLANG, ["-Dbuildtype=release",
                                      "-Dpython=disabled"],
               {"CC": "clang"})
    count = Count(passed=1) if ok else Count(failed=1)
    # What differs is in io, nvmf, target, control and their tests.
    if not build("build-notls", NOTLS, ["-Dbuildtype=debug", "-Dtls=disabled",
                                        "-Dpython=disabled"],
                 {"CC": "clang"}):
        return Count(count.passed, count.failed + 1)
    count.add(meson_test("test-notls", NOTLS, ["--suite", "control",
                                               "--suite", "wire"]))
    return count


def step_python():
    """release build; the Python package, hypothesis, any python3 on PATH"""
    if not build("build-release", RELEASE, ["-Dbuildtype=release",
                                            "-Dpython=enabled"]):
        return Count(failed=1)
    count = one("first-python3", ["python3", "tests/python/smoke.py"], env={
        "PYTHONPATH": os.path.join(RELEASE, "python", "pkg"),
        "MOONCAKE_BUILD": RELEASE})
    count.add(pytest("pytest-python", "python", RELEASE))
    return count


def step_sim():
    """the whole store in one thread: crashes, cuts, bad disks; 200 seeds"""
    return one("sim", ["tools/soak", "sim", "--seeds", "200",
                       "--build-dir", RELEASE], 900)


def step_soak():
    """real programs killed, stopped, lied to and cut off; two minutes"""
    return one("soak", ["tools/soak", "real", "--seconds", "120", "-v",
                        "--logs", os.path.join(OUT, "soak"),
                        "--build-dir", RELEASE], 900)


def step_e2e():
    """real programs on loopback: bad input, faults, the whole path"""
    return pytest("pytest-e2e", "e2e", RELEASE)


def step_demo():
    """tools/demo, shortened"""
    return one("demo", ["tools/demo", "--seconds", "10", "--build-dir",
                        RELEASE], 300)


def step_vm():
    """the Linux kernel as peer, in a VM: a smoke run"""
    return one("vm-smoke", ["tools/check-vm", "--smoke", "--build-dir",
                            RELEASE], 900)


STEPS = ("tidy", "asan", "tsan", "clang", "python", "sim", "e2e", "soak",
         "demo", "vm")


def main():
    ap = argparse.ArgumentParser(prog="tools/check")
    ap.add_argument("--only", help="these steps only, comma separated")
    ap.add_argument("--list", action="store_true", help="print the steps")
    args = ap.parse_args()
    if args.list:
        for name in STEPS:
            print(f"{name:8} {globals()['step_' + name].__doc__}")
        return 0
    only = args.only.split(",") if args.only else STEPS
    unknown = [s for s in only if s not in STEPS]
    if unknown:
        print(f"tools/check: unknown step '{unknown[0]}'; there are: "
              + ", ".join(STEPS), file=sys.stderr)
        return 2
    parent = next(d for d in (OUT, os.path.dirname(OUT), ROOT)
                  if os.path.isdir(d))
    if not os.access(parent, os.W_OK):
        print(f"tools/check: {parent} cannot be written: check a copy of the "
              "project that can", file=sys.stderr)
        return 2
    os.makedirs(OUT, exist_ok=True)
    total, begin = Count(), time.monotonic()
    for i, name in enumerate(only, 1):
        step = globals()["step_" + name]
        print(f"[{i}/{len(only)}] {name}: {step.__doc__}", flush=True)
        t = time.monotonic()
        count = step()
        total.add(count)
        print(f"    {name}: {count} in {time.monotonic() - t:.0f} s",
              flush=True)
    print(f"logs: {OUT}/*.log; {time.monotonic() - begin:.0f} s")
    print(total, flush=True)
    return 1 if total.failed else 0


sys.exit(main())
