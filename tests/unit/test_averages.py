"""The swarm's averages: mass that survives loss, agents that agree, words that no honest agent says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.averages import LARGEST, LARGEST_OWN, Averages

NAMES = ("a", "b", "c", "d")
TARGETS = {"a": ("b", "c"), "b": ("c",), "c": ("d", "a"), "d": ("a",)}


class Swarm:
    """Four agents on a strongly connected graph; `tick` loses messages as it is told."""

    def __init__(self) -> None:
        self.agents = {name: Averages(2) for name in NAMES}
        for number, name in enumerate(NAMES):
            self.agents[name].put((float(number), 10.0 * number))
        self.now = 0

    def tick(self, name: str, lost: set[str], *, late: bool = False) -> None:
        self.now += 1
        agent, targets = self.agents[name], TARGETS[name]
        announced = agent.push(len(targets))
        for target in targets:
            if target not in lost:
                when = 0 if late else self.now
                assert self.agents[target].objection(name, when, announced) is None
                self.agents[target].absorb(name, when, announced)

    def total(self, index: int) -> float:
        """What is held, and what is on the links."""
        total = sum(agent.held[index] for agent in self.agents.values())
        for name, agent in self.agents.items():
            for target in TARGETS[name]:
                _, arrived = self.agents[target].received.get(name, (0, agent.zeros))
                total += agent.pushed[index] - arrived[index]
        return total


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)), st.booleans()), max_size=40)
)
def test_no_mass_is_lost_whatever_the_network_does(ticks: list[tuple[str, set[str], bool]]) -> None:
    """Reference: DESIGN (9), for plain floats: up to rounding."""
    swarm = Swarm()
    for name, lost, late in ticks:
        swarm.tick(name, lost, late=late)
    assert [swarm.total(index) for index in range(3)] == pytest.approx([4.0, 6.0, 60.0], abs=1e-9)


def test_all_agents_come_to_know_the_average_and_follow_it() -> None:
    swarm, rng = Swarm(), random.Random(0)
    for own, wanted in (((0.0, 0.0), (1.5, 15.0)), ((4.0, 4.0), (2.5, 16.0))):
        for _ in range(800):
            swarm.agents["a"].put(own)
            swarm.tick(rng.choice(NAMES), {name for name in NAMES if rng.random() < 0.4})
        for agent in swarm.agents.values():
            assert agent.mean() == pytest.approx(wanted, rel=1e-9)


def test_a_new_epoch_begins_with_the_own_numbers() -> None:
    swarm = Swarm()
    for name in NAMES * 3:
        swarm.tick(name, set())
    agent = swarm.agents["d"]
    agent.enter_epoch()
    assert agent.mean() == (3.0, 30.0)
    assert agent.held == [1.0, 3.0, 30.0]
    assert not agent.received


def test_what_is_older_or_missing_brings_nothing() -> None:
    agent = Averages(1)
    for tick, announced in ((5, (1.0, 1.0)), (4, (0.5, 0.5)), (5, (9.0, 9.0)), (6, ())):
        assert agent.objection("b", tick, announced) is None
        agent.absorb("b", tick, announced)
    assert agent.held == [2.0, 1.0]


def test_what_no_honest_agent_says() -> None:
    agent = Averages(1)
    agent.absorb("b", 1, (1.0, 1.0))
    for announced, told in (
        ((0.5, 1.0), "averages: the weight pushed falls from 1 to 0.5"),
        ((1.0, 2 * LARGEST), "averages: a sum of 2e+100 is beyond all bounds"),
    ):
        assert agent.objection("b", 2, announced) == told


@pytest.mark.parametrize("theirs", [1, 2, 5])
def test_agents_of_other_releases_tell_more_numbers_or_fewer(theirs: int) -> None:
    """What both know of is averaged; of what only one knows nothing absurd comes."""
    one, other = Averages(3), Averages(theirs)
    one.put((4.0, 6.0, 8.0))
    other.put((2.0, 2.0, 2.0, 2.0, 2.0)[:theirs])
    for tick in range(1, 80):
        for source, target, name in ((one, other, "one"), (other, one, "other")):
            announced = source.push(1)
            assert target.objection(name, tick, announced) is None
            target.absorb(name, tick, announced)
    both = min(3, theirs)
    wanted = (3.0, 4.0, 5.0)[:both]
    assert one.mean()[:both] == pytest.approx(wanted)
    assert other.mean()[:both] == pytest.approx(wanted)
    assert all(0.0 <= value <= 8.0 for value in (*one.mean(), *other.mean()))
    assert one.held[0] + other.held[0] <= 2.0 + 1e-9


def test_numbers_beyond_all_bounds_are_told_as_far_as_others_believe() -> None:
    """Found by a benchmark: a diverging agent could not send what it was to say."""
    one, other = Averages(2), Averages(2)
    one.put((1e300, -1e300))
    for tick in range(1, 200):
        announced = one.push(3)
        assert other.objection("one", tick, announced) is None
        other.absorb("one", tick, announced)
    assert one.mean() == pytest.approx((LARGEST_OWN, -LARGEST_OWN))


def test_who_hears_nobody_has_its_own_numbers() -> None:
    agent = Averages(1)
    agent.put((7.0,))
    weights = []
    for _ in range(200):
        weights.append(agent.push(3)[0])
        assert agent.mean() == pytest.approx((7.0,))
    assert weights == sorted(weights), "what is rounded away is no reason to be accused"


def test_who_holds_little_weight_is_not_thrown_off_by_a_change_of_its_own() -> None:
    """Found by measurement: averages of shares, all from 0 to 1, came out as -88."""
    agent = Averages(1)
    agent.put((1.0,))
    for _ in range(6):
        agent.push(3)
    assert agent.held[0] < 1e-3
    agent.put((2.0,))
    assert agent.mean()[0] == pytest.approx(2.0)
    agent.absorb("b", 1, (3.0, 0.0))
    for _ in range(60):
        agent.put((2.0,))
    assert agent.own[0] == pytest.approx(2.0)


def test_who_pushes_often_and_hears_rarely_is_not_thrown_off_either() -> None:
    """Found by measurement: at speeds 10x apart averages ran away, and steps and models with them."""
    agent = Averages(1)
    agent.put((1.0,))
    agent.absorb("b", 1, (1.0, 1.0))
    for _ in range(30):
        agent.put((2.0,))
        agent.push(3)
        assert 1.0 <= agent.mean()[0] <= 2.0
    agent.absorb("b", 2, (9.0, 3.0))
    agent.put((2.0,))
    assert agent.own[0] == pytest.approx(2.0)
