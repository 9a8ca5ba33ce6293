"""Gradients of single minibatches that would undo what many others have found are cut down to size.

A sample that is alone in its class, or wrong, has a gradient far longer than those around it once the others
have been learned; one step along it, with momentum, leads to where all losses are high. Curvature does not
tell before: the minibatches it was measured on bent little. Such a gradient keeps its direction and loses its
length, and it is the shorter one that the swarm hears of, so that trackers add up as ever.

Compare Mikolov (2012) and Pascanu, Mikolov, Bengio (2013), whose bound is given; here it follows what was
seen.
"""

from __future__ import annotations

import math
from typing import Final

MARGIN: Final = 4.0  # times the usual length: of ordinary minibatches one in hundreds is longer
WEIGHT: Final = 0.05  # of the newest square, so that the usual length can grow by a third in each tick


class Clipping:
    """The usual length of an agent's own gradients while it steps, and by what to divide longer ones."""

    def __init__(self) -> None:
        self._usual: float | None = None

    def divisor(self, length: float) -> float:
        """1, or more for a gradient whose length is unusual; what is not finite is not judged."""
        if not math.isfinite(length):
            return 1.0
        if not self._usual:
            self._usual = length
            return 1.0
        divisor = max(1.0, length / (MARGIN * self._usual))
        square = self._usual**2
        self._usual = math.sqrt(square + WEIGHT * ((length / divisor) ** 2 - square))
        return divisor
