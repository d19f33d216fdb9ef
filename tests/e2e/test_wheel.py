# SPDX-License-Identifier: Apache-2.0
"""The wheel, installed by pip into an environment of its own."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from conftest import BUILD, ROOT

MODULES = ("mooncake_store_service", "http_metadata_server",
           "mooncake_ssd_register", "mooncake_ssd_unregister",
           "spdk_tgt_create")
PUT_GET = """
import json, os, sys
import mooncake.mooncake_config
from mooncake.store import MooncakeDistributedStore
assert mooncake.__file__.startswith(sys.prefix), mooncake.__file__
s = MooncakeDistributedStore()
rc = s.setup({"local_hostname": "127.0.0.1",
              "metadata_server": "P2PHANDSHAKE", "global_segment_size": 0,
              "local_buffer_size": 0,
              "master_server_addr": os.environ["MOONCAKE_MASTER"],
              "replica_num": 0, "nof_replica_num": 1})
put = s.put("key", b"value" * 100000)
print(json.dumps([rc, put, s.get("key") == b"value" * 100000]))
s.close()
"""


def call(*cmd, **more):
    """With nothing of the build folder on any path."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "MOONCAKE_BIN_DIR")}
    env.update(more, PATH="/usr/bin:/bin")
    return subprocess.run(cmd, env=env, capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL, cwd="/",
                          check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))
    import wheel as builder
    name = builder.build_wheel(str(out), {"build-dir": BUILD})
    return str(out / name)


@pytest.fixture(scope="module")
def venv(wheel, tmp_path_factory):
    """The bin folder of a virtual environment with the wheel in it."""
    folder = str(tmp_path_factory.mktemp("venv"))
    r = call(sys.executable, "-m", "venv", folder)
    if r.returncode:
        pytest.skip("python3-venv is not installed")
    r = call(folder + "/bin/python3", "-m", "pip", "install", "--no-index",
             "--quiet", wheel, PIP_CONFIG_FILE="/dev/null")
    assert r.returncode == 0, r.stderr
    return folder + "/bin"


def test_contents(wheel):
    assert re.fullmatch(r"mooncake-[\d.]+-cp311-abi3-linux_\w+\.whl",
                        os.path.basename(wheel))
    with zipfile.ZipFile(wheel) as z:
        names = {n: z.getinfo(n).external_attr >> 16 for n in z.namelist()}
        assert z.testzip() is None
    for name in os.listdir(os.path.join(BUILD, "src", "cmd")):
        path = os.path.join(BUILD, "src", "cmd", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            assert names["mooncake/bin/" + name] & 0o111, name
    assert "mooncake/_native.abi3.so" in names
    libs = [n for n in names if n.startswith("mooncake/lib/")]
    assert any("liburing" in n for n in libs)
    assert not any(re.search(r"lib(c|ssl|crypto)\.so", n) for n in libs)


def test_what_the_machine_must_have(wheel, tmp_path):
    """Else libraries of the wheel: what docs/deployment.md says, no more.  With
    OpenSSL among it no manylinux tag would be true."""
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp_path)
    own = set(os.listdir(tmp_path / "mooncake" / "lib"))
    needed, versions = set(), set()
    for path in [*(tmp_path / "mooncake" / "lib").iterdir(),
                 *(tmp_path / "mooncake" / "bin").iterdir(),
                 tmp_path / "mooncake" / "_native.abi3.so"]:
        out = call("objdump", "-p", str(path)).stdout
        needed |= set(re.findall(r"NEEDED +(\S+)", out))
        versions |= {tuple(map(int, v.split("."))) for v in
                     re.findall(r" GLIBC_([\d.]+)$", out, re.M)}
    assert needed - own <= {
        "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6",
        "libm.so.6", "libgcc_s.so.1", "libcrypto.so.3", "libssl.so.3"}
    with open(os.path.join(ROOT, "docs", "deployment.md"),
              encoding="utf-8") as f:
        said = re.search(r"glibc (\d+)\.(\d+)", f.read())
    release = call("sh", "-c", ". /etc/os-release; echo $ID$VERSION_ID").stdout
    if release.strip() == "debian12":
        assert max(versions) == (int(said[1]), int(said[2]))


def test_same_bytes_again(wheel, tmp_path):
    import wheel as builder
    again = builder.build_wheel(str(tmp_path), {"build-dir": BUILD})
    with open(wheel, "rb") as a, open(tmp_path / again, "rb") as b:
        assert a.read() == b.read()


def test_modules_and_scripts(venv):
    for name in MODULES:
        r = call(venv + "/python3", "-m", "mooncake." + name, "--help")
        assert r.returncode == 0 and "Usage: " in r.stdout, (name, r.stderr)
    programs = glob.glob(os.path.join(
        venv, "../lib/python3*/site-packages/mooncake/bin/*"))
    for name in [*map(os.path.basename, programs), "mc_store_rest_server"]:
        r = call(os.path.join(venv, name), "--version")
        assert r.returncode == 0 and re.search(r"\d\.\d", r.stdout), name


def test_put_get(venv, pool):
    r = call(venv + "/python3", "-c", PUT_GET,
             MOONCAKE_MASTER=pool.master_addr)
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout) == [0, 0, True]


def test_a_program_that_is_missing(venv, tmp_path):
    """Says so; a console script never finds itself."""
    shutil.copytree(os.path.dirname(venv), tmp_path / "v", symlinks=True)
    package, = glob.glob(str(tmp_path / "v/lib/python3*/site-packages/"
                             "mooncake"))
    shutil.rmtree(os.path.join(package, "bin"))
    bindir = str(tmp_path / "v/bin")
    r = subprocess.run(
        [bindir + "/python3", bindir + "/mooncake_master", "--version"],
        env={"PATH": bindir}, capture_output=True, text=True, timeout=20,
        check=False)
    assert r.returncode == 127 and "was not found" in r.stderr
