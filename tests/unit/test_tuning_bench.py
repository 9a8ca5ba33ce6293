"""The worlds in which steps are compared: their answers are answers, and one swarm carries many settings."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from peer.bench.tuning import best_for_all, summary
from peer.bench.tuning_runs import MOMENTA, STEPS, Grid, Outcome, compare, run_grid
from peer.bench.tuning_worlds import Logistic, draw_world


@pytest.mark.parametrize("seed", range(6))
def test_gradients_vanish_at_the_answer_and_products_are_slopes(seed: int) -> None:
    world = draw_world(seed)
    x, p = world.model[None], world.adjoint[None]
    gradients = torch.cat([loss.gradient(x) for loss in world.losses])
    assert float(gradients.mean(0).norm()) < 1e-9 * float(gradients.norm(dim=1).max())
    outer = torch.cat([loss.outer_gradient(x) for loss in world.losses]).mean(0)
    product = torch.cat([loss.product(x, p) for loss in world.losses]).mean(0)
    assert torch.allclose(product, outer, rtol=1e-9)
    for loss in world.losses[:2]:
        slope = (loss.gradient(x + 1e-6 * p) - loss.gradient(x - 1e-6 * p)) / 2e-6
        assert torch.allclose(slope, loss.product(x, p), rtol=1e-4, atol=1e-6 * float(slope.norm()))


def test_both_kinds_of_tasks_are_drawn() -> None:
    kinds = {isinstance(draw_world(seed).losses[0], Logistic) for seed in range(8)}
    assert kinds == {True, False}
    assert draw_world(3).about == draw_world(3).about


@pytest.mark.slow
def test_a_row_of_the_grid_does_what_a_swarm_with_that_setting_does() -> None:
    """Reference: what makes the comparison cheap: networks do not know of steps."""
    world = draw_world(17)  # two agents
    found = compare(world)
    assert len(found.grid.ticks) == len(STEPS) * len(MOMENTA)
    assert found.best_ticks == min(ticks for ticks in found.grid.ticks if not math.isnan(ticks))
    step, momentum = found.grid.steps[found.best], found.grid.momenta[found.best]
    alone = run_grid(world, settings=[(step, momentum)])
    assert alone.ticks == (found.best_ticks,)
    assert 0.5 < found.ratio < 3.0
    assert not found.tuned_diverged


def outcome(seed: int, tuned: float, ticks: list[float]) -> Outcome:
    settings = [(step, momentum) for step in STEPS for momentum in MOMENTA]
    rest = [math.nan] * (len(settings) - len(ticks))
    grid = Grid(tuple(s for s, _ in settings), tuple(m for _, m in settings), tuple(ticks + rest))
    reached = [one if not math.isnan(one) else math.inf for one in grid.ticks]
    return Outcome(seed, "a world", grid, reached.index(min(reached)), tuned, tuned_diverged=False, tuned="")


def test_the_table_compares_with_the_best_of_each_world_and_the_best_for_all() -> None:
    outcomes = [
        outcome(0, 110.0, [100.0, 150.0, math.nan]),
        outcome(1, 60.0, [math.nan, 60.0, 50.0]),
        outcome(2, math.nan, [80.0, 100.0, math.nan]),
    ]
    assert [one.ratio for one in outcomes] == [1.1, 1.2, math.inf]
    assert best_for_all(outcomes) == 0
    table = summary(outcomes)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[0] == ("chosen by the agents", "1.20", "> 2", "> 2", "1", "0")
    assert rows[1][1:] == ("1.00", "> 2", "> 2", "1", "")
    assert dataclasses.asdict(outcomes[0])["seed"] == 0
