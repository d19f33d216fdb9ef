#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Documentation says what the programs do: options, metrics, links, symbols.

    test_docs.py BUILD_DIR

The Python that runs this may be any: nothing but its own library is used.
"""
import os
import re
import subprocess
import sys
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
GENERAL = {"help", "version"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def pages():
    """{program: path of its man page's source}"""
    folder = os.path.join(ROOT, "docs", "man")
    return {name.split(".")[0]: os.path.join(folder, name)
            for name in sorted(os.listdir(folder))
            if name.endswith((".1.scd", ".8.scd"))}


def modules():
    """Of the Python package, those that are for others."""
    return {name[:-3] for name in os.listdir(os.path.join(
        ROOT, "python", "mooncake"))
        if name.endswith(".py") and not name.startswith("_")}


def programs():
    text = read("src", "cmd", "meson.build")
    return set(re.findall(r"executable\('(\w+)'", text))


def program(name):
    return os.path.join(BUILD, "src", "cmd", name)


def ctl_commands():
    out = subprocess.run([program("mooncakectl"), "--help"], timeout=60,
                         capture_output=True, text=True, check=True).stdout
    part = out.split("Commands:")[1].split("\n\n")[0]
    return re.findall(r"^  (\S+)", part, re.M)


def help_options(name, *args):
    """Names in --help, aliases too."""
    out = subprocess.run([program(name), *args, "--help"], timeout=60,
                         capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^  --(?:\[no\])?(\w+)", out, re.M))
    text = " ".join(out.split())
    for aliases in re.findall(r"[\[;] ?also -+([\w,]+)[];]", text):
        names |= set(aliases.split(","))
    return names - GENERAL


def page_options(text):
    """Names that stand in bold: *--name*, *-D*."""
    text = re.sub(r"# COMPATIBILITY.*?(?=\n# )", "", text, flags=re.S)
    return set(re.findall(r"\*--?(\w+)\*", text)) - GENERAL


class ManPages(unittest.TestCase):
    def test_every_program_has_a_page(self):
        self.assertEqual(programs(), set(pages()))

    def test_every_python_module_has_a_page(self):
        text = read("docs", "man", "mooncake.7.scd")
        names = set(re.findall(r"\*mooncake\.(\w+)\*", text))
        self.assertEqual(modules(), names)
        build = read("docs", "man", "meson.build")
        links = build[build.index("foreach module"):]
        self.assertEqual(modules(), set(re.findall(r"'(\w\w+)'",
                                                   links.split("]")[0])))

    def test_options(self):
        for name, path in pages().items():
            with self.subTest(program=name):
                want = set()
                for args in ([(c,) for c in ctl_commands()]
                             if name == "mooncakectl" else [()]):
                    want |= help_options(name, *args)
                with open(path, encoding="utf-8") as f:
                    have = page_options(f.read())
                text = read("docs", "man", os.path.basename(path))
                missing = {o for o in want if o not in have
                           and not re.search(rf"--{o}\b", text)}
                self.assertFalse(missing, "options without documentation")
                self.assertFalse(have - want, "documented, but not there")

    def test_options_without_effect(self):
        text = read("docs", "man", "mooncake_master.8.scd")
        part = re.search(r"# COMPATIBILITY(.*?)\n# ", text, re.S).group(1)
        self.assertEqual(
            set(re.findall(r"\*--(\w+)\*", part)),
            set(re.findall(r'IGNORED\("(\w+)"',
                           read("src", "master", "tbl", "ignored.h"))))

    def test_references(self):
        known = set(pages())
        for path in pages().values():
            with open(path, encoding="utf-8") as f:
                refs = re.findall(r"\*(mooncake\w+)\*\(", f.read())
            self.assertFalse(set(refs) - known, path)


class Metrics(unittest.TestCase):
    @staticmethod
    def documented():
        text = read("docs", "metrics.md")
        ops = re.search(r"^OP is one of (.*?)\n\n", text, re.M | re.S)
        single, _, alone = ops.group(1).partition("never in batches")
        names = set()
        for name in re.findall(r"^\| `(\w+)", text, re.M):
            if "OP" not in name:
                names.add(name)
                continue
            part = single if "_batch_" in name else single + alone
            for op in re.findall(r"`(\w+)`", part):
                names.add(name.replace("OP", op))
        return names

    @staticmethod
    def emitted(text):
        return set(re.findall(r"^# TYPE (\w+) ", text, re.M))

    def test_master(self):
        master = subprocess.Popen(
            [program("mooncake_master"), "--port=0", "--metrics_port=0",
             "--rpc_address=127.0.0.1", "--metrics_host=127.0.0.1"],
            stderr=subprocess.PIPE, text=True)
        try:
            url = None
            for line in master.stderr:
                found = re.search(r"metrics=(http://\S+)", line)
                if found:
                    url = found.group(1)
                    break
            self.assertTrue(url, "the master did not say where it is")
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}))
            with opener.open(url + "/metrics", timeout=20) as r:
                names = self.emitted(r.read().decode())
        finally:
            master.terminate()
            master.communicate(timeout=30)
        self.assertGreater(len(names), 50)
        self.assertFalse(names - self.documented(), "not in docs/metrics.md")
        of_segments = {"segment_", "nof_segment_"}
        gone = {n for n in self.documented() - names
                if not n.startswith(("mooncake_client_", *of_segments))}
        self.assertFalse(gone, "in docs/metrics.md, but not emitted")

    def test_segments(self):
        names = set(re.findall(r'"((?:nof_)?segment_\w+)"',
                               read("src", "master", "seg_stats.c") +
                               read("src", "master", "tbl", "smart.h")))
        self.assertGreater(len(names), 20)
        want = {n for n in self.documented()
                if n.startswith(("segment_", "nof_segment_"))}
        self.assertEqual(names, want)

    def test_client(self):
        names = re.findall(r"STAT\((\w+), \"",
                           read("src", "client", "tbl", "stats.h"))
        names += re.findall(r'add_counter\(sb,\s*"(\w+)",',
                            read("src", "client", "store_host.c"))
        names += ["nvmf_" + n for n in
                  re.findall(r'NVMF_STAT\([A-Z_]+, (\w+),\s*"',
                             read("src", "nvmf", "tbl", "stats.h"))]
        self.assertGreater(len(names), 10)
        paths = re.findall(r'(?:PATH_STAT\(|add_head\(sb, )"(\w+)"',
                           read("src", "client", "path_metrics.c"))
        self.assertGreater(len(paths), 10)
        want = {n for n in self.documented()
                if n.startswith("mooncake_client_")}
        self.assertEqual({f"mooncake_client_{n}_total" for n in names} |
                         {f"mooncake_client_{n}" for n in paths}, want)


