# SPDX-License-Identifier: Apache-2.0
"""mooncake.store: the Python API that vLLM, SGLang and LMCache call.

Return codes are Mooncake's numbers: 0 (or a count) is success, -704 a miss,
-200 a full pool, -600 a bad argument or a store that is not set up.  No call
touches memory of the caller after it has returned; all release the GIL.
"""
import os

from . import _native
from ._native import BufferHandle
from .types import (Descriptor, MemoryDescriptor, ObjectDataType,
                    ReplicaDescriptor, ReplicaStatus, ReplicateConfig,
                    SoftPinAction)

__all__ = ["MooncakeDistributedStore", "MooncakeDistributedNoFRegister",
           "ReplicateConfig", "ObjectDataType",
           "SoftPinAction", "ReplicaStatus", "ReplicaDescriptor",
           "MemoryDescriptor", "Descriptor", "BufferHandle",
           "bind_to_numa_node", "get_alloc_func_addr", "get_free_func_addr"]
__version__ = _native.version

INVALID_PARAMS = -600
OBJECT_NOT_FOUND = -704


def get_alloc_func_addr():
    """Address of ``void *alloc(size_t)``: page-aligned host memory."""
    return _native.alloc_addr()


def get_free_func_addr():
    """Address of ``void free(void *)`` for get_alloc_func_addr()."""
    return _native.free_addr()


def bind_to_numa_node(node):
    """Runs this thread (and threads it starts) on the CPUs of a NUMA node."""
    try:
        with open(f"/sys/devices/system/node/node{int(node)}/cpulist",
                  encoding="ascii") as f:
            text = f.read().strip()
    except OSError:
        return
    cpus = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    if cpus:
        os.sched_setaffinity(0, cpus)


def _opts(config):
    if config is None:
        return None
    if not isinstance(config, ReplicateConfig):
        raise TypeError("config must be a ReplicateConfig, not "
                        f"{type(config).__name__}")
    return config._native()


def _same_length(*lists):
    return len({len(x) for x in lists}) == 1


