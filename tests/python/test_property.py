# SPDX-License-Identifier: Apache-2.0
"""hypothesis drives the store against a dict."""
import ctypes

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEYS = st.sampled_from([f"key-{i}" for i in range(6)] + ["ключ", "a/b@c%d.e"])
VALUES = st.binary(min_size=1, max_size=20_000)
STEPS = st.lists(st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("parts"), KEYS, st.lists(VALUES, min_size=1,
                                               max_size=5)),
    st.tuples(st.just("get"), KEYS, st.integers(0, 3)),
    st.tuples(st.just("remove"), KEYS, st.none())), max_size=25)


@settings(max_examples=40, deadline=None, print_blob=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_against_a_dict(store, steps):
    store.remove_all(True)
    model = {}
    for what, key, arg in steps:
        if what == "put":
            assert store.put(key, arg) == 0
            model.setdefault(key, arg)
        elif what == "parts":
            assert store.put_parts(key, *arg) == 0
            model.setdefault(key, b"".join(arg))
        elif what == "get":
            check_get(store, key, model.get(key), arg)
        else:
            ret = store.remove(key, True)
            assert ret == (0 if model.pop(key, None) is not None else -704)
    assert store.batch_is_exist(sorted(model)) == [1] * len(model)


def check_get(store, key, want, how):
    if how == 0:
        assert store.get(key) == (want or b"")
    elif how == 1:
        got = store.get_buffer(key)
        assert (None if got is None else bytes(got)) == want
    elif how == 2:
        buf = ctypes.create_string_buffer(30_000 * 5)
        n = store.get_into(key, ctypes.addressof(buf), len(buf))
        assert n == (len(want) if want else -704)
        assert want is None or buf.raw[:n] == want
    else:
        assert store.get_size(key) == (len(want) if want else -704)