class Texts(unittest.TestCase):
    def texts(self):
        for name in os.listdir(ROOT):
            if name.endswith(".md"):
                yield os.path.join(ROOT, name)
        for top in ("docs", "examples", "bench"):
            for folder, _, names in os.walk(os.path.join(ROOT, top)):
                for name in names:
                    if name.endswith(".md"):
                        yield os.path.join(folder, name)

    def test_links(self):
        count = 0
        for path in self.texts():
            with open(path, encoding="utf-8") as f:
                text = re.sub(r"```.*?```", "", f.read(), flags=re.S)
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", link):
                    continue
                count += 1
                name, _, anchor = link.partition("#")
                at = os.path.normpath(os.path.join(os.path.dirname(path),
                                                   name)) if name else path
                with self.subTest(file=path, link=link):
                    self.assertTrue(os.path.exists(at), "leads nowhere")
                    if anchor:
                        self.assertIn(anchor, self.anchors(at))
        self.assertGreater(count, 10)

    @staticmethod
    def anchors(path):
        with open(path, encoding="utf-8") as f:
            heads = re.findall(r"^#+ (.*)$", f.read(), re.M)
        return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-")
                for h in heads}

    def test_environment(self):
        """Every variable that C code reads is explained somewhere."""
        names = set()
        for folder, _, files in os.walk(os.path.join(ROOT, "src")):
            for name in files:
                if name.endswith(".c"):
                    with open(os.path.join(folder, name),
                              encoding="utf-8") as f:
                        code = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
                        names |= set(re.findall(
                            r'"((?:MC|MOONCAKE)_[A-Z][A-Z_]+)"', code))
        text = "".join(read(os.path.relpath(p, ROOT)) for p in self.texts())
        for path in pages().values():
            with open(path, encoding="utf-8") as f:
                text += f.read()
        self.assertGreater(len(names), 15)
        self.assertFalse({n for n in names if not re.search(rf"\b{n}\b",
                                                            text)})

    def test_variables_of_the_data_path(self):
        """docs/nvmf.md has a row for each variable of src/pool/opts.c."""
        table = re.findall(r'\{"(MC_N\w+)", KIND_\w+, \w+, ',
                           re.sub(r"\s+", " ", read("src", "pool", "opts.c")))
        rows = re.findall(r"^\| `(MC_N\w+)` \|", read("docs", "nvmf.md"), re.M)
        self.assertGreater(len(table), 10)
        self.assertFalse(set(table) - set(rows))


