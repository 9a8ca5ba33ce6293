"""Why tracking over running sums: what loss and unequal speeds do to the others (`bench exactness`)."""

from __future__ import annotations

import functools
import math

import torch

import peer
import wire
from tests.paper.swarms import TICK_S, bad_links, errors, quadratics, relative, run

LOSSLESS = wire.FaultPlan(delay_s=TICK_S)
SPEEDS = [10 ** (i / 3 - 0.5) for i in range(4)]


def without_losses(count: int) -> list[peer.QuadraticProblem]:
    """Nothing to minimise, and an initial model of each agent's own: push-sum can only average."""
    generator = torch.Generator().manual_seed(5)
    zeros = torch.zeros(3, 3, dtype=torch.float64)
    problems = [peer.QuadraticProblem(zeros, zeros[0], zeros, zeros, zeros[0]) for _ in range(count)]
    for problem in problems:
        problem.model = {"x": torch.randn(3, generator=generator, dtype=torch.float64)}
    return problems


def distance_from_average(solver: str, faults: wire.FaultPlan) -> float:
    problems = without_losses(6)
    average = torch.stack([problem.model["x"] for problem in problems]).mean(0)
    result = run(problems, solver=solver, faults=faults, step_size=0.1, ticks=80)
    return max(relative(agent.model["x"], average) for agent in result.agents)


def test_lost_messages_do_not_bias_the_average() -> None:
    """Reference: DESIGN (7)-(9), running sums. Fails if shares are sent instead of sums."""
    assert distance_from_average("push-sum", bad_links()) < 1e-9


def test_lost_shares_bias_the_average() -> None:
    """Reference: `bench exactness`, shares sent: a lost share is lost mass. Without loss it is exact."""
    assert distance_from_average("push-sum-shares", LOSSLESS) < 1e-9
    assert distance_from_average("push-sum-shares", bad_links()) > 1e-2


@functools.cache
def error_of_the_model(solver: str, *, lossy: bool, uneven: bool) -> float:
    problems = quadratics(4, dimension=4, condition=3.0)
    exact = solver == "tracking"
    result = run(
        problems,
        solver=solver,
        faults=bad_links() if lossy else LOSSLESS,
        speeds=SPEEDS if uneven else None,
        step_size=0.3 if exact else 0.05,
        momentum=0.5 if exact else 0.0,
        ticks=150 if exact else 250,
    )
    return errors(result.agents, problems)["model"]


def test_under_loss_shares_fail_sums_survive_and_tracking_is_exact() -> None:
    """Reference: `bench exactness`, 30 % loss."""
    shares = error_of_the_model("push-sum-shares", lossy=True, uneven=False)
    assert math.isnan(shares) or shares > 10
    assert error_of_the_model("push-sum", lossy=True, uneven=False) < 0.5
    assert error_of_the_model("tracking", lossy=True, uneven=False) < 1e-6


def test_push_sum_keeps_a_bias_even_without_loss() -> None:
    """Reference: `bench exactness`, lossless: a constant step and agents that differ."""
    assert 1e-3 < error_of_the_model("push-sum", lossy=False, uneven=False) < 0.1


def test_fast_agents_do_not_count_more_in_tracking() -> None:
    """Reference: `bench exactness`, speeds 10x apart, with loss and without."""
    assert error_of_the_model("tracking", lossy=False, uneven=True) < 1e-6
    assert error_of_the_model("tracking", lossy=True, uneven=True) < 1e-6


def test_fast_agents_win_in_push_sum() -> None:
    """Reference: `bench exactness`, speeds 10x apart; the links themselves are perfect."""
    even = error_of_the_model("push-sum", lossy=False, uneven=False)
    assert error_of_the_model("push-sum", lossy=False, uneven=True) > max(0.3, 10 * even)
