# SPDX-License-Identifier: Apache-2.0
"""The faults of tools/soak real, one function each.

A function begins its fault and returns a Fault: what was done to whom, how
long it lasts, and how it ends; or None when it is not possible now.  Two
faults are never at one party's process at a time, and what bends disks waits
for the target to be dead.  Only the liar's disk and answers lie; what is done
to the disks of others is undone before the fault is over.
"""
import os
import random
import subprocess
import time

from soak.world import MB

BLOCK = 4096                # of the targets' namespaces
DATA = MB                   # of a pool disk: objects lie behind this
JR_CLOSED = 4               # of a log's flags: ended in order
LONGEST_STOP_S = 6.0
LATE_S = 5.0                # a target may do later what it was asked to


def kind_of(rule):
    return rule.split(",")[0].removeprefix("kind=")


def filter_rules(r):
    """Of a target that is slow, deaf or mad, but does not lie."""
    every = r.choice((1, 3, 20, 100))
    return (
        f"kind=delay,p50={r.randint(1, 50)},p99={r.randint(60, 900)}",
        f"kind=rate,bytes_per_s={r.randint(1, 20)}m",
        # an internal error; what the medium can't read is lost
        f"kind=error,op={r.choice(('read', 'write', 'io'))},status=0x6,"
        f"every={every}",
        f"kind=drop,every={r.choice((5, 50))}",
        f"kind=disconnect,how={r.choice(('fin', 'rst'))},every={every}",
        f"kind=stall,side={r.choice(('rx', 'tx', 'both'))}",
        "kind=refuse", f"kind=dup,every={every}",
        f"kind=wrongcid,every={every}", f"kind=badrange,every={every}",
        f"kind=delay,op=admin,ms={r.randint(10, 1500)}")


def lie_rules(r, disk_bytes):
    lba = f"lba={DATA // BLOCK}-{(disk_bytes - MB) // BLOCK}"
    every = r.choice((1, 2, 7, 30))
    return (
        f"kind=error,op=read,{lba},every={every}",
        f"kind=corrupt,op=read,{lba},every={every}",
        f"kind=corrupt,op=write,{lba},every={every}",
        f"kind=torn,blocks={r.choice((0, 1, 3))},{lba},every={every}",
        f"kind=misdirect,shift=8,{lba},every={every}")


class Fault:
    def __init__(self, kind, what, seconds, end, parties=()):
        self.kind, self.what, self.seconds = kind, what, seconds
        self.end_now, self.parties = end, parties


