# SPDX-License-Identifier: Apache-2.0
"""The checker of tools/soak real, fed with histories: what must fail fails,
what may be is let pass."""
import json
import types

import pytest

from soak import real
from soak.history import History
from soak.losses import Losses
from soak.values import Values, WrongBytes

ENDPOINT = "traddr:h trsvcid:1 subnqn:nqn.2026-11.io.mooncake:{} trtype:TCP"


class Story:
    """Events of one client, in order, a second apart."""

    def __init__(self):
        self.h, self.t, self.n = History(), 0.0, 0

    def feed(self, *event):
        self.t += 1
        self.h.feed(0, json.dumps([event[0], self.t, *event[1:]]))
        self.h.apply(self.t)

    def put(self, key, version, result=0, tier="pool", pin=True, size=100,
            is_others=False):
        self.n += 1
        self.feed("put", str(self.n), [[key, version, size]], tier, pin)
        if result is not None:
            self.feed("put.", str(self.n), [result], is_others)
        return self

    def remove(self, key, result=0):
        self.n += 1
        self.feed("rm", str(self.n), key)
        self.feed("rm.", str(self.n), result)
        return self

    def get(self, key, version):
        self.n += 1
        self.feed("get", str(self.n), [key])
        self.feed("get.", str(self.n), [version], 0)
        return self

    def failed(self):
        return [what for what, _ in self.h.failures]


def test_what_may_be():
    s = Story().put("a", 1).get("a", 1).get("a", None).remove("a")
    assert s.get("a", None).failed() == []
    # The answer may have been lost, not the put; or the client was killed.
    assert Story().put("a", 1, -901).get("a", 1).failed() == []
    assert Story().put("a", 1, None).get("a", 1).failed() == []
    # Nobody knows whether that one removed anything.
    assert Story().put("a", 1).remove("a", -901).get("a", 1).failed() == []


@pytest.mark.parametrize("story, what", [
    (Story().put("a", 1).remove("a").get("a", 1), "removed values"),
    (Story().put("a", 1).get("a", 2), "values never put"),
    (Story().get("a", 1), "values never put"),
    (Story().put("a", 1, -200).get("a", 1), "values of refused puts"),
    (Story().put("a", 1).put("a", 2).get("a", 2).get("a", 1), "old values"),
    # Nobody has read it, and it may be gone; what it replaced is.
    (Story().put("a", 1).put("a", 2).get("a", 1), "old values"),
    (Story().put("a", 1).put("a", 2).remove("a", -901).get("a", 1),
     "old values"),
    (Story().put("a", 1, -901).put("a", 2).get("a", 1), "old values"),
    # Its writer was killed, but it was there before.
    (Story().put("a", 1, None).get("a", 1).put("a", 2).get("a", 1),
     "old values"),
    # It may have found the other one, but somebody has read it.
    (Story().put("a", 1).put("a", 2).put("a", 3, is_others=True).get("a", 3)
     .get("a", 2), "old values"),
])
def test_what_must_not_be(story, what):
    assert story.failed() == [what]


def test_what_has_taken_no_place():
    s = Story().put("a", 1).put("a", 2, is_others=True).get("a", 1)
    assert s.failed() == []         # it found the first one
    assert Story().put("a", 1).put("a", 2, -901).get("a", 1).failed() == []
    # Nobody knows when that one was stored.
    assert Story().put("a", 1, None).put("a", 2).get("a", 1).failed() == []
    s = Story().put("a", 1)
    s.feed("get", "early", ["a"])
    s.put("a", 2).feed("get.", "early", [1], 0)
    assert s.failed() == []
    # Two at a time: either may be the later one.
    s = Story()
    s.feed("put", "long", [["a", 1, 100]], "pool", True)
    s.put("a", 2).feed("put.", "long", [0], False)
    assert s.get("a", 1).get("a", 2).failed() == []


def test_removed_for_good():
    s = Story().put("a", 1).remove("a")
    s.h.forget(s.t + 1)
    assert "a" not in s.h.keys
    assert s.get("a", 1).failed() == ["removed values"]


