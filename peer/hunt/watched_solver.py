"""A solver that lets somebody look on: what it was given, and what it has made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.fixed_point import FixedVector
from peer.solver import Solver
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.learner import TickReport
    from peer.solver import BlockPush, Orders
    from wire import PeerId, Push

    # `before` are the stepped estimates, by stream, when the tick began
    OnTick = Callable[[Sequence[FixedVector], Sequence[Push[FixedVector]], TickReport], None]
    OnJoin = Callable[[Mapping[tuple[PeerId, int], Push[FixedVector]]], None]


class WatchedSolver(Solver[FixedVector]):
    """`Solver` in every other respect; `on_tick` is told of every tick that is over, `on_join` of what the

    estimates are about to be replaced by the mean of.
    """

    on_tick: OnTick | None = None
    on_join: OnJoin | None = None

    def tick(
        self, pushes: Sequence[Push[FixedVector]], orders: Orders
    ) -> tuple[tuple[BlockPush[FixedVector], ...], TickReport]:
        """As in `Solver`."""
        before = [stream.stepped for stream in self.streams if isinstance(stream, TrackingStream)]
        blocks, report = super().tick(pushes, orders)
        if self.on_tick is not None:
            self.on_tick(before, pushes, report)
        return blocks, report

    def replace_estimates(self, heard: dict[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """As in `Solver`."""
        if self.on_join is not None:
            self.on_join(heard)
        super().replace_estimates(heard)
