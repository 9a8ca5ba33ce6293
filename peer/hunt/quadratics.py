"""Agents' tasks with a closed form, element by element, and how far a swarm is from it.

    f_i(x, h_i) = sum a_i (x - c_i - h_i)^2 / 2        F_i(x) = sum (x - b_i)^2 / 2

so  x* = sum a_i (c_i + h_i) / sum a_i,   p = (x* - mean b_i) / mean a_i,   v_i = a_i p      (DESIGN (2))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.hunt.fixed_point import FixedVector
from peer.learner import Evaluation, HyperReport
from peer.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Quadratic:
    """One agent's task; the hyperparameters are held at 0. Shapes (d,)."""

    curvature: tuple[float, ...]  # a
    centre: tuple[float, ...]  # c
    goal: tuple[float, ...]  # b


@dataclass(frozen=True, slots=True)
class Answer:
    """What a swarm should find: model, adjoint, and the hypergradient of each of its agents."""

    model: list[float]
    adjoint: list[float]
    hypergradients: list[list[float]]


def closed_form(tasks: Sequence[Quadratic]) -> Answer:
    """Of a swarm of these agents, of which there is one or more."""
    model, adjoint = [], []
    for index in range(len(tasks[0].centre)):
        curvature = sum(task.curvature[index] for task in tasks)
        here = sum(task.curvature[index] * task.centre[index] for task in tasks) / curvature
        goal = sum(task.goal[index] for task in tasks) / len(tasks)
        model.append(here)
        adjoint.append((here - goal) / (curvature / len(tasks)))
    hypergradients = [[a * p for a, p in zip(task.curvature, adjoint, strict=True)] for task in tasks]
    return Answer(model, adjoint, hypergradients)


class QuadraticLearner:
    """`peer.learner.Learner` for a Quadratic."""

    def __init__(self, task: Quadratic) -> None:
        self.task = task
        self.hypergradient = FixedVector.of([0.0] * len(task.centre))
        self._centre = FixedVector.of(task.centre)
        self._goal = FixedVector.of(task.goal)
        self.evaluations = 0  # over all lives that went on from one another

    @property
    def initial_model(self) -> FixedVector:
        """Zeros."""
        return FixedVector([0] * len(self._centre))

    def evaluate(
        self,
        model: FixedVector,
        adjoint: FixedVector,
        local_step_size: float,  # noqa: ARG002  (nothing is local)
    ) -> Evaluation[FixedVector]:
        """Exact derivatives, rounded to a unit."""
        self.evaluations += 1
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

    def finish_tick(self, hyper_step_size: float) -> HyperReport:  # noqa: ARG002  (they are held)
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
