# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with SSH and on nodes while targets are made there.

Every failure ends within its deadline, names host and step, and leaves the
node as it was or says what remains.
"""
import contextlib
import json
import os
import signal
import subprocess

import pytest

import nodes as nodes_lib

pytestmark = pytest.mark.skipif(nodes_lib.why_not() is not None,
                                reason=str(nodes_lib.why_not()))
DEADLINE = 90  # seconds for a run on a machine that has much else to do


@pytest.fixture
def nodes(tmp_path):
    with nodes_lib.Nodes(tmp_path) as n:
        yield n


def create(cluster, nodes, *args, **env):
    r = cluster.run("spdk_tgt_create", *args, "--json",
                    env={**nodes.env(), **env}, timeout=DEADLINE)
    out = json.loads(r.stdout)
    assert r.returncode == (out["failed"] != 0)
    return out["nodes"]


def fails(cluster, nodes, *args, **env):
    """The sentence of the only node."""
    out = create(cluster, nodes, *args, **env)
    assert len(out) == 1 and not out[0]["ok"], out
    assert nodes.nodes[-1].addr in out[0]["error"]
    return out[0]["error"]


def spdk_node(nodes, **more):
    n = nodes.add(SYSFS=f"{nodes.folder}/ssd{len(nodes.nodes)}/sys", **more)
    root = n.spdk(disks=("0000:81:00.0", "0000:82:00.0"))
    return n, (f"--node=ip:{n.addr} path:{root} pci:0000:81:00.0,0000:82:00.0",
               "--transport-type=TCP")


def our_node(cluster, nodes, **more):
    n = nodes.add(**more)
    n.must("ln -s " + cluster.program("mooncake_nof_target") +
           " /usr/local/bin/")
    return n, (f"--node=ip:{n.addr} backend:mooncake disk:/srv/pool.img:64m",)


# --- logging in ---

def test_unknown_host_key(cluster, nodes):
    n = nodes.add(is_known=False)
    why = fails(cluster, nodes, f"--node=ip:{n.addr} disk:/srv/x:64m")
    assert "Host key verification failed" in why
    with open(nodes.known_hosts) as f:
        assert n.addr not in f.read()  # nobody has accepted it


def test_password(cluster, nodes, tmp_path):
    """A wrong one, then the right one: asked for once, and nowhere to be
    seen."""
    n, args = our_node(cluster, nodes)
    env = {"MOONCAKE_SSH_COMMAND": nodes.env()["MOONCAKE_SSH_COMMAND"] +
           " -oPubkeyAuthentication=no"}
    path = tmp_path / "password"
    path.touch(mode=0o600)
    args += ("--username=op", f"--password_file={path}")
    path.write_text("wrong donkey\n")
    why = fails(cluster, nodes, *args, **env)
    assert "Permission denied" in why and "donkey" not in why
    path.write_text("correct horse\n")
    assert "is not root there" in fails(cluster, nodes, *args, **env)


def test_password_is_not_for_jump_hosts(cluster, nodes, tmp_path):
    """The node's password reaches the node, also through another host; that
    one, which would take the same, is refused."""
    n, args = our_node(cluster, nodes, forwards=True)
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("correct horse\n")
    with open(nodes.config, "r+") as f:
        old = f.read()
        f.seek(0)
        f.write(f"Host node\n  HostName {n.addr}\n  ProxyJump op@jump\n"
                "  PubkeyAuthentication no\n"
                f"Host jump\n  HostName {n.addr}\n  HostKeyAlias jump\n{old}")
    with open(nodes.known_hosts, "a") as f:
        f.write(f"jump {nodes.host_pub}\n")
    args = (args[0].replace(n.addr, "node") + f" addr:{n.addr}",
            "--username=op", f"--password_file={path}")
    command = nodes.env()["MOONCAKE_SSH_COMMAND"]
    # With its key the jump host lets us pass, and the node gets its password.
    out = create(cluster, nodes, *args)[0]
    assert "the user op is not root there" in out["error"], out
    # The jump host asks for one.
    with open(nodes.config) as f:
        text = f.read()
    with open(nodes.config, "w") as f:
        f.write(text.replace("HostKeyAlias jump",
                             "HostKeyAlias jump\n  PubkeyAuthentication no"))
    out = create(cluster, nodes, *args, MOONCAKE_SSH_COMMAND=command)[0]
    assert "the password is for op@" in out["error"], out
    assert "was not given to \"op@jump's password: \"" in out["error"]


@pytest.mark.parametrize("what", ["none", "password"])
def test_no_sudo(cluster, nodes, what):
    n, args = our_node(cluster, nodes)
    n.must("printf '#!/bin/sh\\necho sudo: a password is required >&2\\n"
           "exit 1\\n' >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo"
           if what == "password" else "ln -s /nowhere /usr/local/bin/sudo")
    before = n.state()
    why = fails(cluster, nodes, *args, "--username=op")
    assert "the user op is not root there" in why
    assert "sudo without a password" in why
    assert what != "password" or "a password is required" in why
    assert n.state() == before


def test_with_sudo(cluster, nodes):
    """A user who may become root deploys as root does."""
    n, args = our_node(cluster, nodes)
    n.must(f"cat >/usr/local/bin/sudo.c <<'END'\n{SUDO}END\n"
           "cd /usr/local/bin && cc -o sudo sudo.c && rm sudo.c && "
           "chmod 4755 sudo")
    out = create(cluster, nodes, *args, "--username=op")
    assert out[0]["ok"], out
    assert "mooncake" in n.must("ls -l /etc/mooncake /srv/pool.img")


SUDO = r"""#include <unistd.h>
int main(int argc, char **argv)
{
	(void)argc;
	return setuid(0) || execvp(argv[3], argv + 3);
}
"""


# A service as systemd keeps it: while that is starting it again and again,
# "enable --now" changes nothing, and what it has counted stays.
SYSTEMCTL = r"""#!/bin/sh
for u; do :; done
u=${u%.service} d=/run/service
run() { setsid sh /etc/mooncake/$u.sh </dev/null >/dev/null 2>&1 &
  echo $! >$d/pid; }
