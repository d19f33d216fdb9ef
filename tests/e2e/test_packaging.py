# SPDX-License-Identifier: Apache-2.0
"""What the packages are made of: debian/*.install name exactly what `meson
install` makes, the lists of packages are complete, units say what they must.
The packages themselves: tools/check-package."""
import configparser
import fnmatch
import glob
import os
import re
import subprocess

import pytest

from conftest import BUILD, ROOT
from test_install import options, programs, tree  # noqa: F401 (a fixture)

DEBIAN = os.path.join(ROOT, "debian")
UNITS = ("http_metadata_server", "master", "nof_target", "store_service")
# Debian's package of a dependency of meson.build, where it is not NAME-dev.
DEPENDENCIES = {
    "cmocka": "libcmocka-dev", "jansson": "libjansson-dev",
    "libcrypto": "libssl-dev", "openssl": "libssl-dev",
    "libpcre2-8": "libpcre2-dev", "yaml-0.1": "libyaml-dev",
}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def installed(tree):
    """Paths as under prefix /usr, which is what packages are built with."""
    dest, prefix, opts = tree
    etc = os.path.normpath(os.path.join(opts["prefix"], opts["sysconfdir"]))
    found = set()
    for folder, _, names in os.walk(dest):
        for name in names:
            path = os.path.join(folder, name)[len(dest):]
            if path.startswith(etc + "/"):
                found.add("etc" + path[len(etc):])
            else:
                assert path.startswith(opts["prefix"] + "/"), path
                found.add("usr" + path[len(opts["prefix"]):])
    # not in a package: a static library
    return {p for p in found if not p.endswith(".a")}


def lists():
    """{package: patterns}"""
    found = {}
    for path in glob.glob(os.path.join(DEBIAN, "*.install")):
        with open(path, encoding="utf-8") as f:
            found[os.path.basename(path)[:-len(".install")]] = [
                line.split()[0] for line in f if line.strip()]
    return found


def covers(pattern, path):
    """As dh_install: globs stay within a folder, a folder is all in it."""
    want, have = pattern.split("/"), path.split("/")
    return len(have) >= len(want) and all(
        fnmatch.fnmatchcase(h, w) for w, h in zip(want, have))


def test_every_file_is_in_one_package(tree):
    opts = tree[2]
    if "disabled" in (opts["man"], opts["completion"], opts["systemd"]):
        pytest.skip("this build leaves out what packages have")
    files = installed(tree)
    assert len(files) > 60
    used = set()
    for path in files:
        owners = [(name, p) for name, patterns in lists().items()
                  for p in patterns if covers(p, path)]
        assert len({name for name, _ in owners}) == 1, (path, owners)
        used.update(owners)
    idle = {(name, p) for name, patterns in lists().items()
            for p in patterns} - used
    assert not idle, "patterns without a file"


def control():
    """{package: {field: text}}; the source under ''."""
    found = {}
    for part in read("debian", "control").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", part,
                                 re.M))
        if fields:
            found[fields.get("Package", "").strip()] = fields
    return found


def test_packages_have_lists():
    assert set(lists()) == set(control()) - {""}


def packages_txt():
    kinds = {}
    for line in read("tools", "lib", "packages.txt").split("\n"):
        if line and not line.startswith("#"):
            kind, name = line.split()
            kinds.setdefault(kind, set()).add(name)
    return kinds


def test_build_depends():
    """What meson.build asks for, packages are built with, and apt is asked
    for by our tools is the same."""
    asked = {DEPENDENCIES.get(name, name + "-dev") for name in re.findall(
        r"dependency\('([\w.-]+)'", re.sub(
            r"rdma_dep = \[.*?\]", "", read("meson.build"), flags=re.S))
        if name != "threads"}
    asked.add("libnvme-dev")  # headers only
    kinds = packages_txt()
    libraries = {p for p in kinds["build"] if p.startswith("lib")
                 and p != "libc6-dev"}
    assert libraries == asked
    depends = {re.split(r"[ (]", d.strip())[0] for d in
               control()[""]["Build-Depends"].split(",") if d.strip()}
    implied = {"debhelper-compat": "debhelper",
               "dh-sequence-python3": "dh-python"}
    here = kinds["build"] | kinds["package"]
    assert {implied.get(d, d) for d in depends} <= here
    # tests are not built there; the rest is build-essential, or meson's
    assert libraries - {"libcmocka-dev"} <= depends


