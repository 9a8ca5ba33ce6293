"""Records of any length, thinned while they are read: memory depends on the picture, not on the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = TypeVar("Row")


class Thinned(Generic[Row]):
    """Rows by time and agent: at most `times_max` times, spread evenly over all that came, and the last.

    Rows of one time are added one after the other. Whoever adds an earlier time after a later one has begun
    anew: the new times go on after the old ones, and `restarts` counts it.
    """

    def __init__(self, times_max: int, agents_max: int) -> None:
        self.restarts = 0
        self.is_full = False  # there were more than `agents_max` agents; rows of the others are left out
        self._times_max = times_max
        self._agents_max = agents_max
        self._agents: set[str] = set()
        self._kept: list[tuple[float, dict[str, Row]]] = []
        self._now: tuple[float, dict[str, Row]] | None = None
        self._every = 1
        self._seen = 0
        self._offset_s = 0.0

    def add(self, at_s: float, agent: str, row: Row) -> None:
        """Take one row."""
        if agent not in self._agents:
            if len(self._agents) >= self._agents_max:
                self.is_full = True
                return
            self._agents.add(agent)
        at_s += self._offset_s
        if self._now is not None and at_s < self._now[0]:
            self.restarts += 1
            self._offset_s += self._now[0] - at_s
            at_s = self._now[0]
        if self._now is None or at_s > self._now[0] or agent in self._now[1]:
            self._keep()
            self._now = (at_s, {})
        self._now[1][agent] = row

    def times(self) -> list[tuple[float, Mapping[str, Row]]]:
        """What is kept, in the order of time."""
        last = [] if self._now is None else [self._now]
        return [*self._kept, *last]

    def _keep(self) -> None:
        """The time that is complete, if it is one of those that stay."""
        if self._now is None:
            return
        if self._seen % self._every == 0:
            self._kept.append(self._now)
        self._seen += 1
        if len(self._kept) >= self._times_max:
            self._kept = self._kept[::2]
            self._every *= 2
