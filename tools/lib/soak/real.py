# SPDX-License-Identifier: Apache-2.0
"""tools/soak real: see --help.  Rounds of faults under load; after each one
everything has to come back, and what was acknowledged has to be there."""
import argparse
import heapq
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback

from report import Bar, print_table, size_text

from soak import net
from soak.faults import BLOCK, Faults
from soak.history import History
from soak.losses import Losses
from soak.sizes import Sizes, of_process
from soak.values import Values
from soak.world import CLIENTS, NODES, TARGETS, Dead, World

TICK_S = 0.05
ROUND_S = (12, 22)
#: for a call; what its own deadlines allow together, on a machine under load
CALL_LIMIT_S = 75
#: in so long each kind of fault happens
ALL_KINDS_S = 3600
#: after the last fault is over: for everything to be as it should
BACK_LIMIT_S = 90


class Failure(Exception):
    """A promise was broken; the text says which."""


def options():
    ap = argparse.ArgumentParser(
        prog="tools/soak real", allow_abbrev=False,
        description="Real programs, SIGKILL, SIGSTOP, lying disks and cut "
        "networks, and a checker of every get.")
    ap.add_argument("--seconds", type=float, default=120, metavar="N",
                    help="of faults, recoveries included (120)")
    ap.add_argument("--seed", type=int, default=None, metavar="S",
                    help="of faults, values and calls; which of them meet "
                    "whom is up to the machine")
    ap.add_argument("--json", action="store_true",
                    help="the report as JSON on stdout")
    ap.add_argument("-v", "--verbose", action="store_true",
                    help="a line for each fault")
    ap.add_argument("--keep", action="store_true",
                    help="leave logs, events and disks behind in any case")
    ap.add_argument("--logs", metavar="DIR", default="build/soak",
                    help="where they go when something failed (build/soak)")
    ap.add_argument("--build-dir", default="build/check/release",
                    metavar="DIR", help="build with programs and the Python "
                    "package (build/check/release)")
    args = ap.parse_args()
    if not 0 < args.seconds < float("inf"):
        ap.error("--seconds must be above 0")
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 31)
    return args


