"""What an agent has learned, as a value: all that a new epoch does not rebuild.

Trackers, running sums, links and momentum of the steps belong to an epoch and begin anew with it; whoever
comes back enters a new one, and what is measured within a few ticks is measured anew. What would be lost is
here: estimates of model and adjoint, hyperparameters, local variables, the optimizer's state, how far the
data has been read, what noise has done to steps, and the scale by which others are judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias

from peer.algebra import V
from peer.errors import HyperpushError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None


class SnapshotError(HyperpushError):
    """A snapshot does not fit the agent that is to go on from it."""


def set_state(owner: object, state: Mapping[str, object], *, without: Collection[str] = ()) -> None:
    """Give an object the attributes that its `vars` had when `state` was taken of them.

    What an older release did not have stays as it is at first. Raises SnapshotError, and changes nothing, for
    anything else than a table of attributes that it has, but `without`.
    """
    known = [name for name in vars(owner) if name not in without]
    if not isinstance(state, dict) or not set(state) <= set(known):
        has = ", ".join(map(str, state)) if isinstance(state, dict) else f"{state!r:.60}"
        kind = type(owner).__name__
        raise SnapshotError(f"{kind} has {', '.join(known)}, what was kept {has}: it is of another release")
    vars(owner).update(state)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[V]):
    """Invariant: nothing that the agent does later changes it, and `values` is what JSON can hold."""

    arrays: Mapping[str, V]
    values: Mapping[str, Plain] = field(default_factory=dict)

    def part(self, name: str) -> Snapshot[V]:
        """What was put under this name with `within`."""
        begin = f"{name}."
        arrays = {key[len(begin) :]: one for key, one in self.arrays.items() if key.startswith(begin)}
        values = self.values.get(name, {})
        if not isinstance(values, dict):
            raise SnapshotError(f"{name} is {values!r} instead of a table")
        return Snapshot(arrays, values)

    def within(self, name: str, part: Snapshot[V]) -> Snapshot[V]:
        """With another snapshot under a name of its own."""
        arrays = {f"{name}.{key}": one for key, one in part.arrays.items()}
        return Snapshot({**self.arrays, **arrays}, {**self.values, name: dict(part.values)})

    def array(self, name: str, length: int) -> V:
        """One of the vectors. Raises SnapshotError if it is missing or of another length."""
        found = self.arrays.get(name)
        if found is None or len(found) != length:
            has = "none" if found is None else f"one of {len(found)}"
            raise SnapshotError(f"{name} should have {length} elements, but there is {has}")
        return found
