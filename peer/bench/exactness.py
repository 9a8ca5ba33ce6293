"""`hyperpush bench exactness`: how exact are the answers of DESIGN, section 2, on which network?

Every cell is one simulated swarm on quadratics with held hyperparameters; its errors are the largest over
agents, relative to the closed form. Messages and bytes count what was put on the links, lost ones included.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from rich.progress import Progress
from rich.table import Table

from peer.display import make_console
from peer.jsonable import check_json, write_json
from peer.quadratic import QuadraticProblem, closed_form
from peer.recorder import versions
from peer.spread.workers import workers_of
from peer.virtual_swarm import simulate
from peer.worker_processes import as_done
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from torch import Tensor

TICK_S = 0.05
FANOUT = 3
SPEEDS_RATIO = 10.0

METHODS: Mapping[str, str] = {
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


def main(options: argparse.Namespace) -> int:
    """Print the table, and write it with `--json`. Raises `SettingError` for a file that cannot be."""
    check_json(options.json)
    scale = Scale(options.agents, options.ticks, options.step_size, options.seed)
    console = make_console()
    wanted = [(network, method) for network in NETWORKS for method in METHODS]
    found: dict[tuple[Network, str], Cell] = {}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=len(wanted))
        # The longest, on the worst networks, are begun first.
        for one, cell in as_done(partial(measure, scale), wanted[::-1], workers_of(options)):
            found[one] = cell
            progress.update(bar, advance=1, description=f"{cell.network}, {cell.method}")
    cells = [found[one] for one in wanted]
    console.print(table_of(scale, cells))
    console.print("Largest error of any agent, relative to the closed form. NaN: broken down.")
    if options.json is not None:
        content = {
            "scale": asdict(scale),
            "versions": versions(),
            "cells": [asdict(cell) for cell in cells],
        }
        write_json(options.json, content)
    return 0


def table_of(scale: Scale, cells: Sequence[Cell]) -> Table:
    """For people."""
    title = f"{scale.agents} agents, fanout {FANOUT}, {scale.ticks} ticks, step {scale.step_size}, "
    table = Table(title=f"{title}seed {scale.seed}", header_style="bold")
    table.add_column("network", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for heading in ("model", "adjoint", "hypergradient", "messages", "MB"):
        table.add_column(heading, justify="right")
    for index, cell in enumerate(cells):
        first = index == 0 or cells[index - 1].network != cell.network
        if first and index:
            table.add_section()
        table.add_row(
            cell.network if first else "",
            cell.method,
            *(_told(e) for e in (cell.model_error, cell.adjoint_error, cell.hypergradient_error)),
            f"{cell.messages:,}",
            f"{cell.bytes / 1e6:.1f}",
        )
    return table


def _told(error: float) -> str:
    return "NaN" if math.isnan(error) else f"{error:.1e}"


def measure(scale: Scale, one: tuple[Network, str]) -> Cell:
    """Run one cell: a network and a method."""
    network, method = one
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


def _relative(found: Tensor, truth: Tensor) -> float:
    """NaN if anything is not finite."""
    error = float((found - truth).norm() / truth.norm())
    return error if error < math.inf else math.nan
