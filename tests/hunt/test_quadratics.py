"""The tasks of the hunt and their answers, quadratic and bent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from peer.hunt.fixed_point import FixedVector
from peer.hunt.quadratics import Quadratic, QuadraticLearner, closed_form
from peer.hunt.trial import Trial
from peer.hunt.world import BEND, draw

STEP = 1e-5


def bent(seed: int) -> Any:
    world = draw(seed)
    return replace(world, tasks=tuple(replace(task, bend=BEND) for task in world.tasks))


@pytest.mark.parametrize("bend", [0.0, BEND])
def test_an_answer_is_what_it_says(bend: float) -> None:
    """DESIGN (2): slopes and adjoint equations add up to nothing, and curvatures are slopes of slopes."""
    tasks = [replace(task, bend=bend) for task in draw(1).tasks]
    answer = closed_form(tasks)
    for index, (here, adjoint) in enumerate(zip(answer.model, answer.adjoint, strict=True)):
        assert sum(task.slope(index, here - task.centre[index]) for task in tasks) == pytest.approx(
            0, abs=1e-9
        )
        pulls = [
            answer.hypergradients[number][index] - (here - task.goal[index])
            for number, task in enumerate(tasks)
        ]
        assert sum(pulls) == pytest.approx(0, abs=1e-9)
        for number, task in enumerate(tasks):
            offset = here - task.centre[index]
            rise = task.slope(index, offset + STEP) - task.slope(index, offset - STEP)
            assert rise / (2 * STEP) == pytest.approx(task.curvature_at(index, offset), rel=1e-6)
            assert answer.hypergradients[number][index] == pytest.approx(
                rise / (2 * STEP) * adjoint, rel=1e-6
            )


def test_without_a_bend_both_ways_to_evaluate_agree() -> None:
    learner = QuadraticLearner(Quadratic((0.5, 1.5), (1.0, -2.0), (3.0, 4.0)))
    model, adjoint = FixedVector.of([0.25, 7.0]), FixedVector.of([1.0, -1.0])
    straight, other = learner.evaluate(model, adjoint, 0.0), learner._evaluate_bent(model, adjoint)
    assert other.model_gradient.floats() == pytest.approx(straight.model_gradient.floats())
    assert other.adjoint_gradient.floats() == pytest.approx(straight.adjoint_gradient.floats())


def test_some_worlds_are_bent_and_their_answer_is_found() -> None:
    assert 5 <= sum(bool(draw(seed).tasks[0].bend) for seed in range(500)) <= 20
    for seed in (1, 3, 12):
        assert not Trial(bent(seed)).run().violation


def steepest(self: Quadratic, index: int, offset: float) -> float:
    """The curvature at the centre, everywhere."""
    return self.curvature[index]


def test_a_wrong_curvature_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.hunt.trial.SETTLES_S", 500.0)
    monkeypatch.setattr("peer.hunt.trial.SETTLES_OF_SLOWEST_S", 0.0)
    world = replace(bent(1), troubles=())
    answer = closed_form(world.tasks)
    monkeypatch.setattr("peer.hunt.trial.closed_form", lambda _: answer)
    with mock.patch.object(Quadratic, "curvature_at", steepest):
        assert Trial(world).run().checker == "answer"
