# SPDX-License-Identifier: Apache-2.0
"""Namespaces in and out of the pool from Python."""
import pytest

from conftest import FAST, new_store
from mooncake.store import MooncakeDistributedNoFRegister

NQN = "nqn.2026-11.io.mooncake:py"
BYTES = 64 << 20


@pytest.fixture(scope="module")
def target(request):
    """A master and a target, of which nothing is registered."""
    from cluster import Cluster
    from common import BUILD
    with Cluster(BUILD) as c:
        c.master(*FAST)
        c.target("py", "ram:64m", "ram:64m")
        yield c


def register(c, nsid=1, size=0, base=0, **more):
    r = MooncakeDistributedNoFRegister()
    args = dict(nqn=NQN, nsid=nsid, traddr="127.0.0.1",
                trsvcid=c.target_ports["py"], base=base, size=size,
                master_addr=c.master_addr)
    return r.real_register(**{**args, **more}), r.error()


def unregister(c, nsid=1):
    r = MooncakeDistributedNoFRegister()
    # As upstream: all by position.
    return (r.real_unregister_by_endpoint(
        NQN, nsid, "127.0.0.1", c.target_ports["py"], c.master_addr),
        r.error())


def test_in_use_and_out(target):
    assert register(target) == (0, "")
    assert register(target) == (0, "")  # again is nothing
    assert register(target, nsid=2, size=BYTES, traddr="localhost") == (0, "")
    assert len(target.segments()) == 2
    store = new_store(target)
    assert store.put("a", b"x" * 100_000) == 0
    assert store.get_replica_desc("a")[0].is_nof_replica()
    assert store.get("a") == b"x" * 100_000
    store.close()
    for nsid in (1, 2):
        assert unregister(target, nsid) == (0, "")
    ret, why = unregister(target)
    assert ret == -1 and "knows no namespace" in why
    assert target.segments() == []


def test_wrong_size_is_refused_untouched(target):
    ret, why = register(target, size=BYTES + 1)
    assert ret == -1 and str(BYTES) in why and str(BYTES + 1) in why
    assert target.segments() == []
    assert register(target, size=BYTES) == (0, "")
    ret, why = register(target, size=BYTES * 2)  # also when it is there
    assert ret == -1 and str(BYTES) in why
    assert unregister(target) == (0, "")


@pytest.mark.parametrize("args,why", [
    (dict(base=4096), "whole namespaces"), (dict(size=-1), "size"),
    (dict(nsid=3), ""), (dict(nsid=0), "out of range"),
    (dict(nsid=1 << 32), "out of range"), (dict(trsvcid=0), "out of range"),
    (dict(nqn="no-nqn"), "no-nqn"), (dict(nqn="x" * 300), "range"),
    (dict(traddr="a b"), "a b"), (dict(traddr="x" * 300), "range"),
    (dict(master_addr="127.0.0.1:1"), "mooncake_master running"),
    (dict(master_addr=""), "")])
def test_refused_with_a_sentence(target, args, why):
    ret, error = register(target, **args)
    assert ret == -1 and error and why in error, error


@pytest.mark.parametrize("args", [
    dict(nqn=1), dict(nsid="1"), dict(traddr=None), dict(trsvcid="x"),
    dict(trsvcid=None), dict(size="1g"), dict(base=True),
    dict(master_addr=50051)])
def test_wrong_types(target, args):
    with pytest.raises(TypeError):
        register(target, **args)


def test_port_as_text(target):
    port = str(target.target_ports["py"])
    assert register(target, trsvcid=port) == (0, "")
    assert unregister(target) == (0, "")