class MooncakeDistributedStore:
    """One client of the store.  Any thread may call any method at any time;
    before setup() and after close() methods return codes."""

    __slots__ = ("_s", "_is_up", "__weakref__")

    def __init__(self):
        self._s = _native.Store()
        self._is_up = False

    # --- life cycle ---

    def setup(self, local_hostname, metadata_server=None,
              global_segment_size=None, local_buffer_size=None, protocol=None,
              rdma_devices=None, master_server_addr=None, engine=None,
              enable_ssd_offload=False, ssd_offload_path="",
              tenant_id="default", enable_client_http_server=False,
              client_http_port=9300):
        """setup(local_hostname: str, metadata_server: str,
        global_segment_size: int, local_buffer_size: int, protocol: str,
        rdma_devices: str, master_server_addr: str, engine=None,
        enable_ssd_offload=False, ssd_offload_path="", tenant_id="default",
        enable_client_http_server=False, client_http_port=9300) -> int

        setup(config: dict) -> int

        0, or negative; the reason is logged and in setup_error().  engine is
        accepted and not needed: this store moves its bytes itself.  Beyond
        upstream, the dict takes replica_num, nof_replica_num,
        enable_mooncake_nof_pool, and the names device_name and
        master_server_address.
        """
        if isinstance(local_hostname, dict):
            pairs = local_hostname
        else:
            pairs = self._positional(
                local_hostname=local_hostname, metadata_server=metadata_server,
                global_segment_size=global_segment_size,
                local_buffer_size=local_buffer_size, protocol=protocol,
                rdma_devices=rdma_devices,
                master_server_addr=master_server_addr)
            pairs.update(enable_ssd_offload=enable_ssd_offload,
                         ssd_offload_path=ssd_offload_path,
                         tenant_id=tenant_id,
                         enable_client_http_server=enable_client_http_server,
                         client_http_port=client_http_port)
        pairs = {str(k): str(v) for k, v in pairs.items() if v is not None}
        ret = self._s.setup(list(pairs), list(pairs.values()))
        if ret == 0:  # a store that is up refuses, and stays up
            self._is_up = True
        return ret

    @staticmethod
    def _positional(**given):
        missing = [k for k, v in given.items() if v is None]
        if missing:
            raise TypeError("setup() missing required arguments: "
                            + ", ".join(missing))
        for name, value in given.items():
            want = int if name.endswith("_size") else str
            if not isinstance(value, want) or isinstance(value, bool):
                raise TypeError(f"setup(): {name} must be {want.__name__}, "
                                f"not {type(value).__name__}")
        return given

    def setup_dummy(self, mem_pool_size, local_buffer_size, server_address):
        """Not needed here: an ordinary client without a segment of its own.

        server_address is that of the master; sizes are accepted."""
        return self.setup({
            "local_hostname": "localhost", "metadata_server": "P2PHANDSHAKE",
            "global_segment_size": 0, "local_buffer_size": local_buffer_size,
            "master_server_addr": server_address})

    def init_all(self, protocol, device_name, mount_segment_size=16 << 20):
        return self.setup("localhost:12345", "127.0.0.1:2379",
                          mount_segment_size, 1 << 30, protocol, device_name,
                          "127.0.0.1:50051")

    def setup_error(self):
        """Why the last setup() failed, as a sentence; "" if it did not."""
        return self._s.setup_error()

    def close(self):
        self._is_up = False
        return self._s.close()

    tearDownAll = close

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def health_check(self):
        """0 healthy, 1 not set up, 2 master unreachable."""
        return self._s.health_check()

    def get_hostname(self):
        """"host:port": the segment name, usable as preferred_segment."""
        return self._s.hostname()

    def metrics(self):
        """Counters of this client in Prometheus text."""
        return self._s.metrics()

    # --- put ---

    def put(self, key, value, config=None):
        """0, also when the key exists (the old value stays)."""
        return self._s.put_buffers((key,), ((value,),), _opts(config))[0]

    def put_parts(self, key, *parts, config=None):
        """The value is the concatenation of the parts."""
        try:
            return self._s.put_buffers((key,), (parts,), _opts(config))[0]
        except (BufferError, TypeError) as e:
            raise RuntimeError(f"put_parts: {e}") from None

    def put_batch(self, keys, values, config=None):
        """0, or the first error."""
        if not _same_length(keys, values):
            return INVALID_PARAMS
        codes = self._s.put_buffers(keys, [(v,) for v in values],
                                    _opts(config))
        return next((c for c in codes if c), 0)

    def put_from(self, key, buffer_ptr, size, config=None):
        if size == 0:
            return 0 if self._is_up else INVALID_PARAMS
        return self.batch_put_from((key,), (buffer_ptr,), (size,), config)[0]

    def batch_put_from(self, keys, buffer_ptrs, sizes, config=None):
        return self._put_pointers(keys, [(p,) for p in buffer_ptrs],
                                  [(n,) for n in sizes], config)

    def batch_put_from_multi_buffers(self, keys, all_buffer_ptrs, all_sizes,
                                     config=None):
        """Each value is the concatenation of its buffers."""
        if not self._is_up:
            return []
        return self._put_pointers(keys, all_buffer_ptrs, all_sizes, config)

    def _put_pointers(self, keys, ptrs, sizes, config):
        if not _same_length(keys, ptrs, sizes):
            return [INVALID_PARAMS] * len(keys)
        try:
            return self._s.put_pointers(keys, ptrs, sizes, _opts(config))
        except (ValueError, OverflowError):
            return [INVALID_PARAMS] * len(keys)

    # --- get ---

    def get(self, key):
        """The bytes, b"" when there are none."""
        return self._s.get_buffers((key,), True)[0] or b""

    def get_batch(self, keys):
        return [v or b"" for v in self._s.get_buffers(keys, True)]

    def get_buffer(self, key):
        """A BufferHandle, or None."""
        return self._s.get_buffers((key,), False)[0]

    def batch_get_buffer(self, keys):
        return self._s.get_buffers(keys, False)

    def get_into(self, key, buffer_ptr, size):
        """Bytes of the object, or negative."""
        return self.batch_get_into((key,), (buffer_ptr,), (size,))[0]

    def batch_get_into(self, keys, buffer_ptrs, sizes):
        return self._get_pointers(keys, [(p,) for p in buffer_ptrs],
                                  [(n,) for n in sizes])

    def batch_get_into_multi_buffers(self, keys, all_buffer_ptrs, all_sizes,
                                     prefer_alloc_in_same_node=False):
        """The object fills its buffers one after the other."""
        if not self._is_up:
            return []
        return self._get_pointers(keys, all_buffer_ptrs, all_sizes)

    def _get_pointers(self, keys, ptrs, sizes):
        if not _same_length(keys, ptrs, sizes):
            return [INVALID_PARAMS] * len(keys)
        try:
            return self._s.get_pointers(keys, ptrs, sizes)
        except (ValueError, OverflowError):
            return [INVALID_PARAMS] * len(keys)

    # --- the rest ---

    def is_exist(self, key):
        """1, 0 or negative; 1 grants a lease."""
        return self._s.is_exist(key)

    isExist = is_exist

    def batch_is_exist(self, keys):
        return self._s.exist(keys)

    def get_size(self, key):
        return self._s.size(key)

    def remove(self, key, force=False):
        """0, -704 not there, -706 leased (not with force)."""
        return self._s.remove((key,), force)[0]

    def batch_remove(self, keys, force=False):
        return self._s.remove(keys, force)

    def remove_by_regex(self, regex_pattern, force=False):
        """Number removed: every key in which the pattern is found."""
        return self._s.remove_by_regex(regex_pattern, force)

    def remove_all(self, force=False):
        """Number removed; leased objects stay without force."""
        return self._s.remove_all(force)

    def register_buffer(self, buffer_ptr, size):
        """Costs nothing and is not required: any host pointer works."""
        if size < 0:
            return INVALID_PARAMS
        return self._s.register(buffer_ptr, size)

    def unregister_buffer(self, buffer_ptr):
        return self._s.register(buffer_ptr, -1)

    def get_replica_desc(self, key):
        """Where the object lies: a list of ReplicaDescriptor."""
        found = self._s.replicas(key)
        return [] if isinstance(found, int) else [ReplicaDescriptor(*r)
                                                  for r in found]

    def batch_get_replica_desc(self, keys):
        found = ((k, self.get_replica_desc(k)) for k in keys)
        return {k: v for k, v in found if v}


