"""Nested states, as of optimizers and data loaders, as named tensors and plain values, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from peer.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.snapshot import Plain

TENSOR = "tensor"  # {"tensor": name} stands for a tensor, {"pairs": [[key, value], ...]} for a dictionary
PAIRS = "pairs"


def to_snapshot(state: object) -> Snapshot[Tensor]:
    """Copies of the tensors, and the rest as values["state"]; tuples become lists.

    Raises SnapshotError for what is neither tensor, number, text, None, list nor dictionary.
    """
    arrays: dict[str, Tensor] = {}

    def plain(value: object) -> Plain:
        match value:
            case Tensor():
                name = str(len(arrays))
                arrays[name] = value.detach().clone()
                return {TENSOR: name}
            case None | bool() | int() | float() | str():
                return value
            case list() | tuple():
                return [plain(one) for one in value]
            case dict():
                return {PAIRS: [[plain(key), plain(one)] for key, one in value.items()]}
            case _:
                raise SnapshotError(f"a checkpoint cannot hold {type(value).__name__}: {value!r:.60}")

    return Snapshot(arrays, {"state": plain(state)})


def from_snapshot(snapshot: Snapshot[Tensor]) -> Any:
    """What `to_snapshot` was given; tensors are copies. Raises SnapshotError for anything else."""

    def restored(value: Plain) -> object:
        if isinstance(value, list):
            return [restored(one) for one in value]
        if isinstance(value, dict):
            if TENSOR in value:
                return snapshot.arrays[str(value[TENSOR])].clone()
            pairs: Any = value[PAIRS]
            return {restored(key): restored(one) for key, one in pairs}
        return value

    try:
        return restored(snapshot.values["state"])
    except (LookupError, TypeError, ValueError):
        raise SnapshotError("a nested state is not as it was written") from None


def require_alike(found: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raise SnapshotError unless both have the same names, shapes and dtypes."""
    described = [
        {name: f"{tuple(one.shape)} {one.dtype}" for name, one in tensors.items()} for tensors in (found, own)
    ]
    if described[0] != described[1]:
        raise SnapshotError(f"{what} was {described[0]}, here it is {described[1]}")