def test_release_is_one():
    version = re.search(r"version: '([\d.]+)'", read("meson.build"))[1]
    changelog = read("debian", "changelog")
    assert changelog.startswith(f"mooncake ({version}) ")
    for text in (changelog, control()[""]["Maintainer"]):
        assert "<maintainers@mooncake-c.invalid>" in text


def unit(tree, name):
    path = os.path.join(tree[1], "lib/systemd/system",
                        f"mooncake_{name}.service")
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(path)
    return parser


@pytest.mark.parametrize("name", UNITS)
def test_units_confine(tree, name):
    service = unit(tree, name)["Service"]
    want = {"Restart": "on-failure", "DynamicUser": "yes",
            "NoNewPrivileges": "yes", "CapabilityBoundingSet": "",
            "ProtectSystem": "strict", "ProtectHome": "yes",
            "MemoryDenyWriteExecute": "yes", "UMask": "0077",
            "SystemCallFilter": "@system-service"}
    assert {k: service[k] for k in want} == want
    # the target reads disks, and keeps files; the master a journal
    assert ("PrivateDevices" in service) == (name != "nof_target")
    kept = {"nof_target": "mooncake", "master": "mooncake-master"}
    assert service.get("StateDirectory") == kept.get(name)


def test_target_drains_in_time(tree):
    service = unit(tree, "nof_target")["Service"]
    assert service["Type"] == "notify"
    text = subprocess.run(
        [os.path.join(BUILD, "src/cmd/mooncake_nof_target"), "--help"],
        capture_output=True, text=True, check=True).stdout
    part = text[text.index("--drain_seconds"):]
    drain = int(re.search(r"default:? (\d+)", part)[1])
    assert int(service["TimeoutStopSec"]) >= 2 * drain + 10


def help_names(*argv):
    """Every long name that --help shows, aliases and --no forms too."""
    text = subprocess.run([*argv, "--help"], capture_output=True, text=True,
                          check=True, timeout=20).stdout
    names = set()
    for no, name in re.findall(r"^  --(\[no\])?([\w-]+)", text, re.M):
        names |= {name, "no" + name} if no else {name}
    for also in re.findall(r"\balso (-[^;\]]+)", " ".join(text.split())):
        names |= set(re.findall(r"--([\w-]+)", also))
    inside = text.partition("\nCommands:\n")[2].partition("\n\n")[0]
    return names, re.findall(r"^  ([a-z][a-z-]*) ", inside, re.M)


@pytest.mark.parametrize("name", programs())
def test_completion_has_every_option(tree, name):
    """Of each program and each of its commands, in bash and in zsh."""
    program = os.path.join(BUILD, "src/cmd", name)
    texts = {}
    for shell, path in (("bash", f"bash-completion/completions/{name}"),
                        ("zsh", f"zsh/site-functions/_{name}")):
        with open(os.path.join(tree[1], "share", path),
                  encoding="utf-8") as f:
            texts[shell] = f.read()
    names, commands = help_names(program)
    assert names or commands
    for shell, text in texts.items():
        have = set(re.findall(r"--([\w-]+)", text))
        assert names <= have, (shell, names - have)
    for command in commands:
        names = help_names(program, command)[0]
        line = re.search(rf"^\t{command}\) all='(.*)'", texts["bash"], re.M)
        have = set(re.findall(r"--([\w-]+)", line[1]))
        assert names - {"help", "version"} <= have, command
        part = texts["zsh"].split(f"\n\t{command})\n", 1)[1].split(";;")[0]
        assert names - {"help", "version"} <= set(
            re.findall(r"--([\w-]+)", part)), command