class Soak:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.history = History()
        self.values = Values(args.seed)
        self.bar = Bar("soak", int(args.seconds))
        self.world = World(args.build_dir, net.make(), self.rng,
                           self.history, args.seed, pause_s=0.01)
        self.losses = Losses(self.world, self.values)
        self.faults = Faults(self.world, self.losses, args.seed)
        self.running, self.order = [], 0
        self.injected, self.excused, self.log = {}, {}, []
        self.begin = time.monotonic()
        self.rounds, self.slowest_back = 0, 0.0
        self.audited, self.unexcused = 0, 0
        self.next_look = self.next_scrape = 0.0
        self.token = 0
        self.evictions, self.compared = None, 0
        self.sizes = Sizes()

    # --- saying ---

    def elapsed(self):
        return time.monotonic() - self.begin

    def note(self, text):
        line = f"{self.elapsed():7.1f} s  {text}"
        self.log.append(line)
        if self.args.verbose:
            self.bar.note(line)

    def show(self):
        c = self.history.count
        self.bar.step(min(int(self.elapsed()), self.bar.total),
                      f"round {self.rounds + 1}, "
                      f"{sum(self.injected.values())} faults, "
                      f"{c.get('puts acknowledged', 0)} puts, "
                      f"{c.get('gets', 0)} gets, "
                      f"{len(self.history.failures)} failures")

    # --- always ---

    def tick(self):
        """Whatever else is done: nothing dies, hangs or lies unseen."""
        time.sleep(TICK_S)
        now = time.monotonic()
        for name in self.world.check_alive():
            if self.world.parties[name].kind == "node":
                self.losses.lose_memory(name)
        self.losses.watch()
        if now > self.next_look:
            self.next_look = now + 0.3
            self.world.look()
            self.check_calls(now)
        if now > self.next_scrape:
            m = self.world.parties["m"]
            if m.is_up and not m.is_stopped and not m.is_cut:
                self.losses.scrape(0.5)
            self.next_scrape = now + 0.5
        self.show()
        if self.history.failures:
            what, text = self.history.failures[0]
            raise Failure(f"{what}: {text}")

    def check_calls(self, now):
        for slot, number, since in self.history.overdue(now, CALL_LIMIT_S):
            p = self.world.parties[f"c{slot}"]
            if p.is_up and not p.is_stopped:
                raise Failure(f"a call does not end: client {slot}, number "
                              f"{number}, for {now - since:.0f} s")

    def wait(self, what, check, until):
        """what: a text, or a function that says what is missing."""
        while not check():
            if time.monotonic() > until:
                raise Failure("not back in time: "
                              + (what() if callable(what) else what))
            self.tick()

    # --- a round ---

    def start(self):
        w = self.world
        until = time.monotonic() + BACK_LIMIT_S
        for p in w.parties.values():
            if p.kind in ("master", "target"):
                w.launch(p.name)
        for p in w.of("master") + w.of("target"):
            self.wait(p.name, lambda p=p: w.is_ready(p), until)
        for p in w.of("target"):
            if f" {BLOCK}-byte blocks" not in w.children[p.name].text():
                raise Failure(f"{p.name} has no blocks of {BLOCK} bytes")
            w.register(p.name)
        for p in w.of("node") + w.of("client"):
            w.launch(p.name)
        self.wait_all(until)
        self.expect_work(until)
        self.evictions = self.losses.evictions()

    def end_due(self, now):
        while self.running and self.running[0][0] <= now:
            _, _, fault = heapq.heappop(self.running)
            self.faults.end(fault)
            if fault.seconds > 0.1:
                self.note(f"over: {fault.what}")

    def inject(self):
        fault = self.faults.begin()
        if not fault:
            return
        self.injected[fault.kind] = self.injected.get(fault.kind, 0) + 1
        self.note(fault.what + (f", for {fault.seconds:.1f} s"
                                if fault.seconds > 0.1 else ""))
        self.order += 1
        heapq.heappush(self.running, (time.monotonic() + fault.seconds,
                                      self.order, fault))

    def round(self, seconds):
        w = self.world
        w.hot += 1
        self.note(f"round {self.rounds + 1}: faults for {seconds:.0f} s")
        for p in w.of("client"):
            w.order(p.name, "counts", w.counts())
            w.order(p.name, "resume", w.hot)
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + self.rng.expovariate(1)
        while (now := time.monotonic()) < end:
            self.end_due(now)
            if now > next_fault and len(self.running) < 4:
                self.inject()
                next_fault = now + self.rng.expovariate(1 / 0.8)
            self.tick()
        self.end_due(float("inf"))
        self.note("no more faults: everything has to come back")
        begin = time.monotonic()
        until = begin + BACK_LIMIT_S
        for what, step in (("all segments are online", self.wait_all),
                           ("all calls have ended", self.pause),
                           ("clients can do everything", self.expect_work),
                           ("what was acknowledged is there", self.audit),
                           ("what nobody keeps is removed", self.sweep)):
            step(until)
            self.note(f"{what} after {time.monotonic() - begin:.1f} s")
        took = time.monotonic() - begin
        self.slowest_back = max(self.slowest_back, took)
        self.history.forget(time.monotonic() - 60)
        self.measure()
        self.rounds += 1

    def measure(self):
        for p in self.world.parties.values():
            sizes = of_process(self.world.children[p.name].pid)
            why = sizes and self.sizes.note(p.name, p.kind, p.starts, sizes)
            if why:
                raise Failure(why)

    # --- recovery ---

    def wait_all(self, until):
        w = self.world
        for p in w.parties.values():
            self.wait(f"{p.name} is not ready",
                      lambda p=p: w.is_ready(p), until)
        text = ""

        def is_whole():
            nonlocal text
            try:
                r = w.ctl("--json", "segments")
            except subprocess.TimeoutExpired as e:
                text = str(e)
                return False
            text = r.stdout + r.stderr
            if r.returncode:
                return False
            found = json.loads(r.stdout)
            states = [(s["kind"], s["state"]) for s in found]
            return (len(states) == len(TARGETS) + len(NODES) and
                    all(state == "online" for _, state in states))
        self.wait(lambda: f"segments: {text}", is_whole, until)

    def ask(self, word, answer, until, *args, slots=range(CLIENTS)):
        """Orders clients to do something; their answers."""
        self.token += 1
        told = self.history.told
        for i in slots:
            self.world.order(f"c{i}", word, self.token, *args)

        def done(i):
            value = told.get((i, answer))
            return value and (value[0] if isinstance(value, list | tuple)
                              else value) == self.token
        self.wait(lambda: "clients " + ", ".join(
            str(i) for i in slots if not done(i)) + f" do not {word}",
            lambda: all(done(i) for i in slots), until)
        return {i: told[i, answer] for i in slots}

    def pause(self, until):
        self.ask("pause", "paused", until)

    def expect_work(self, until):
        """Every client can do everything."""
        todo = list(range(CLIENTS))
        while todo:
            answers = self.ask("try", "tried", until, slots=todo)
            bad = {i: why for i, (_, why) in answers.items() if why}
            if bad and time.monotonic() > until:
                raise Failure(f"not back in time: {bad}")
            todo = list(bad)

    # --- what was acknowledged is there ---

    def ask_master(self, path, until):
        """An answer may be late or lost on a busy machine: asked again."""
        while True:
            try:
                return self.world.master_http(path, timeout=20)
            except OSError as e:
                if time.monotonic() > until:
                    raise Failure(f"the master does not answer: {e}") from e
            self.tick()

    def ask_places(self, keys, until):
        """Where objects lie, as the master has it; of one that it has no
        more, where it lay.  Those that it has."""
        known = set()
        for at in range(0, len(keys), 50):
            part = keys[at:at + 50]
            data = json.loads(self.ask_master(
                "/batch_query_keys?keys=" + ",".join(part), until))["data"]
            for key in part:
                found = data.get(key, {})
                places = {r["transport_endpoint_"] for r in found.get(
                    "values", []) + found.get("nof_values", [])}
                if places:
                    self.history.key(key).places = places
                    known.add(key)
        return known

    def audit(self, until):
        """Every acknowledged object that has no excuse is read, by clients
        that have lived through it all."""
        before, self.evictions = self.evictions, self.losses.evictions()
        excused = 0
        versions = dict(self.history.acknowledged())
        self.audited += len(versions)
        known = self.ask_places(list(versions), until)
        self.unexcused += self.count_unexcused(versions, known)
        todo, first = list(versions), True
        while todo:
            self.share_out("audit", "audited", todo, until)
            keys = self.history.keys
            todo = [k for k in todo if not keys[k].was_there]
            known = self.ask_places(todo, until)
            lost = {k: self.losses.excuse(k, keys[k], versions[k],
                                          k in known) for k in todo}
            todo = [k for k in todo if not lost[k]]
            for key, why in lost.items():
                if why:
                    excused += why == "evicted"
                    if versions[key].tier.startswith("fill"):
                        why += " (of what filled the store)"
                    self.excused[why] = self.excused.get(why, 0) + 1
                    keys[key].is_touched = True
            if todo and time.monotonic() > until:
                self.fail_missing(todo, versions)
            if not first and todo:
                for _ in range(10):
                    self.tick()
            first = False
        self.compare_evictions(before, excused)

    def count_unexcused(self, versions, known):
        """Those that have to be read.  Where the others lay is looked for
        when they are missing."""
        keys = self.history.keys
        return sum(bool(keys[k].places) and not self.losses.excuse(
            k, keys[k], v, k in known) for k, v in versions.items())

    def compare_evictions(self, before, excused):
        """No more are excused by evictions than the master has counted since
        the last audit began.  Its counters die with it."""
        now = self.losses.evictions()
        if not before or not now or before[0] != now[0]:
            return
        self.compared += 1
        if excused > now[1] - before[1]:
            raise Failure(f"{excused} objects are missing that nothing but "
                          f"an eviction excuses; the master has counted "
                          f"{now[1] - before[1]:.0f}")

    def share_out(self, word, answer, keys, until):
        """Each client does it to a part of the keys."""
        self.token += 1
        for i in range(CLIENTS):
            path = self.world.path(f"{word}.{i}")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(keys[i::CLIENTS], f)
            self.world.order(f"c{i}", word, self.token, path)
        self.wait(f"{word} of {len(keys)} keys", lambda: all(
            self.history.told.get((i, answer)) == self.token
            for i in range(CLIENTS)), until + BACK_LIMIT_S)

    def sweep(self, until):
        """So that what is put next has to stay: the store is not full."""
        self.share_out("sweep", "swept", self.history.leftovers(), until)

    def fail_missing(self, keys, versions):
        now = time.monotonic()
        for key in keys[:10]:
            v = versions[key]
            where = sorted({self.world.party_at(e) or e for e in
                            self.history.keys[key].places})
            self.note(f"missing: {key} ({v.tier}, {v.size} bytes, put "
                      f"{now - v.end:.1f} s ago, on {' '.join(where)})")
        raise Failure(f"acknowledged objects missing: {len(keys)} without "
                      f"an excuse, among them {', '.join(keys[:5])}")

    # --- the end ---

    def finish(self):
        """Empty again, nothing in use; all end in good order."""
        w = self.world
        until = time.monotonic() + BACK_LIMIT_S
        while True:
            answer = self.ask("clear", "cleared", until, slots=[0])[0][1]
            if answer >= 0:
                break
            if time.monotonic() > until:
                raise Failure(f"remove_all: {answer}")

        def in_use():
            self.losses.scrape()
            now = self.losses.now
            return {n: now.get(n) for n in (
                "master_key_count", "master_allocated_bytes",
                "master_nof_allocated_bytes")}
        self.wait(lambda: f"all was removed, but {in_use()}", lambda: not any(
            in_use().values()), until)
        for i in range(CLIENTS):
            w.order(f"c{i}", "quit")
        for p in [*w.of("client"), *w.of("node"), *w.of("target"),
                  *w.of("master")]:
            p.is_up = False
            child = w.children[p.name]
            if p.kind == "client":
                try:
                    child.proc.wait(30)
                except subprocess.TimeoutExpired:
                    pass
            status = child.stop(30)
            if status:
                raise Failure(f"{p.name} ended with status {status}: "
                              f"{child.text()[-800:]}")
        r = w.run("mooncakectl", "journal", "check", w.path("journal"))
        if r.returncode:
            raise Failure(f"mooncakectl journal check: {r.stderr}")

    def run(self):
        self.start()
        self.begin = time.monotonic()
        while (left := self.args.seconds - self.elapsed()) > 1:
            self.round(min(self.rng.uniform(*ROUND_S), left))
        self.finish()
        never = self.never_injected()
        if never and self.args.seconds >= ALL_KINDS_S:
            raise Failure(f"never injected: {', '.join(never)}; refused: "
                          f"{self.faults.refused}")

    def never_injected(self):
        return sorted(self.faults.kinds() - self.injected.keys())

    # --- the report ---

    def report(self, failure):
        c = self.history.count
        return {
            "seed": self.args.seed, "seconds": round(self.elapsed(), 1),
            "rounds": self.rounds, "injected": self.injected,
            "never_injected": self.never_injected(),
            "refused": self.faults.refused,
            "skipped": self.faults.skipped, "counted": dict(sorted(
                c.items())), "audited": self.audited,
            "unexcused": self.unexcused,
            "excused": self.excused, "compared": self.compared,
            "starts": {p.name: p.starts for p in
                       self.world.parties.values()},
            "found_taken": {p.name: p.taken for p in
                            self.world.parties.values() if p.taken},
            "master": {n.removeprefix("master_"): int(v) for n, v in
                       self.losses.totals.items()},
            "most_taken": {kind: {"resident_bytes": rss, "descriptors": fds,
                                  "rounds_of_a_life": rounds}
                           for kind, (rss, fds, rounds) in
                           self.sizes.most.items()},
            "longest_call_s": {k: round(v, 2) for k, v in
                               self.history.longest.items()},
            "slowest_recovery_s": round(self.slowest_back, 1),
            "failure": failure}


