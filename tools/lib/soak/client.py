# SPDX-License-Identifier: Apache-2.0
"""One client process of tools/soak real: puts, gets and removes until told.

    client.py CONFIG.json      commands come on stdin, one JSON list a line

What it is about to do and what came of it goes into its event file, a JSON
list a line, before and after each call: a client that is killed leaves
behind what it may have done.  Times are CLOCK_MONOTONIC, which all processes
of the machine share.
"""
import ctypes
import json
import os
import random
import re
import sys
import threading
import time

from mooncake.store import MooncakeDistributedStore, ReplicateConfig

from soak.values import LARGEST, LOOK_BACK, Values, WrongBytes

THREADS = 2
#: replicas in memory and on the pool, hard pin, weight among what is kept
TIERS = {"pool": (0, 1, True, 6), "pair": (0, 2, True, 4),
         "loose": (0, 1, False, 4), "memory": (1, 0, True, 3),
         "both": (1, 1, True, 2),
         "fill": (0, 1, False, 0), "fillmem": (1, 0, False, 0)}
EXISTING = re.compile(r"^mooncake_client_puts_existing_total (\d+)$", re.M)
KEPT = [tier for tier, what in TIERS.items() if what[3]]
HOT = 6


def policy(tier):
    memory, pool, pin, _ = TIERS[tier]
    c = ReplicateConfig()
    c.replica_num, c.nof_replica_num, c.with_hard_pin = memory, pool, pin
    return c


