"""Exact arithmetic for the protocol: arrays of `fractions.Fraction`, so that tests may say `==`."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from peer.algebra import Algebra
from peer.learner import Evaluation, HyperReport
from peer.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

FractionVector = Any  # a numpy array of dtype object


def vector(*elements: Fraction | int) -> FractionVector:
    return np.array([Fraction(element) for element in elements], dtype=object)


class FractionAlgebra(Algebra[FractionVector]):
    """`Algebra` without rounding, or with a wire that only knows multiples of 1 / `wire_denominator`."""

    def __init__(self, wire_denominator: int | None = None) -> None:
        self._denominator = wire_denominator

    def zeros(self, size: int) -> FractionVector:
        return vector(*[0] * size)

    def ones(self, size: int) -> FractionVector:
        return vector(*[1] * size)

    def copy(self, vector: FractionVector) -> FractionVector:
        return vector.copy()

    def to_mass(self, vector: FractionVector) -> FractionVector:
        return vector

    def to_wire(self, values: FractionVector) -> FractionVector:
        if self._denominator is None:
            return values.copy()
        return vector(*[Fraction(round(value * self._denominator), self._denominator) for value in values])

    def norm(self, vector: FractionVector) -> float:
        return float(sum(element * element for element in vector)) ** 0.5

    def dot(self, one: FractionVector, other: FractionVector) -> float:
        return float(sum(one * other))

    def is_finite(self, vector: FractionVector) -> bool:
        return all(isinstance(element, Fraction) for element in vector)

    def spacing(self, vector: FractionVector) -> float:
        return 0.0


class FractionLearner:
    """Inner loss sum a (x - c)^2 / 2, outer loss sum (x - b)^2 / 2, element by element."""

    def __init__(self, curvature: FractionVector, centre: FractionVector, goal: FractionVector) -> None:
        self._curvature, self._centre, self._goal = curvature, centre, goal

    @property
    def initial_model(self) -> FractionVector:
        return self._centre * 0

    def evaluate(
        self, model: FractionVector, adjoint: FractionVector, step: object, probe: FractionVector = None
    ) -> Evaluation[FractionVector]:
        return Evaluation(
            self._curvature * (model - self._centre),
            self._curvature * adjoint - (model - self._goal),
            training_loss=0.0,
            validation_loss=0.0,
            probe_product=None if probe is None else self._curvature * probe,
        )

    def local_step_size(self, at_most: float) -> float:
        return at_most

    def finish_tick(self, hyper_step_size: float, settling_ticks: float | None = None) -> HyperReport:
        return HyperReport(0.0)

    def metrics(self, model: FractionVector) -> Mapping[str, float]:
        return {}

    def snapshot(self) -> Snapshot[FractionVector]:
        return Snapshot({})

    def restore(self, snapshot: Snapshot[FractionVector]) -> None:
        pass