mkdir -p $d
case $1 in
show) cat $d/restarts 2>/dev/null || echo 0 ;;
stop) rm -f $d/restarts; [ ! -e $d/pid ] || kill -- -$(cat $d/pid) || :
  rm -f $d/pid ;;
reset-failed) rm -f $d/restarts ;;
enable) [ -e $d/pid ] || run ;;
esac
"""


def test_crashed_service(cluster, nodes):
    """It was started in vain three times: the next call repairs it."""
    n, args = our_node(cluster, nodes)
    n.must("mkdir -p /run/systemd/system /run/service /etc/systemd && "
           "mount -t tmpfs none /etc/systemd && mkdir /etc/systemd/system && "
           "echo 3 >/run/service/restarts && "
           f"cat >/usr/local/bin/systemctl <<'END'\n{SYSTEMCTL}END\n"
           "chmod 755 /usr/local/bin/systemctl")
    out = create(cluster, nodes, *args)
    assert out[0]["ok"], out


# --- in the middle ---

def test_command_hangs(cluster, nodes):
    """A step that does not end: it is ended there, and all is taken back."""
    n, args = spdk_node(nodes)
    setup = os.path.join(n.path, "spdk/scripts/setup.sh")
    with open(setup, "a") as f:
        f.write('[ "$1" = reset ] || sleep 1234\n')
    before = n.state()
    why = fails(cluster, nodes, *args, "--command_timeout=3s")
    assert "no answer within 3 s" in why and "all taken back" in why
    assert "give the disks to user space" in why
    assert n.state() == before  # no "sleep 1234" either


def test_looking_hangs(cluster, nodes):
    n, args = spdk_node(nodes)
    n.must("printf '#!/bin/sh\\nexec sleep 1234\\n' "
           ">/usr/local/bin/pgrep; chmod 755 /usr/local/bin/pgrep")
    before = n.state()
    why = fails(cluster, nodes, *args, "--command_timeout=3s")
    assert "no answer within 3 s" in why
    assert n.state() == before


CUT = "kill -KILL $(pgrep -f 'sshd: root@notty')"


def test_connection_is_cut(cluster, nodes):
    """In the middle of a step, which goes on there."""
    n, args = spdk_node(nodes)
    setup = os.path.join(n.path, "spdk/scripts/setup.sh")
    with open(setup, "a") as f:
        f.write(f'[ "$1" = reset ] || {{ {CUT}; sleep 1234; }}\n')
    before = n.state()
    why = fails(cluster, nodes, *args)
    assert "the connection was lost" in why and "all taken back" in why
    assert n.state() == before


def test_connection_is_cut_in_a_call(cluster, nodes):
    """It is not known whether the target has done it."""
    n, args = our_node(cluster, nodes)
    before = n.state()
    n.before("nvmf_subsystem_add_ns", CUT)
    why = fails(cluster, nodes, *args)
    assert "the connection was lost" in why and "all taken back" in why
    n.must("rm /usr/local/bin/python3")
    assert n.state() == before


@pytest.mark.parametrize("make,process", [
    ("spdk", "reactor_0"), ("ours", "mooncake_nof_ta")])
def test_target_dies(cluster, nodes, make, process):
    n, args = spdk_node(nodes) if make == "spdk" else our_node(cluster, nodes)
    before = n.state()
    n.before("nvmf_subsystem_add_ns",
             f"pkill -KILL -x {process}; "
             f"while pgrep -x {process}; do sleep 0.02; done >/dev/null")
    why = fails(cluster, nodes, *args)
    assert "namespace" in why and "nobody listens" in why
    assert "all taken back" in why
    n.must("rm /usr/local/bin/python3")
    assert n.state() == before


@pytest.mark.parametrize("make", ["spdk", "ours"])
def test_disk_disappears(cluster, nodes, make):
    """Between the look and the step that takes it."""
    n, args = spdk_node(nodes) if make == "spdk" else our_node(cluster, nodes)
    if make == "spdk":
        before = n.state()
        n.before("bdev_nvme_attach_controller",
                 f"rm -r {n.path}/sys/bus/pci/devices/0000:82:00.0")
    else:
        n.must("truncate -s 64m /srv/pool.img")
        before = n.state()
        n.before("bdev_aio_create", "rm /srv/pool.img")
    why = fails(cluster, nodes, *args)
    assert "all taken back" in why and ("82:00.0" in why or "pool.img" in why)
    n.must("rm /usr/local/bin/python3")
    if make == "spdk":
        n.pci("0000:82:00.0")
    else:
        n.must("truncate -s 64m /srv/pool.img")
    assert n.state() == before


def ssh_children(pid):
    """{pid: command line} of what the process has started, ssh in it."""
    out = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            children = f.read().split()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{child}/cmdline", encoding="utf-8") as c:
                    out[int(child)] = c.read().replace("\0", " ")
    return out


def test_tool_is_killed(cluster, nodes):
    """While a socket is forwarded: the ssh that does so ends by itself, and
    has opened nothing but that, whatever the user's configuration has."""
    n, args = spdk_node(nodes, forwards=True)
    assert create(cluster, nodes, args[0].replace(",0000:82:00.0", ""),
                  args[1])[0]["ok"]
    users = os.path.join(nodes.folder, "users")
    with open(nodes.config, "a", encoding="utf-8") as f:
        f.write(f"  LocalForward {users} /run/no.sock\n")
    hangs = os.path.join(n.path, "hangs")
    with open(os.path.join(n.path, "spdk/scripts/setup.sh"), "a",
              encoding="utf-8") as f:
        f.write(f": >{hangs}; sleep 1234\n")
    tool = cluster.start("tool", "spdk_tgt_create", *args, env=nodes.env())
    tool.wait_for(lambda: os.path.exists(hangs), timeout=DEADLINE)
    forwards = [pid for pid, line in ssh_children(tool.pid).items()
                if "ControlPath=" in line]
    assert len(forwards) == 1
    assert not os.path.exists(users)
    tool.kill(signal.SIGKILL)
    tool.proc.wait()
    cluster.wait_until("ssh has ended", lambda: not os.path.exists(
        f"/proc/{forwards[0]}"), timeout=DEADLINE)


