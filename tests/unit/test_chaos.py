"""Troubles as a seed draws them or a file says, and what a scorecard makes of what happened."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from peer.chaos.plan import (
    CALM,
    CALM_S,
    KINDS,
    LASTS_S,
    Trouble,
    draw,
    from_scenario,
    shared_out,
    undisturbed,
)
from peer.chaos.record import Disbelieved, Done, Exit, Life, Record
from peer.chaos.scorecard import (
    ERROR_MAX,
    LOST_S_MAX,
    STILL_S_MAX,
    Line,
    lost_work,
    numbers,
    scorecard,
    standing_still,
    to_dict,
)
from peer.errors import SettingError
from peer.scenario import member_names
from peer.scenario_file import parse_scenario

NAMES = member_names(6)
MEMBERS = shared_out(NAMES, 3)


def test_agents_are_shared_out_equally() -> None:
    assert MEMBERS == (("agent-0", "agent-1"), ("agent-2", "agent-3"), ("agent-4", "agent-5"))
    assert [len(group) for group in shared_out(member_names(12), 5)] == [2, 2, 3, 2, 3]
    plan = undisturbed(MEMBERS, 10.0)
    assert (plan.agents, plan.troubles, plan.faults) == (NAMES, (), CALM)
    assert [plan.process_of(agent) for agent in NAMES] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_is_drawn_in_time_and_then_it_is_quiet(seed: int) -> None:
    plan = draw(MEMBERS, 66.0, seed)
    assert plan == draw(MEMBERS, 66.0, seed)
    assert sorted(trouble.kind for trouble in plan.troubles) == sorted(KINDS)
    without = draw(MEMBERS, 66.0, seed, [kind for kind in KINDS if kind != "unplug"])
    assert {trouble.kind for trouble in without.troubles} == set(KINDS) - {"unplug"}
    assert (plan.quiet_s, plan.end_s) == (33.0, 93.0)
    for trouble in plan.troubles:
        assert CALM_S <= trouble.at_s <= trouble.end_s <= plan.quiet_s
        assert trouble.end_s - trouble.at_s <= LASTS_S[1]
        assert all(window.end_s <= plan.quiet_s for window in trouble.windows)
        assert set(trouble.agents) <= set(NAMES)
        assert bool(trouble.processes) != bool(trouble.windows)
        assert trouble.told()
    assert sum(len(trouble.windows) for trouble in plan.troubles) == len(plan.faults.windows)


def test_much_time_has_many_rounds_and_little_time_not_one() -> None:
    long = draw(MEMBERS, 300.0, 0)
    assert (long.quiet_s, long.end_s) == (200.0, 300.0)
    assert all(sum(trouble.kind == kind for trouble in long.troubles) >= 2 for kind in KINDS)
    assert len(draw(MEMBERS, 20.0, 0).troubles) == 3
    assert draw(MEMBERS, 3.0, 0).troubles == ()


def test_a_power_failure_takes_all_processes() -> None:
    kills = [
        trouble
        for seed in range(40)
        for trouble in draw(MEMBERS, 66.0, seed).troubles
        if trouble.kind == "kill"
    ]
    assert {trouble.processes for trouble in kills} == {(0,), (1,), (2,), (0, 1, 2)}
    assert all(trouble.end_s == trouble.at_s for trouble in kills)
    power = next(trouble for trouble in kills if len(trouble.processes) == 3)
    share = draw(MEMBERS, 66.0, 0).share(power, 1)
    assert (share.processes, share.agents, share.at_s) == ((1,), MEMBERS[1], power.at_s)


def test_what_troubles_are_called() -> None:
    one = Trouble(
        "kill", 5.0, 9.0, (0,), ("agent-0", "agent-1"), ahead_s=60.0, ways=("from", "to"), text="cut"
    )
    told = {kind: replace(one, kind=kind).told() for kind in KINDS}
    assert told == {
        "kill": "SIGKILL: process 0 (agent-0 agent-1)",
        "stop": "SIGSTOP for 4.0 s: process 0 (agent-0 agent-1)",
        "disk": "disk full for 4.0 s: process 0 (agent-0 agent-1)",
        "files": "no file descriptors left for 4.0 s: process 0 (agent-0 agent-1)",
        "memory": "memory limit reached for 4.0 s: process 0 (agent-0 agent-1)",
        "clock": "clock 60 s ahead: process 0 (agent-0 agent-1)",
        "garbage": "garbage at full speed for 4.0 s: agent-0",
        "unplug": "packets from and to process 0 (agent-0 agent-1) dropped for 4.0 s",
        **dict.fromkeys(("cut", "partition", "loss"), "cut for 4.0 s"),
    }


def test_a_scenario_file_says_what_happens_instead() -> None:
    text = """
        [[event]]
        at = 9
        cut = ["agent-0", "agent-1"]
        [[event]]
        at = 2
        drop = 0.5
        for = 3
        [[event]]
        at = 4
        kill = "agent-3"
        [[event]]
        at = 5
        pause = "agent-4"
        for = 50
    """
    plan = from_scenario(parse_scenario(text, "file", NAMES), MEMBERS, 60.0)
    assert [trouble.told() for trouble in plan.troubles] == [
        "drop 0.5 everywhere for 3.0 s",
        "4 s: agent-3 is killed",
        "5 s: agent-4 stands still for 50 s",
        "cut from agent-0 to agent-1 for 111.0 s",
    ]
    assert [trouble.end_s for trouble in plan.troubles] == [5.0, 4.0, 55.0, 120.0]
    assert (plan.quiet_s, plan.end_s) == (60.0, 120.0), "what is for ever goes on in the quiet"
    assert len(plan.faults.windows) == 2
    nothing = from_scenario(parse_scenario("", "file"), MEMBERS, 6.0)
    assert (nothing.quiet_s, nothing.end_s) == (0.0, 6.0)


@pytest.mark.parametrize(("seconds", "end_s"), [(30.0, 85.0), (80.0, 85.0), (100.0, 100.0)])
def test_after_a_scenario_file_it_is_quiet_for_long_enough(seconds: float, end_s: float) -> None:
    text = '[[event]]\nat = 5\npause = "agent-4"\nfor = 20\n[[event]]\nat = 6\ndrop = 0.5\nfor = 1'
    plan = from_scenario(parse_scenario(text, "file", NAMES), MEMBERS, seconds)
    assert (plan.quiet_s, plan.end_s) == (25.0, end_s)


@pytest.mark.parametrize(
    ("event", "told", "minutes"),
    [
        ("at = 500\ndrop = 0.7", "event at 500 s, the run ends at 6 s: give --minutes 8.4 or more", 8.4),
        ('at = 500\nkill = "agent-1"', "event at 500 s, the run ends at 6 s: give --minutes 8.4", 8.4),
        ("at = 2\ndrop = 0.7\nfor = 4.5", "event at 2 s lasts until 6.5 s, the run ends at 6 s: give", 0.2),
        ('at = 2\npause = "agent-0"\nfor = 28', "event at 2 s lasts until 30 s, the run ends at 6 s", 0.6),
        ("at = 246\ndrop = 0.7", "event at 246 s, the run ends at 6 s: give --minutes 4.2", 4.2),
    ],
)
def test_an_event_after_the_end_of_the_run_is_refused(event: str, told: str, minutes: float) -> None:
    scenario = parse_scenario(f"[[event]]\n{event}", "file", NAMES)
    with pytest.raises(SettingError, match=re.escape(f"minutes: 0.1 is not possible; {told}")) as refused:
        from_scenario(scenario, MEMBERS, 6.0)
    assert f"give --minutes {minutes:.10g} or more" in str(refused.value)
    assert from_scenario(scenario, MEMBERS, minutes * 60).troubles


def good() -> Record:
    """Two agents; the second was killed with its process, and came back."""
    record = Record(
        agents=("agent-0", "agent-1"),
        quiet_s=20.0,
        ended_s=40.0,
        disks="disks",
        done=[Done(Trouble("kill", 10.0, 10.0, processes=(1,), agents=("agent-1",)), 10.0, 10.0)],
        lives=[
            Life("agent-0", "agent-0-key", 1, 0.0),
            Life("agent-1", "agent-1-key", 1, 0.0),
            Life("agent-1", "agent-1-key", 2, 15.0, ticks=80),
        ],
        epochs={"agent-0-key": [1, 2], "agent-1-key": [1, 3]},
        exits=[Exit(1, 10.0, "ended by SIGKILL", "killed")],
        memory={0: 2**28, 1: 2**27},
        scores={name: {"model": 1e-7, "adjoint": 2e-7} for name in ("agent-0", "agent-1")},
        answered_s=33.0,
        garbage={"messages": 1000},
        refused=Counter(malformed=900, unencrypted=1100),
    )
    for half_seconds in range(80):
        record.see("agent-0", 10 * half_seconds, half_seconds / 2)
        if not 20 <= half_seconds < 30:
            kept = 0 if half_seconds < 20 else 80 - 10 * 30
            record.see("agent-1", kept + 10 * half_seconds, half_seconds / 2)
    return record


def lost(record: Record, undisturbed: Record | None = None) -> list[str]:
    return [text for line in scorecard(record, undisturbed) for text in line.lost]


def test_nothing_lost_is_said_so() -> None:
    record = good()
    assert lost(record) == []
    found = {line.asked: line.found for line in scorecard(record)}
    assert found["every agent comes back as itself, in a later incarnation"] == "2 agents, 1 returns"
    assert found[f"every agent's error against the closed form is below {ERROR_MAX:g}"] == (
        "2.0e-07; all had it 13 s after the last trouble"
    )
    assert "at most 5.5 s of work were lost" in found.values()
    assert "1 killed" in found.values()
    assert numbers(record) == {
        "troubles": "kill 1",
        "full disks": "disks",
        "longest time without a tick": "5.5 s: agent-1 from 9.5 s on (kill)",
        "the same, process left alone": "less than 1 s",
        "peak memory": "process 0: 256 MiB, process 1: 128 MiB",
        "garbage": "1,000 messages",
        "refused": "unencrypted 1,100, malformed 900",
    }
    written: Any = to_dict(record, scorecard(record))
    assert written["nothing_lost"] is True
    assert written["troubles"] == [
        {"at_s": 10.0, "end_s": 10.0, "kind": "kill", "what": "SIGKILL: process 1 (agent-1)"}
    ]
    assert written["without_a_tick"] == [{"agent": "agent-1", "from_s": 9.5, "to_s": 15.0}]


def test_nothing_at_all_is_a_scorecard_too() -> None:
    assert lost(Record()) == []
    assert numbers(Record())["peak memory"] == "not known"
    assert numbers(Record())["troubles"] == "none"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"lives": [Life("agent-0", "agent-0-key", 1, 0.0), Life("agent-0", "agent-0-other", 2, 9.0)]},
            "agent-0 at 9.0 s: came back as agent-0-other, it was agent-0-key",
        ),
        (
            {"lives": [Life("agent-0", "agent-0-key", 4, 0.0), Life("agent-0", "agent-0-key", 4, 9.0)]},
            "agent-0 at 9.0 s: incarnation 4 after 4",
        ),
        ({"epochs": {"agent-0-key": [1, 5, 5]}}, "agent-0-key: entered epoch 5 after 5"),
        ({"epochs": {"agent-0-key": [1, 5, 2]}}, "agent-0-key: entered epoch 2 after 5"),
        (
            {"exits": [Exit(1, 7.0, "ended with exit code 1: Error: a bug")]},
            "process 1 at 7.0 s: ended with exit code 1: Error: a bug",
        ),
        (
            {"disbelieved": [Disbelieved("agent-0", "agent-1-key", "the sum jumps", 12.0)]},
            "agent-0 at 12.0 s: did not believe agent-1-key: the sum jumps",
        ),
        ({"agents": ("agent-0", "agent-1", "agent-2")}, "agent-2: not there at the end"),
        ({"ended_s": 39.0 + 1.1 * STILL_S_MAX}, "agent-0: no tick from 39.5 to 72.0 s"),
        ({"scores": {"agent-0": {"model": 1e-3}, "agent-1": {}}}, "agent-0: model off by 1.0e-03"),
        ({"scores": {"agent-0": {"model": math.nan}, "agent-1": {}}}, "agent-0: model off by nan"),
        ({"left_behind": ["disk-0: busy"]}, "disk-0: busy"),
    ],
)
def test_what_is_lost_is_said_with_where(changed: dict[str, Any], said: str) -> None:
    assert said in lost(replace(good(), **changed))


def test_who_speaks_garbage_need_not_be_believed() -> None:
    assert (
        lost(replace(good(), disbelieved=[Disbelieved("agent-0", "somebody", "the sum jumps", 12.0)])) == []
    )


def test_an_answer_that_was_never_there_has_no_time() -> None:
    line = scorecard(replace(good(), answered_s=None))[6]
    assert line == Line(line.asked, "2.0e-07")


def test_somebody_new_need_not_be_who_it_was() -> None:
    record = good()
    record.lives.append(Life("agent-1", "agent-1-another", 1, 30.0, anew=True))
    assert lost(record) == []


def test_whoever_should_not_be_there_does_not_stand_still() -> None:
    record = Record(ended_s=50.0)
    record.see("agent-0", 5, 0.8)
    record.see("agent-0", 5, 1.0)
    record.see("agent-0", None, 1.5)
    record.see("agent-0", 5, 41.0)
    record.see("agent-0", 6, 41.5)
    assert [(gap.from_s, gap.to_s) for gap in standing_still(record)] == [(41.5, 50.0)]


def test_the_time_in_which_nobody_may_stand_still_begins_when_its_process_is_left_alone() -> None:
    record = Record(ended_s=80.0, agents=("agent-0",), scores={"agent-0": {}})
    record.see("agent-0", 5, 1.0)
    stop = Trouble("stop", 5.0, 9.0, (0,), ("agent-0",))
    elsewhere = Trouble("stop", 5.0, 70.0, (1,), ("agent-1",))
    record.done = [Done(stop, 40.0, 55.0), Done(elsewhere, 5.0, 70.0)]
    assert lost(record) == []
    record.done[0] = Done(stop, 30.0, 45.0)
    assert lost(record) == ["agent-0: no tick from 1.0 to 80.0 s (stop)"]
    record.lives = [Life("agent-0", "agent-0-key", 1, 60.0)]
    assert lost(record) == []


def test_work_is_lost_from_the_newest_checkpoint_on() -> None:
    record = good()
    record.lives[2] = replace(record.lives[2], ticks=35)
    (gap,) = lost_work(record)
    assert (gap.from_s, gap.to_s) == (1.5, 9.5)
    assert lost(record) == []
    late = Record(lives=[Life("agent-1", "agent-1-key", 2, 30.0)])
    for second in range(20):
        late.see("agent-1", second, float(second))
    assert f"{LOST_S_MAX:g}" in scorecard(late)[2].asked
    assert scorecard(late)[2].lost == ("agent-1: went on at 19.0 s from where it was at 0.0 s",)


@pytest.mark.parametrize(
    ("troubles", "excused"),
    [
        ([("disk", 9.0, 30.0)], True),
        ([("files", 9.0, 21.0)], True),
        ([("disk", 1.0, 5.0), ("disk", 9.0, 30.0)], True),
        ([("disk", 5.0, 12.0), ("files", 18.0, 25.0)], True),  # hardly time to write between them
        ([("disk", 1.0, 5.0)], False),  # long over
        ([("disk", 1.0, 5.0), ("files", 29.0, 30.0)], False),  # between them was time enough
        ([("disk", 18.0, 30.0)], False),  # before it was time enough
        ([("stop", 1.0, 30.0), ("memory", 1.0, 30.0)], False),
        ([("disk", 31.0, 35.0)], False),  # after its end
        ([("disk", 9.0, 30.0), ("disk", 0.0, 0.0)], True),
        ([("disk", 25.0, 25.0), ("files", 15.0, 16.0)], False),  # the first could not be made
    ],
)
def test_only_what_kept_an_agent_from_writing_at_its_end_excuses_lost_work(
    troubles: list[tuple[Any, float, float]], excused: bool
) -> None:
    """An agent ticks from 0 to 30 s, and comes back with nothing."""
    record = Record(lives=[Life("agent-1", "agent-1-key", 2, 40.0)])
    for second in range(31):
        record.see("agent-1", second, float(second))
    record.done = [
        Done(Trouble(kind, at_s, end_s, agents=("agent-1",)), at_s, end_s) for kind, at_s, end_s in troubles
    ]
    assert (not scorecard(record)[2].lost) == excused


def test_a_trouble_that_could_not_be_made_is_told_but_not_counted() -> None:
    done = Done(Trouble("stop", 5.0, 8.0, (1,), ("agent-1",)), 9.0, 9.0, "not done")
    assert done.told() == "SIGSTOP for 3.0 s: process 1 (agent-1); not done"
    assert numbers(replace(good(), done=[done]))["troubles"] == "none"


def test_accuracies_are_compared_with_those_of_an_undisturbed_run() -> None:
    calm = replace(good(), scores={"agent-0": {"shared": 0.9, "personal": 0.95}})
    close = replace(good(), scores={name: {"shared": 0.89, "personal": 0.94} for name in good().scores})
    assert lost(close, calm) == []
    assert "shared 0.890 (undisturbed 0.900), personal 0.940 (undisturbed 0.950)" in {
        line.found for line in scorecard(close, calm)
    }
    worse = replace(good(), scores={name: {"shared": 0.89, "personal": 0.8} for name in good().scores})
    assert lost(worse, calm) == ["personal: 15.0 points below"]
    assert lost(replace(good(), agents=(), scores={}), calm) == ["there are no scores to compare"]
