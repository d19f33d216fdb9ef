# SPDX-License-Identifier: Apache-2.0
"""What may be missing although it was acknowledged: what was only in the
memory of a node that died, only on the target that lies, or was evicted.
Nothing else.

One target lies in a run, always the same: what has a replica on another one
has no excuse, whatever happened to the processes and the network.
"""
import mmap
import os
import time

from cluster import http

from soak.world import NODES, TARGETS

#: of this size and more an object may lie in stripes on several targets, or
#: in memory in the gaps of several nodes
IN_PIECES = 1 << 20
#: without a sign of life for so long a node may have been given up
SILENCE_S, QUIET_S = 5.0, 3.0
EVICTED = "master_evicted_key_count_"
COUNTERS = (EVICTED + "nof", EVICTED + "mem",
            "master_checksum_mismatch_total", "master_copies_total",
            "master_copies_failed_total",
            "master_scrubbed_objects_total", "master_put_start_parked_total",
            "master_nof_segments_offline_total", "master_snapshot_success",
            "master_clients_expired_total", "master_put_start_discard_cnt",
            "master_put_start_release_cnt")
GAUGES = ("master_allocated_bytes", "master_total_capacity_bytes",
          "master_nof_allocated_bytes", "master_total_nof_capacity_bytes",
          "master_key_count", "master_quarantined_bytes",
          "master_recovery_ms")
FULL = 0.85


class Losses:
    def __init__(self, world, values):
        self.world, self.values = world, values
        self.lied = None          # when the liar did so last
        self.hit = {}             # node -> when it may have lost its memory
        self.evicted = {}         # "mem", "nof" -> when there was some
        self.copied = None        # when replicas may have moved last
        self.silent = {}          # node -> [since, quiet since]
        self.life, self.seen, self.totals = None, {}, {}
        self.now = {}

    # --- what happens ---

    def lie(self, until=0.0):
        self.lied = max(until, time.monotonic())

    def lose_memory(self, node):
        self.hit[node] = time.monotonic()

    def lose_counters(self, is_told):
        """With the master that dies now; is_told: up to now they are known,
        but for a copy that it was about to make."""
        self.copied = time.monotonic()
        if not is_told:
            self.evicted = dict.fromkeys(("mem", "nof"), self.copied)

    def watch(self):
        """Nodes that the master may have given up because of silence."""
        now, w = time.monotonic(), self.world
        m = w.parties["m"]
        for p in w.of("node"):
            is_bad = any(not x.is_up or x.is_stopped or x.is_cut
                         or now - x.since < 1 for x in (m, p))
            state = self.silent.setdefault(p.name, [None, None])
            if is_bad:
                state[0], state[1] = state[0] or now, None
            else:
                state[1] = state[1] or now
                if now - state[1] > QUIET_S:
                    state[0] = None
            if state[0] and now - state[0] > SILENCE_S:
                self.lose_memory(p.name)

    def scrape(self, timeout=1):
        """The master's numbers, over all its lives; False: no answer."""
        m = self.world.parties["m"]
        try:
            status, body = http(f"http://{m.host}:{m.rest}/metrics",
                                timeout=timeout)
        except (OSError, ValueError):
            return False
        if status != 200:
            return False
        now = {}
        for line in body.decode().split("\n"):
            name = line.split("{")[0].split(" ")[0]
            if name in COUNTERS or name in GAUGES:
                now[name] = now.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        if self.life != m.starts:
            self.life, self.seen = m.starts, {}
        for name in COUNTERS:
            more = now.get(name, 0.0) - self.seen.get(name, 0.0)
            self.totals[name] = self.totals.get(name, 0.0) + more
            kind = name.removeprefix(EVICTED)
            if kind != name and more > 0:
                self.evicted[kind] = time.monotonic()
            if name.startswith("master_copies_") and more > 0:
                self.copied = time.monotonic()
        self.seen = self.now = now
        for kind, used, size in (
                ("mem", *GAUGES[0:2]), ("nof", *GAUGES[2:4])):
            if now.get(used, 0) > FULL * now.get(size, 0) > 0:
                self.evicted[kind] = time.monotonic()
        return True

    def evictions(self):
        """(the master's life, how many it has counted), or None."""
        if not self.scrape():
            return None
        return self.life, sum(n for name, n in self.seen.items()
                              if name.startswith(EVICTED))

    # --- what follows from it ---

    def of_place(self, place, v):
        """Why a replica there may be gone, or None."""
        if place in self.hit and self.hit[place] >= v.begin:
            return "memory of a lost node"
        if place == self.world.liar and self.lied and self.lied >= v.begin:
            return "on the lying target"
        return None

    def lost_node(self, v):
        """Any of them: for what lay on several, or on one nobody knows."""
        return next(filter(None, (self.of_place(n, v) for n in NODES)), None)

    def excuse(self, key, k, v, is_known):
        """Why an acknowledged object may be missing, or None.  What the
        master has is not evicted."""
        places = {self.world.party_at(e) for e in k.places} - {None}
        # What asks for memory goes to the pool while there is no memory.
        is_evicted = not v.pin and not is_known and any(
            t >= v.begin for t in self.evicted.values())
        if is_evicted and not places:
            is_lost = self.lost_node(v) or self.of_place(self.world.liar, v)
            return "evicted or lost" if is_lost else "evicted"
        places = places or self.places_on_disk(key, v)
        return self.lost(places, v) or (is_evicted and "evicted") or None

    def lost(self, places, v):
        """Each replica has to be; of one in pieces it takes one of them."""
        if v.tier == "pair":
            return None
        if not places:
            return (self.lost_node(v) if v.tier in ("memory", "fillmem")
                    else self.of_place(self.world.liar, v))
        if v.tier == "both" and self.copied and self.copied >= v.begin:
            # One side may have moved since we asked.
            if (why := self.lost_node(v)) and self.of_place(
                    self.world.liar, v):
                return why
        why = []
        for side, any_of_it in (
                (NODES, self.lost_node(v)),
                (TARGETS, self.of_place(self.world.liar, v))):
            known = [self.of_place(p, v) for p in sorted(places & set(side))]
            if known:
                why.append(any_of_it if v.size >= IN_PIECES
                           else all(known) and known[0])
        return why[0] if all(why) else None

    def places_on_disk(self, key, v):
        """Targets on whose disk it begins, for want of better knowledge."""
        version = next(n for n, x in self.world.history.keys[key]
                       .versions.items() if x is v)
        head = self.values.header(key, version, v.size)
        found = set()
        for p in self.world.of("target"):
            path = self.world.path(p.name + ".img")
            with open(path, "rb") as f, mmap.mmap(
                    f.fileno(), os.path.getsize(path),
                    access=mmap.ACCESS_READ) as image:
                if image.find(head) >= 0:
                    found.add(p.name)
        return found
