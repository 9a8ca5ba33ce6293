"""A solver that lets somebody look on: what it was given, and what it has made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.fixed_point import FixedVector
from peer.solver import Solver
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from peer.learner import TickReport
    from peer.solver import BlockPush, Orders
    from wire import PeerId, Push

    class Onlooker(Protocol):
        """Changes nothing."""

        def ticked(
            self, before: Sequence[FixedVector], pushes: Sequence[Push[FixedVector]], report: TickReport
        ) -> None:
            """A tick is over; `before` are the stepped estimates, by stream, when it began."""

        def joined(self, heard: Mapping[tuple[PeerId, int], Push[FixedVector]]) -> None:
            """The estimates are about to be replaced by the mean of these."""


class WatchedSolver(Solver[FixedVector]):
    """`Solver` in every other respect."""

    onlooker: Onlooker | None = None

    def tick(
        self, pushes: Sequence[Push[FixedVector]], orders: Orders
    ) -> tuple[tuple[BlockPush[FixedVector], ...], TickReport]:
        """As in `Solver`."""
        before = [stream.stepped for stream in self.streams if isinstance(stream, TrackingStream)]
        blocks, report = super().tick(pushes, orders)
        if self.onlooker is not None:
            self.onlooker.ticked(before, pushes, report)
        return blocks, report

    def replace_estimates(self, heard: dict[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """As in `Solver`."""
        if self.onlooker is not None:
            self.onlooker.joined(heard)
        super().replace_estimates(heard)
