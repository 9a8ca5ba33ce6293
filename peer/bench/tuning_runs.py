"""Ticks to the answer in one world of `peer.bench.tuning_worlds`: with a grid of settings, and self-tuned."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from peer.bench.tuning_worlds import TICK_S
from peer.settings import AgentSettings
from peer.tuning.tuner import Steps, Tuning
from peer.virtual_swarm import Swarm, reproducible_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from peer.bench.tuning_worlds import World

STEPS = (0.03, 0.06, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5)  # times one over the curvature
MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
ALL_SETTINGS = tuple((step, momentum) for step in STEPS for momentum in MOMENTA)
GOAL = 1e-6  # relative error of model and adjoint of every agent
TICKS_MAX = 4_000
BEYOND = 2.0  # times the ticks of the best setting, others are given to be compared with
PATIENCE = 10.0  # times the ticks of the best setting that the self-tuned swarm is given
DIVERGED = 30.0  # times the answer; a setting of the grid is stopped then, before its agents are disbelieved


@dataclass(frozen=True, slots=True)
class Grid:
    """Ticks to the answer by setting; NaN where it was not reached when the search ended."""

    steps: tuple[float, ...]
    momenta: tuple[float, ...]
    ticks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one world has shown. Ticks are NaN where the answer was not reached."""

    seed: int
    about: str
    grid: Grid
    best: int  # the setting of the grid that was there first
    tuned_ticks: float
    tuned_diverged: bool
    tuned: str  # what the first agent chose last, in words

    @property
    def best_ticks(self) -> float:
        """Of that setting."""
        return self.grid.ticks[self.best]

    @property
    def ratio(self) -> float:
        """Self-tuned to best; infinite where it was not reached."""
        return math.inf if math.isnan(self.tuned_ticks) else self.tuned_ticks / self.best_ticks

    def ratio_of(self, setting: int) -> float:
        """One setting of the grid to the best."""
        ticks = self.grid.ticks[setting]
        return math.inf if math.isnan(ticks) else ticks / self.best_ticks


def _settings(world: World) -> AgentSettings:
    return AgentSettings(
        tick_s=TICK_S,
        fanout=world.fanout,
        local_steps=world.local_steps,
        block_fraction=world.block_fraction,
        local_step_size=0.1,  # nothing is local
        wire_dtype="float64",
        evaluate_every=0,
    )


def _swarm(world: World, rows: int, settings: AgentSettings) -> Swarm:
    return Swarm(world.problems(rows), settings, faults=world.faults, seed=world.seed, speeds=world.speeds)


def _errors(swarm: Swarm, world: World) -> Tensor:
    """Of every row: the largest relative error of any agent, of model or adjoint."""
    worst = torch.zeros(1, dtype=torch.float64)
    for member in swarm.members:
        assert member.agent is not None
        solver = member.agent.solver
        for stream, truth in ((solver.model, world.model), (solver.adjoint, world.adjoint)):
            rows = stream.estimate.view(-1, world.dimension)
            worst = torch.maximum(worst, (rows - truth).norm(dim=1) / truth.norm())
    return worst.nan_to_num(math.inf)


def run_grid(
    world: World, *, beyond: float = 1.0, settings: Sequence[tuple[float, float]] = ALL_SETTINGS
) -> Grid:
    """All settings in one swarm, until `beyond` times the ticks that the first has needed."""
    given = replace(_settings(world), model_step_size=0.1, adjoint_step_size=0.1, momentum=0.0)
    swarm = _swarm(world, len(settings), given)  # vectors take the place of what is given
    step = torch.tensor([one for one, _ in settings], dtype=torch.float64)
    step = (step / world.largest / world.local_steps).repeat_interleave(world.dimension)
    momentum = torch.tensor([one for _, one in settings], dtype=torch.float64)
    momentum = momentum.repeat_interleave(world.dimension)
    for member in swarm.members:
        assert member.agent is not None
        member.agent.solver.tuner.tuning = Tuning(Steps(step, step, momentum))  # type: ignore[arg-type]
    reached = torch.full((len(settings),), math.nan, dtype=torch.float64)
    tick, limit = 0, float(TICKS_MAX)
    while tick < limit:
        tick += 1
        swarm.simulation.run_until(tick * TICK_S)
        errors = _errors(swarm, world)
        reached[(errors <= GOAL) & reached.isnan()] = tick
        for row in (errors > DIVERGED).nonzero().flatten().tolist():
            span = slice(row * world.dimension, (row + 1) * world.dimension)
            step[span] = momentum[span] = 0.0
        if any(member.agent.membership.quarantined for member in swarm.members if member.agent):
            raise AssertionError(f"world {world.seed}: what diverges in the grid disturbs the rest of it")
        if not bool(reached.isnan().all()):
            limit = min(limit, beyond * float(reached.nan_to_num(math.inf).min()))
    return Grid(tuple(one for one, _ in settings), tuple(one for _, one in settings), tuple(reached.tolist()))


def run_tuned(world: World, limit: float) -> tuple[float, bool, Tuning]:
    """Ticks to the answer, NaN beyond the limit; whether it diverged; what the first agent chose last."""
    swarm = _swarm(world, 1, _settings(world))
    first = swarm.members[0].agent
    assert first is not None
    for tick in range(1, math.ceil(limit) + 1):
        swarm.simulation.run_until(tick * TICK_S)
        error = float(_errors(swarm, world))
        if error <= GOAL:
            return float(tick), False, first.solver.tuner.tuning
        if error > DIVERGED:
            return math.nan, True, first.solver.tuner.tuning
    return math.nan, False, first.solver.tuner.tuning


def compare(world: World) -> Outcome:
    """Both."""
    with reproducible_torch():
        grid = run_grid(world, beyond=BEYOND)
        reached = [ticks if not math.isnan(ticks) else math.inf for ticks in grid.ticks]
        best = reached.index(min(reached))
        ticks, diverged, tuning = run_tuned(world, PATIENCE * min(reached[best], float(TICKS_MAX)))
    return Outcome(world.seed, world.about, grid, best, ticks, diverged, tuning.describe())
