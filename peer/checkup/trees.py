"""What can be compared in whatever a batch is: tensors, arrays, numbers and texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = (bool, int, float, str, bytes)
Leaf = Tensor | bool | int | float | str | bytes


def leaves_of(value: Any, where: str = "") -> Iterator[tuple[str, Leaf]]:
    """With where they are, in the order in which they are met; arrays as tensors."""
    if isinstance(value, (Tensor, *PLAIN)):
        yield where, value
    elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        yield where, torch.from_numpy(np.array(value))
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from leaves_of(one, f"{where}[{name!r}]")
    elif isinstance(value, Sequence):
        for index, one in enumerate(value):
            yield from leaves_of(one, f"{where}[{index}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves_of(getattr(value, field.name), f"{where}.{field.name}")


def copies_of(value: Any) -> list[Leaf]:
    """Of what can be compared."""
    return [one.detach().clone() if isinstance(one, Tensor) else one for _, one in leaves_of(value)]


def where_unlike(one: Any, other: Any) -> str | None:
    """Where the first thing is that is not the same in both; None if all are."""
    mine, theirs = list(leaves_of(one)), [leaf for _, leaf in leaves_of(other)]
    if len(mine) != len(theirs):
        return f"{len(mine)} things, then {len(theirs)}"
    for (where, leaf), again in zip(mine, theirs, strict=True):
        if not same(leaf, again):
            return where or "it"
    return None


def same(one: Leaf, other: Leaf) -> bool:
    """Type, shape and every bit of the numbers; NaN is like NaN."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other) and (one == other or one != one)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
