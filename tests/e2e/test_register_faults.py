# SPDX-License-Identifier: Apache-2.0
"""Registration over SSH where something is wrong: it ends in time, names node
and cause, registers what can be had, and its exit status says that it is not
all.  And the prompt for a password."""
import json
import os
import pty
import select
import signal
import subprocess

import pytest

import nodes as nodes_lib
from conftest import FAST
from test_deploy_faults import CUT, SUDO, create, our_node

pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))
DEADLINE = 90


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


@pytest.fixture
def serving(cluster, nodes):
    """A master, and a node whose target serves a namespace."""
    cluster.master(*FAST)
    node, args = our_node(cluster, nodes)
    assert create(cluster, nodes, *args)[0]["ok"]
    return node


def register(cluster, nodes, *args, status=0, **env):
    r = cluster.run("mooncake_ssd_register", "--json",
                    f"--master={cluster.master_addr}", *args,
                    env={**nodes.env(), **env}, timeout=DEADLINE)
    assert r.returncode == status, r.stdout + r.stderr
    return json.loads(r.stdout)


def info(node):
    return f"--spdk_target_info=ip:{node.addr} backend:mooncake"


def test_good_node_beside_bad_ones(cluster, nodes, serving):
    silent, unknown = nodes.add(), nodes.add(is_known=False)
    empty = nodes.add()  # nothing runs there
    os.kill(int(silent.inner_pid()), signal.SIGSTOP)
    bad = {silent: "5 s", unknown: "Host key verification failed",
           empty: "no target listens"}
    out = register(cluster, nodes, info(serving), *map(info, bad),
                   "--connect_timeout=5s", status=1)
    assert out["registered"] == 1 and out["failed"] == 3, out
    said = {row["endpoint"]: row["message"] for row in out["namespaces"]
            if row["state"] == "failed"}
    for node, why in bad.items():
        assert why in said[node.addr] and node.addr in said[node.addr], said
    assert len(cluster.segments()) == 1


@pytest.mark.parametrize("action,why", [
    (CUT, "the connection was lost"),
    ("sleep 1234", "no answer within 3 s"),
    ("pkill -KILL -x mooncake_nof_ta; while pgrep -x mooncake_nof_ta; do "
     "sleep 0.02; done >/dev/null", "nobody listens")],
    ids=["cut", "hangs", "target dies"])
def test_in_the_middle(cluster, nodes, serving, action, why):
    serving.before("nvmf_get_subsystems", action)
    out = register(cluster, nodes, info(serving), "--command_timeout=3s",
                   status=1)
    row, = out["namespaces"]
    assert why in row["message"] and serving.addr in row["message"], out
    assert cluster.segments() == []
    serving.must("rm /usr/local/bin/python3")
    assert "sleep 1234" not in serving.state()


def on_terminal(argv, env, answer):
    """Runs it with a terminal of its own, where answer is typed when it asks:
    (exit status, what is on the screen)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, {**os.environ, **env})
    screen, is_typed = b"", False
    try:
        while select.select([fd], [], [], DEADLINE)[0]:
            try:
                data = os.read(fd, 4096)
            except OSError:
                break  # nobody has it open any more
            if not data:
                break
            screen += data
            if not is_typed and screen.endswith(b"Password for the nodes: "):
                os.write(fd, answer.encode() + b"\n")
                is_typed = True
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert is_typed, screen
    return status, screen.decode()


def test_asked_for_the_password(cluster, nodes, serving):
    """Once for all nodes, and not shown."""
    serving.must(f"cat >/usr/local/bin/sudo.c <<'END'\n{SUDO}END\n"
                 "cd /usr/local/bin && cc -o sudo sudo.c && rm sudo.c && "
                 "chmod 4755 sudo")
    env = {"MOONCAKE_SSH_COMMAND": nodes.env()["MOONCAKE_SSH_COMMAND"] +
           " -oPubkeyAuthentication=no", "SSH_AUTH_SOCK": ""}
    argv = [cluster.program("mooncake_ssd_register"), info(serving),
            f"--master={cluster.master_addr}", "--username=op",
            "--ask_password"]
    status, screen = on_terminal(argv, env, "wrong donkey")
    assert status == 1 and "Permission denied" in screen, screen
    assert "donkey" not in screen and cluster.segments() == []
    status, screen = on_terminal(argv, env, "correct horse")
    assert status == 0 and "registered: 1" in screen, screen
    assert "horse" not in screen and screen.count("Password for") == 1
    # Where nobody can be asked.
    r = subprocess.run(argv, env={**os.environ, **env}, text=True,
                       capture_output=True, timeout=DEADLINE, check=False,
                       stdin=subprocess.DEVNULL, start_new_session=True)
    assert r.returncode == 1, r.stdout + r.stderr
    assert "no terminal" in r.stderr and "--password_file" in r.stderr
