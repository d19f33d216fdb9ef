# SPDX-License-Identifier: Apache-2.0
"""ReplicateConfig and friends: what engines probe for."""
import inspect

import pytest

from mooncake import store as m
from mooncake.store import (MooncakeDistributedStore, ObjectDataType,
                            ReplicateConfig)


def test_defaults_and_text():
    c = ReplicateConfig()
    assert (c.replica_num, c.nof_replica_num) == (1, 0)
    assert c.group_ids is None and c.preferred_segments == []
    c.replica_num = 3
    assert "replica_num: 3" in str(c)


def test_class_is_probed_for_attributes():
    for name in ("group_ids", "nof_replica_num", "with_soft_pin",
                 "with_hard_pin", "preferred_segment", "data_type",
                 "prefer_alloc_in_same_node"):
        assert hasattr(ReplicateConfig, name)
        assert hasattr(ReplicateConfig(), name)
    assert not hasattr(ReplicateConfig, "no_such_thing")


def test_unknown_attribute_is_an_error():
    with pytest.raises(AttributeError):
        ReplicateConfig().replicas = 2


@pytest.mark.parametrize("name,value", [
    ("replica_num", "1"), ("replica_num", -1), ("replica_num", True),
    ("group_ids", "abc"), ("preferred_segments", [1]),
    ("data_type", 99), ("with_hard_pin", "yes")])
def test_wrong_types(name, value):
    with pytest.raises(TypeError):
        setattr(ReplicateConfig(), name, value)


def test_setup_signature_is_visible():
    params = inspect.signature(MooncakeDistributedStore.setup).parameters
    for name in ("local_hostname", "rdma_devices", "master_server_addr",
                 "engine", "enable_ssd_offload", "tenant_id"):
        assert name in params
    assert "enable_ssd_offload" in MooncakeDistributedStore.setup.__doc__
    assert "force" in inspect.signature(
        MooncakeDistributedStore.remove).parameters


def test_unknown_keyword_is_named():
    with pytest.raises(TypeError, match="no_such_option"):
        MooncakeDistributedStore().setup("h", "m", 0, 0, "tcp", "", "a:1",
                                         no_such_option=1)


def test_missing_arguments_are_named():
    with pytest.raises(TypeError, match="master_server_addr"):
        MooncakeDistributedStore().setup("h", "m", 0, 0, "tcp", "")


def test_enum_numbers():
    assert ObjectDataType.TENSOR == 2 and ObjectDataType.GENERAL == 9


def test_old_import_paths():
    import mooncake
    assert mooncake.MooncakeDistributedStore is MooncakeDistributedStore
    assert m.get_alloc_func_addr() and m.get_free_func_addr()
