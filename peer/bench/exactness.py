"""How exact are the answers, on which network? The table of DESIGN section 2, produced afresh.

Every cell is one simulated swarm on quadratics with held hyperparameters; its errors are the largest over
agents, relative to the closed form. Messages and bytes count what was put on the links, lost ones included.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from peer.quadratic import QuadraticProblem, closed_form
from peer.virtual_swarm import simulate
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from peer.settings import SolverName

TICK_S = 0.05
FANOUT = 3
SPEEDS_RATIO = 10.0

METHODS: Mapping[str, SolverName] = {
    "shares sent": "push-sum-shares",
    "push-sum SGP, running sums": "push-sum",
    "tracking": "tracking",
}


@dataclass(frozen=True, slots=True)
class Network:
    """One kind of network."""

    name: str
    faults: FaultPlan
    unequal: bool = False  # speeds up to SPEEDS_RATIO apart


NETWORKS = (
    Network("lossless", FaultPlan()),
    Network("30 % loss", FaultPlan(drop=0.3)),
    Network("30 % loss, mean delay 2 ticks", FaultPlan(drop=0.3, delay_s=Exponential(2 * TICK_S))),
    Network("60 % loss, mean delay 5 ticks", FaultPlan(drop=0.6, delay_s=Exponential(5 * TICK_S))),
    Network("speeds 10x apart, 30 % loss", FaultPlan(drop=0.3), unequal=True),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """What all cells share."""

    agents: int
    ticks: int
    step_size: float
    seed: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement; errors are relative, NaN where the method broke down."""

    network: str
    method: str
    model_error: float
    adjoint_error: float
    hypergradient_error: float
    messages: int
    bytes: int
    wall_s: float


def measure(network: Network, method: str, scale: Scale) -> Cell:
    """Run one cell."""
    generator = torch.Generator().manual_seed(scale.seed)
    problems = [QuadraticProblem.random(generator) for _ in range(scale.agents)]
    truth = closed_form(problems)
    last = max(1, scale.agents - 1)
    found = simulate(
        problems,
        faults=network.faults,
        fanout=FANOUT,
        ticks=scale.ticks,
        tick_s=TICK_S,
        seed=scale.seed,
        speeds=[SPEEDS_RATIO ** (i / last) for i in range(scale.agents)] if network.unequal else None,
        solver=METHODS[method],
        model_step_size=scale.step_size,
        adjoint_step_size=scale.step_size,
        momentum=0.0,
        wire_dtype="float64",
        evaluate_every=0,
    )
    return Cell(
        network.name,
        method,
        model_error=max(_relative(agent.model["x"], truth.model) for agent in found.agents),
        adjoint_error=max(_relative(agent.adjoint["x"], truth.adjoint) for agent in found.agents),
        hypergradient_error=max(
            _relative(agent.hypergradient["h"], true)
            for agent, true in zip(found.agents, truth.hypergradients, strict=True)
        ),
        messages=found.messages,
        bytes=found.bytes,
        wall_s=found.wall_s,
    )


def measure_all(scale: Scale, jobs: int) -> Iterator[Cell]:
    """All cells, in `jobs` processes, as they are done; the longest are started first."""
    cells = [(network, method) for network in reversed(NETWORKS) for method in METHODS]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        pending = [pool.submit(measure, network, method, scale) for network, method in cells]
        for done in as_completed(pending):
            yield done.result()


def in_order(cells: list[Cell]) -> list[Cell]:
    """By network, then method, as in the table."""
    networks, methods = [network.name for network in NETWORKS], list(METHODS)
    return sorted(cells, key=lambda cell: (networks.index(cell.network), methods.index(cell.method)))


def _relative(found: Tensor, truth: Tensor) -> float:
    """NaN if anything is not finite."""
    error = float((found - truth).norm() / truth.norm())
    return error if error < float("inf") else float("nan")
