"""How far an agent has read its data, so that one that comes back goes on where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from peer.data.inputs import Inputs, Samples, rows_of
from peer.plain_trees import from_snapshot, to_snapshot
from peer.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class Batch(NamedTuple):
    """Some samples of a set, and which ones: row i of all three belongs together."""

    inputs: Inputs  # (batch, ...), each
    targets: Tensor  # (batch, ...)
    indices: Tensor  # (batch,), int64, places in the whole set


@runtime_checkable
class HasPosition(Protocol):
    """Batches that can tell where they are, as torch's stateful data loaders do."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, text, None, and lists and dictionaries of those."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there."""


class Batches(Generic[T]):
    """An endless iterator of batches whose position can be kept.

    Where the iterator does not know its position it is counted, and as many batches are drawn again.
    """

    def __init__(self, batches: Iterator[T]) -> None:
        self._batches = batches
        self._drawn = 0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self._drawn += 1
        return next(self._batches)

    def snapshot(self) -> Snapshot[Tensor]:
        """Where the next batch comes from."""
        if isinstance(self._batches, HasPosition):
            return to_snapshot(self._batches.state_dict())
        return to_snapshot(self._drawn)

    def restore(self, snapshot: Snapshot[Tensor]) -> None:
        """Go on from there; nothing may have been drawn yet. Raises SnapshotError."""
        state = from_snapshot(snapshot)
        if isinstance(self._batches, HasPosition) != isinstance(state, dict):
            raise SnapshotError("the batches are of another kind than those of the checkpoint")
        if isinstance(self._batches, HasPosition):
            try:
                self._batches.load_state_dict(state)
            except (LookupError, TypeError, ValueError, RuntimeError) as error:
                raise SnapshotError(f"the batches cannot go on from the checkpoint: {error}") from None
        else:
            while self._drawn < state:
                next(self)


class ShuffledBatches:
    """Endless batches, a fresh permutation when all samples have been used; a short rest is skipped.

    Up to one batch of samples: all of them, each time.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int) -> None:
        self._samples = samples
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._before = self._generator.get_state()  # the permutation
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0  # of the next sample in it
        self._all = torch.arange(len(samples[1]))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if len(self._all) <= self._batch_size:
            return Batch(*self._samples, self._all)
        if self._position + self._batch_size > len(self._order):
            self._shuffle()
        chosen = self._order[self._position : self._position + self._batch_size]
        self._position += self._batch_size
        return Batch(*rows_of(self._samples, chosen), chosen)

    def _shuffle(self) -> None:
        self._before = self._generator.get_state()
        self._order = torch.randperm(len(self._all), generator=self._generator)
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """The random stream before the present permutation, and how much of that has been used."""
        return {"generator": self._before, "position": self._position, "samples": len(self._all)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from there. Raises ValueError if it was another data set."""
        if state["samples"] != len(self._all):
            raise ValueError(f"there were {state['samples']} samples, now there are {len(self._all)}")
        self._generator.set_state(state["generator"])
        if state["position"]:
            self._shuffle()
        self._position = state["position"]
