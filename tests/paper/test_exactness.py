"""The answer is exact whatever the links do: DESIGN (1), (2), solved by (4)-(8) over links that lose 30 %."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

import wire
from tests.paper.swarms import AGENTS, SPEEDS, bad_links, errors, quadratics, run

if TYPE_CHECKING:
    import peer

# How the agents work, and how long until the error is ten times below the bound. Speeds differ by 10.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"step_size": 0.8, "ticks": 150},
    "one block of ten": {"step_size": 0.2, "ticks": 500, "block_fraction": 0.1},
    "momentum": {"step_size": 0.2, "ticks": 100, "momentum": 0.8},
    "five local steps": {"step_size": 0.2, "ticks": 110, "local_steps": 5},
    "all three": {"step_size": 0.01, "ticks": 500, "block_fraction": 0.1, "momentum": 0.8, "local_steps": 5},
}


@functools.cache
def ten_agents() -> list[peer.QuadraticProblem]:
    return quadratics(AGENTS, dimension=20, condition=20.0)


@pytest.mark.parametrize("way", WAYS)
def test_model_adjoint_and_hypergradient_are_exact(way: str) -> None:
    """Reference: DESIGN (2), (4)-(8) and the paragraphs Blocks, Local steps, Momentum: same fixed point.

    10 agents, ring + 2 others, 30 % loss, mean delay one tick, speeds 10x apart.
    """
    result = run(ten_agents(), speeds=SPEEDS, **WAYS[way])
    found = errors(result.agents, ten_agents())
    assert max(found.values()) < 1e-6, found
    assert all(agent.epoch == 1 and agent.alive for agent in result.agents)
    lost = sum(agent.counters.lost for agent in result.agents)
    assert 0.28 < lost / result.messages < 0.32, "the links were not as bad as they should be"
    if way == "one block of ten":
        assert result.bytes / result.messages < 1100, (
            "a tenth of the arrays, envelope, signs of life, averages"
        )


def test_a_float32_wire_costs_precision_but_no_bias() -> None:
    """Reference: DESIGN (Precision): mass is exact with either wire, the floor is the spacing of float32."""
    result = run(ten_agents(), speeds=SPEEDS, step_size=0.2, momentum=0.8, ticks=100, wire_dtype="float32")
    found = errors(result.agents, ten_agents())
    assert max(found.values()) < 1e-5, found


def test_duplicates_and_reordering_change_nothing() -> None:
    """Reference: DESIGN (8): a sequence that is not higher is ignored, a newer message contains the older."""
    problems = quadratics(5, dimension=8, condition=10.0)
    links = bad_links(duplicate=0.3, reorder=0.3)
    result = run(problems, faults=links, step_size=0.3, momentum=0.6, ticks=260)
    found = errors(result.agents, problems)
    assert max(found.values()) < 1e-6, found
    assert all(agent.inbox.stale > 0 for agent in result.agents)


def test_damping_biases_exactly_as_it_should() -> None:
    """Reference: DESIGN (6): the adjoint solves with H + delta I, and only the adjoint."""
    problems = quadratics(5, dimension=8, condition=10.0)
    result = run(problems, step_size=0.3, momentum=0.6, damping=0.2, ticks=260)
    found = errors(result.agents, problems, damping=0.2)
    assert max(found.values()) < 1e-6, found
    biased = errors(result.agents, problems)
    assert biased["model"] < 1e-6
    assert biased["adjoint"] > 0.1
    assert biased["hypergradient"] > 0.1


def test_a_lossless_network_is_exact_too() -> None:
    """Reference: DESIGN, section 2; `bench exactness`, lossless."""
    problems = quadratics(4, dimension=6, condition=5.0)
    result = run(problems, faults=wire.FaultPlan(), step_size=0.3, momentum=0.5, ticks=200)
    found = errors(result.agents, problems)
    assert max(found.values()) < 1e-10, found
