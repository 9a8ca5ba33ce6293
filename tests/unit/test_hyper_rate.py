"""The rate of hyperparameters that is chosen: small at first, then by what hypergradients answer."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

import peer
import wire
from peer.hyper_rate import FIRST_MOVE, GROWS_MAX, MOVE_MAX, STABLE, WINDOW_STEPS, HyperRate
from peer.torch_learner import OPTIMIZER_RATE, TorchLearner

SETTLING = 4.0
ONES = torch.ones(3, dtype=torch.float64)


def descend(rate: HyperRate, curvature: float, steps: int, start: float = 5.0) -> tuple[list[float], float]:
    """On a parabola with that curvature; the rates, and where it ended."""
    point, rates = start * ONES, []
    for _ in range(steps):
        gradient = curvature * point
        rates.append(rate.choose(gradient, point, SETTLING))
        point = point - rates[-1] * gradient
        rate.stepped(gradient, point, rates[-1], SETTLING)
    return rates, float(point.abs().max())


def test_the_first_steps_are_a_small_share_of_the_hyperparameters() -> None:
    for scale in (1e-6, 1.0, 1e6):
        rate = HyperRate()
        assert rate.choose(scale * ONES, 7 * ONES, SETTLING) * scale == pytest.approx(FIRST_MOVE * 7)
        assert rate.choose(scale * ONES, 0 * ONES, SETTLING) * scale == pytest.approx(FIRST_MOVE)
        assert rate.choose(0.1 * scale * ONES, 0 * ONES, SETTLING) * scale == pytest.approx(FIRST_MOVE)
    assert HyperRate().choose(0 * ONES, ONES, SETTLING) == 0.0


@pytest.mark.parametrize("curvature", [0.01, 1.0, 100.0])
def test_the_rate_comes_to_what_the_curvature_allows(curvature: float) -> None:
    rates, end = descend(HyperRate(), curvature, 1500)
    assert rates[-1] == pytest.approx(STABLE / (curvature * SETTLING), rel=0.1)
    assert max(b / a for a, b in pairwise(rates)) <= GROWS_MAX * (1 + 1e-9)
    assert end < 1e-3


def test_a_curvature_that_rises_counts_at_once_and_one_that_falls_little_by_little() -> None:
    rate = HyperRate()
    descend(rate, 1.0, 600)
    before, _ = descend(rate, 50.0, 6 * WINDOW_STEPS)
    assert before[-1] < 1.1 * STABLE / (50.0 * SETTLING)
    after, _ = descend(rate, 1.0, 3 * WINDOW_STEPS)
    assert before[-1] < after[-1] < 0.2 * STABLE / SETTLING


def test_no_step_is_long_however_long_the_hypergradient() -> None:
    """Found by measurement: an adjoint that ran away took hyperparameters to 1e16 within ten ticks."""
    rate = HyperRate()
    _, end = descend(rate, 1.0, 600)
    assert rate.choose(1e9 * ONES, end * ONES, SETTLING) * 1e9 == pytest.approx(MOVE_MAX)
    assert rate.choose(1e9 * ONES, 40 * ONES, SETTLING) * 1e9 == pytest.approx(40 * MOVE_MAX)
    assert rate.choose(0 * ONES, ONES, SETTLING) > 0.0


def test_what_does_not_move_says_nothing() -> None:
    rate = HyperRate()
    for _ in range(4 * WINDOW_STEPS):
        chosen = rate.choose(ONES, ONES, SETTLING)
        rate.stepped(ONES, ONES, chosen, SETTLING)
    assert chosen == FIRST_MOVE


@pytest.mark.parametrize("settling", [4.0, 18.0])
def test_what_hypergradients_changed_by_themselves_is_forgotten(settling: float) -> None:
    """Found by measurement: they swung while the model learned, and rates stayed far too low for ever.

    A fast agent on a lossy network kept 0.0001 for 400 ticks, where 0.02 serves: accuracy 0.63, not 0.83.
    """
    rate, point, generator = HyperRate(), 0 * ONES, torch.Generator().manual_seed(0)
    for step in range(800):
        swing = 5.0 * math.cos(step / 11.0) * math.exp(-step / 60.0)
        noise = 0.1 * torch.randn(3, generator=generator, dtype=torch.float64)
        gradient = 0.5 * (point - ONES) + swing * ONES + noise
        chosen = rate.choose(gradient, point, settling)
        point = point - chosen * gradient
        rate.stepped(gradient, point, chosen, settling)
    assert float((point - ONES).abs().max()) < 0.15


def test_where_hypergradients_do_not_change_the_rate_grows_from_window_to_window() -> None:
    rate, point, rates = HyperRate(), 0 * ONES, []
    for _ in range(4 * WINDOW_STEPS):
        rates.append(rate.choose(ONES, point, SETTLING))
        point = point - rates[-1] * ONES
        rate.stepped(ONES, point, rates[-1], SETTLING)
    assert rates[-1] == pytest.approx(GROWS_MAX**2 * FIRST_MOVE)


def test_it_goes_on_where_it_was() -> None:
    first, second = HyperRate(), HyperRate()
    descend(first, 1.0, 150)
    second.load_state_dict(first.state_dict())
    assert descend(first, 1.0, 90, start=1.0) == descend(second, 1.0, 90, start=1.0)


@pytest.mark.slow
def test_a_swarm_that_chooses_its_rate_comes_to_the_bilevel_solution() -> None:
    """Reference: DESIGN (1), hyperparameters learned; at 20 % loss, nothing given by hand."""
    generator = torch.Generator().manual_seed(2)
    problems = [peer.QuadraticProblem.random(generator, dimension=8, condition=5) for _ in range(5)]
    result = peer.simulate(
        problems, faults=wire.FaultPlan(drop=0.2), ticks=400, wire_dtype="float64", hyper_step_size=None
    )
    for agent, wanted in zip(result.agents, peer.bilevel_solution(problems), strict=True):
        assert float((agent.hyperparameters["h"] - wanted).norm() / wanted.norm()) < 1e-3


def test_other_optimizers_are_given_a_rate_of_their_own() -> None:
    problem = peer.QuadraticProblem.random(torch.Generator().manual_seed(0))
    learner = TorchLearner(problem, torch.optim.Adam)
    learner.evaluate(learner.initial_model, learner.initial_model, 0.1)
    assert learner.finish_tick(0.5, 3.0).rate == 0.5 * OPTIMIZER_RATE
