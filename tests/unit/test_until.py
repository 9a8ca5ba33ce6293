"""The end of a run: goals, how near they are, and that noise does not end anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import SettingError
from peer.until import HELD_LOOKS, Ending, Goal, parse_goal


@dataclass(frozen=True)
class Agent:
    tick: int = 0
    residual: float = math.nan
    personal: float = math.nan


MEASURED = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1e-9, math.inf, math.nan]))
GOALS = st.one_of(
    st.builds(Goal, st.just("residual"), st.floats(1e-15, 1, exclude_max=True)),
    st.builds(Goal, st.just("accuracy"), st.floats(0, 1, exclude_min=True)),
    st.builds(Goal, st.just("ticks"), st.integers(1, 10**9)),
    st.builds(Goal, st.just("time"), st.floats(1e-3, 1e7)),
)
RUNS = st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1e6), MEASURED, MEASURED), max_size=30)


@given(GOALS)
def test_a_goal_can_be_written_and_read_again(goal: Goal) -> None:
    assert parse_goal(str(goal)) == goal


@given(st.lists(GOALS, max_size=3), RUNS)
def test_progress_is_a_share_and_full_exactly_at_the_end(
    goals: list[Goal], run: list[tuple[int, float, float, float]]
) -> None:
    ending, tick, reached = Ending(goals), 0, False
    for ticks, elapsed_s, residual, accuracy in run:
        tick += ticks
        progress = ending.look([Agent(tick, residual, accuracy)], elapsed_s)
        assert 0 <= progress <= 1
        assert progress == ending.progress
        assert (progress == 1) == ending.reached
        assert ending.reached or not reached, "an end that was reached stays so"
        reached = ending.reached
        assert ending.describe()
    assert goals or not reached


@given(st.lists(st.booleans(), max_size=40), st.sampled_from(["residual", "accuracy"]), st.integers(1, 50))
def test_noisy_goals_have_to_hold_for_several_measurements(good: list[bool], kind: str, step: int) -> None:
    """Reference: the definition, read off the whole history. Looks come more often than measurements."""
    ending = Ending([parse_goal(f"{kind}:0.5")], look_ticks=20)
    for count in range(len(good)):
        agent = Agent(step * count, *(0.4, 0.6) if good[count] else (0.6, 0.4))
        ending.look([agent], 0.0)
    held = longest_held = last = 0
    for count, is_good in enumerate(good):
        if not is_good:
            held = 0
        elif held == 0 or step * count >= last + 20:
            held, last = held + 1, step * count
        longest_held = max(longest_held, held)
    assert ending.reached == (longest_held >= HELD_LOOKS)


def test_one_lucky_moment_ends_nothing() -> None:
    ending = Ending([parse_goal("accuracy:0.9")])
    for tick in range(0, 2000, 20):
        ending.look([Agent(tick, personal=0.95 if tick % 60 else 0.85)], 0.0)
    assert not ending.reached
    for tick in range(2000, 2004):  # many looks at one measurement are one
        ending.look([Agent(tick, personal=0.95)], 0.0)
    assert not ending.reached
    assert ending.describe() == "accuracy 0.950, goal 0.9, held for 1 of 3 looks"


def test_the_first_goal_ends_it_and_the_slowest_agent_counts() -> None:
    ending = Ending([parse_goal("ticks:100"), parse_goal("time:2m")])
    assert ending.look([Agent(150), Agent(30)], 90.0) == 0.75
    assert ending.describe() == "30 of 100 ticks or 90 of 120 s"
    assert ending.look([Agent(150), Agent(100)], 91.0) == 1.0


def test_a_residual_is_followed_on_a_logarithmic_scale() -> None:
    ending = Ending([parse_goal("residual:1e-6")])
    assert ending.describe() == "residual not measured yet, goal 1e-06"
    assert ending.look([Agent(1, residual=1e-5), Agent(1, residual=1e-3)], 0.0) == pytest.approx(0.5)
    assert ending.describe() == "residual 1.0e-03, goal 1e-06; 50% of the way on a log scale"
    assert ending.look([Agent(2, residual=7.0)], 0.0) == 0.0
    assert ending.look([Agent(3, residual=1e-7), Agent(3)], 0.0) == 0.0  # one of them is not known
    assert ending.look([Agent(4, residual=1e-7)], 0.0) < 1.0
    assert Ending().describe() == "no end was asked for"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soon", "give residual:1e-6, accuracy:0.93, ticks:1000 or time:60s"),
        ("loss:3", "give residual:1e-6"),
        ("residual:1", "give a number between 0 and 1"),
        ("residual:nan", "give a number between 0 and 1"),
        ("accuracy:93", "give a share of the test samples"),
        ("ticks:0", "give a whole number of ticks"),
        ("ticks:1.5", "give a whole number of ticks"),
        ("ticks:inf", "give a whole number of ticks"),
        ("time:60", "give a time above 0 with its unit"),
        ("time:0s", "give a time above 0 with its unit"),
    ],
)
def test_what_is_no_goal_is_refused(text: str, told: str) -> None:
    with pytest.raises(SettingError) as refused:
        parse_goal(text)
    assert f"until: {text!r} is not possible; " in str(refused.value)
    assert told in str(refused.value)
