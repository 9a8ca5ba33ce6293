"""Watches one agent's hypergradients for signs that the hyperparameters move too fast.

Noise reverses a hypergradient as often as not, so reversals alone say nothing. Two things do: successive
hypergradients that oppose each other again and again (fast: the step is too long for the outer curvature),
and a smoothed hypergradient that is *coherent*, hardly shorter than its parts, yet comes back reversed at
nearly full length (slow: model and adjoint lag behind, and the three chase each other in a circle).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from peer.learner import HyperReport
from peer.snapshot import set_state

if TYPE_CHECKING:
    from torch import Tensor

SMOOTHING = 0.1  # weight of the newest hypergradient: means over about 10 steps
COHERENT = 0.5  # |mean| / mean length; independent noise gives about 0.25
REVERSED_COSINE = -0.5
REVERSED_LENGTH = 0.5  # of the longest mean since the last reversal
LENGTH_FLOOR = 1e-3  # of the longest hypergradient of all: close to the solution reversals do no harm


class HyperWatch:
    """Feed it every hypergradient that a step was taken along."""

    def __init__(self) -> None:
        self._previous: Tensor | None = None
        self._mean: Tensor | None = None
        self._mean_length = 0.0
        self._remembered: Tensor | None = None
        self._longest = 0.0

    def see(self, hypergradient: Tensor) -> HyperReport:
        """Report on one hypergradient, shape (h,), float64 and finite."""
        norm = _norm(hypergradient)
        previous, self._previous = self._previous, hypergradient
        if previous is None or self._mean is None:
            self._mean, self._mean_length, self._longest = hypergradient, norm, norm
            self._remembered = hypergradient
            return HyperReport(norm)
        self._longest = max(self._longest, norm)
        self._mean = torch.lerp(self._mean, hypergradient, SMOOTHING)
        self._mean_length += SMOOTHING * (norm - self._mean_length)
        return HyperReport(norm, _cosine(previous, hypergradient), self._reversed(self._mean))

    def state_dict(self) -> dict[str, Any]:
        """All that was seen, for `load_state_dict`; later changes do not reach it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises SnapshotError."""
        set_state(self, state)

    def _reversed(self, mean: Tensor) -> bool:
        length = _norm(mean)
        if length < COHERENT * self._mean_length or length < LENGTH_FLOOR * self._longest:
            return False
        assert self._remembered is not None
        remembered = _norm(self._remembered)
        turned = _cosine(self._remembered, mean) < REVERSED_COSINE
        if turned or length > remembered:
            self._remembered = mean
        return turned and length >= REVERSED_LENGTH * remembered


def _norm(vector: Tensor) -> float:
    return math.sqrt(float(torch.dot(vector, vector)))


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = _norm(one) * _norm(other)
    return float(torch.dot(one, other)) / lengths if lengths > 0 else 0.0