def test_what_needs_not_be_there_is_forgotten(monkeypatch):
    monkeypatch.setattr("soak.history.UNHEARD", 100)
    monkeypatch.setattr("soak.history.LOOK_BACK", 500)
    s = Story().put("k0.1", 1)
    for i in range(2, 2_001):       # filling, refused, unknown, many
        s.put(f"f0.{i}", i, tier="fill", pin=False)
        s.put(f"k0.{i}", i, (-200, -901, None)[i % 3])
        s.put("h1.0", i)
        if i % 100 == 0:
            for key in s.h.leftovers():
                s.remove(key, -704)
            s.h.forget(s.t - 60)
    s.put("k0.2002", 2_002).remove("k0.2002")
    assert len(s.h.keys) < 500
    # Nothing can be said of what one of them returns, but of others it can.
    assert s.get("k0.1700", 1_700).failed() == []
    s.t += 400
    s.h.forget(s.t - 60)
    assert list(s.h.keys) == ["k0.1"]
    assert list(s.h.gone) == ["k0.2002"]
    assert len(s.h.old) <= 601
    assert s.get("k0.1", 1).get("k0.2002", 2_002).failed() == [
        "removed values"]


def test_acknowledged():
    s = Story().put("a", 1).put("b", 2, -901).put("c", 3).remove("c", -901)
    s.put("h", 4).put("h", 5)
    assert [key for key, _ in s.h.acknowledged()] == ["a"]


def test_leftovers():
    """What no client removes, each once; what has to be there is none."""
    s = Story().put("k0.1", 1).put("f0.2", 2).put("k0.3", 3, -901)
    s.put("k0.4", 4).remove("k0.4", -901).put("h1.0", 5).put("h1.0", 6)
    s.put("k0.7", 7).remove("k0.7").put("f0.8", 8).remove("f0.8")
    s.put("k0.9", 9, None)
    assert s.h.leftovers() == ["f0.2", "k0.3", "k0.4", "h1.0", "k0.9"]
    assert s.h.leftovers() == []
    assert [key for key, _ in s.h.acknowledged()] == ["k0.1", "f0.2"]


def losses(s, *places):
    """Judges the only key of a story; tc lies."""
    name = {ENDPOINT.format(p): p for p in places}
    world = types.SimpleNamespace(liar="tc", history=s.h,
                                  party_at=name.get, of=lambda kind: [])
    key, k = next(iter(s.h.keys.items()))
    k.places = set(name)
    result = Losses(world, Values(1))
    return result, lambda is_known=False: result.excuse(key, k, next(iter(
        k.versions.values())), is_known)


def test_excuses():
    known, why = losses(Story().put("a", 1), "ta")
    assert why() is None
    known.lose_counters(False)
    known.lie()
    known.lose_memory("na")
    assert why() is None            # pinned, elsewhere
    known, why = losses(Story().put("a", 1), "tc")
    assert why() is None            # it has not lied
    known.lie()
    assert why()
    known, why = losses(Story().put("a", 1, tier="pair"), "tc", "ta")
    known.lie()
    assert why() is None
    known, why = losses(Story().put("a", 1, tier="loose", pin=False), "ta")
    assert why() is None
    known.lose_counters(False)
    assert why()
    known, why = losses(Story().put("a", 1, tier="memory"), "na")
    known.lose_memory("nb")
    assert why() is None
    known.lose_memory("na")
    assert why()
    known, why = losses(Story().put("a", 1, tier="both"), "na", "ta")
    known.lose_memory("na")
    assert why() is None
    known, why = losses(Story().put("a", 1, size=3 << 20), "ta")
    assert why() is None
    known.lie()
    assert why()                    # a stripe of it
    for tier in ("both", "memory"):
        known, why = losses(Story().put("a", 1, tier=tier, size=3 << 20),
                            "na")
        assert why() is None
        known.lose_memory("na")
        assert why()                # the pool had no room: nothing lay there
    known, why = losses(Story().put("a", 1, tier="both", size=3 << 20),
                        "na", "ta")
    known.lose_memory("na")
    assert why() is None


@pytest.mark.parametrize("size, is_excused", [(1 << 20, True),
                                              ((1 << 20) - 1, False)])