# --- who answers is not who was meant ---

@pytest.mark.parametrize("command,say", [
    ("cat", "no shell"),  # sends back what it gets
    ("cat >/dev/null", "no shell over ssh within 5 s"),
    ("head -c 20000000 /dev/zero", "no shell"),
    ("echo Welcome", "the last of them \"Welcome\""),
    ("true", "closed without a word"),
    ("echo Welcome; eval \"$SSH_ORIGINAL_COMMAND\"", None)])
def test_no_shell(cluster, nodes, command, say):
    n = nodes.add(sshd=(f"ForceCommand {command}",))
    args = (f"--node=ip:{n.addr} backend:mooncake disk:/srv/p.img:64m",
            f"--program={cluster.program('mooncake_nof_target')}",
            "--connect_timeout=5s")
    if say:
        assert say in fails(cluster, nodes, *args)
    else:  # a shell that greets is one
        out = create(cluster, nodes, *args)
        assert out[0]["ok"], out


@pytest.mark.parametrize("answer", [
    "}{", '{"jsonrpc":"2.0","id":1,"result":5}', '{"id":7,"result":true}',
    '{"id":1}', '[]', '\\xff\\xfe'])
def test_garbage_from_the_target(cluster, nodes, answer):
    n, args = spdk_node(nodes)
    before = n.state()
    n.before("nvmf_get_subsystems", f"printf '%b' '{answer}'; exit 0")
    out = create(cluster, nodes, *args)[0]
    n.must("rm /usr/local/bin/python3")
    # "result": 5 is no list, and so nothing is there: the target then says
    # itself what it thinks of the steps.
    if not out["ok"]:
        assert n.addr in out["error"] and "all taken back" in out["error"]
        assert n.state() == before
    else:
        assert "5" in answer


