"""Agents' tasks with a closed form, element by element, and how far a swarm is from it.

    f_i(x, h_i) = sum a_i (x - c_i - h_i)^2 / 2        F_i(x) = sum (x - b_i)^2 / 2

so  x* = sum a_i (c_i + h_i) / sum a_i,   p = (x* - mean b_i) / mean a_i,   v_i = a_i p      (DESIGN (2))

In some worlds they are bent, as networks are: with z = x - c_i - h_i and s the bend, the slope is

    f_i' = a_i ((1 - s) z + s z / sqrt(1 + z^2))        and the curvature, at z, takes the place of a_i

where x* is found by halving. Square roots are rounded correctly everywhere, exponentials are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.hunt.fixed_point import FixedVector
from peer.learner import Evaluation, HyperReport
from peer.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.hunt.watched_solver import Watcher


HALVINGS = 80  # more than a float has bits


@dataclass(frozen=True, slots=True)
class Quadratic:
    """One agent's task; the hyperparameters are held at 0. Shapes (d,)."""

    curvature: tuple[float, ...]  # a
    centre: tuple[float, ...]  # c
    goal: tuple[float, ...]  # b
    bend: float = 0.0  # s, the share of the curvature that is lost far from the centre

    def slope(self, index: int, offset: float) -> float:
        """Of one element of the training loss, so far from the centre."""
        straight, bent = 1.0 - self.bend, self.bend / math.sqrt(1.0 + offset * offset)
        return self.curvature[index] * offset * (straight + bent)

    def curvature_at(self, index: int, offset: float) -> float:
        """There, too."""
        square = 1.0 + offset * offset
        return self.curvature[index] * (1.0 - self.bend + self.bend / (square * math.sqrt(square)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a swarm should find: model, adjoint, and the hypergradient of each of its agents."""

    model: list[float]
    adjoint: list[float]
    hypergradients: list[list[float]]


def closed_form(tasks: Sequence[Quadratic]) -> Answer:
    """Of a swarm of these agents, of which there is one or more."""
    model, adjoint = [], []
    hypergradients: list[list[float]] = [[] for _ in tasks]
    for index in range(len(tasks[0].centre)):
        here = _minimum(tasks, index)
        curvatures = [task.curvature_at(index, here - task.centre[index]) for task in tasks]
        goal = sum(task.goal[index] for task in tasks) / len(tasks)
        model.append(here)
        adjoint.append((here - goal) / (sum(curvatures) / len(tasks)))
        for found, curvature in zip(hypergradients, curvatures, strict=True):
            found.append(curvature * adjoint[-1])
    return Answer(model, adjoint, hypergradients)


def _minimum(tasks: Sequence[Quadratic], index: int) -> float:
    """Where the slopes of all add up to nothing."""
    centres = [task.centre[index] for task in tasks]
    if not any(task.bend for task in tasks):
        curvatures = [task.curvature[index] for task in tasks]
        return sum(a * c for a, c in zip(curvatures, centres, strict=True)) / sum(curvatures)
    low, high = min(centres), max(centres)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = sum(task.slope(index, middle - task.centre[index]) for task in tasks)
        low, high = (low, middle) if slope > 0.0 else (middle, high)
    return (low + high) / 2


class QuadraticLearner:
    """`peer.learner.Learner` for a Quadratic."""

    def __init__(self, task: Quadratic) -> None:
        self.task = task
        self.hypergradient = FixedVector.of([0.0] * len(task.centre))
        self._centre = FixedVector.of(task.centre)
        self._goal = FixedVector.of(task.goal)
        self.evaluations = 0  # over all lives that went on from one another
        self.watcher: Watcher | None = None  # of the solver, see `watched_solver`

    @property
    def initial_model(self) -> FixedVector:
        """Zeros."""
        return FixedVector([0] * len(self._centre))

    def evaluate(
        self,
        model: FixedVector,
        adjoint: FixedVector,
        local_step_size: float,  # noqa: ARG002  (nothing is local)
        probe: FixedVector | None = None,  # noqa: ARG002  (steps are drawn, not tuned)
    ) -> Evaluation[FixedVector]:
        """Exact derivatives, rounded to a unit."""
        self.evaluations += 1
        if self.task.bend:
            return self._evaluate_bent(model, adjoint)
        curvature, here = self.task.curvature, model.units
        self.hypergradient = adjoint.times(curvature)
        slopes = zip(curvature, here, self._centre.units, strict=True)
        descents = zip(self.hypergradient.units, here, self._goal.units, strict=True)
        return Evaluation(
            FixedVector([round(a * (x - c)) for a, x, c in slopes]),
            FixedVector([v - (x - b) for v, x, b in descents]),
            training_loss=0.0,
            validation_loss=0.0,
        )

    def _evaluate_bent(self, model: FixedVector, adjoint: FixedVector) -> Evaluation[FixedVector]:
        task, offsets = self.task, (model - self._centre).floats()
        self.hypergradient = adjoint.times([task.curvature_at(*one) for one in enumerate(offsets)])
        slope = FixedVector.of([task.slope(*one) for one in enumerate(offsets)])
        descent = self.hypergradient - (model - self._goal)
        return Evaluation(slope, descent, training_loss=0.0, validation_loss=0.0)

    def local_step_size(self, at_most: float) -> float:
        """Nothing is local."""
        return at_most

    def finish_tick(
        self,
        hyper_step_size: float,  # noqa: ARG002  (they are held)
        settling_ticks: float | None = None,  # noqa: ARG002
    ) -> HyperReport:
        """Nothing moves."""
        return HyperReport(0.0)

    def metrics(self, model: FixedVector) -> Mapping[str, float]:  # noqa: ARG002  (there are none)
        """None."""
        return {}

    def snapshot(self) -> Snapshot[FixedVector]:
        """How often it was asked: hyperparameters are held."""
        return Snapshot({}, {"evaluations": self.evaluations})

    def restore(self, snapshot: Snapshot[FixedVector]) -> None:
        """Go on from there."""
        found = snapshot.values["evaluations"]
        assert isinstance(found, int)
        self.evaluations = found
