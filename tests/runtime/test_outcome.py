"""Numbers and sentences at the end of a run, on made-up results with known answers."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from scipy import stats

from peer.display import SafeConsole, print_outcome
from peer.outcome import AgentOutcome, Kind, Outcome, remarks, verdict
from peer.progress import StepCount

COLUMNS = {"local": "a", "local_all": "b", "shared": "c", "personal": "d"}


def outcome(personal: list[float], alone: list[float]) -> Outcome:
    agents = [
        AgentOutcome(
            f"agent-{i}",
            10,
            1,
            0.1,
            {"local": b - 0.1, "local_all": b, "shared": p - 0.01, "personal": p},
            {},
        )
        for i, (p, b) in enumerate(zip(personal, alone, strict=True))
    ]
    return Outcome({}, Kind.ACCURACY, COLUMNS, agents, 1.0, 10)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    personal, alone = rng.random(9).tolist(), rng.random(9).tolist()
    found = outcome(personal, alone).compare("personal", "local_all")
    expected = stats.ttest_rel(personal, alone).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(np.subtract(personal, alone)))


@pytest.mark.parametrize(
    ("received", "extra", "told"),
    [
        (0, {}, "This agent heard nobody (none found): nothing was learned together"),
        (
            0,
            {"peers": ["b"], "incompatible": ["c", "d"]},
            "This agent heard nobody (1 known, 2 incompatible): ",
        ),
        (1, {"peers": []}, "This agent is worse off than alone on train + validation (-1.9 points)."),
    ],
)
def test_who_heard_nobody_is_not_compared(received: int, extra: dict[str, list[str]], told: str) -> None:
    found = outcome([0.881], [0.9])
    agents = [dataclasses.replace(found.agents[0], messages={"received": received})]
    assert verdict(dataclasses.replace(found, agents=agents, extra=extra)).startswith(told)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (
            (StepCount(0, 161, 161),) * 2,
            "No step of any agent was possible (322 of 322 ticks): gradients are ",
        ),
        ((StepCount(0, 161, 161),), "No step of this agent was possible (161 of 161 ticks): gradients are "),
        (
            (StepCount(161, 0, 0), StepCount(50, 111, 110)),
            "In the end no step was possible any more at agent-1 (111 of 161 ticks): gradients are ",
        ),
    ],
)
def test_numbers_of_agents_that_could_not_learn_are_no_comparison(
    steps: tuple[StepCount, ...], told: str
) -> None:
    """Missing values that were left in the data: agents were said to be where they were."""
    found = outcome([0.5] * len(steps), [0.5] * len(steps))
    agents = [dataclasses.replace(one, steps=count) for one, count in zip(found.agents, steps, strict=True)]
    stuck = dataclasses.replace(found, agents=agents, config={"task": "my/task.py"})
    assert verdict(stuck) == f"{told}not finite; look for missing values: hyperpush check my/task.py"
    assert verdict(dataclasses.replace(stuck, config={})).endswith("; look at the data")
    assert stuck.to_dict()["agents"][-1]["steps"]["refused"] == steps[-1].refused
    file = io.StringIO()
    print_outcome(SafeConsole(file=file, width=100), stuck)
    assert "points" not in file.getvalue()


def test_the_bottom_decile_is_the_tenth_percentile() -> None:
    values = [i / 10 for i in range(11)]
    assert outcome(values, values).summary()["personal"]["bottom_decile"] == pytest.approx(0.1)


def test_losers_are_named_with_what_they_lost() -> None:
    told = verdict(outcome([0.9, 0.8, 0.95], [0.8, 0.85, 0.95]))
    assert told.startswith(
        "1 of 3 agents are better off than alone on train + validation; 1 is where they were; "
    )
    assert "1 would have been better off alone: agent-1 (-5.0)." in told
    assert "not clear" in told


def test_a_clear_gain_and_a_clear_loss_are_called_so() -> None:
    assert "is clear." in verdict(outcome([0.9, 0.91, 0.92], [0.8, 0.8, 0.81]))
    assert verdict(outcome([0.8, 0.8, 0.81], [0.9, 0.91, 0.92])).endswith(
        "The mean loss, 10.7 points, is clear."
    )


def test_who_learned_nothing_alone_is_not_compared() -> None:
    in_vain = "training alone came to nothing, with losses that end above where they began"
    some = outcome([0.9, 0.91, 0.92], [0.8, 0.8, math.nan])
    assert verdict(some) == (
        "2 of 2 agents are better off than alone on train + validation; 1 is not compared: "
        f"{in_vain}. The mean gain, +10.5 points, is clear."
    )
    assert f"2 are not compared: {in_vain}" in verdict(outcome([0.9] * 3, [0.8, math.nan, math.nan]))
    none = outcome([0.9, 0.8], [math.nan, math.nan])
    assert verdict(none) == f"No agent is compared with what it would be alone: {in_vain}."
    assert math.isnan(none.compare("personal", "local_all").mean)
    assert verdict(outcome([0.9], [math.nan])).startswith("This agent is not compared with")


def test_what_the_numbers_do_not_say_is_remarked() -> None:
    assert remarks(outcome([0.9, 0.8], [0.8, 0.8])) == []
    agents = [
        AgentOutcome(f"agent-{i}", 10, 1, 0.1, dict(zip(COLUMNS, scores, strict=True)), {})
        for i, scores in enumerate([(0.9, 0.7, math.nan, 0.85), (0.8, 0.6, math.nan, 0.85)])
    ]
    found = Outcome({}, Kind.ACCURACY, COLUMNS, agents, 1.0, 10)
    first, second = remarks(found)
    assert first == "No shared model has a score: it predicts only with what is personal."
    assert "train + validation end 20.0 points below train only" in second
    assert second.endswith("Look at the gain over train only, too: -0.0 points.")
    assert found.to_dict()["remarks"] == [first, second]
    assert "remarks" not in outcome([0.9], [0.8]).to_dict()


def test_an_error_is_told_with_what_it_is_measured_against() -> None:
    errors = [AgentOutcome(f"agent-{i}", 10, 1, 0.1, {"model": 1e-3 / i}, {}) for i in (1, 2)]
    swarm = Outcome({}, Kind.ERROR, {"model": "model"}, errors, 1.0, 10)
    told = (
        "The largest relative error of any agent, against the closed form of those who are there, is 1.0e-03."
    )
    assert verdict(swarm) == told
    one = Outcome({}, Kind.ERROR, {"model": "model"}, errors[1:], 1.0, 10, truth_of="all 8 shards")
    told = "The largest relative error of this agent, against the closed form of all 8 shards, is 5.0e-04."
    assert verdict(one) == told


def test_one_agent_alone_has_no_interval() -> None:
    single = outcome([0.9], [0.8])
    assert math.isnan(single.compare("personal", "local").low)
    assert verdict(single) == "This agent is better off than alone on train + validation (+10.0 points)."


def test_without_a_comparison_none_is_claimed() -> None:
    agents = [AgentOutcome("a", 10, 1, 0.1, {"shared": 0.8, "personal": 0.9}, {})]
    found = Outcome({}, Kind.ACCURACY, {"shared": "c", "personal": "d"}, agents, 1.0, 10)
    assert verdict(found) == "Ended by SIGTERM: there was no time to compare with training alone."
    assert list(found.to_dict()["comparison"]) == ["personal - shared"]


@pytest.mark.parametrize(
    ("learned", "told"),
    [
        ([0.5, 1.5], "1 of 2 agents have a lower validation loss than before."),
        ([0.5], "This agent has a lower validation loss than before."),
        ([1.5], "This agent does not have a lower validation loss than before."),
    ],
)
def test_losses_are_compared_with_what_they_were(learned: list[float], told: str) -> None:
    agents = [AgentOutcome("a", 10, 1, 0.1, {"initial": 1.0, "learned": loss}, {}) for loss in learned]
    found = Outcome({}, Kind.LOSS, {"initial": "before", "learned": "after"}, agents, 1.0, 10)
    assert verdict(found).startswith(told)
    assert "alone would have come further is not known" in verdict(found)
    assert set(found.summary()["learned"]) == {"mean", "top_decile"}
    assert "comparison" not in found.to_dict()
