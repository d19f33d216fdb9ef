# SPDX-License-Identifier: Apache-2.0
"""What clients did and saw, and whether it may have been so.

Fed with the clients' events in the order of their times.  A get may return
the value of a put that had begun, that was not removed before the get, and
whose place no newer one has taken; or it misses.  What an acknowledged object
that is missing would need for an excuse is in losses.py.

A put that stored something, and did not find another one, begins where its key
has nothing that can be read, and what is there goes for good when it ends: from
then on, whatever became of it, nothing comes back that was over before it
began.
"""
import heapq
import json

from soak.values import LOOK_BACK

#: puts that can't have stored anything; after any other error the value
#: may be there: the answer may have been lost, not the put
REFUSED = (-200, -400, -600)
#: so many keys one client may have made while another did not hear of them
UNHEARD = 10_000
#: no get that began before is under way any more
GET_LIMIT_S = 300


class Version:
    __slots__ = ("begin", "end", "result", "known", "stored", "size", "tier",
                 "pin")

    def __init__(self, begin, size, tier, pin):
        self.begin, self.size, self.tier, self.pin = begin, size, tier, pin
        # known: if it ever was there, it was by then; stored: it was there
        # by then
        self.end = self.result = self.known = self.stored = None

    def over(self):
        """Its put was by then, or the object itself was there."""
        return min((t for t in (self.end, self.known) if t is not None),
                   default=None)


class Key:
    __slots__ = ("versions", "removed", "is_touched", "is_swept", "changed",
                 "places", "was_there")

    def __init__(self):
        self.versions = {}
        self.removed = []         # (begin, end) of removals that went well
        self.is_touched = False   # by a removal that began
        self.is_swept = False     # taken out by leftovers()
        self.changed = 0.0        # by a put or a removal, last
        self.places, self.was_there = set(), False

    def newer_than(self, v, begin):
        """Which version had taken its place before the get began."""
        over = v.over()
        return over is not None and next((
            version for version, u in self.versions.items()
            if u.stored is not None and u.stored < begin and over < u.begin),
            None)

    def is_gone(self):
        """Removed, and nothing was put since."""
        return bool(self.removed) and all(
            v.end and v.end < self.removed[-1][0]
            for v in self.versions.values())