def test_in_pieces_on_several_nodes(size, is_excused):
    """Its client names the first piece only, the master all of them."""
    for places in (("na",), ("na", "nb")):
        known, why = losses(Story().put("a", 1, tier="memory", size=size),
                            *places)
        assert why() is None
        known.lose_memory("nb")
        assert bool(why()) == is_excused
    known, why = losses(Story().put("a", 1, tier="both", size=size), "na",
                        "ta")
    known.lose_memory("nb")
    assert why() is None            # that side is gone, the other is not
    known.lie()
    assert bool(why()) == is_excused


def test_replicas_move():
    """While ta was away, the memory's replica was copied to the liar."""
    s = Story().put("a", 1, tier="both")
    known, why = losses(s, "na", "ta")
    known.lose_memory("na")
    known.lie()
    assert why() is None
    known.copied = 0.5              # before it was put
    assert why() is None
    known.lose_counters(True)
    assert why()
    known.hit.clear()
    assert why() is None            # memory has it


def test_places_are_those_of_the_last_answer():
    s = Story().put("a", 1, tier="both")
    answers = [("na", "ta"), ("na", "tc"), ()]

    def ask_master(path, until):
        return json.dumps({"data": {"a": {"values": [], "nof_values": [
            {"transport_endpoint_": p} for p in answers.pop(0)]}}})

    soak = types.SimpleNamespace(history=s.h, ask_master=ask_master)
    for places in ({"na", "ta"}, {"na", "tc"}, {"na", "tc"}):
        real.Soak.ask_places(soak, ["a"], 0)
        assert s.h.keys["a"].places == places


def test_those_without_an_excuse_are_counted():
    s = Story().put("a", 1, tier="loose", pin=False).put("b", 2).put("c", 3)
    known, _ = losses(s, "ta")
    s.h.keys["b"].places = set(s.h.keys["a"].places)
    soak = types.SimpleNamespace(history=s.h, losses=known)
    versions = dict(s.h.acknowledged())

    def count(*there):
        return real.Soak.count_unexcused(soak, versions, there)
    assert count("a", "b", "c") == 2    # where c lies nobody knows
    known.lose_counters(False)
    assert count("a", "b") == 2
    assert count("b") == 1              # a may have been evicted


def test_evictions_excuse_last():
    """They are counted, so that each may excuse one object only."""
    known, why = losses(Story().put("a", 1, tier="loose", pin=False), "tc")
    known.lose_counters(False)
    assert why() == "evicted"
    assert why(is_known=True) is None   # the master has it: it can be read
    known.lie()
    assert why() == "on the lying target"
    known, why = losses(Story().put("a", 1, tier="fill", pin=False))
    known.lose_counters(False)
    assert why() == "evicted"
    known.lie()
    assert why() == "evicted or lost"   # nobody knows where it lay


@pytest.mark.parametrize("before, now, excused, fails", [
    ((1, 5.0), (1, 8.0), 3, False), ((1, 5.0), (1, 8.0), 4, True),
    ((1, 5.0), (2, 0.0), 4, False), (None, (1, 8.0), 9, False),
    ((1, 5.0), None, 9, False)])
def test_no_more_is_evicted_than_was_counted(before, now, excused, fails):
    soak = types.SimpleNamespace(compared=0, losses=types.SimpleNamespace(
        evictions=lambda: now))
    if fails:
        with pytest.raises(real.Failure, match="4 objects"):
            real.Soak.compare_evictions(soak, before, excused)
    else:
        real.Soak.compare_evictions(soak, before, excused)
    assert soak.compared == (before is not None and now is not None
                             and before[0] == now[0])


def test_excuses_end():
    """What was put after the loss is not excused by it."""
    known, why = losses(Story().put("a", 1), "tc")
    known.lied = 0.5
    assert why() is None


def test_every_byte_counts():
    values = Values(7)
    data = values.make("a", 3, 5000)
    assert values.version_of("a", data) == 3
    for at in (0, 9, 17, 25, 32, 2500, 4999):
        bad = bytearray(data)
        bad[at] ^= 1
        try:
            assert values.version_of("a", bytes(bad)) != 3
        except WrongBytes:
            pass
    for other in (values.make("b", 3, 5000), data[:-1], b"", bytes(5000)):
        with pytest.raises(WrongBytes):
            values.version_of("a", other)
