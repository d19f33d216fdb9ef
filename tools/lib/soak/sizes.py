# SPDX-License-Identifier: Apache-2.0
"""What the programs take, at the end of each round: memory and descriptors.

Clients keep within quotas and what filled the store is gone by then, so one
that lives through many rounds takes about the same in each.
"""
import os

MB = 1 << 20
#: of one life, the first of which is left out: it has just begun
ROUNDS = 8
#: (name, what nobody needs, what may come on top of half as much again)
MEASURES = (("resident bytes", 1024 * MB, 32 * MB),
            ("descriptors", 2000, 64))


def of_process(pid):
    """(resident bytes, descriptors), or None when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            pages = int(f.read().split()[1])
        return (pages * os.sysconf("SC_PAGE_SIZE"),
                len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return None


def grows(values, slack):
    """Never less, and far more in the end."""
    return (len(values) >= ROUNDS
            and all(b >= a for a, b in zip(values, values[1:]))
            and values[-1] > values[0] * 3 // 2 + slack)


class Sizes:
    def __init__(self):
        self.lives = {}           # name -> (life, [sizes])
        self.most = {}            # kind -> the most of each, rounds of a life

    def note(self, name, kind, life, sizes):
        """What is wrong with it, or None."""
        if self.lives.get(name, (None,))[0] != life:
            self.lives[name] = (life, [])
        seen = self.lives[name][1]
        seen.append(sizes)
        most = self.most.setdefault(kind, (0, 0, 0))
        self.most[kind] = tuple(map(max, most, (*sizes, len(seen))))
        for i, (what, limit, slack) in enumerate(MEASURES):
            values = [s[i] for s in seen[1:]]
            if values and values[-1] > limit or grows(values, slack):
                return (f"{name} takes more and more: {what} "
                        + " ".join(map(str, values)))
        return None
