# SPDX-License-Identifier: Apache-2.0
"""What stands in examples/ works, and leaves nothing behind."""
import os
import signal
import subprocess
import time

import pytest

from conftest import BUILD, ROOT

RUN_LOCAL = os.path.join(ROOT, "examples", "run_local.sh")


@pytest.fixture
def env(tmp_path):
    """Temporary files go where we see what is left."""
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "tmp")}


def run_local(env, *args, timeout=60):
    return subprocess.run([RUN_LOCAL, BUILD, *args], env=env, text=True,
                          capture_output=True, timeout=timeout, check=False)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_all(env):
    r = run_local(env)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "get:      b'world'" in r.stdout
    assert "all bytes are right" in r.stdout
    assert "hello.c = world" in r.stdout
    assert not os.listdir(env["TMPDIR"])


def test_command_and_its_status(env):
    r = run_local(env, "sh", "-c", "mooncakectl ls && exit 7")
    assert r.returncode == 7, r.stdout + r.stderr
    assert "KEY" in r.stdout


def test_interrupted(env):
    """Ctrl-C goes to the foreground group: everything ends."""
    p = subprocess.Popen([RUN_LOCAL, BUILD, "sh", "-c",
                          'ps -o pid= --ppid $PPID; echo up; exec sleep 60'],
                         env=env, text=True, stdout=subprocess.PIPE,
                         start_new_session=True,
                         # A job in the background is born without SIGINT.
                         preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                          signal.SIG_DFL))
    pids = []
    for line in p.stdout:
        if line.strip() == "up":
            break
        if line.strip().isdigit():
            pids.append(int(line))
    assert len(pids) >= 3
    os.killpg(p.pid, signal.SIGINT)
    assert p.wait(timeout=30) != 0
    p.stdout.close()
    end = time.monotonic() + 5
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not os.listdir(env["TMPDIR"])


def test_not_built(env, tmp_path):
    r = subprocess.run([RUN_LOCAL, str(tmp_path)], env=env, text=True,
                       capture_output=True, timeout=30, check=False)
    assert r.returncode == 1
    assert "build or install first" in r.stderr


@pytest.mark.parametrize("name", ["hello.py", "batch.py"])
def test_no_master(name):
    """A sentence, not a traceback."""
    r = subprocess.run(
        ["python3", os.path.join(ROOT, "examples", name)], text=True,
        capture_output=True, timeout=30, check=False,
        env={**os.environ, "MOONCAKE_MASTER": "127.0.0.1:1",
             "PYTHONPATH": os.path.join(BUILD, "python", "pkg")})
    assert r.returncode == 1
    assert "127.0.0.1:1" in r.stderr and "Traceback" not in r.stderr
