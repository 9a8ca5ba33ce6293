"""Any state of an agent as bytes and back: an exact copy of the whole graph of objects.

    [root, [[kind, ...], ...]]        msgpack: a value, then nodes; a node is referred to by an extension type

What is referred to twice is one object again, cycles and several tensors over one storage included. Bytes
are never run: classes are found by name among the loaded ones of `peer` and `wire`, made without their
constructors and given their attributes; functions are those listed here. What the reader has itself, such as
a problem with its data, is left out by name.
"""

from __future__ import annotations

import enum
import random
import sys
from array import array
from collections import OrderedDict, deque
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import msgpack
import torch
from torch import Tensor

from peer.errors import HyperpushError
from peer.inbox import add_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REFERENCE: Final = 1  # msgpack's type of extension
PACKAGES: Final = ("peer.", "wire.")
FUNCTIONS: Final = {"add_shares": add_shares}
INLINE: Final = frozenset((type(None), bool, float, str, bytes))
DTYPES: Final = {
    str(kind): kind
    for kind in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}


class ValueFormatError(HyperpushError):
    """A value that cannot be written, or bytes that are no value."""


def encode(value: object, outside: Mapping[str, object] | None = None) -> bytes:
    """The bytes of a value; equal graphs give equal bytes. Raises ValueFormatError naming what is unknown."""
    writer = _Writer(outside or {})
    root = writer.reference(value)
    return bytes(msgpack.packb([root, writer.nodes]))


def decode(data: bytes, outside: Mapping[str, object] | None = None) -> Any:
    """A copy of what was encoded. Raises ValueFormatError for other bytes."""
    try:
        root, nodes = msgpack.unpackb(data, ext_hook=_read_reference)
        return _Reader(nodes, outside or {}).value(root)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ValueFormatError(f"this is no state of an agent: {type(error).__name__}: {error}") from None


def content(value: object) -> bytes:
    """Equal bytes for equal values, whatever is one object in them: for digests. Nothing contains itself."""
    writer = _Writer({}, as_tree=True)
    return bytes(msgpack.packb([writer.reference(value), writer.nodes]))


# ---- writing


class _Writer:
    """Gives every object one node."""

    def __init__(self, outside: Mapping[str, object], *, as_tree: bool = False) -> None:
        self.nodes: list[list[object]] = []
        self._as_tree = as_tree  # what is referred to twice gets two nodes
        self._alive: list[object] = []  # while it is, no other object has its identity
        self._known: dict[int, msgpack.ExtType] = {}
        self._storages: dict[int, msgpack.ExtType] = {}  # by address
        for name, value in outside.items():
            self._known[id(value)] = self._add(["outside", name], value)

    def _add(self, node: list[object], value: object) -> msgpack.ExtType:
        self.nodes.append(node)
        self._alive.append(value)
        return msgpack.ExtType(REFERENCE, (len(self.nodes) - 1).to_bytes(4, "little"))

    def reference(self, value: object) -> object:
        """What stands for a value within a node: a small one itself, or else the number of its node."""
        kind = type(value)
        if kind in INLINE or (kind is int and -(2**63) <= value < 2**64):  # type: ignore[operator]
            return value
        known = None if self._as_tree else self._known.get(id(value))
        if known is None:
            node: list[object] = []
            known = self._known[id(value)] = self._add(node, value)
            write = _WRITERS.get(kind) or next(write for base, write in _BASES if isinstance(value, base))
            node.extend(write(self, value))
        return known

    def many(self, values: Iterable[object]) -> list[object]:
        """References to all of them."""
        return [self.reference(one) for one in values]

    def pairs(self, values: Mapping[Any, object]) -> list[list[object]]:
        """References to keys and values, in order."""
        return [self.many(pair) for pair in values.items()]

    def tensor(self, value: Tensor) -> list[object]:
        """A view of a storage."""
        if value.device.type != "cpu" or value.layout is not torch.strided or str(value.dtype) not in DTYPES:
            raise ValueFormatError(f"a trace cannot hold a tensor of {value.dtype} on {value.device}")
        if self._as_tree:
            return ["elements", str(value.dtype), list(value.shape), value.contiguous().numpy().tobytes()]
        storage = value.untyped_storage()
        known = self._storages.get(storage.data_ptr())
        if known is None:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,))
            known = self._add(["storage", whole.numpy().tobytes()], storage)
            self._storages[storage.data_ptr()] = known
        shape = [list(value.shape), list(value.stride())]
        return ["tensor", str(value.dtype), known, value.storage_offset(), *shape]


def _write_random(_: _Writer, value: random.Random) -> list[object]:
    version, words, gauss = value.getstate()
    return ["random", version, array("I", words).tobytes(), gauss]


def _write_function(_: _Writer, value: FunctionType) -> list[object]:
    known: Mapping[str, object] = FUNCTIONS
    if known.get(value.__name__) is not value:
        raise ValueFormatError(f"a trace cannot hold the function {value.__qualname__}")
    return ["function", value.__name__]


def _qualified(kind: type) -> str:
    if not f"{kind.__module__}.".startswith(PACKAGES):
        raise ValueFormatError(f"a trace cannot hold a {kind.__module__}.{kind.__qualname__}")
    return f"{kind.__module__}:{kind.__qualname__}"


def _attributes(value: object) -> dict[str, object]:
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name in kind.__dict__.get("__slots__", ()):
            if hasattr(value, name):
                found[name] = getattr(value, name)
    return found


