# SPDX-License-Identifier: Apache-2.0
"""Value types of mooncake.store, with the attributes that engines probe for.

Assigning an attribute that does not exist raises AttributeError and a value
of the wrong type TypeError: engines rely on hasattr() and on both errors.
"""
import enum


class ObjectDataType(enum.IntEnum):
    """What an object holds; a classification only."""
    UNKNOWN = 0
    KVCACHE = 1
    TENSOR = 2
    WEIGHT = 3
    SAMPLE = 4
    ACTIVATION = 5
    GRADIENT = 6
    OPTIMIZER_STATE = 7
    METADATA = 8
    GENERAL = 9


class SoftPinAction(enum.IntEnum):
    PRESERVE = 0
    ENABLE = 1
    DISABLE = 2


class ReplicaStatus(enum.IntEnum):
    UNDEFINED = 0
    INITIALIZED = 1
    PROCESSING = 2
    COMPLETE = 3
    REMOVED = 4
    FAILED = 5


def _count(name, value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise TypeError(f"{name} must not be negative ({value})")
    return value


def _flag(name, value):
    if not isinstance(value, (bool, int)):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return bool(value)


def _text(name, value):
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def _texts(name, value):
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a list of str, not one str")
    try:
        items = list(value)
    except TypeError:
        raise TypeError(f"{name} must be a list of str, not "
                        f"{type(value).__name__}") from None
    return [_text(name + "[]", v) for v in items]


def _optional(check):
    def inner(name, value):
        return None if value is None else check(name, value)
    return inner


def _enum(cls):
    def inner(name, value):
        if isinstance(value, cls):
            return value
        try:
            return cls(_count(name, value))
        except ValueError:
            raise TypeError(f"{name}: {value} is no {cls.__name__}") from None
    return inner


class _Field:
    """A typed attribute with a default."""
    def __init__(self, name, check, default, doc):
        self.name, self.check, self.default = name, check, default
        self.__doc__ = doc

    def __get__(self, obj, owner):
        if obj is None:
            return self
        value = obj._values.get(self.name, self.default)
        if isinstance(value, list):
            # appending to the list that was read must count
            value = obj._values.setdefault(self.name, list(value))
        return value

    def __set__(self, obj, value):
        obj._values[self.name] = self.check(self.name, value)


_FIELDS = (
    _Field("replica_num", _count, 1, "replicas in memory segments"),
    _Field("nof_replica_num", _count, 0, "replicas on the NVMe-oF pool"),
    _Field("dfs_replica_num", _count, 0, "not offered: must stay 0"),
    _Field("soft_pin_action", _enum(SoftPinAction), SoftPinAction.PRESERVE,
           "ENABLE protects from eviction while others can go"),
    _Field("soft_pin_ttl_ms", _optional(_count), None,
           "how long; None = the master's default"),
    _Field("with_hard_pin", _flag, False, "never evicted"),
    _Field("preferred_segments", _texts, [], "memory segments to try first"),
    _Field("preferred_nof_segments", _texts, [], "pool segments likewise"),
    _Field("preferred_segment", _text, "", "one; wins over the list"),
    _Field("prefer_alloc_in_same_node", _flag, False,
           "multi-buffer calls only"),
    _Field("data_type", _enum(ObjectDataType), ObjectDataType.UNKNOWN,
           "classification only"),
    _Field("group_ids", _optional(_texts), None, "one per key of the call"),
    _Field("host_id", _text, "", "placement hint, internal"),
)


class ReplicateConfig:
    """How one put is to be stored.

    A config that asks for nothing (replica_num 1, nof_replica_num 0) leaves
    the choice to setup keys, environment and master, in this order.
    """
    __slots__ = ("_values",)

    def __init__(self):
        self._values = {}

    @property
    def with_soft_pin(self):
        """Older spelling of soft_pin_action."""
        return self.soft_pin_action == SoftPinAction.ENABLE

    @with_soft_pin.setter
    def with_soft_pin(self, value):
        self.soft_pin_action = (SoftPinAction.ENABLE
                                if _flag("with_soft_pin", value)
                                else SoftPinAction.PRESERVE)

    def __str__(self):
        return "ReplicateConfig: { " + ", ".join(
            f"{f.name}: {getattr(self, f.name)}" for f in _FIELDS) + " }"

    __repr__ = __str__

    def _native(self):
        """The tuple that _native.Store takes; None counts as -1."""
        asked = self.replica_num != 1 or self.nof_replica_num != 0
        one = self.preferred_segment
        return (self.replica_num if asked else -1,
                self.nof_replica_num if asked else -1,
                int(self.with_soft_pin), self.soft_pin_ttl_ms or 0,
                int(self.with_hard_pin), int(self.prefer_alloc_in_same_node),
                int(self.data_type),
                (one,) if one else tuple(self.preferred_segments),
                tuple(self.preferred_nof_segments),
                tuple(self.group_ids or ()))


for _f in _FIELDS:
    setattr(ReplicateConfig, _f.name, _f)


class Descriptor:
    """Where the first extent of a replica lies."""
    __slots__ = ("size", "buffer_address", "transport_endpoint")

    def __init__(self, size, buffer_address, transport_endpoint):
        self.size = size
        self.buffer_address = buffer_address
        self.transport_endpoint = transport_endpoint

    @property
    def size_(self):
        return self.size

    @property
    def buffer_address_(self):
        return self.buffer_address

    @property
    def transport_endpoint_(self):
        return self.transport_endpoint

    def __repr__(self):
        return (f"<Descriptor size={self.size} "
                f"buffer_address={self.buffer_address:#x} "
                f"transport_endpoint={self.transport_endpoint!r}>")


class MemoryDescriptor:
    __slots__ = ("buffer_descriptor",)

    def __init__(self, descriptor):
        self.buffer_descriptor = descriptor


class ReplicaDescriptor:
    """One replica of an object, as get_replica_desc() tells it."""
    __slots__ = ("_kind", "status", "_descriptor")

    def __init__(self, kind, status, size, offset, endpoint):
        self._kind = kind
        self.status = ReplicaStatus(status)
        self._descriptor = Descriptor(size, offset, endpoint)

    def is_memory_replica(self):
        return self._kind == 0

    def is_nof_replica(self):
        return self._kind == 3

    def is_disk_replica(self):
        return False

    def is_local_disk_replica(self):
        return False

    def get_memory_descriptor(self):
        return MemoryDescriptor(self._descriptor)

    def get_nof_descriptor(self):
        return MemoryDescriptor(self._descriptor)

    def __repr__(self):
        kind = "NOF_SSD" if self.is_nof_replica() else "MEMORY"
        return f"<ReplicaDescriptor {kind} {self._descriptor!r}>"
