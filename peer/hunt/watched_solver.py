"""A solver that lets somebody look on: what it was given, and what it has made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from peer.hunt.fixed_point import FixedVector
from peer.hunt.quadratics import QuadraticLearner
from peer.solver import Solver
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.learner import TickReport
    from peer.orders import BlockPush, Orders
    from wire import PeerId, Push


class Watcher(Protocol):
    """Who looks on."""

    def ticked(
        self, before: Sequence[FixedVector], pushes: Sequence[Push[FixedVector]], report: TickReport
    ) -> None:
        """A tick is over; `before` are the stepped estimates, by stream, when it began."""

    def joined(self, heard: Mapping[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """The estimates are about to be replaced by the mean of these."""


class WatchedSolver(Solver[FixedVector]):
    """`Solver` in every other respect.

    The watcher is the learner's, which is no part of the state that a trace keeps.
    """

    @property
    def watcher(self) -> Watcher | None:
        """Who looks on, if anybody does."""
        assert isinstance(self.learner, QuadraticLearner)
        return self.learner.watcher

    def tick(
        self, pushes: Sequence[Push[FixedVector]], orders: Orders
    ) -> tuple[tuple[BlockPush[FixedVector], ...], TickReport]:
        """As in `Solver`."""
        before = [stream.stepped for stream in self.streams if isinstance(stream, TrackingStream)]
        blocks, report = super().tick(pushes, orders)
        if self.watcher is not None:
            self.watcher.ticked(before, pushes, report)
        return blocks, report

    def replace_estimates(self, heard: dict[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """As in `Solver`."""
        if self.watcher is not None:
            self.watcher.joined(heard)
        super().replace_estimates(heard)