class History:
    def __init__(self):
        self.keys, self.open, self.failures = {}, {}, []
        self.count = {}
        self.numbers = {}         # the highest each client has used
        self.longest = {}
        self.told = {}            # what clients answered to commands
        self.gone = {}            # removed for good: key -> since when
        self.old = {}             # nothing is known of it any more: key ->
                                  # since when
        self.queue, self.order = [], 0

    def add(self, what, n=1):
        self.count[what] = self.count.get(what, 0) + n

    def fail(self, what, text):
        self.add(what)
        self.failures.append((what, text))

    # --- events ---

    def feed(self, slot, line):
        word, t, *rest = json.loads(line)
        self.order += 1
        heapq.heappush(self.queue, (t, self.order, slot, word, rest))

    def apply(self, until):
        """Everything that happened up to then."""
        while self.queue and self.queue[0][0] <= until:
            t, _, slot, word, rest = heapq.heappop(self.queue)
            getattr(self, "on_" + word.replace(".", "_end"))(slot, t, *rest)

    def key(self, key):
        return self.keys.setdefault(key, Key())

    def begin(self, slot, t, number, what):
        self.open[slot, number] = (t, what)

    def end(self, slot, t, number, kind):
        begin, what = self.open.pop((slot, number))
        self.longest[kind] = max(self.longest.get(kind, 0.0), t - begin)
        return begin, what

    def died(self, slot):
        """What its calls did nobody will know."""
        for i in [i for i in self.open if i[0] == slot]:
            self.add("calls cut short by a kill")
            del self.open[i]

    def on_put(self, slot, t, number, items, tier, pin):
        self.begin(slot, t, number, items)
        for key, version, size in items:
            k = self.key(key)
            k.versions[version], k.changed = Version(t, size, tier, pin), t
            self.numbers[slot] = max(self.numbers.get(slot, 0),
                                     version & (1 << 48) - 1)

    def on_put_end(self, slot, t, number, results, is_others=False):
        """is_others: perhaps another one was there, and it stored nothing."""
        _, items = self.end(slot, t, number, "put")
        for (key, version, size), result in zip(items, results):
            k = self.key(key)
            v = k.versions[version]
            v.end, v.result, k.changed = t, result, t
            if result == 0:
                self.add("puts acknowledged")
                self.add("bytes acknowledged", size)
                if v.known is None:
                    v.known = t
                if is_others:
                    self.add("puts that may have found another one")
                elif v.stored is None:
                    v.stored = t
            else:
                self.add(f"puts answered {result}")

    def on_rm(self, slot, t, number, key):
        self.begin(slot, t, number, key)
        k = self.key(key)
        k.is_touched, k.changed = True, t

    def on_rm_end(self, slot, t, number, result):
        begin, key = self.end(slot, t, number, "remove")
        self.key(key).changed = t
        if result == 0:
            self.add("removals acknowledged")
            self.key(key).removed.append((begin, t))
        else:
            self.add(f"removals answered {result}")

    def on_get(self, slot, t, number, keys):
        self.begin(slot, t, number, keys)

    def on_get_end(self, slot, t, number, versions, code):
        begin, keys = self.end(slot, t, number, "get")
        for key, version in zip(keys, versions):
            self.add("gets")
            k = self.keys.get(key)
            if version is None:
                self.add("misses" if code in (0, -704)
                         else f"gets answered {code}")
            elif version != -1:
                self.add("hits")
                self.judge(key, version, begin, t)
            if k:
                k.was_there = version is not None

    def on_wrong(self, slot, t, key, text):
        self.fail("wrong bytes", f"key {key}, client {slot}: {text}")

    def on_at(self, slot, t, key, endpoints):
        self.key(key).places.update(endpoints)

    def on_up(self, slot, t, life):
        self.told[slot, "up"] = life

    def tell(self, slot, word, value):
        self.told[slot, word] = value

    def on_paused(self, slot, t, token):
        self.tell(slot, "paused", token)

    def on_audited(self, slot, t, token):
        self.tell(slot, "audited", token)

    def on_swept(self, slot, t, token):
        self.tell(slot, "swept", token)

    def on_cleared(self, slot, t, token, result):
        self.tell(slot, "cleared", (token, result))

    def on_tried(self, slot, t, token, why):
        self.tell(slot, "tried", (token, why))

    # --- verdicts ---

    def judge(self, key, version, begin, end):
        """A get from begin to end returned that version."""
        if key in self.old:
            self.add("gets of what was forgotten")
            return
        k = self.keys.get(key)
        if key in self.gone and not (k and version in k.versions):
            self.fail("removed values", f"key {key}: removed at "
                      f"{self.gone[key]:.3f}, there for a get at {begin:.3f}")
            return
        v = k.versions.get(version) if k else None
        if v is None:
            self.fail("values never put", f"key {key}: version {version} at "
                      f"{begin:.3f}")
            return
        if v.result in REFUSED and v.end < begin:
            self.fail("values of refused puts", f"key {key}: version "
                      f"{version}, refused with {v.result} at {v.end:.3f}, "
                      f"there for a get at {begin:.3f}")
        for rm_begin, rm_end in k.removed:
            if v.known is not None and v.known < rm_begin and rm_end < begin:
                self.fail("removed values", f"key {key}: version {version} "
                          f"was removed at {rm_end:.3f} and is there for a "
                          f"get at {begin:.3f}")
        if newer := k.newer_than(v, begin):
            self.fail("old values", f"key {key}: version {version} after "
                      f"version {newer}, which had taken its place, at "
                      f"{begin:.3f}")
        if v.known is None or end < v.known:
            v.known = end
        if v.stored is None:
            v.stored = end

    def acknowledged(self):
        """[(key, version)] that have to be there, if nothing excuses it."""
        return [(key, v) for key, k in self.keys.items()
                if not k.is_touched and len(k.versions) == 1
                for v in k.versions.values() if v.result == 0]

    def leftovers(self):
        """Keys that may be there and that no client will remove any more,
        each once: what filled the store, what all clients wrote, what was
        put or removed with an unknown end."""
        found = []
        for key, k in self.keys.items():
            is_kept = (key[0] == "k" and not k.is_touched
                       and all(v.result == 0 for v in k.versions.values()))
            if k.is_swept or is_kept or k.is_gone():
                continue
            k.is_swept = True
            found.append(key)
        return found

    def overdue(self, now, limit):
        """Calls that have not ended in that time: (slot, number, since)."""
        return [(*i, t) for i, (t, _) in self.open.items()
                if now - t > limit]

    def forget(self, before):
        """Keys of which nothing happened since then and that need not be
        there; for good those that nobody reads any more."""
        for key, k in list(self.keys.items()):
            is_kept = (not k.is_touched and len(k.versions) == 1
                       and all(v.result == 0 for v in k.versions.values()))
            if is_kept or k.changed > before:
                continue
            del self.keys[key]
            if k.is_gone():
                self.gone[key] = k.removed[-1][1]
            else:
                self.old[key] = k.changed
        for known in (self.gone, self.old):
            for key in [key for key, t in known.items()
                        if t < before - GET_LIMIT_S and self.is_unread(key)]:
                del known[key]

    def is_unread(self, key):
        if key[0] != "k":
            return True           # of one client, or of a round
        slot, number = key[1:].split(".")
        return int(number) < (self.numbers.get(int(slot), 0) - LOOK_BACK
                              - UNHEARD)

    def kept_by(self, slot):
        """[(key, size, tier)] for a client that starts again."""
        prefix = f"k{slot}."
        return [(key, v.size, v.tier) for key, v in self.acknowledged()
                if key.startswith(prefix)]
