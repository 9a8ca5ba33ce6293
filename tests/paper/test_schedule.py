"""DESIGN (Hyper step): model, adjoint and hyperparameters move at once and arrive at the bilevel solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import peer
from peer.events import HyperRateLowered
from tests.paper.swarms import quadratics, relative, run

if TYPE_CHECKING:
    from collections.abc import Sequence


def small_problems() -> list[peer.QuadraticProblem]:
    return quadratics(4, dimension=6, condition=5.0, hyper_dimension=2)


def lowered(result: peer.SimulationResult) -> list[HyperRateLowered]:
    return [event for _, _, event in result.events if isinstance(event, HyperRateLowered)]


def worst(result: peer.SimulationResult, problems: Sequence[peer.QuadraticProblem]) -> float:
    solution = peer.bilevel_solution(problems)
    pairs = zip(result.agents, solution, strict=True)
    return max(relative(agent.hyperparameters["h"], exact) for agent, exact in pairs)


def test_the_continuous_schedule_reaches_the_bilevel_solution() -> None:
    """Reference: DESIGN (1), (Hyper step): at a rate well below what is stable."""
    problems = small_problems()
    result = run(problems, step_size=0.3, momentum=0.5, hyper_step_size=0.01, ticks=1500)
    assert worst(result, problems) < 1e-5
    assert lowered(result) == []


def test_a_rate_that_is_too_high_is_lowered_and_reported() -> None:
    """Reference: DESIGN (Hyper step): the agent lowers the rate and reports it."""
    problems = small_problems()
    result = run(problems, step_size=0.3, momentum=0.5, hyper_step_size=0.5, ticks=400)
    events = lowered(result)
    assert events
    assert all(0 < event.factor < 1 for event in events)


def test_hyper_steps_every_few_ticks_reach_it_too() -> None:
    problems = small_problems()
    result = run(problems, step_size=0.3, momentum=0.5, hyper_step_size=0.05, hyper_every=5, ticks=700)
    assert worst(result, problems) < 1e-2


def test_any_torch_optimizer_takes_the_hyper_steps() -> None:
    """Reference: DESIGN (Hyper step): any `torch.optim` optimizer; here one with momentum of its own."""
    problems = small_problems()
    result = run(
        problems,
        step_size=0.3,
        momentum=0.5,
        hyper_step_size=0.005,
        ticks=700,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, momentum=0.5),
    )
    assert worst(result, problems) < 1e-2


def test_held_hyperparameters_do_not_move() -> None:
    problems = small_problems()
    result = run(problems, step_size=0.3, hyper_step_size=0.0, ticks=20)
    for agent, problem in zip(result.agents, problems, strict=True):
        assert torch.equal(agent.hyperparameters["h"], problem.hyperparameters["h"])
