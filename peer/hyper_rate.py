"""The learning rate of one agent's hyperparameters, chosen from how its hypergradients answer to their moves.

Model and adjoint follow the hyperparameters, and settle in so many ticks; the outer problem bends by so much.
Three time scales stay apart while rate times curvature times settling time is well below one: DESIGN
(Hyper step). The curvature is that of a secant, between means over windows no shorter than the settling time:
what hypergradients have changed by, to what hyperparameters have. Until one is known no step is longer than a
small share of the hyperparameters themselves.

Hypergradients also change by themselves, most of all while the model learns fast. What looks like a curvature
then may be a thousand times the true one, and as steps become short, everything else that changes looks like
one, too. Therefore it is forgotten fast while hypergradients stay what they are: whoever moves, and has
nearly as far to go as before, may move faster.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from peer.snapshot import set_state

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_STEPS = 20  # at least
STABLE = 0.3  # rate x curvature x settling time
ACROSS = 0.2  # share of what hypergradients change by otherwise: mostly that the model still learns
FIRST_MOVE = 0.0025  # root mean square of a first step, to that of the hyperparameters, or to one
FORGETS = 0.1  # weight of a curvature that is lower than the last; a higher one counts at once
FORGETS_FIRST = 0.5  # in the first windows the model learns so fast that hypergradients change by themselves,
FIRST_WINDOWS = 3
GROWN_MAX = 2.0  # times longer than in the window before, and still steady
STEADY = 0.7  # share of a hypergradient that is left after a window: its end is not near
GROWS_MAX = 2.0  # times, from window to window
MOVE_MAX = 0.05  # as FIRST_MOVE, of any step: hypergradients of an adjoint that runs away have any length
STILL = 1e-7  # share of the hyperparameters: less is rounding


class HyperRate:
    """Feed it every hypergradient that a step was taken along, and where that led."""

    def __init__(self) -> None:
        self._longest = 0.0  # root mean square of any hypergradient
        self._curvature = 0.0  # 0: not known
        self._rate = 0.0  # 0: not known
        self._windows = 0  # that have told a curvature
        self._steps = 0  # in this window
        self._sums: list[Tensor] | None = None  # of hypergradients and hyperparameters
        self._means: list[Tensor] | None = None  # of the window before

    def choose(self, hypergradient: Tensor, hyperparameters: Tensor, settling_ticks: float) -> float:
        """The rate of a step along this hypergradient; both of shape (h,), float64, the first finite."""
        self._longest = max(self._longest, _rms(hypergradient))
        if self._longest == 0.0:
            return 0.0
        scale, length = max(1.0, _rms(hyperparameters)), _rms(hypergradient)
        if self._rate == 0.0:
            return FIRST_MOVE * scale / self._longest
        rate = self._rate
        if self._curvature > 0.0:
            rate = min(rate, STABLE / (self._curvature * settling_ticks))
        return min(rate, MOVE_MAX * scale / length) if length else rate

    def stepped(
        self, hypergradient: Tensor, hyperparameters: Tensor, rate: float, settling_ticks: float
    ) -> None:
        """A step at this rate has led to these hyperparameters."""
        now = [hypergradient, hyperparameters]
        self._sums = now if self._sums is None else [a + b for a, b in zip(self._sums, now, strict=True)]
        self._steps += 1
        if self._steps < max(WINDOW_STEPS, settling_ticks):
            return
        means = [total / self._steps for total in self._sums]
        if self._means is not None:
            changed, moved = (a - b for a, b in zip(means, self._means, strict=True))
            length = float(moved.norm())
            if length > STILL * (1.0 + float(means[1].norm())):
                along = float(torch.dot(changed, moved)) / length**2
                is_steady = _is_steady(self._means[0], means[0])
                curvature = max(along, 0.0 if is_steady else ACROSS * float(changed.norm()) / length)
                self._windows += 1
                forgets = FORGETS_FIRST if is_steady or self._windows <= FIRST_WINDOWS else FORGETS
                falls = curvature < self._curvature
                self._curvature += (forgets if falls else 1.0) * (curvature - self._curvature)
                wanted = STABLE / (self._curvature * settling_ticks) if self._curvature > 0.0 else math.inf
                self._rate = min(wanted, GROWS_MAX * rate)
        self._means, self._sums, self._steps = means, None, 0

    def state_dict(self) -> dict[str, Any]:
        """All that was seen, for `load_state_dict`; later changes do not reach it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises SnapshotError."""
        set_state(self, state)


def _is_steady(before: Tensor, now: Tensor) -> bool:
    """Whether a hypergradient points where it did and is nearly as long: neither at its end nor swinging."""
    square = float(torch.dot(before, before))
    is_left = float(torch.dot(now, before)) >= STEADY * square > 0.0
    return is_left and float(torch.dot(now, now)) <= GROWN_MAX**2 * square


def _rms(vector: Tensor) -> float:
    return math.sqrt(float(torch.dot(vector, vector)) / max(1, len(vector)))