class Reliability(unittest.TestCase):
    """docs/reliability.md names tests and functions that are there."""

    def test_references(self):
        text = read("docs", "reliability.md")
        found = re.findall(r"`([\w/]+\.(?:c|py))(?:::(\w+))?`", text)
        self.assertGreater(len(found), 150)
        for path, name in found:
            with self.subTest(path=path, name=name):
                tops = [t for t in ("src", "tests") if os.path.exists(
                    os.path.join(ROOT, t, path))]
                self.assertEqual(len(tops), 1)
                code = read(tops[0], path)
                if name:
                    self.assertTrue(re.search(
                        rf"(?m)^(def |.*[ *]){name}\(", code), "not there")

    def test_every_fault(self):
        text = read("docs", "reliability.md")
        rows = dict(re.findall(r"^\| F(\d+) \| (.*)$", text, re.M))
        self.assertEqual(list(rows), [str(i) for i in range(1, 29)])
        for number, row in rows.items():
            with self.subTest(fault=number):
                self.assertRegex(row.split(" | ")[2],
                                 r"`(unit|wire|sim|e2e)/")

    def test_every_numbered_test(self):
        """Whose name has a number stands in that row."""
        text = read("docs", "reliability.md")
        rows = dict(re.findall(r"^\| F(\d+) \| (.*)$", text, re.M))
        count = 0
        for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
            for name in names:
                if not name.endswith((".py", "_test.c")):
                    continue
                with open(os.path.join(folder, name),
                          encoding="utf-8") as f:
                    tests = re.findall(
                        r"^(?:def|static void) (test_f(\d\d)_\w+)\(",
                        f.read(), re.M)
                for test, number in tests:
                    count += 1
                    with self.subTest(test=test):
                        self.assertIn(f"{name}::{test}`",
                                      rows[str(int(number))])
        self.assertGreater(count, 30)


class Symbols(unittest.TestCase):
    def test_exported_are_declared(self):
        so = os.path.join(BUILD, "src", "client", "libmooncake_store.so")
        out = subprocess.run(["nm", "-D", "--defined-only", so], check=True,
                             capture_output=True, text=True).stdout
        have = {line.split()[-1].split("@")[0] for line in out.splitlines()}
        want = set(re.findall(r"\b(mooncake_\w+)\(",
                              read("include", "mooncake", "store.h")))
        have = {n for n in have if not n.startswith(("__", "_"))}
        self.assertEqual(have, want)


if __name__ == "__main__":
    if not BUILD:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
