# SPDX-License-Identifier: Apache-2.0
"""`meson install --destdir` gives a tree that works by itself."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

RUN_LOCAL = os.path.join(ROOT, "examples", "run_local.sh")


def options():
    out = subprocess.run(["meson", "introspect", "--buildoptions", BUILD],
                         capture_output=True, text=True, check=True).stdout
    return {o["name"]: o["value"] for o in json.loads(out)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """(DESTDIR, installed prefix inside it, build options)"""
    dest = tmp_path_factory.mktemp("dest")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild",
                    "--quiet", "--destdir", str(dest)], check=True,
                   timeout=120, stdin=subprocess.DEVNULL)
    opts = options()
    return str(dest), str(dest) + opts["prefix"], opts


def programs():
    with open(os.path.join(ROOT, "src", "cmd", "meson.build"),
              encoding="utf-8") as f:
        return re.findall(r"executable\('(\w+)'", f.read())


def run_installed(tree, *args):
    """Nothing of the build folder is on any path."""
    dest, prefix, _ = tree
    env = {k: v for k, v in os.environ.items()
           if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    return subprocess.run([RUN_LOCAL, prefix, *args], text=True,
                          capture_output=True, timeout=60, check=False,
                          env={**env, "PKG_CONFIG_SYSROOT_DIR": dest,
                               "PYTHONDONTWRITEBYTECODE": "1"})


def test_programs(tree):
    _, prefix, opts = tree
    for name in [*programs(), "mc_store_rest_server"]:
        r = subprocess.run([os.path.join(prefix, opts["bindir"], name),
                            "--version"], capture_output=True, text=True,
                           timeout=20, check=True)
        assert re.fullmatch(r"\w+ \d+\.\d+\.\d+\n", r.stdout)


def test_examples(tree):
    r = run_installed(tree)
    assert r.returncode == 0, r.stdout + r.stderr
    for text in ("b'world'", "all bytes are right", "hello.c = world"):
        assert text in r.stdout


def test_python_modules(tree):
    """The package finds the programs on PATH."""
    for name in ("mooncake_store_service", "http_metadata_server",
                 "mooncake_ssd_register", "mooncake_ssd_unregister",
                 "spdk_tgt_create"):
        r = run_installed(tree, "python3", "-m", "mooncake." + name, "--help")
        assert r.returncode == 0 and "\nUsage: " in r.stdout, r.stderr


def test_nothing_is_missing(tree):
    """Every program has its page and completion; the rest by name."""
    _, prefix, opts = tree
    want = {"include/mooncake/store.h",
            os.path.join(opts["libdir"], "libmooncake_store.so"),
            os.path.join(opts["libdir"], "libmooncake_store.so.0"),
            os.path.join(opts["libdir"], "pkgconfig", "mooncake_store.pc")}
    for name in programs():
        want.add(f"share/bash-completion/completions/{name}")
        want.add(f"share/zsh/site-functions/_{name}")
    if shutil.which("scdoc"):
        for name in [*programs(), "mc_store_rest_server"]:
            section = "1" if name == "mooncakectl" else "8"
            want.add(f"{opts['mandir']}/man{section}/{name}.{section}")
    modules = os.path.join(ROOT, "python", "mooncake")
    for name in [*os.listdir(modules), "_native.abi3.so"]:
        if name != "__pycache__":
            want.add("lib/python3/dist-packages/mooncake/" + name)
    for path in want:
        assert os.path.getsize(os.path.join(prefix, path)) > 50, path


def test_units(tree):
    """What a unit runs and reads is there; each reads what is shipped."""
    dest, prefix, opts = tree
    units = os.path.join(prefix, "lib", "systemd", "system")
    bindir = os.path.join(opts["prefix"], opts["bindir"])
    etc = os.path.join(opts["prefix"], opts["sysconfdir"], "mooncake")
    used = set()
    for name in ("http_metadata_server", "master", "nof_target",
                 "store_service"):
        with open(os.path.join(units, f"mooncake_{name}.service"),
                  encoding="utf-8") as f:
            text = f.read()
        assert f"ExecStart={bindir}/mooncake_{name} " in text
        used |= set(re.findall(etc + r"/([\w.]+\w)", text))
    assert used == set(os.listdir(dest + etc))
    if shutil.which("systemd-analyze"):
        r = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--root", dest,
             *(os.path.join(opts["prefix"], "lib/systemd/system", n)
               for n in os.listdir(units))],
            capture_output=True, text=True, timeout=60, check=False)
        # The tree has no sh and none of systemd's own units: what counts is
        # a line that systemd does not understand.
        bad = [line for line in r.stderr.split("\n") if "ignoring" in line]
        assert not bad, bad


def test_shipped_configuration(tree, tmp_path):
    """As installed, the programs take it."""
    dest, prefix, opts = tree
    etc = dest + os.path.join(opts["prefix"], opts["sysconfdir"], "mooncake")
    bindir = os.path.join(prefix, opts["bindir"])
    with subprocess.Popen(
            [bindir + "/mooncake_master",
             f"--config_path={etc}/master.yaml", "--port=0",
             f"--journal_dir={tmp_path}",  # not this machine's /var/lib
             "--metrics_port=0", "--rpc_address=127.0.0.1",
             "--metrics_host=127.0.0.1"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        for line in p.stdout:
            if "Master service started" in line:
                break
        else:
            pytest.fail("the master ended")
        p.terminate()
    r = subprocess.run(
        [bindir + "/mooncake_store_service",
         f"--config={etc}/store_service.json", "--max_wait_time=0",
         "--port=0", "-D", "master_server_address=127.0.0.1:1"],
        capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 1 and "127.0.0.1:1" in r.stderr


def complete(tree, program, *words):
    """What bash offers for the last word."""
    _, prefix, _ = tree
    script = ('source "$1"; p=$2; shift 2; COMP_WORDS=("$p" "$@"); '
              "COMP_CWORD=$#; compopt() { :; }; _$p; "
              'printf "%s\\n" "${COMPREPLY[@]}"')
    return subprocess.run(
        ["bash", "-euc", script, "bash",
         os.path.join(prefix, "share/bash-completion/completions", program),
         program, *words], capture_output=True, text=True, timeout=20,
        check=True).stdout.split()


def test_completion(tree, tmp_path):
    for name in programs():
        assert "--version" in complete(tree, name, "--vers"), name
    assert complete(tree, "mooncake_master", "--rpc_p") == ["--rpc_port="]
    assert "--noenable_ha" in complete(tree, "mooncake_master", "--no")
    assert complete(tree, "mooncakectl", "seg") == ["segments"]
    assert complete(tree, "mooncakectl", "rm", "--reg") == ["--regex="]
    assert complete(tree, "mooncakectl", "ls", "--reg") == []
    (tmp_path / "conf.yaml").touch()
    assert complete(tree, "mooncake_master", "--config_path", "=",
                    str(tmp_path) + "/c") == [str(tmp_path / "conf.yaml")]
