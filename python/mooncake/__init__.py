# SPDX-License-Identifier: Apache-2.0
"""Mooncake-C: a KV-cache store and its NVMe-oF SSD pool.

``from mooncake.store import MooncakeDistributedStore`` is the way in; the
programs are modules too (``python3 -m mooncake.mooncake_store_service``).
"""
from pkgutil import extend_path

# Other parts of Mooncake (mooncake.engine) may be installed elsewhere.
__path__ = extend_path(__path__, __name__)


def __getattr__(name):
    # Old clients import from the package; loading it must not cost others.
    if name in ("MooncakeDistributedStore", "ReplicateConfig"):
        from . import store
        return getattr(store, name)
    raise AttributeError(f"module 'mooncake' has no attribute '{name}'")
