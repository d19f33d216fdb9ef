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
        assert r.returncode == 0 and "Usage: mooncake_" in r.stdout, r.stderr


def test_pages_and_units(tree):
    _, prefix, opts = tree
    if shutil.which("scdoc"):
        for name in [*programs(), "mc_store_rest_server"]:
            section = "1" if name == "mooncakectl" else "8"
            page = os.path.join(prefix, opts["mandir"], "man" + section,
                                f"{name}.{section}")
            assert os.path.getsize(page) > 500
    units = os.path.join(prefix, "lib", "systemd", "system")
    bindir = os.path.join(opts["prefix"], opts["bindir"])
    for name in ("mooncake_master", "mooncake_nof_target"):
        with open(os.path.join(units, name + ".service"),
                  encoding="utf-8") as f:
            assert f"ExecStart={bindir}/{name} " in f.read()
