# SPDX-License-Identifier: Apache-2.0
"""mooncake.mooncake_config, as engines read it."""
import json

import pytest

from mooncake.mooncake_config import _ENV, MooncakeConfig

GUIDE = {"local_hostname": "h", "metadata_server": "P2PHANDSHAKE",
         "master_server_address": "10.0.0.1:50051"}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("MOONCAKE_CONFIG_PATH", *_ENV.values()):
        monkeypatch.delenv(name, raising=False)


def of_file(tmp_path, **more):
    path = tmp_path / "mooncake.json"
    path.write_text(json.dumps({**GUIDE, **more}))
    return MooncakeConfig.from_file(str(path))


def test_defaults_of_a_file(tmp_path):
    c = of_file(tmp_path)
    assert (c.local_hostname, c.master_server_address) == \
        ("h", "10.0.0.1:50051")
    assert (c.global_segment_size, c.local_buffer_size) == \
        (3355443200, 1073741824)
    assert (c.protocol, c.device_name, c.tenant_id) == ("tcp", "", "default")


@pytest.mark.parametrize("text, size", [
    ("50gb", 50 << 30), ("1.5g", 3 << 29), (0, 0), ("16777216", 1 << 24),
    ("4 KB", 4096), ("2t", 2 << 40), ("7b", 7)])
def test_sizes(tmp_path, text, size):
    assert of_file(tmp_path, global_segment_size=text) \
        .global_segment_size == size


@pytest.mark.parametrize("more", [
    {"global_segment_size": ""}, {"local_buffer_size": "4xb"},
    {"local_buffer_size": True}, {"enable_ssd_offload": "perhaps"},
    {"client_http_port": "http"}])
def test_bad_values(tmp_path, more):
    with pytest.raises(ValueError):
        of_file(tmp_path, **more)


@pytest.mark.parametrize("name", GUIDE)
def test_missing_key(tmp_path, name):
    path = tmp_path / "mooncake.json"
    path.write_text(json.dumps({k: v for k, v in GUIDE.items() if k != name}))
    with pytest.raises(ValueError, match=name):
        MooncakeConfig.from_file(str(path))


def test_environment(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="MOONCAKE_MASTER"):
        MooncakeConfig.load_from_env()
    monkeypatch.setenv("MOONCAKE_MASTER", "10.0.0.2:50051")
    monkeypatch.setenv("MOONCAKE_GLOBAL_SEGMENT_SIZE", "1gb")
    monkeypatch.setenv("MOONCAKE_PROTOCOL", "RDMA")
    monkeypatch.setenv("MOONCAKE_OFFLOAD_ENABLED", "on")
    c = MooncakeConfig.load_from_env()
    assert (c.master_server_address, c.global_segment_size, c.protocol,
            c.enable_ssd_offload, c.local_hostname) == \
        ("10.0.0.2:50051", 1 << 30, "rdma", True, "localhost")
    path = tmp_path / "mooncake.json"
    path.write_text(json.dumps(GUIDE))
    monkeypatch.setenv("MOONCAKE_CONFIG_PATH", str(path))
    assert MooncakeConfig.load_from_env().local_hostname == "h"
