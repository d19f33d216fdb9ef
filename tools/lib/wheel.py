# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel: Python package, programs, and the libraries they need.

Also what pip calls for `pip install .` (pyproject.toml names this file), so
it uses nothing but Python's own library, meson, ninja and ldd.

Layout: mooncake/_native.abi3.so and mooncake/bin/PROGRAM find their libraries
in mooncake/lib by a run path relative to themselves.  What every machine with
Python has is not in the wheel: the C library, and OpenSSL 3, whose fixes are
the system's to install.
"""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
OPTIONS = ("-Dbuildtype=release", "-Dpython=enabled", "-Dtests=disabled",
           "-Dman=disabled", "-Dsystemd=disabled", "-Dcompletion=disabled",
           "-Dwerror=false",
           # DT_RPATH, not DT_RUNPATH: libraries of libraries, too.
           "-Dc_link_args=-Wl,--disable-new-dtags,"
           "-rpath,$ORIGIN/lib:$ORIGIN/../lib")
NOT_BUNDLED = re.compile(
    r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|crypto|ssl))\.so")
# Upstream's name of a program that is ours by another name.
ALIASES = ("mc_store_rest_server",)
MIN_PYTHON = "3.11"
METADATA = """\
Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: {summary}
License: Apache-2.0
Requires-Python: >={python}
Platform: linux
Classifier: License :: OSI Approved :: Apache Software License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3
Description-Content-Type: text/markdown

{text}"""


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def version():
    return re.search(r"^  version: '([^']+)'", read("meson.build"), re.M)[1]


def commit_time():
    """Of all files in the wheel, so that it is the same when built again."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        r = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct"],
                           capture_output=True, text=True, check=False)
        given = r.stdout.strip() if r.returncode == 0 else ""
    return int(given or time.time())


def run(*cmd):
    """Its output is shown when it fails."""
    r = subprocess.run(cmd, text=True, stdin=subprocess.DEVNULL, check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode:
        sys.stderr.write("\n".join(r.stdout.split("\n")[-30:]))
        raise SystemExit(f"wheel: {cmd[0]} {cmd[1]} failed")
    return r.stdout


def build(folder, dest):
    """Compiles, unless it is done, installs to dest; returns dest/prefix."""
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        shutil.rmtree(folder, ignore_errors=True)
        run("meson", "setup", folder, ROOT, *OPTIONS)
    run("ninja", "-C", folder)
    run("meson", "install", "-C", folder, "--no-rebuild", "--quiet",
        "--strip", "--destdir", dest)
    found = json.loads(run("meson", "introspect", "--buildoptions", folder))
    return dest + next(o["value"] for o in found if o["name"] == "prefix")


def libraries(path):
    """{soname: file} of what path needs and the wheel must bring."""
    found = {}
    for line in run("ldd", path).split("\n"):
        m = re.match(r"\s*(\S+) => (\S+)", line)
        if not m or NOT_BUNDLED.match(m[1]):
            continue
        if m[2] == "not":
            raise SystemExit(f"wheel: {path} needs {m[1]}, which is not here")
        found[m[1]] = m[2]
    return found


def collect(prefix):
    """{name in the wheel: file}, and the names of the programs."""
    files, libs = {}, {}
    package = os.path.join(prefix, "lib/python3/dist-packages/mooncake")
    for name in sorted(os.listdir(package)):
        files["mooncake/" + name] = os.path.join(package, name)
    bindir = os.path.join(prefix, "bin")
    programs = [n for n in sorted(os.listdir(bindir))
                if not os.path.islink(os.path.join(bindir, n))]
    for name in programs:
        files["mooncake/bin/" + name] = os.path.join(bindir, name)
    for path in list(files.values()):
        if not path.endswith(".py"):
            libs.update(libraries(path))
    for soname, path in sorted(libs.items()):
        files["mooncake/lib/" + soname] = os.path.realpath(path)
    return files, programs


def licenses(files):
    """{name in .dist-info: file} of the libraries, where dpkg knows."""
    found = {}
    for inside, path in files.items():
        if not inside.startswith("mooncake/lib/"):
            continue
        r = subprocess.run(["dpkg", "-S", "*" + os.path.basename(path)],
                           capture_output=True, text=True, check=False)
        owner = r.stdout.split(":")[0]
        text = f"/usr/share/doc/{owner}/copyright"
        if owner and os.path.isfile(text):
            found[f"licenses/{owner}.txt"] = text
    return found


def describe(programs):
    """{name in .dist-info: text}"""
    project = read("pyproject.toml")
    field = {k: re.search(rf'^{k} = "([^"]+)"', project, re.M)[1]
             for k in ("name", "description")}
    scripts = "".join(f"{n} = mooncake._program:main\n"
                      for n in [*programs, *ALIASES])
    platform = re.sub(r"[^a-z0-9]", "_", sysconfig.get_platform())
    tag = f"cp{MIN_PYTHON.replace('.', '')}-abi3-{platform}"
    return field["name"], tag, {
        "METADATA": METADATA.format(
            name=field["name"], version=version(), python=MIN_PYTHON,
            summary=field["description"], text=read("README.md")),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mooncake-c\n"
                 f"Root-Is-Purelib: false\nTag: {tag}\n",
        "entry_points.txt": "[console_scripts]\n" + scripts,
        "LICENSE": read("LICENSE"),
    }


class Writer:
    """A zip whose bytes depend on the files' content alone, with RECORD."""

    def __init__(self, path, info):
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self.when = time.gmtime(max(commit_time(), 315532800))[:6]
        self.info, self.record = info, []

    def add(self, name, data, mode=0o644):
        entry = zipfile.ZipInfo(name, self.when)
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self.zip.writestr(entry, data)
        digest = base64.urlsafe_b64encode(
            hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}\n")

    def close(self):
        name = self.info + "/RECORD"
        self.record.append(name + ",,\n")
        self.zip.writestr(zipfile.ZipInfo(name, self.when),
                          "".join(self.record))
        self.zip.close()


def build_wheel(wheel_directory, config_settings=None,
                metadata_directory=None):
    """PEP 517; returns the file's name.

    Setting build-dir: a build folder to take instead of one of its own; its
    programs then find libraries as that build has them find them.
    """
    folder = (config_settings or {}).get("build-dir") or os.path.join(
        ROOT, "build", "package", "wheel")
    with tempfile.TemporaryDirectory() as dest:
        files, programs = collect(build(folder, dest))
        name, tag, texts = describe(programs)
        info = f"{name}-{version()}.dist-info"
        wheel = f"{name}-{version()}-{tag}.whl"
        out = Writer(os.path.join(wheel_directory, wheel), info)
        for inside, path in files.items():
            with open(path, "rb") as f:
                out.add(inside, f.read(),
                        0o644 if inside.endswith(".py") else 0o755)
        for inside, path in sorted(licenses(files).items()):
            with open(path, "rb") as f:
                out.add(f"{info}/{inside}", f.read())
        for inside, text in texts.items():
            out.add(f"{info}/{inside}", text.encode())
        out.close()
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    """PEP 517 wants one: what git has, as git archives it."""
    name = f"mooncake-{version()}"
    path = os.path.join(sdist_directory, name + ".tar.gz")
    run("git", "-C", ROOT, "archive", f"--prefix={name}/", "-o", path, "HEAD")
    return os.path.basename(path)


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    print(build_wheel(os.path.abspath(sys.argv[1])))