def test_good_nodes_beside_bad_ones(cluster, nodes):
    """One of each kind at once: the good one is served at its own pace."""
    n, args = our_node(cluster, nodes)
    silent, unknown = nodes.add(), nodes.add(is_known=False)
    os.kill(int(silent.inner_pid()), signal.SIGSTOP)  # its sshd says nothing
    out = create(cluster, nodes, *args, "--connect_timeout=5s",
                 f"--node=ip:{silent.addr} disk:/srv/x:64m",
                 f"--node=ip:{unknown.addr} disk:/srv/x:64m")
    assert [x["ok"] for x in out] == [True, False, False], out
    for node, x in zip((silent, unknown), out[1:]):
        assert node.addr in x["error"]


# --- what is typed wrong ---

@pytest.mark.parametrize("node,say", [
    ("", "is empty"), ("10.0.0.7", "no key:value"),
    ("ip:10.0.0.7", "disk:/dev"), ("ip:10.0.0.7 backend:spdk", "path:"),
    ("ip:10.0.0.7 backend:nvmet", "disk:/dev"),
    ("ip:10.0.0.7 disk:/a:1g", "named twice")])
def test_wrong_text(cluster, node, say):
    """Nobody is logged in to for that."""
    args = [f"--spdk_target_info={node}"] * (2 if "twice" in say else 1)
    r = cluster.run("spdk_tgt_create", *args,
                    env={"MOONCAKE_SSH_COMMAND": "exit 9; :"})
    assert r.returncode == 2 and say in r.stderr, r.stderr
    assert r.stdout == ""


def test_nothing_to_register(cluster):
    for program in ("mooncake_ssd_register", "mooncake_ssd_unregister"):
        r = cluster.run(program, "--master=127.0.0.1:1",
                        "--spdk_target_info=")
        assert r.returncode == 2 and "nothing to" in r.stderr


def test_on_a_terminal(cluster, nodes):
    """A line per node that is written over; the result on lines of its own."""
    n, args = our_node(cluster, nodes)
    command = " ".join(f"'{a}'" for a in (
        cluster.program("spdk_tgt_create"), *args))
    r = subprocess.run(["script", "-qec", f"stty rows 24 cols 60; {command}",
                        "/dev/null"], env={**os.environ, **nodes.env()},
                       stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=DEADLINE)
    out = r.stdout.decode()
    assert r.returncode == 0, out
    lines = [x.split("\033[K")[1].split("\033[")[0]
             for x in out.split("\r") if "\033[K" in x]
    assert lines[-1].startswith(n.addr) and " done " in lines[-1]
    assert max(map(len, lines)) < 60
    assert "Successfully deployed: 1" in out
