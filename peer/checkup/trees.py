"""Tensors in whatever a batch is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator


def tensors_of(value: Any, where: str = "") -> Iterator[tuple[str, Tensor]]:
    """With where they are, in the order in which they are met."""
    if isinstance(value, Tensor):
        yield where, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from tensors_of(one, f"{where}[{name!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, one in enumerate(value):
            yield from tensors_of(one, f"{where}[{index}]")


def copies_of(value: Any) -> list[Tensor]:
    """Of the tensors."""
    return [tensor.detach().clone() for _, tensor in tensors_of(value)]


def where_unlike(one: Any, other: Any) -> str | None:
    """Where the first tensor is that is not the same in both; None if all are."""
    mine, theirs = list(tensors_of(one)), [tensor for _, tensor in tensors_of(other)]
    if len(mine) != len(theirs):
        return f"{len(mine)} tensors, then {len(theirs)}"
    for (where, tensor), again in zip(mine, theirs, strict=True):
        if not same(tensor, again):
            return where or "the tensor"
    return None


def same(one: Tensor, other: Tensor) -> bool:
    """Shape, type and every bit of the numbers; NaN is like NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
