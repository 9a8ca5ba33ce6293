"""How fast the hyperparameters may move while model and adjoint follow (DESIGN, Hyper step).

Three time scales run at once, and the slowest must be the slowest: when a hypergradient comes back reversed and no
shorter, the step overshot (the outer problem is too curved for it, or model and adjoint lag behind); when residuals
grow, the network cannot follow. Either halves the rate. Only the rate moves: a residual slows, it never gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SMOOTHING_TICKS = 50  # residuals are averaged over about so many ticks
RESIDUAL_RISE = 4.0  # slow down when the smoothed residual is this many times its best since the last slowdown
OVERSHOOTS_ALLOWED = 2  # a first reversal is common while the model is far off; noise reverses often
COOL_DOWN_STEPS = 20  # after a slowdown, watch for so many hyper steps before the next
RATE_FLOOR = 2.0**-20

Reason = Literal["hypergradients alternate", "residual rises"]


@dataclass(slots=True)
class Smoothed:
    """Exponential mean with a start that is not biased to zero."""

    value: float = 0.0
    weight: float = 0.0

    def add(self, sample: float) -> None:
        """Take in one sample."""
        keep = 1.0 - 1.0 / SMOOTHING_TICKS
        self.value = keep * self.value + sample
        self.weight = keep * self.weight + 1.0

    def mean(self) -> float:
        """The mean; 0 before the first sample."""
        return self.value / self.weight if self.weight else 0.0


class Residual:
    """|tracker| / |own gradient|, both smoothed: 1 or more while far, 0 when settled without noise."""

    def __init__(self) -> None:
        self._tracker = Smoothed()
        self._gradient = Smoothed()

    def add(self, lengths: tuple[float, float]) -> None:
        """Take in one tick's (|tracker|, |own gradient|)."""
        self._tracker.add(lengths[0])
        self._gradient.add(lengths[1])

    def ratio(self) -> float:
        """The smoothed ratio; 0 where the gradient vanishes with it."""
        gradient = self._gradient.mean()
        return self._tracker.mean() / gradient if gradient > 0 else 0.0


class HyperSchedule:
    """The factor on the hyper step size: 1 at first, halved for a reason, never raised."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._overshoots = 0
        self._steps_since = COOL_DOWN_STEPS
        self._best_residual = float("inf")

    def update(self, *, overshoot: bool, residual: float) -> Reason | None:
        """Take in one hyper step; the reason if the rate was just lowered."""
        self._steps_since += 1
        self._overshoots += overshoot
        self._best_residual = min(self._best_residual, residual)
        if self._steps_since <= COOL_DOWN_STEPS or self.factor <= RATE_FLOOR:
            return None
        if self._overshoots > OVERSHOOTS_ALLOWED:
            return self._slow_down("hypergradients alternate", residual)
        if residual > max(RESIDUAL_RISE * self._best_residual, 0.1):
            return self._slow_down("residual rises", residual)
        return None

    def _slow_down(self, reason: Reason, residual: float) -> Reason:
        self.factor /= 2.0
        self._overshoots = 0
        self._steps_since = 0
        self._best_residual = residual
        return reason
