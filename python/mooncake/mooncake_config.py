# SPDX-License-Identifier: Apache-2.0
"""Where the master is and how much memory a client gives: MooncakeConfig.

Engines read it with load_from_env(); names and defaults are Mooncake's.
"""
import json
import os
import re
from dataclasses import dataclass, fields

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TRUE = ("1", "true", "yes", "y", "on", "enable", "enabled")
_FALSE = ("0", "false", "no", "n", "off", "disable", "disabled", "")
_REQUIRED = ("local_hostname", "metadata_server", "master_server_address")
_ENV = {
    "local_hostname": "MOONCAKE_LOCAL_HOSTNAME",
    "metadata_server": "MOONCAKE_TE_META_DATA_SERVER",
    "master_server_address": "MOONCAKE_MASTER",
    "global_segment_size": "MOONCAKE_GLOBAL_SEGMENT_SIZE",
    "local_buffer_size": "MOONCAKE_LOCAL_BUFFER_SIZE",
    "protocol": "MOONCAKE_PROTOCOL",
    "device_name": "MOONCAKE_DEVICE",
    "enable_ssd_offload": "MOONCAKE_OFFLOAD_ENABLED",
    "ssd_offload_path": "MOONCAKE_OFFLOAD_FILE_STORAGE_PATH",
    "tenant_id": "MOONCAKE_TENANT_ID",
    "enable_client_http_server": "MOONCAKE_ENABLE_CLIENT_HTTP_SERVER",
    "client_http_port": "MOONCAKE_CLIENT_HTTP_PORT",
}


def _to_size(name, value):
    """An int, or text like "50gb" or "1.5g" (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    m = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?",
                     str(value).strip().lower())
    if not m:
        raise ValueError(f"{name}: '{value}' is no size like 4gb or 1048576")
    return int(float(m[1]) * _UNITS[m[2]]) if "." in m[1] else \
        int(m[1]) * _UNITS[m[2]]


def _to_bool(name, value):
    text = str(value).strip().lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(f"{name}: '{value}' is neither true nor false")
    return text in _TRUE


@dataclass
class MooncakeConfig:
    """What setup() takes, as found in a file or in the environment."""
    local_hostname: str
    metadata_server: str
    global_segment_size: int
    local_buffer_size: int
    protocol: str
    device_name: str
    master_server_address: str
    enable_ssd_offload: bool = False
    ssd_offload_path: str = ""
    tenant_id: str = "default"
    enable_client_http_server: bool = False
    client_http_port: int = 9300

    @classmethod
    def _of(cls, given):
        values = {"global_segment_size": 3355443200,
                  "local_buffer_size": 1073741824, "protocol": "tcp",
                  "device_name": ""}
        for f in fields(cls):
            value = given.get(f.name)
            if value is None:
                continue
            if f.name.endswith("_size"):
                value = _to_size(f.name, value)
            elif f.type is bool:
                value = _to_bool(f.name, value)
            elif f.type is int:
                value = int(value)
            elif f.name == "protocol":
                value = str(value).lower()
            values[f.name] = value
        return cls(**values)

    @classmethod
    def from_file(cls, file_path):
        """A JSON file; ValueError when a required key is not there."""
        with open(file_path, encoding="utf-8") as f:
            given = json.load(f)
        for name in _REQUIRED:
            if name not in given:
                raise ValueError(f"{file_path}: '{name}' is missing")
        return cls._of(given)

    @classmethod
    def load_from_env(cls):
        """The file that MOONCAKE_CONFIG_PATH names, else MOONCAKE_*."""
        path = os.environ.get("MOONCAKE_CONFIG_PATH")
        if path:
            return cls.from_file(path)
        if not os.environ.get("MOONCAKE_MASTER"):
            raise ValueError("set MOONCAKE_CONFIG_PATH to a JSON file, or "
                             "MOONCAKE_MASTER to the master's HOST:PORT")
        return cls._of({"local_hostname": "localhost",
                        "metadata_server": "P2PHANDSHAKE",
                        **{name: os.environ[env]
                           for name, env in _ENV.items()
                           if os.environ.get(env)}})
