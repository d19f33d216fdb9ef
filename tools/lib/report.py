# SPDX-License-Identifier: Apache-2.0
"""What a person sees: progress, sizes, percentiles, a table."""
import shutil
import sys
import time


def size_text(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.4g} {unit}"
        n /= 1024
    return str(n)


class Bar:
    """A progress bar on stderr when that is a terminal, else few lines."""

    def __init__(self, title, total):
        self.title, self.total = title, total
        self.is_terminal = sys.stderr.isatty()
        self.last, self.at, self.text = 0.0, 0, ""
        self.begin = time.monotonic()

    def _write(self, text):
        sys.stderr.write(text)
        sys.stderr.flush()

    def step(self, at, text=""):
        self.at, self.text = at, text
        now = time.monotonic()
        every = 0.1 if self.is_terminal else 10
        if now - self.last < every:
            return
        self.last = now
        if not self.is_terminal:
            self._write(f"  {self.title} {at}/{self.total}: {text}\n")
            return
        left = (now - self.begin) / max(at, 1) * (self.total - at)
        tail = f"{at * 100 // self.total:3d}% {left:3.0f} s left  {text}"
        cols = shutil.get_terminal_size().columns - 1
        wide = max(10, min(30, cols - len(self.title) - len(tail) - 4))
        full = wide * at // self.total
        line = f"{self.title} [{'#' * full}{'.' * (wide - full)}] {tail}"
        self._write("\r\033[K" + line[:cols])

    def note(self, text):
        self._write(("\r\033[K" if self.is_terminal else "") + f"  {text}\n")

    def done(self):
        self.last = 0
        self.step(self.at or self.total, self.text)
        if self.is_terminal:
            self._write("\n")


class Latency:
    """Keeps every sample: a demo has thousands, not millions."""

    def __init__(self):
        self.samples = []

    def add(self, value):
        self.samples.append(value)

    def summary(self):
        s = sorted(self.samples) or [0.0]

        def at(q):
            return s[min(len(s) - 1, int(q * len(s)))]
        return {"count": len(self.samples), "p50": at(0.5), "p95": at(0.95),
                "p99": at(0.99), "max": s[-1]}


def print_table(title, rows):
    wide = max(len(name) for name, _ in rows)
    print(f"\n{title}\n" + "-" * len(title))
    for name, value in rows:
        print(f"{name:<{wide}}  {value}")
    sys.stdout.flush()