class Events:
    """Appends a line with one write(), so that a kill tears none."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, *event):
        os.write(self.fd, json.dumps(event).encode() + b"\n")


class Own:
    """The objects this client keeps: oldest first, within a quota."""

    def __init__(self, quota, kept):
        self.lock = threading.Lock()
        self.quota, self.bytes = quota, dict.fromkeys(KEPT, 0)
        self.kept = {t: {} for t in KEPT}
        for key, size, tier in kept:
            self.add(key, size, tier)

    def add(self, key, size, tier):
        with self.lock:
            self.kept[tier][key] = size
            self.bytes[tier] += size

    def too_much(self, tier):
        """Takes out the oldest key when there are too many."""
        with self.lock:
            if self.bytes[tier] <= self.quota[tier]:
                return None
            key = next(iter(self.kept[tier]))
            self.bytes[tier] -= self.kept[tier].pop(key)
            return key


class Client:
    def __init__(self, config):
        self.config = config
        self.slot, self.life = config["slot"], config["life"]
        self.events = Events(config["events"])
        self.values = Values(config["seed"])
        self.own = Own(config["quota"], config["kept"])
        self.lock = threading.Condition()
        self.count = config["first"]      # numbers of versions and keys
        self.others = config["counts"]    # of each slot, as last heard
        self.is_paused, self.busy, self.ops = True, 0, 0
        self.fill, self.hot, self.is_over = None, 0, False
        self.store = None

    # --- life ---

    def connect(self):
        while True:
            store = MooncakeDistributedStore()
            ret = store.setup({
                "local_hostname": self.config["host"],
                "metadata_server": "P2PHANDSHAKE",
                "global_segment_size": "0", "local_buffer_size": "16777216",
                "protocol": "tcp",
                "master_server_addr": self.config["master"]})
            if ret == 0:
                self.store = store
                return
            store.close()
            time.sleep(0.3)

    def run(self):
        self.connect()
        self.events.write("up", time.monotonic(), self.life)
        threads = [threading.Thread(target=self.work, args=(i,), daemon=True)
                   for i in range(THREADS)]
        for t in threads:
            t.start()
        for line in sys.stdin:
            word, *args = json.loads(line)
            if word == "quit":
                break
            getattr(self, "do_" + word)(*args)
        with self.lock:
            self.is_over, self.is_paused = True, False
            self.lock.notify_all()
        for t in threads:
            t.join()
        self.store.close()

    # --- commands ---

    def do_pause(self, token):
        with self.lock:
            self.is_paused = True
            while self.busy:
                self.lock.wait()
        self.events.write("paused", time.monotonic(), token)

    def do_resume(self, hot):
        with self.lock:
            self.hot, self.is_paused = hot, False
            self.lock.notify_all()

    def do_counts(self, counts):
        self.others = counts

    def do_fill(self, tier):
        """Large objects that may be evicted, until told to stop (None)."""
        self.fill = tier

    def do_audit(self, token, path):
        with open(path, encoding="utf-8") as f:
            keys = json.load(f)
        for at in range(0, len(keys), 16):
            self.get_batch(keys[at:at + 16])
        self.events.write("audited", time.monotonic(), token)

    def do_sweep(self, token, path):
        with open(path, encoding="utf-8") as f:
            keys = json.load(f)
        for key in keys:
            self.remove(key)
        self.events.write("swept", time.monotonic(), token)

    def do_try(self, token):
        """Is everything possible again?  One object of each kind."""
        why = ""
        for tier in KEPT:
            key, version = self.new_key("t")
            ret = self.put(key, version, 20_000, tier)
            got = self.get(key) if ret == 0 else None
            gone = self.remove(key)
            if ret or got != version or gone:
                why = (f"{tier}: put {ret}, get "
                       f"{'right' if got == version else got}, "
                       f"remove {gone}")
                break
        self.events.write("tried", time.monotonic(), token, why)

    def do_clear(self, token):
        ret = self.store.remove_all(True)
        self.events.write("cleared", time.monotonic(), token, ret)

    # --- calls, each between two events ---

    def next_id(self):
        with self.lock:
            self.ops += 1
            return f"{self.life}.{self.ops}"

    def new_key(self, letter="k"):
        with self.lock:
            self.count += 1
            return (f"{letter}{self.slot}.{self.count}",
                    self.slot << 48 | self.count)

    def put(self, key, version, size, tier):
        i = self.next_id()
        value = self.values.make(key, version, size)
        existing = self.existing(key)
        self.events.write("put", time.monotonic(), i, [[key, version, size]],
                          tier, TIERS[tier][2])
        ret = self.store.put(key, value, policy(tier))
        end = time.monotonic()
        self.events.write("put.", end, i, [ret],
                          self.existing(key) != existing)
        return ret

    def existing(self, key):
        """How many puts of this process found another one's object."""
        if key[0] != "h":
            return 0              # nobody else puts it
        return EXISTING.search(self.store.metrics())[1]

    def put_batch(self, items, tier):
        i = self.next_id()
        values = [ctypes.create_string_buffer(
            self.values.make(*item), item[2]) for item in items]
        self.events.write("put", time.monotonic(), i, items, tier,
                          TIERS[tier][2])
        rets = self.store.batch_put_from(
            [key for key, _, _ in items],
            [ctypes.addressof(v) for v in values],
            [size for _, _, size in items], policy(tier))
        self.events.write("put.", time.monotonic(), i, rets)
        return rets

    def judge(self, key, data):
        try:
            return self.values.version_of(key, data)
        except WrongBytes as e:
            path = f"{self.config['events']}.wrong-{len(data)}"
            with open(path, "wb") as f:
                f.write(data)
            self.events.write("wrong", time.monotonic(), key,
                              f"{e} (kept in {os.path.basename(path)})")
            return -1

    def get(self, key):
        i = self.next_id()
        buf = ctypes.create_string_buffer(LARGEST)
        self.events.write("get", time.monotonic(), i, [key])
        ret = self.store.get_into(key, ctypes.addressof(buf), LARGEST)
        end = time.monotonic()
        what = self.judge(key, buf.raw[:ret]) if ret > 0 else None
        self.events.write("get.", end, i, [what], ret if ret < 0 else 0)
        return what if ret > 0 else ret

    def get_batch(self, keys):
        i = self.next_id()
        self.events.write("get", time.monotonic(), i, keys)
        got = self.store.get_batch(keys)
        end = time.monotonic()
        self.events.write("get.", end, i, [
            self.judge(k, v) if v else None for k, v in zip(keys, got)], 0)

    def remove(self, key):
        i = self.next_id()
        self.events.write("rm", time.monotonic(), i, key)
        ret = self.store.remove(key, True)
        self.events.write("rm.", time.monotonic(), i, ret)
        return ret

    # --- what a thread does all day ---

    def work(self, number):
        rng = random.Random(f"{self.config['seed']}/{self.slot}/{self.life}/"
                            f"{number}")
        while True:
            with self.lock:
                while self.is_paused:
                    self.lock.wait()
                if self.is_over:
                    return
                self.busy += 1
            try:
                self.one(rng)
            finally:
                with self.lock:
                    self.busy -= 1
                    self.lock.notify_all()
            time.sleep(rng.expovariate(1 / self.config["pause_s"]))

    def one(self, rng):
        if self.fill and rng.random() < 0.8:
            return self.fill_some(rng)
        x = rng.random()
        if x < 0.35:
            self.put_own(rng)
        elif x < 0.75:
            keys = [self.some_key(rng) for _ in range(rng.choice((1, 1, 8)))]
            if len(keys) == 1:
                self.get(keys[0])
            else:
                self.get_batch(list(dict.fromkeys(keys)))
        elif x < 0.78:
            self.drop_one(rng)
        else:
            self.hot_one(rng)

    def size(self, rng):
        x = rng.random()
        if x < 0.7:
            return rng.randint(64, 40_000)
        return rng.randint(40_000, 900_000 if x < 0.98 else 3_000_000)

    def put_own(self, rng):
        tier = rng.choices(KEPT, [TIERS[t][3] for t in KEPT])[0]
        if rng.random() < 0.3:
            items = [(*self.new_key(), rng.randint(64, 60_000))
                     for _ in range(rng.randint(2, 8))]
            rets = self.put_batch(items, tier)
        else:
            items = [(*self.new_key(), self.size(rng))]
            rets = [self.put(*items[0], tier)]
        for (key, _, size), ret in zip(items, rets):
            if ret == 0:
                self.own.add(key, size, tier)
                self.tell_place(key)
        while key := self.own.too_much(tier):
            self.remove(key)

    def tell_place(self, key):
        where = [r.get_memory_descriptor().buffer_descriptor
                 .transport_endpoint for r in self.store.get_replica_desc(key)]
        if where:
            self.events.write("at", time.monotonic(), key, where)

    def some_key(self, rng):
        """One of a client's younger ones."""
        slot = rng.choice(sorted(self.others))
        most = self.count if int(slot) == self.slot else self.others[slot]
        back = min(int(rng.expovariate(1 / 300)), LOOK_BACK, most - 1)
        return f"k{slot}.{max(1, most - back)}"

    def drop_one(self, rng):
        with self.own.lock:
            tier = rng.choice(KEPT)
            kept = self.own.kept[tier]
            if not kept:
                return
            key = rng.choice(list(kept))
            self.own.bytes[tier] -= kept.pop(key)
        self.remove(key)

    def hot_one(self, rng):
        """Keys that all clients write and remove."""
        key = f"h{self.hot}.{rng.randrange(HOT)}"
        x = rng.random()
        if x < 0.4:
            _, version = self.new_key()
            self.put(key, version, rng.randint(64, 30_000), rng.choice(
                ("pool", "pair", "memory")))
        elif x < 0.85:
            self.get(key)
        else:
            self.remove(key)

    def fill_some(self, rng):
        self.put_batch([(*self.new_key("f"), rng.randint(200_000, 900_000))
                        for _ in range(4)], self.fill)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as config_file:
        Client(json.load(config_file)).run()
