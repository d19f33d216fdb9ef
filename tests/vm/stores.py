# SPDX-License-Identifier: Apache-2.0
"""Our store on the kernel's target."""
import random
import threading
import time

import pytest

from common import new_store

MIB = 1 << 20
SIZES = (1, 511, 512, 4095, 4097, 65_535, 131_073, MIB + 1, 2_222_222)


def values(seed):
    rng = random.Random(seed)
    return {f"vm-{seed}-{n}": rng.randbytes(n) for n in SIZES}


def endpoint(port, nqn, nsid=1):
    return (f"traddr:127.0.0.1 trsvcid:{port} subnqn:{nqn} trtype:TCP "
            f"adrfam:IPv4 ns:{nsid}")


def ssd(cluster, verb, *what, env=None):
    r = cluster.run("mooncake_ssd_" + verb,
                    f"--master_server_address={cluster.master_addr}",
                    "--timeout=60s", *what, env=env, timeout=200)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def registered(cluster):
    return [line for line in cluster.admin("/get_all_segments").split("\n")
            if "subnqn:" in line]


def patiently(call, is_done):
    """Repeats what missed its deadline; to give up early is no excuse."""
    for _ in range(10):
        begin = time.monotonic()
        result = call()
        if is_done(result):
            return
        assert time.monotonic() - begin > 1.9, \
            f"failed long before its deadline: {str(result)[:200]}"
    pytest.fail("missed its deadline ten times")


def store_and_get(cluster, seed):
    store = new_store(cluster, replica_num="0", nof_replica_num="1")
    data = values(seed)
    keys = list(data)

    def is_right(got):
        for key, value in zip(keys, got):
            assert value in (b"", data[key]), f"wrong bytes for {key}"
        return b"" not in got

    for key, value in data.items():
        patiently(lambda: store.put(key, value), lambda ret: ret == 0)
    patiently(lambda: [store.get(key) for key in keys], is_right)
    patiently(lambda: store.get_batch(keys), is_right)
    for key in keys:
        assert store.remove(key, True) == 0
    store.close()


class Reader(threading.Thread):
    """Gets objects again and again.  Bytes that come are always right; a get
    that fails is counted."""

    def __init__(self, cluster, seed):
        super().__init__(daemon=True)
        self.store = new_store(cluster, replica_num="0", nof_replica_num="1")
        self.data = values(seed)
        self.good, self.failed, self.wrong = 0, 0, None
        self.early = 0  # failed long before the deadline
        self.is_over = False
        for key, value in self.data.items():
            patiently(lambda: self.store.put(key, value),
                      lambda ret: ret == 0)

    def run(self):
        while not self.is_over and not self.wrong:
            for key, value in self.data.items():
                begin = time.monotonic()
                got = self.store.get(key)
                if got == value:
                    self.good += 1
                elif got == b"":
                    self.failed += 1
                    self.early += time.monotonic() - begin < 1.9
                else:
                    self.wrong = key

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.is_over = True
        self.join(120)
        self.store.close()
        if exc[0] is None:
            assert self.wrong is None

    def wait(self, cluster, what, count=2):
        """Until there are so many rounds more that are good, or failed gets."""
        if what == "good":
            count *= len(self.data)
        begin = getattr(self, what)
        cluster.wait_until(f"{count} more are {what}", lambda: self.wrong or
                           getattr(self, what) - begin >= count, 300)
        assert self.wrong is None, self.wrong
