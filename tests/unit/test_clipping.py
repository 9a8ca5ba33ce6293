"""Minibatches that bend little and then much: gradients are cut, steps bounded, nothing learned is lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

import peer
from peer import baselines
from peer.baselines import train_alone
from peer.settings import AgentSettings
from peer.templates import tabular, vision
from peer.tensor_algebra import TensorAlgebra
from peer.tuning.clipping import MARGIN, WEIGHT, Clipping
from peer.tuning.curvature import FLATTEST_NOISY, FORGETS, FORGETS_NOISY, PROBES_SURE, LargestCurvature
from peer.tuning.tuner import Tuner
from peer.virtual_swarm import Swarm, reproducible_torch
from wire import FaultPlan

if TYPE_CHECKING:
    from types import ModuleType

ALGEBRA = TensorAlgebra("float64")
TICKS = 400


def probed(*curvatures: float, noisy: bool) -> LargestCurvature[torch.Tensor]:
    found = LargestCurvature(ALGEBRA)
    for curvature in curvatures:
        direction = None
        while direction is None:
            direction = found.direction(lambda: torch.ones(2, dtype=torch.float64))
        found.take(curvature * direction, noisy=noisy)
    return found


def test_usual_gradients_are_left_alone_and_others_keep_their_direction_only() -> None:
    clipping = Clipping()
    assert [clipping.divisor(length) for length in (1.0, 0.5, 2.0, MARGIN)] == [1.0] * 4
    steady = Clipping()
    for _ in range(500):
        steady.divisor(1.0)
    assert steady.divisor(100.0) == pytest.approx(100.0 / MARGIN)


def test_the_usual_length_follows_at_its_pace() -> None:
    clipping = Clipping()
    clipping.divisor(1.0)
    growth = math.sqrt(1.0 + WEIGHT * (MARGIN**2 - 1.0))
    assert [clipping.divisor(1e6) for _ in range(3)] == pytest.approx(
        [1e6 / MARGIN / growth**step for step in range(3)]
    )
    falling = Clipping()
    falling.divisor(1.0)
    for _ in range(500):
        falling.divisor(1e-3)
    assert falling.divisor(1.0) == pytest.approx(1e3 / MARGIN, rel=1e-3)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_length_teaches_nothing(odd: float) -> None:
    clipping = Clipping()
    assert clipping.divisor(odd) == 1.0
    assert clipping.divisor(0.0) == 1.0, "nothing is no usual length"
    assert clipping.divisor(1.0) == 1.0
    assert clipping.divisor(odd) == 1.0
    assert clipping.divisor(2.0 * MARGIN) == pytest.approx(2.0)


def test_where_gradients_are_exact_or_steps_are_given_nothing_is_cut() -> None:
    gradient = torch.ones(4, dtype=torch.float64)
    for settings, noisy, divisor in (
        (AgentSettings(model_step_size=None), False, 1.0),
        (AgentSettings(model_step_size=None), True, 100.0 / MARGIN),
        (AgentSettings(model_step_size=0.1, adjoint_step_size=0.1), True, 1.0),
    ):
        tuner = Tuner(settings, ALGEBRA)
        tuner._caution.is_noisy = noisy
        assert tuner.divisor(gradient) == 1.0
        assert tuner.divisor(100.0 * gradient) == pytest.approx(divisor)


def test_minibatches_forget_what_was_steep_slowly() -> None:
    high, low = 4.0, 1.0
    assert probed(high, low, noisy=False).value == pytest.approx(high + FORGETS * (low - high))
    assert probed(high, low, noisy=True).value == pytest.approx(high + FORGETS_NOISY * (low - high))
    assert probed(low, high, noisy=True).value == high


def test_steps_along_minibatches_stay_within_reach_of_the_first() -> None:
    flat = [2.0] * PROBES_SURE + [1e-3] * 400
    exact, noisy = probed(*flat, noisy=False), probed(*flat, noisy=True)
    assert noisy.value < 0.1
    assert noisy.bound(noisy=True) == pytest.approx(2.0 * FLATTEST_NOISY)
    assert exact.bound(noisy=False) == pytest.approx(exact.value + exact.lacks)
    assert exact.lacks == pytest.approx(1e-3)
    assert noisy.lacks == pytest.approx(1e-3, rel=0.1), "damping is another matter"
    young = probed(2.0, noisy=True)
    assert young.bound(noisy=True) == young.value


@pytest.mark.parametrize("template", [tabular, vision])
@pytest.mark.parametrize("shard", [0, 1, 2])
def test_training_alone_keeps_what_it_has_learned(
    template: ModuleType, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On what `hyperpush init` writes; losses were 1e20 before steps were bounded, and half were wrong."""
    losses: list[float] = []

    class Watched(Tuner[torch.Tensor]):
        def felt(self, point: torch.Tensor, gradient: torch.Tensor, loss: float, *, moving: bool) -> None:
            losses.append(loss)
            super().felt(point, gradient, loss, moving=moving)

    monkeypatch.setattr(baselines, "Tuner", Watched)
    problem = template.problem(shard, 3, 0, peer.OutputBias())
    found = train_alone(problem, AgentSettings(), TICKS, use_validation=False)
    assert found is not None
    assert found > 0.85
    assert max(losses[-100:]) < 0.1 * losses[0]
    assert max(losses[50:]) < 5.0 * losses[0]


def test_an_agent_left_alone_keeps_what_it_has_learned_too() -> None:
    problem = tabular.problem(0, 3, 0, peer.OutputBias())
    with reproducible_torch():
        swarm = Swarm([problem], AgentSettings(evaluate_every=0), faults=FaultPlan(), seed=0)
        swarm.simulation.run_until(TICKS * AgentSettings().tick_s)
        agent = swarm.members[0].agent
    assert agent is not None
    assert agent.progress.report.training_loss < 0.1


def test_training_in_vain_is_no_score() -> None:
    problem = tabular.problem(0, 3, 0, peer.OutputBias())
    far = AgentSettings(model_step_size=1e3, adjoint_step_size=0.1)
    assert math.isnan(train_alone(problem, far, 60, use_validation=False) or 0.0)
    near = AgentSettings(model_step_size=0.1, adjoint_step_size=0.1)
    assert (train_alone(problem, near, 60, use_validation=False) or 0.0) > 0.8
    assert train_alone(problem, far, 1, use_validation=False) is not None, "one loss has no two ends"
