"""Agents crash, come back, join, networks fall apart: the answer is that of those who are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wire
from peer import Join, Kill, Restart
from peer.events import EpochEntered, ListeningStarted
from tests.paper.swarms import SPEEDS, TICK_S, bad_links, errors, quadratics, run

if TYPE_CHECKING:
    import peer


def epochs_entered(result: peer.SimulationResult) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for _, who, event in result.events:
        if isinstance(event, EpochEntered):
            found.setdefault(who, []).append(event.epoch)
    return found


def test_survivors_and_joiner_reach_their_own_closed_form() -> None:
    """Reference: DESIGN (Epochs): mass of the dead is left behind in the old epoch.

    Two of ten agents are killed, one joins; each of the others learns of it after a delay of its own. Speeds,
    links and solver as in the exactness tests.
    """
    problems = quadratics(11, dimension=20, condition=20.0)
    result = run(
        problems,
        speeds=[*SPEEDS, 3.0],
        step_size=0.1,
        momentum=0.8,
        warm_up_ticks=30,
        ticks=500,
        scenario=[Kill(2, 60 * TICK_S), Kill(7, 80 * TICK_S), Join(10, 220 * TICK_S)],
        notice_s=(0.0, 1.0),
    )
    remaining = [i for i in range(11) if i not in (2, 7)]
    living = [result.agents[i] for i in remaining]
    found = errors(living, [problems[i] for i in remaining])
    assert max(found.values()) < 1e-6, found
    assert not result.agents[2].alive
    assert not result.agents[7].alive
    assert len({agent.epoch for agent in living}) == 1
    assert living[0].epoch >= 4, "founded, two deaths and a birth"
    for who, numbers in epochs_entered(result).items():
        assert numbers == sorted(set(numbers)), f"{who} entered an epoch twice, or went back"


def test_a_crash_that_nobody_notices_leaves_a_wrong_answer() -> None:
    """Reference: DESIGN (Epochs): a crashed agent takes tracker mass with it. This is why epochs exist."""
    problems = quadratics(5, dimension=8, condition=10.0)
    result = run(
        problems,
        step_size=0.2,
        momentum=0.6,
        ticks=300,
        scenario=[Kill(1, 10 * TICK_S)],
        notice_s=(1e6, 1e6),
    )
    others = [0, 2, 3, 4]
    found = errors([result.agents[i] for i in others], [problems[i] for i in others])
    assert found["model"] > 1e-3, found


@pytest.mark.parametrize("with_state", [True, False])
def test_a_restarted_agent_is_back_in_the_answer(with_state: bool) -> None:
    """Reference: DESIGN (Epochs): with state a new incarnation above the persisted epoch; else a newcomer."""
    problems = quadratics(5, dimension=8, condition=10.0)
    result = run(
        problems,
        step_size=0.2,
        momentum=0.6,
        warm_up_ticks=20,
        ticks=400,
        scenario=[Kill(1, 60 * TICK_S), Restart(1, 90 * TICK_S, with_state)],
        notice_s=(0.0, 1.0),
    )
    found = errors(result.agents, problems)
    assert max(found.values()) < 1e-6, found
    assert result.agents[1].id == ("agent-1" if with_state else "agent-1+1")
    listened = {who for _, who, event in result.events if isinstance(event, ListeningStarted)}
    assert listened == {result.agents[1].id}, "only who comes new to the swarm listens first"
    for who, numbers in epochs_entered(result).items():
        assert numbers == sorted(set(numbers)), f"{who} entered an epoch twice, or went back"


def test_a_partition_that_heals_costs_time_and_nothing_else() -> None:
    """Reference: DESIGN (9): what was pushed into the cut links is owed, and comes with the next message.

    Both halves believe each other alive all the time, so there is no new epoch.
    """
    problems = quadratics(5, dimension=8, condition=10.0)
    halves = [["agent-0", "agent-1"], ["agent-2", "agent-3", "agent-4"]]

    def after(ticks: int) -> peer.SimulationResult:
        cut = wire.partition(halves, 20 * TICK_S, 150 * TICK_S)
        return run(problems, faults=bad_links(windows=cut), step_size=0.2, momentum=0.6, ticks=ticks)

    apart = errors(after(150).agents, problems)
    assert apart["model"] > 1e-2, "each half has found an answer of its own"
    healed = after(450)
    found = errors(healed.agents, problems)
    assert max(found.values()) < 1e-6, found
    assert all(agent.epoch == 1 for agent in healed.agents)


def test_a_one_way_cut_that_heals_costs_time_and_nothing_else() -> None:
    """Reference: DESIGN (9); the only way from agent 0 into the ring is gone for a while."""
    problems = quadratics(4, dimension=6, condition=5.0)
    links = bad_links(windows=(wire.cut("agent-0", "agent-1", 20 * TICK_S, 120 * TICK_S),))
    result = run(problems, faults=links, fanout=1, step_size=0.1, momentum=0.5, ticks=500)
    found = errors(result.agents, problems)
    assert max(found.values()) < 1e-6, found


def test_a_warm_up_makes_rotating_epochs_harmless() -> None:
    """Reference: DESIGN (Warm-up), (Precision): here every epoch is left as soon as it may be.

    The sums of a float64 wire are always further apart than the tolerance asked for.
    """
    problems = quadratics(4, dimension=6, condition=5.0)

    def rotating(warm_up_ticks: float, ticks: float) -> tuple[int, float]:
        result = run(
            problems,
            step_size=0.3,
            momentum=0.6,
            precision_tolerance=1e-18,
            warm_up_ticks=warm_up_ticks,
            ticks=ticks,
        )
        return result.agents[0].epoch, max(errors(result.agents, problems).values())

    epochs, error = rotating(25, 380)
    assert epochs == 3
    assert error < 1e-6
    epochs, error = rotating(0, 300)
    assert epochs > 3
    assert error > 1e-4