def show_report(r):
    print_table("Injected", [(k, str(n)) for k, n in
                             sorted(r["injected"].items())]
                + [(k, "0") for k in r["never_injected"]]
                + [(f"refused: {k}", why) for k, why in
                   r["refused"].items()]
                + [(f"left out: {k}", why) for k, why in
                   r["skipped"].items()])
    c = r["counted"]
    rows = [(k, size_text(n) if k.startswith("bytes") else str(n))
            for k, n in c.items()]
    rows += [("objects audited", f"{r['audited']} in {r['rounds']} rounds; "
              f"{r['unexcused']} of them had no excuse")]
    rows += [(f"missing: {k}", str(n)) for k, n in r["excused"].items()]
    rows += [("missing without an excuse", "0" if not r["failure"] or
              "missing" not in r["failure"] else r["failure"]),
             ("evictions compared", f"in {r['compared']} rounds"),
             ("wrong bytes", str(c.get("wrong bytes", 0))),
             ("processes started", str(sum(r["starts"].values()))),
             ("port or file still taken", str(sum(
                 r["found_taken"].values()))),
             ("slowest recovery", f"{r['slowest_recovery_s']} s"),
             ("longest call", ", ".join(f"{k} {v} s" for k, v in
                                        r["longest_call_s"].items()))]
    rows += [(f"most taken by a {kind}",
              f"{size_text(n['resident_bytes'])}, {n['descriptors']} "
              f"descriptors; lived {n['rounds_of_a_life']} rounds")
             for kind, n in r["most_taken"].items()]
    print_table("Counted", rows)
    print_table("The master's counters", [
        (k.replace("_", " "), str(n)) for k, n in r["master"].items()])


