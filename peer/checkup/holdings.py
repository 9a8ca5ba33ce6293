"""How much memory the tensors take that something holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor, nn

from peer.data_position import Batches
from peer.problem import BilevelProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT = (str, bytes, bytearray, memoryview, int, float, complex, bool, type(None), type, ModuleType)
ITERABLE = (list, tuple, set, frozenset)


def tensor_bytes(thing: object, without: tuple[type, ...] = ()) -> int:
    """Of all that `tensor_storages` finds."""
    return sum(tensor_storages(thing, without).values())


def tensor_storages(thing: object, without: tuple[type, ...] = ()) -> dict[int, int]:
    """Bytes by address, of all tensors that attributes and containers of ours lead to from there.

    Problems with their data and modules, batches, and whatever is of these other types, are left out.
    """
    left_out = (nn.Module, BilevelProblem, Batches, *without)
    seen: set[int] = set()
    storages: dict[int, int] = {}
    waiting: list[object] = [thing]
    while waiting:
        one = waiting.pop()
        if isinstance(one, LEFT_OUT) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif not isinstance(one, left_out):
            waiting += _parts(one)
    return storages


def _parts(thing: object) -> Iterator[object]:
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, ITERABLE):
        yield from thing
    elif type(thing).__module__.partition(".")[0] in ("peer", "wire"):
        yield from getattr(thing, "__dict__", {}).values()
        for kind in type(thing).__mro__:
            slots = vars(kind).get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            yield from [getattr(thing, name) for name in names if hasattr(thing, name)]
