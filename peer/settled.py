"""How far from settled an agent is: its residual over the last minute, and when it would get there."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from peer.phase import Phase

SAMPLES_MAX: Final = 64
SAMPLES_MIN: Final = 8  # a line through fewer says little
SPACING_S: Final = 1.0  # so that the samples reach back a minute, at any pace of ticks
SURE: Final = 3.0  # standard errors between a slope and none
DECADES_MIN: Final = 0.02  # over all samples: a slope below it, however sure, is none


class ResidualTrend:
    """Fits a line to the logarithms of the newest SAMPLES_MAX residuals of one epoch.

    An epoch shakes the residual by itself, so what fell in the one before says nothing of the present one.
    """

    __slots__ = ("_epoch", "_samples")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)  # (time, log10 of the residual)
        self._epoch = -1

    def note(self, residual: float, now: float, *, epoch: int, phase: Phase) -> None:
        """Take in a residual; cheap enough for every tick. One that is no positive number says nothing."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._samples.clear()
        if phase is not Phase.RUNNING:
            return
        if not 0 < residual < math.inf or (self._samples and now - self._samples[-1][0] < SPACING_S):
            return
        self._samples.append((now, math.log10(residual)))

    def line(self, residual: float, goal: float, phase: Phase) -> str:
        """One line about `residual`, the present one, on its way to `goal`, which is above 0."""
        if phase is not Phase.RUNNING:
            return f"{phase.value}: no residual of this epoch yet"
        if not residual >= 0:
            return "no residual yet"
        said = f"residual {residual:.1e}"
        if residual <= goal:
            return f"settled: {said}, not above {goal:g}"
        if len(self._samples) < SAMPLES_MIN:
            return f"{said}, too early to say when it is below {goal:g}"
        slope = self._slope()
        if slope == 0 or residual == math.inf:
            return f"{said}, not falling: held up, or as exact as it gets here; settled would be {goal:g}"
        if slope > 0:
            return f"{said}, rising; settled would be {goal:g}"
        rest_s = math.log10(goal / residual) / slope
        return f"{said}, tenfold less every {span(-1 / slope)}: {goal:g} in about {span(rest_s)}"

    def _slope(self) -> float:
        """Decades a second, by least squares; 0 if that cannot be told from none."""
        count = len(self._samples)
        middle = sum(time for time, _ in self._samples) / count
        level = sum(value for _, value in self._samples) / count
        spread = sum((time - middle) ** 2 for time, _ in self._samples)
        slope = sum((time - middle) * (value - level) for time, value in self._samples) / spread
        unexplained = sum((value - level - slope * (time - middle)) ** 2 for time, value in self._samples)
        error = math.sqrt(unexplained / (count - 2) / spread)
        seconds = self._samples[-1][0] - self._samples[0][0]
        return slope if abs(slope) > SURE * error and abs(slope) * seconds > DECADES_MIN else 0.0


def span(seconds: float) -> str:
    """A time as people say it: 4.2 s, 41 s, 3 min, 2.5 h, 6 days."""
    for unit, name in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 99 * unit else f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