def put_away(soak, folder):
    """Logs, events and journal of a run that failed; no disks."""
    world = soak.world
    os.makedirs(folder, exist_ok=True)
    with open(world.path("faults.log"), "w", encoding="utf-8") as f:
        f.write("\n".join(soak.log) + "\n")
    for name in os.listdir(world.dir):
        if not name.endswith((".img", ".kept", ".sock")) or soak.args.keep:
            shutil.move(world.path(name), os.path.join(folder, name))
    return folder


def main():
    args = options()
    print(f"tools/soak real: seed {args.seed}", file=sys.stderr, flush=True)
    soak = Soak(args)
    for kind, why in soak.faults.skipped.items():
        soak.bar.note(f"left out: {kind}: {why}")
    failure = None
    try:
        soak.run()
    except (Failure, Dead, OSError, subprocess.SubprocessError) as e:
        failure = str(e)
    except KeyboardInterrupt:
        failure = "interrupted"
    except Exception:  # pylint: disable=broad-exception-caught
        # of the checker itself: report and logs all the same
        failure = traceback.format_exc()
    soak.bar.done()
    report = soak.report(failure)
    soak.world.close()
    if failure or args.keep:
        report["logs"] = put_away(soak, os.path.join(
            args.logs, f"real-{args.seed}-{os.getpid()}"))
    shutil.rmtree(soak.world.dir, ignore_errors=True)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        show_report(report)
    if "logs" in report:
        print(f"tools/soak real: logs in {report['logs']}", file=sys.stderr)
    if failure:
        print(f"tools/soak real: FAILED after {report['seconds']} s, "
              f"seed {args.seed}: {failure}", file=sys.stderr)
    return 1 if failure else 0


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(signo, frame):
    """Once: cleaning up is not interrupted again."""
    for s in ENDING:
        signal.signal(s, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for ending in ENDING:
        signal.signal(ending, interrupted)
    status = main()
    sys.stdout.flush()
    os._exit(status)