class Faults:
    def __init__(self, world, losses, seed):
        self.world, self.losses = world, losses
        self.rng = random.Random(f"{seed}/faults")
        self.skipped = {}
        self.refused = {}   # kind -> what was said, last
        if world.net.why is not None:
            self.skipped["cut, reset, loss, partition, delay"] = (
                f"no network namespaces: {world.net.why}")
        elif not world.net.has_delay:
            self.skipped["delay"] = "this kernel has no netem"

    # --- choosing ---

    def catalogue(self):
        """(weight, function, kinds of its faults) of what is possible
        here."""
        r = random.Random(0)
        all_of = [
            (6, self.kill, ["SIGKILL"]), (6, self.stop, ["SIGSTOP"]),
            (1, self.kill_everything, ["SIGKILL of all servers"]),
            (2, self.torn_journal, ["torn journal"]),
            (2, self.orderly_stop, ["SIGTERM"]),
            (1, self.snapshot, ["snapshot"]),
            (7, self.filter, ["filter " + kind_of(rule)
                              for rule in filter_rules(r)]),
            (7, self.lie, ["lie " + kind_of(rule)
                           for rule in lie_rules(r, 1)]),
            (4, self.flip_bits, ["bit flips on a disk"]),
            (2, self.bad_superblock, ["bad superblock"]),
            (2, self.empty_disk, ["empty disk"]),
            (2, self.swapped_disks, ["swapped disks"]),
            (2, self.fill, ["pool filled"]),
            (1, self.fill_memory, ["memory filled"])]
        if self.world.net.why is None:
            all_of += [(3, self.cut, ["cut"]), (2, self.reset, ["reset"]),
                       (3, self.loss, ["loss"]),
                       (3, self.partition, ["partition"])]
            if self.world.net.has_delay:
                all_of.append((2, self.delay, ["delay"]))
        return all_of

    def kinds(self):
        return {kind for _, _, kinds in self.catalogue() for kind in kinds}

    def begin(self):
        """Some fault that can begin now, or None."""
        weights, functions, _ = zip(*self.catalogue())
        fault = self.rng.choices(functions, weights)[0]()
        if fault:
            for p in fault.parties:
                p.is_busy = True
        return fault

    def end(self, fault):
        fault.end_now()
        for p in fault.parties:
            p.is_busy = False

    def pick(self, *kinds, alive=True):
        """A party that no fault is at; of a kind that is named twice, more
        likely."""
        found = [p for kind in kinds for p in self.world.of(kind)
                 if not p.is_busy and p.is_up == alive]
        return self.rng.choice(found) if found else None

    def end_process(self, p, how):
        """By World.kill or World.terminate; what is lost with it."""
        if p.kind == "master":
            self.losses.lose_counters(self.losses.scrape(0.5))
        how(p.name)
        if p.kind == "node":
            self.losses.lose_memory(p.name)

    # --- processes ---

    def kill(self):
        p = self.pick("master", "target", "node", "client",
                      self.rng.choice(("master", "target")))
        if not p:
            return None
        self.end_process(p, self.world.kill)
        back = self.rng.choice((0.0, self.rng.uniform(0, LONGEST_STOP_S)))
        return Fault("SIGKILL", f"SIGKILL {p.name}", back,
                     lambda: self.world.launch(p.name), [p])

    def kill_everything(self):
        w = self.world
        some = [p for p in w.parties.values()
                if p.kind != "client" and not p.is_busy and p.is_up]
        if not some:
            return None
        for p in some:
            self.end_process(p, w.kill)
        self.rng.shuffle(some)

        def back():
            for p in some:
                w.launch(p.name)
        return Fault("SIGKILL of all servers", "SIGKILL "
                     + " ".join(p.name for p in some),
                     self.rng.uniform(0, 3), back, some)

    def stop(self):
        p = self.pick("master", "target", "node", "client", "target")
        if not p:
            return None
        self.world.halt(p.name)
        most = 12.0 if p.kind == "client" else LONGEST_STOP_S
        return Fault("SIGSTOP", f"SIGSTOP {p.name}",
                     self.rng.uniform(0.2, most),
                     lambda: self.world.go_on(p.name), [p])

    def orderly_stop(self):
        p = self.pick("master", "target", "node")
        # One that has not got as far as to hear signals would just die.
        if not p or p.is_stopped or not self.world.is_ready(p):
            return None
        self.end_process(p, self.world.terminate)
        return Fault("SIGTERM", f"SIGTERM {p.name}", self.rng.uniform(0, 2),
                     lambda: self.world.launch(p.name), [p])

    def torn_journal(self):
        """Killed while it wrote: half a record is at the end of the log."""
        p = self.pick("master")
        # Before it has a log of its own the last one is its predecessor's,
        # which nothing can have torn if that one ended in order.
        if not p or not self.world.is_ready(p):
            return None
        self.end_process(p, self.world.kill)
        n = self.rng.randint(1, 300)
        log = self.open_log()
        if not log:
            return Fault("SIGKILL", "SIGKILL m", 0,
                         lambda: self.world.launch(p.name), [p])
        with open(log, "ab") as f:
            f.write(self.rng.randbytes(n))
        return Fault("torn journal", f"SIGKILL m, {n} torn bytes behind its "
                     "journal", 0, lambda: self.world.launch(p.name), [p])

    def open_log(self):
        """The last log, unless all of it was on disk when it was closed."""
        folder = self.world.path("journal")
        logs = sorted(n for n in os.listdir(folder) if n.endswith(".log"))
        if not logs:
            return None
        path = os.path.join(folder, logs[-1])
        with open(path, "rb") as f:
            flags = f.read(36)[32:]
        is_closed = int.from_bytes(flags, "little") & JR_CLOSED
        return None if is_closed else path

    def snapshot(self):
        p = self.pick("master")
        if not p:
            return None
        try:
            r = self.world.ctl("journal", "snapshot", timeout=3)
        except subprocess.TimeoutExpired:
            return None
        if r.returncode:
            self.refused["snapshot"] = r.stderr.strip()
            return None
        return Fault("snapshot", "snapshot of the journal", 0, lambda: None)

    # --- targets that misbehave: their own filters ---

    def rule(self, name, rule):
        """True when the target has taken it, None when nobody knows."""
        try:
            r = self.world.run(
                "mooncakectl", "target",
                f"--rpc_socket={self.world.path(name)}.sock", "fault",
                *(["set", rule] if rule else ["clear"]), timeout=3)
        except subprocess.TimeoutExpired:
            return None
        if r.returncode and rule:
            self.refused[kind_of(rule)] = r.stderr.strip()
        return r.returncode == 0

    def filtered(self, p, rule, kind):
        seconds = self.rng.uniform(1, 6)
        is_set = self.rule(p.name, f"{rule},for={seconds * 1000:.0f}ms,"
                           f"seed={self.rng.getrandbits(30)}")
        if is_set is False:
            return None
        over = time.monotonic() + seconds + (0 if is_set else LATE_S)

        def end():
            """When it is over for certain."""
            is_over = not p.is_up or self.rule(p.name, None)
            return time.monotonic() if is_set and is_over else over
        return Fault(kind, f"{p.name}: {rule}", seconds, end, [p])

    def filter(self):
        p = self.pick("target")
        if not p:
            return None
        rule = self.rng.choice(filter_rules(self.rng))
        return self.filtered(p, rule, "filter " + kind_of(rule))

    def the_liar(self, alive=True):
        p = self.world.parties[self.world.liar]
        return p if not p.is_busy and p.is_up == alive else None

    def lie(self):
        p = self.the_liar()
        if not p:
            return None
        rule = self.rng.choice(lie_rules(self.rng, p.disk_bytes))
        self.losses.lie()
        fault = self.filtered(p, rule, "lie " + kind_of(rule))
        if fault:
            end = fault.end_now

            def over():
                self.losses.lie(end())
            fault.end_now = over
        return fault

    # --- disks, of dead targets ---

    def with_disk(self, kind, what, bend, restore, ps):
        """Kills, bends the disk, starts; at the end the same backwards."""
        w = self.world
        for p in ps:
            w.kill(p.name)
        bend()
        for p in ps:
            w.launch(p.name)

        def end():
            for p in ps:
                if p.is_up:
                    w.kill(p.name)
            restore()
            for p in ps:
                w.launch(p.name)
        return Fault(kind, what, self.rng.uniform(2, 6), end, ps)

    def flip_bits(self):
        p = self.the_liar()
        if not p:
            return None
        self.losses.lie()
        self.world.kill(p.name)
        path = self.world.path(p.name + ".img")
        n = self.rng.choice((1, 10, 300))
        with open(path, "r+b") as f:
            size = os.path.getsize(path)
            for _ in range(n):
                at = self.rng.randrange(DATA, min(size, DATA + 24 * MB))
                f.seek(at)
                byte = f.read(1)[0]
                f.seek(at)
                f.write(bytes([byte ^ 1 << self.rng.randrange(8)]))
        return Fault("bit flips on a disk", f"SIGKILL {p.name}, {n} bits of "
                     "its disk flipped", 0,
                     lambda: self.world.launch(p.name), [p])

    def bad_superblock(self):
        p = self.pick("target")
        if not p:
            return None
        path, kept = self.world.path(p.name + ".img"), []

        def bend():
            with open(path, "r+b") as f:
                kept.append(f.read(BLOCK))
                f.seek(self.rng.randrange(300))
                f.write(self.rng.randbytes(4))

        def restore():
            with open(path, "r+b") as f:
                f.write(kept[0])
        return self.with_disk("bad superblock", f"superblock of {p.name} "
                              "damaged", bend, restore, [p])

    def empty_disk(self):
        """Somebody pulled the disk and put a new one in."""
        p = self.pick("target")
        if not p:
            return None
        path = self.world.path(p.name + ".img")

        def bend():
            os.rename(path, path + ".kept")
            with open(path, "wb") as f:
                f.truncate(os.path.getsize(path + ".kept"))

        def restore():
            with open(path, "rb") as f:
                if f.read().strip(b"\0"):
                    self.world.history.fail(
                        "foreign disks written to", f"the empty disk in place "
                        f"of {p.name}'s")
            os.rename(path + ".kept", path)
        return self.with_disk("empty disk", f"{p.name} has an empty disk",
                              bend, restore, [p])

    def swapped_disks(self):
        a = self.pick("target")
        b = a and self.pick("target")
        if not a or a is b:
            return None

        def swap():
            one, two = (self.world.path(p.name + ".img") for p in (a, b))
            os.rename(one, one + ".kept")
            os.rename(two, one)
            os.rename(one + ".kept", two)
        return self.with_disk("swapped disks", f"{a.name} and {b.name} have "
                              "each other's disk", swap, swap, [a, b])

    # --- space ---

    def fill(self, tier="fill"):
        w = self.world
        some = [p for p in w.of("client") if p.is_up and not p.is_busy]
        if not some:
            return None
        for p in some:
            w.order(p.name, "fill", tier)
        kind = "pool" if tier == "fill" else "memory"

        def end():
            for p in some:
                w.order(p.name, "fill", None)
            self.losses.scrape()
        return Fault(f"{kind} filled", " ".join(p.name for p in some)
                     + f" fill the {kind}", self.rng.uniform(4, 10), end,
                     some)

    def fill_memory(self):
        return self.fill("fillmem")

    # --- the network ---

    def on_link(self, kind, begin, heal, most, p=None):
        p = p or self.pick("master", "target", "node", "client", "target")
        if not p or p.is_cut:
            return None
        p.is_cut = True

        def end():
            heal(p)
            p.is_cut = False
        what = begin(p)
        return Fault(kind, what, self.rng.uniform(0.5, most), end)

    def open_link(self, p):
        self.world.net.rules(p.name, "input output", [])

    def cut(self):
        hooks = self.rng.choice(("input output", "input", "output"))

        def begin(p):
            self.world.net.rules(p.name, hooks, ["drop"])
            return f"{p.name} cut off: {hooks}"
        return self.on_link("cut", begin, self.open_link, LONGEST_STOP_S)

    def reset(self):
        def begin(p):
            self.world.net.rules(p.name, "input", [
                "meta l4proto tcp reject with tcp reset"])
            return f"connections of {p.name} reset"
        return self.on_link("reset", begin, self.open_link, 2)

    def loss(self):
        percent = self.rng.choice((1, 5, 20))

        def begin(p):
            self.world.net.rules(p.name, "input output", [
                f"numgen random mod 100 < {percent} drop"])
            return f"{percent} % of the packets of {p.name} lost"
        return self.on_link("loss", begin, self.open_link, 6)

    def partition(self):
        """Two parties don't reach each other; everybody else does."""
        def begin(p):
            other = self.rng.choice([x for x in self.world.parties.values()
                                     if x is not p])
            self.world.net.rules(p.name, "input output", [
                f"ip saddr {other.host} drop", f"ip daddr {other.host} drop"])
            return f"{p.name} and {other.name} cut off from each other"
        return self.on_link("partition", begin, self.open_link,
                            LONGEST_STOP_S)

    def delay(self):
        ms = self.rng.choice((1, 20, 200))

        def begin(p):
            self.world.net.delay(p.name, ms)
            return f"packets of {p.name} {ms} ms late"
        return self.on_link("delay", begin,
                            lambda p: self.world.net.delay(p.name, 0), 6)
