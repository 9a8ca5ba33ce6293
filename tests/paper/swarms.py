"""The swarm of quadratics that the issue describes, and how far its answers are from the closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import peer
import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

TICK_S = 0.05
AGENTS = 10
SPEEDS = [10 ** (i / (AGENTS - 1)) for i in range(AGENTS)]  # 10x apart


def quadratics(count: int, *, seed: int = 1, **shape: Any) -> list[peer.QuadraticProblem]:
    generator = torch.Generator().manual_seed(seed)
    return [peer.QuadraticProblem.random(generator, **shape) for _ in range(count)]


def bad_links(**more: Any) -> wire.FaultPlan:
    """30 % of the messages vanish; the others take one tick on average, and overtake each other."""
    return wire.FaultPlan(drop=0.3, delay_s=wire.Exponential(TICK_S), **more)


def run(problems: Sequence[Any], *, ticks: float, step_size: float, **more: Any) -> peer.SimulationResult:
    """Same step size for both streams, float64 on the wire unless said otherwise."""
    keywords: dict[str, Any] = {
        "faults": bad_links(),
        "fanout": 3,
        "tick_s": TICK_S,
        "wire_dtype": "float64",
        "model_step_size": step_size,
        "adjoint_step_size": step_size,
    }
    return peer.simulate(problems, ticks=ticks, **{**keywords, **more})


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


def errors(
    agents: Sequence[peer.AgentResult], problems: Sequence[peer.QuadraticProblem], damping: float = 0.0
) -> dict[str, float]:
    """Largest relative error over these agents, which hold these problems. NaN if any is."""
    truth = peer.closed_form(problems, damping=damping)
    worst = {
        "model": [relative(agent.model["x"], truth.model) for agent in agents],
        "adjoint": [relative(agent.adjoint["x"], truth.adjoint) for agent in agents],
        "hypergradient": [
            relative(agent.hypergradient["h"], exact)
            for agent, exact in zip(agents, truth.hypergradients, strict=True)
        ],
    }
    return {name: float(torch.tensor(values, dtype=torch.float64).max()) for name, values in worst.items()}
