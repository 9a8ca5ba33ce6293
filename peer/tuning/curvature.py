"""How strongly a loss bends: the largest curvature by power iteration, and the one along an agent's own motion.

The first bounds the step. The second is that of the slowest patterns of the swarm's motion, since all others
have died away: it tells the momentum that ends them fastest. Neither needs more than products with the own
Hessian; the swarm's averages of both stand for the Hessian of the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic

from peer.algebra import V

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.algebra import Algebra

PROBES_AT_FIRST = 2  # in successive ticks, before an agent steps
PROBE_TICKS = 8  # between two later ones
PROBES_SOON = 20  # those until then come every second tick
FORGETS = 0.2  # weight of a new largest curvature that is lower than the last; a higher one counts at once
MOTION_TICKS = 15  # the curvature along the motion is smoothed over so many,
PACE_TICKS = 5  # relative to how far the agent moves, smoothed over so many: later steps are shorter


class PowerIteration(Generic[V]):
    """The largest curvature of one agent's loss, by repeated products with a direction.

    The estimate rises to the truth from below; where the point moves, it follows.
    """

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._direction: V | None = None
        self._ticks = 0
        self.probes = 0  # so far
        self.largest = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it has seen enough to step by."""
        return self.probes >= PROBES_AT_FIRST

    def direction(self, first: Callable[[], V]) -> V | None:
        """What the next product is wanted with, of length one; None if none is in this tick.

        `first` gives what to begin with, such as a gradient, which leans to where the loss bends most.
        """
        self._ticks += 1
        every = 1 if not self.is_ready else 2 if self.probes < PROBES_SOON else PROBE_TICKS
        if self._ticks % every:
            return None
        if self._direction is None:
            begin = self._algebra.to_mass(first())
            length = self._algebra.norm(begin)
            if not 0.0 < length < math.inf:
                return None
            self._direction = begin / length
        return self._direction

    def take(self, product: V) -> None:
        """The product of the Hessian with the direction. What is not finite, or nothing, is passed over."""
        self.probes += 1
        product = self._algebra.to_mass(product)
        length = self._algebra.norm(product)
        if not 0.0 < length < math.inf:
            return
        self._direction = product / length
        falls = length < self.largest
        self.largest += (FORGETS if falls else 1.0) * (length - self.largest)


class MotionCurvature(Generic[V]):
    """<dx, dg> / <dx, dx> over the last ticks: by how much gradients change along the way."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._last: tuple[V, V] | None = None
        self._pace = 0.0
        self._change = 0.0
        self._square = 0.0

    def forget(self) -> None:
        """The next point is no step from the last one."""
        self._last = None

    def add(self, point: V, gradient: V) -> None:
        """Where the agent is, and the gradient there; neither is changed later."""
        last, self._last = self._last, (point, gradient)
        if last is None:
            return
        moved = point - last[0]
        square = self._algebra.dot(moved, moved)
        self._pace += (square - self._pace) / (PACE_TICKS if self._pace else 1.0)
        if not 0.0 < self._pace < math.inf:
            return
        keep = 1.0 - 1.0 / MOTION_TICKS
        self._change = keep * self._change + self._algebra.dot(moved, gradient - last[1]) / self._pace
        self._square = keep * self._square + square / self._pace

    def value(self, at_most: float, at_least: float) -> float:
        """Within these bounds; the geometric mean of both where nothing has moved."""
        if not (self._square > 0.0 and math.isfinite(self._change)):
            return math.sqrt(at_most * at_least)
        return min(max(self._change / self._square, at_least), at_most)
