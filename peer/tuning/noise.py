"""When minibatches keep an agent from settling: it wanders about the answer, by as much as its step is long.

An agent that gets somewhere comes far on its way; one that is driven by noise does not, and yet its steps do
not shorten. Then a shorter step leads closer. Compare Pflug (1990), who looks at inner products of successive
steps; agents that average with others need a longer look.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic

from peer.algebra import V

if TYPE_CHECKING:
    from peer.algebra import Algebra

WINDOW_TICKS = 64
WANDERS = (
    0.3  # times the distance of a walk at random: an agent that comes less far is held back by the answer
)
ADVANCES = 0.6
SHORTENS = 0.7  # path of a window to that of the one before: an agent that settles walks less and less
FACTOR_DOWN = 0.7
FACTOR_UP = 2.0
FACTOR_MIN = 0.02
STILL = 1e-6  # of the length of the estimate, in a tick: what rounding does


class Wandering(Generic[V]):
    """The factor on the step of an agent: 1 as long as its steps lead somewhere."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._from: V | None = None
        self._begins = True
        self._path = 0.0
        self._path_before = 0.0
        self._ticks = 0
        self.factor = 1.0

    def forget(self) -> None:
        """The next point is reached by no step."""
        self._begins = True
        self._path_before = 0.0

    def add(self, point: V, way: float, momentum: float) -> None:
        """Where the agent is now, and how far it has gone since the last tick."""
        if self._begins or self._from is None:
            self._begin(point)
            return
        self._path += way
        self._ticks += 1
        if self._ticks == WINDOW_TICKS:
            self._judge(point, momentum)
            self._path_before = self._path
            self._begin(point)

    def _begin(self, point: V) -> None:
        if self._from is None:
            self._from = self._algebra.copy(point)
        else:
            self._algebra.assign(self._from, point)
        self._begins, self._path, self._ticks = False, 0.0, 0

    def _judge(self, point: V, momentum: float) -> None:
        """Compare how far the agent has come with how far a walk at random of such steps would lead."""
        assert self._from is not None
        still = STILL * WINDOW_TICKS * self._algebra.norm(point)
        if not still < self._path < math.inf:
            return
        alike = (1.0 + momentum) / (1.0 - momentum)  # successive steps of a walk with momentum
        expected = self._path * math.sqrt(min(1.0, alike / WINDOW_TICKS))
        come = self._algebra.norm(point - self._from) / expected
        if come > ADVANCES:
            self.factor = min(1.0, FACTOR_UP * self.factor)
        elif come < WANDERS and self._path > SHORTENS * self._path_before > 0.0:
            self.factor = max(FACTOR_MIN, FACTOR_DOWN * self.factor)
