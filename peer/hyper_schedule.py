"""How fast the hyperparameters may move while model and adjoint follow: DESIGN (Hyper step).

Three time scales run at once, and the slowest must be the slowest. When hypergradients alternate (see
`peer.hyper_watch`) a step went too far; when residuals grow, model and adjoint cannot follow. Either halves
the rate. Only the rate moves: a residual slows, it never gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from peer.learner import HyperReport

SMOOTHING_TICKS = 50  # residuals are averaged over about so many ticks
LEAST_GRADIENT = 0.01  # of the largest: agents whose data differ have more than that at the answer
RESIDUAL_RISE = 4.0  # slow down when the smoothed residual is this many times its best since the last one
RESIDUAL_HARMLESS = 0.1  # and above this
ALTERNATION = -0.3  # mean cosine of successive hypergradients; independent noise gives 0
REVERSALS_ALLOWED = 2  # a first reversal is common while the model is far off
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
    """|tracker| / |own gradient|, both smoothed: 1 or more while far, 0 when settled without noise.

    Where everybody's data agree, and for an agent alone, the own gradient vanishes with the tracker; so it
    counts as no less than a share of the largest that was ever seen, in any epoch.
    """

    def __init__(self, largest: float = 0.0) -> None:
        self.largest = largest  # own gradient
        self._tracker = Smoothed()
        self._gradient = Smoothed()
        self._samples = 0

    def add(self, lengths: tuple[float, float]) -> None:
        """Take in one tick's (|tracker|, |own gradient|)."""
        self._samples += 1
        self._tracker.add(lengths[0])
        self._gradient.add(lengths[1])
        self.largest = max(self.largest, lengths[1])

    def ratio(self) -> float:
        """The smoothed ratio; 1 until there are enough ticks to tell, 0 where there never was a gradient."""
        if self._samples < SMOOTHING_TICKS:
            return 1.0
        gradient = max(self._gradient.mean(), LEAST_GRADIENT * self.largest)
        return self._tracker.mean() / gradient if gradient > 0 else 0.0


class HyperSchedule:
    """The factor on the hyper step size: 1 at first, halved for a reason, never raised."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._alignment = Smoothed()
        self._reversals = 0
        self._steps_since = 0
        self._best_residual = float("inf")

    def update(self, hyper: HyperReport, residual: float) -> Reason | None:
        """Take in one hyper step; the reason if the rate was just lowered."""
        self._steps_since += 1
        self._alignment.add(hyper.alignment)
        self._reversals += hyper.reversed
        self._best_residual = min(self._best_residual, residual)
        if self._steps_since <= COOL_DOWN_STEPS or self.factor <= RATE_FLOOR:
            return None
        if self._alignment.mean() < ALTERNATION or self._reversals > REVERSALS_ALLOWED:
            return self._slow_down("hypergradients alternate", residual)
        if residual > max(RESIDUAL_RISE * self._best_residual, RESIDUAL_HARMLESS):
            return self._slow_down("residual rises", residual)
        return None

    def restart(self) -> None:
        """Keep the rate, forget what was seen: a new epoch shakes residuals and hypergradients by itself."""
        self._alignment = Smoothed()
        self._reversals = 0
        self._steps_since = 0
        self._best_residual = float("inf")

    def _slow_down(self, reason: Reason, residual: float) -> Reason:
        self.factor /= 2.0
        self.restart()
        self._best_residual = residual
        return reason