_WRITERS: Final[Mapping[type, Callable[[_Writer, Any], list[object]]]] = {
    int: lambda _, value: ["int", hex(value)],
    bytearray: lambda _, value: ["bytearray", bytes(value)],
    slice: lambda writer, value: ["slice", *writer.many((value.start, value.stop, value.step))],
    torch.dtype: lambda _, value: ["dtype", str(value)],
    random.Random: _write_random,
    list: lambda writer, value: ["list", writer.many(value)],
    tuple: lambda writer, value: ["tuple", writer.many(value)],
    deque: lambda writer, value: ["deque", writer.many(value), value.maxlen],
    dict: lambda writer, value: ["dict", writer.pairs(value)],
    OrderedDict: lambda writer, value: ["ordered", writer.pairs(value)],
    set: lambda writer, value: ["set", writer.many(sorted(value, key=repr))],
    frozenset: lambda writer, value: ["frozenset", writer.many(sorted(value, key=repr))],
    FunctionType: _write_function,
}
_BASES: Final[tuple[tuple[type, Callable[[_Writer, Any], list[object]]], ...]] = (
    (Tensor, _Writer.tensor),
    (enum.Enum, lambda _, value: ["enum", _qualified(type(value)), value.name]),
    (type, lambda _, value: ["class", _qualified(value)]),
    (tuple, lambda writer, value: ["named", _qualified(type(value)), writer.many(value)]),
    (
        object,
        lambda writer, value: ["object", _qualified(type(value)), writer.pairs(_attributes(value))],
    ),
)


# ---- reading


class _Node(int):
    """The number of a node."""


def _read_reference(code: int, data: bytes) -> _Node:
    if code != REFERENCE:
        raise ValueError(f"extension type {code}")
    return _Node(int.from_bytes(data, "little"))


def _class_named(name: str, base: type = object) -> type:
    module, _, path = name.partition(":")
    found: object = sys.modules.get(module) if f"{module}.".startswith(PACKAGES) else None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or found.__module__ != module or not issubclass(found, base):
        raise LookupError(f"{name} is unknown here; another version may have written it")
    return found


class _Reader:
    """Builds every node once, when it is first referred to."""

    def __init__(self, nodes: list[list[Any]], outside: Mapping[str, object]) -> None:
        self._nodes = nodes
        self._outside = outside
        self._built: dict[int, object] = {}
        self._begun: set[int] = set()

    def value(self, written: object) -> Any:
        """What stands within a node."""
        if not isinstance(written, _Node):
            return written
        if written not in self._built:
            kind, *content = self._nodes[written]
            if kind in _EMPTY or kind == "object":
                self._fill(written, kind, content)
            elif written in self._begun:
                raise ValueError(f"node {int(written)} contains itself")
            else:
                self._begun.add(written)
                self._built[written] = _READERS[kind](self, *content)
        return self._built[written]

    def _fill(self, node: int, kind: str, content: list[Any]) -> None:
        """What can be made empty may contain itself."""
        empty: Any
        if kind == "object":
            name, pairs = content
            empty = self._built[node] = object.__new__(_class_named(name))
            for key, one in pairs:
                object.__setattr__(empty, key, self.value(one))
            return
        empty = self._built[node] = _EMPTY[kind](*content[1:])
        for one in content[0]:
            if isinstance(empty, dict):
                empty[self.value(one[0])] = self.value(one[1])
            elif isinstance(empty, set):
                empty.add(self.value(one))
            else:
                empty.append(self.value(one))

    def many(self, written: Iterable[object]) -> list[Any]:
        """All of them."""
        return [self.value(one) for one in written]

    def outside(self, name: str) -> object:
        """What whoever reads has itself."""
        return self._outside[name]

    def tensor(self, dtype: str, storage: object, offset: int, shape: list[int], stride: list[int]) -> Tensor:
        """A view of a storage."""
        whole = torch.empty(0, dtype=DTYPES[dtype]).set_(self.value(storage))
        return whole.as_strided(shape, stride, offset)


def _read_random(_: _Reader, version: int, words: bytes, gauss: float | None) -> random.Random:
    stream = random.Random(0)
    stream.setstate((version, tuple(array("I", words)), gauss))
    return stream


def _read_storage(_: _Reader, data: bytes) -> torch.UntypedStorage:
    """In memory of torch's own, aligned as all of it: kernels may round otherwise elsewhere."""
    whole = torch.empty(len(data), dtype=torch.uint8)
    if data:
        whole.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    return whole.untyped_storage()


_EMPTY: Final[Mapping[str, Callable[..., Any]]] = {
    "list": list,
    "dict": dict,
    "ordered": OrderedDict,
    "set": set,
    "deque": lambda length=None: deque(maxlen=length),
}
_READERS: Final[Mapping[str, Callable[..., object]]] = {
    "int": lambda _, text: int(text, 16),
    "bytearray": lambda _, data: bytearray(memoryview(data)),
    "slice": lambda reader, *ends: slice(*reader.many(ends)),
    "dtype": lambda _, name: DTYPES[name],
    "random": _read_random,
    "storage": _read_storage,
    "tensor": _Reader.tensor,
    "tuple": lambda reader, values: tuple(reader.many(values)),
    "frozenset": lambda reader, values: frozenset(reader.many(values)),
    "named": lambda reader, name, values: tuple.__new__(_class_named(name, tuple), reader.many(values)),
    "enum": lambda _, name, member: _class_named(name, enum.Enum)[member],  # type: ignore[index]
    "class": lambda _, name: _class_named(name),
    "function": lambda _, name: FUNCTIONS[name],
    "outside": _Reader.outside,
}