class MooncakeDistributedNoFRegister:
    """Adds NVMe-oF namespaces to the SSD pool and takes them out, without SSH:
    mooncake_ssd_register and mooncake_ssd_unregister for one namespace.

    Needs no store.  Methods return 0 or -1; error() says why."""

    __slots__ = ("_error",)

    def __init__(self):
        self._error = ""

    def real_register(self, nqn: str, nsid: int, traddr: str, trsvcid: int,
                      base: int, size: int, master_addr: str) -> int:
        """0 also when it is registered already.  base must be 0: the pool
        takes whole namespaces.  size is what it must have; 0 = any."""
        self._check(nqn=nqn, nsid=nsid, traddr=traddr, base=base, size=size,
                    master_addr=master_addr)
        if base != 0:
            return self._end(f"base is {base}: the pool takes whole "
                             "namespaces, from 0 on")
        if size < 0:
            return self._end(f"size is {size}: expected bytes, or 0 for any")
        return self._call(_native.nof_register, master_addr, nqn, nsid,
                          traddr, trsvcid, size)

    def real_unregister_by_endpoint(self, nqn: str, nsid: int, traddr: str,
                                    trsvcid: int, master_addr: str) -> int:
        """-1 also when the master knows no such namespace."""
        self._check(nqn=nqn, nsid=nsid, traddr=traddr,
                    master_addr=master_addr)
        return self._call(_native.nof_unregister, master_addr, nqn, nsid,
                          traddr, trsvcid, 0)

    def error(self) -> str:
        """Why the last call failed, as a sentence; "" if it did not."""
        return self._error

    @staticmethod
    def _check(**given):
        for name, value in given.items():
            want = int if name in ("nsid", "base", "size") else str
            if not isinstance(value, want) or isinstance(value, bool):
                raise TypeError(f"{name} must be {want.__name__}, not "
                                f"{type(value).__name__}")

    def _call(self, function, master_addr, nqn, nsid, traddr, trsvcid, size):
        try:
            port = int(trsvcid)
        except (TypeError, ValueError):
            raise TypeError("trsvcid must be a port number, not "
                            f"{trsvcid!r}") from None
        if not 0 < nsid < 0xffffffff or not 0 < port < 65536:
            return self._end(f"nsid {nsid} or trsvcid {port} is out of range")
        try:
            return self._end(function(master_addr, nqn, nsid, traddr, port,
                                      size) or "")
        except (ValueError, OverflowError) as e:
            return self._end(str(e))

    def _end(self, error):
        self._error = error
        return -1 if error else 0
