# SPDX-License-Identifier: Apache-2.0
"""Request traces: reading published ones, making one, simulating a cache.

A request is (time in ms, [hash ids]): ids name blocks of a prompt, equal ids
are equal blocks, and a shared prefix is a shared beginning of the lists.
"""
import json
import random
from collections import OrderedDict


class BadTrace(Exception):
    """Names file, line and what is wrong."""


def load(path, limit=None):
    """JSONL with timestamp and hash_ids, as Mooncake publishes them."""
    requests = []
    with open(path, encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f, 1):
            if limit and len(requests) >= limit:
                break
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                ids = [int(i) for i in row["hash_ids"]]
                if ids and not 0 <= min(ids) <= max(ids) < 1 << 63:
                    raise ValueError("an id below 0 or above 2^63 - 1")
                requests.append((float(row.get("timestamp", 0)), ids))
            except (ValueError, KeyError, TypeError,
                    OverflowError) as e:
                raise BadTrace(f"{path}:{number}: expected an object with a "
                               f"list 'hash_ids': {e!r}") from None
    if not requests:
        raise BadTrace(f"{path}: no requests in it")
    return requests


def generate(count, seed):
    """Conversations that grow turn by turn, in bursts, on few system prompts.
    """
    rng = random.Random(seed)
    next_id, prompts, open_talks, requests = 0, [], [], []

    def blocks(n):
        nonlocal next_id
        next_id += n
        return list(range(next_id - n, next_id))

    for _ in range(8):
        prompts.append(blocks(rng.randint(1, 8)))
    now = 0.0
    while len(requests) < count:
        now += rng.expovariate(1 / 3000)
        for _ in range(min(1 + int(rng.expovariate(1 / 8)), 28)):
            if open_talks and rng.random() < 0.6:
                talk = rng.choice(open_talks[-400:])
            else:
                talk = list(prompts[min(int(rng.expovariate(0.7)), 7)])
                open_talks.append(talk)
            talk.extend(blocks(1 + min(int(rng.expovariate(1 / 6)), 60)))
            requests.append((now, list(talk)))
    return requests[:count]


class Lru:
    """What an ideal cache of that many objects would have answered."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.items = OrderedDict()
        self.hits = self.lookups = 0

    def request(self, keys):
        """Looks all of them up, then stores what was missing."""
        missing = []
        for key in keys:
            self.lookups += 1
            if key in self.items:
                self.items.move_to_end(key)
                self.hits += 1
            else:
                missing.append(key)
        for key in missing:
            self.items[key] = None
        while len(self.items) > self.capacity:
            self.items.popitem(last=False)
