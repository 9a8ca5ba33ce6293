"""Scenario files: what they mean, and how a bad one is refused: file, event, key, value, remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from peer.commands.scenario import read_scenario
from peer.errors import SettingError
from peer.fault_words import cleared_on_links, describe, read_change, set_on_links
from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, check_scenario, told
from peer.scenario_file import parse_scenario
from wire import Constant, FaultChange, FaultPlan, FaultWindow, LinkFaults, LogNormal
from wire.link_faults import FAULT_KEYS

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = tuple(f"agent-{number}" for number in range(4))
EVERY_KIND = """
[[event]]
at = "1m"
drop = 0.5
delay = "lognormal:50ms:0.5"
bandwidth = "256kbit"
from = "agent-1"
to = ["agent-2", "agent-3"]
for = 10

[[event]]
at = "30s"
cut = ["agent-1", "agent-2"]
for = "20s"

[[event]]
at = 0
cut = {from = ["agent-3"]}

[[event]]
at = 31.5
cut = {to = ["agent-3"], from = "agent-0"}

[[event]]
at = "90s"
partition = [["agent-0", "agent-1"], ["agent-2"]]
for = "10s"

[[event]]
at = "100s"
bandwidth = "unlimited"

[[event]]
at = "40s"
restart = ["agent-3"]
with_state = false

[[event]]
at = "20s"
kill = ["agent-3", "agent-2"]

[[event]]
at = "5s"
join = "agent-0"

[[event]]
at = "6s"
pause = "agent-1"
for = "500ms"

[[event]]
at = "7s"
leave = "agent-1"

[[event]]
at = "41s"
restart = "agent-1"
"""


def event(lines: str) -> str:
    return f'[[event]]\nat = "1s"\nkill = "agent-0"\n[[event]]\n{lines}'


def test_every_kind_of_event_in_order_of_time() -> None:
    scenario = parse_scenario(EVERY_KIND, "demo.toml", MEMBERS)
    sides = (("agent-0", "agent-1"), ("agent-2",))
    change = FaultChange(0.5, LogNormal(0.05, 0.5), bandwidth_bits_per_s=256e3)
    assert scenario.windows == (
        FaultWindow(0.0, math.inf, None, sources=("agent-3",)),
        FaultWindow(30.0, 50.0, None, ("agent-1",), ("agent-2",)),
        FaultWindow(31.5, math.inf, None, ("agent-0",), ("agent-3",)),
        FaultWindow(60.0, 70.0, change, ("agent-1",), ("agent-2", "agent-3")),
        FaultWindow(90.0, 100.0, None, *sides),
        FaultWindow(90.0, 100.0, None, *reversed(sides)),
        FaultWindow(100.0, math.inf, FaultChange(bandwidth_bits_per_s=math.inf)),
    )
    assert scenario.changes == (
        Join("agent-0", 5.0),
        Pause("agent-1", 6.0, 0.5),
        Leave("agent-1", 7.0),
        Kill("agent-3", 20.0),
        Kill("agent-2", 20.0),
        Restart("agent-3", 40.0, with_state=False),
        Restart("agent-1", 41.0),
    )
    numbered = scenario.numbered(MEMBERS)
    assert numbered[1:3] == (Pause(1, 6.0, 0.5), Leave(1, 7.0))
    assert numbered[0] == Join(0, 5.0)
    assert numbered[-2:] == (Restart(3, 40.0, with_state=False), Restart(1, 41.0))
    check_scenario(numbered, len(MEMBERS))
    assert parse_scenario("", "empty.toml").changes == ()


def test_its_windows_change_what_the_flags_say() -> None:
    scenario = parse_scenario('[[event]]\nat = "60s"\ndrop = 0.5\n', "demo.toml")
    plan = scenario.plan(FaultPlan(0.1, Constant(0.02)))
    assert plan.faults_on("a", "b", 59.0) == LinkFaults(0.1, Constant(0.02))
    assert plan.faults_on("a", "b", 60.0) == LinkFaults(0.5, Constant(0.02))


def test_what_is_said_of_changes_and_of_the_end() -> None:
    scenario = parse_scenario(EVERY_KIND, "demo.toml", MEMBERS)
    assert [told(change) for change in scenario.changes] == [
        "5 s: agent-0 joins",
        "6 s: agent-1 stands still for 0.5 s",
        "7 s: agent-1 leaves",
        "20 s: agent-3 is killed",
        "20 s: agent-2 is killed",
        "40 s: agent-3 is back, as somebody new",
        "41 s: agent-1 is back",
    ]
    assert (scenario.last_s, Scenario().last_s) == (100.0, 0.0)
    assert scenario.stays(MEMBERS)
    assert not Scenario(changes=(Pause("a", 1.0, 1.0), Leave("a", 3.0))).stays("a")


def test_an_agent_that_runs_alone_knows_its_own_changes() -> None:
    """In `run` the names are those of machines; an id may go on with the fingerprint of a key."""
    scenario = parse_scenario(EVERY_KIND, "demo.toml")
    own, others = scenario.of("agent-3-abcdefghij234567klmn")
    assert own == (Kill("agent-3", 20.0), Restart("agent-3", 40.0, with_state=False))
    assert {change.agent for change in others} == {"agent-0", "agent-1", "agent-2"}
    assert scenario.of("agent-30") == ((), scenario.changes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("event = ", "demo.toml: 'Invalid value"),
        ("event = " + "[" * 5000, "demo.toml: '"),
        ("drop = 0.5", "demo.toml: drop: 0.5 is not possible; a scenario consists of [[event]]"),
        ("event = 3", "demo.toml: event: 3 is not possible; write [[event]]"),
        ("event = [3]", "demo.toml: event: [3] is not possible; write [[event]]"),
        ("[[event]]\nat = 1", "demo.toml: event 1: ['at'] is not possible; give one of cut, partition"),
        (event('at = 1\ncut = ["a", "b"]\nkill = "a"'), "demo.toml: event 2: ['at', 'cut', 'kill'] is not"),
        (event("drop = 0.5"), "demo.toml: event 2: at: None is not possible; say when"),
        (event('at = "soon"\ndrop = 0.5'), "demo.toml: event 2: at: 'soon' is not possible; write 500ms"),
        (event("at = -1\ndrop = 0.5"), "demo.toml: event 2: at: -1 is"),
        (event("at = nan\ndrop = 0.5"), "demo.toml: event 2: at: nan is"),
        (event("at = false\ndrop = 0.5"), "demo.toml: event 2: at: False is"),
        (
            event("at = 1\ndrop = 1.5"),
            "demo.toml: event 2: drop: 1.5 is not possible; give a number from 0 to",
        ),
        (event('at = 1\ndelay = "20"'), "demo.toml: event 2: delay: '20' is not possible; write 20ms"),
        (
            event('at = 1\nbandwidth = "wide"'),
            "demo.toml: event 2: bandwidth: 'wide' is not possible; write 256k",
        ),
        (
            event("at = 1\ndrop = 1\nfor = 0"),
            "demo.toml: event 2: for: 0 is not possible; write 500ms, 30s, 2m",
        ),
        (
            event("at = 1\ndorp = 1\ndrop = 1"),
            "event 2: dorp: 1 is not possible; unknown here; beside drop or delay",
        ),
        (
            event('at = 1\nkill = "agent-1"\nfor = 3'),
            "event 2: for: 3 is not possible; unknown here; beside kill",
        ),
        (event("at = 1\nkill = 3"), "event 2: kill: 3 is not possible; give the name of an agent"),
        (event("at = 1\nkill = []"), "event 2: kill: [] is not possible; give the name of an agent"),
        (
            event('at = 1\nkill = ""'),
            "event 2: kill: '' is not possible; the name of an agent must not be empty",
        ),
        (event("at = 1\nkill = [3]"), "event 2: kill: 3 is not possible; the name of an agent must be text"),
        (
            event('at = 1\nkill = "agent-9"'),
            "event 2: kill: 'agent-9' is not possible; no such agent; there are a",
        ),
        (event('at = 1\ndrop = 1\nto = "x"'), "event 2: to: 'x' is not possible; no such agent"),
        (event('at = 1\npause = "agent-1"'), "event 2: for: None is not possible; write 500ms, 30s"),
        (
            event('at = 1\nrestart = "agent-0"\nwith_state = 1'),
            "event 2: with_state: 1 is not possible; give true",
        ),
        (
            event('at = 1\ncut = ["agent-1"]'),
            "event 2: cut: ['agent-1'] is not possible; give [\"agent-1\", ",
        ),
        (event("at = 1\ncut = {}"), "event 2: cut: {} is"),
        (event('at = 1\ncut = {form = "agent-1"}'), "event 2: cut: {'form': 'agent-1'} is"),
        (event('at = 1\ncut = ["agent-1", "agent-9"]'), "event 2: cut: 'agent-9' is not possible; no such"),
        (
            event('at = 1\npartition = ["agent-1"]'),
            "event 2: partition: ['agent-1'] is not possible; give groups",
        ),
        (
            event('at = 1\npartition = [["agent-1"]]'),
            "event 2: partition: [['agent-1']] is not possible; give two",
        ),
        (
            event('at = 1\nrestart = "agent-1"'),
            "event 2: restart: 'agent-1' is not possible; only a killed agent",
        ),
        (
            event('at = 2\nkill = ["agent-1", "agent-0"]'),
            "event 2: kill: 'agent-0' is not possible; only a running",
        ),
        (
            event(f'at = 1\nkill = "{"x" * 99}"'),
            "event 2: kill: \"'" + "x" * 79 + '..." is not possible; the name',
        ),
    ],
)
def test_a_bad_file_is_named_with_event_key_value_and_remedy(text: str, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        parse_scenario(text, "demo.toml", MEMBERS)
    assert told in str(raised.value)
    assert str(raised.value).startswith("demo.toml: ")


def test_names_are_checked_only_where_they_are_known() -> None:
    many = [f"agent-{number:02}" for number in range(20)]
    text = '[[event]]\nat = 1\nkill = "elsewhere"\n'
    assert parse_scenario(text, "demo.toml").changes == (Kill("elsewhere", 1.0),)
    with pytest.raises(SettingError, match=r"there are agent-00, .*agent-07 \.\.\.$"):
        parse_scenario(text, "demo.toml", many)


@pytest.mark.parametrize(
    ("changes", "index"),
    [
        ([Leave(0, 1.0), Restart(0, 2.0), Leave(0, 3.0), Kill(0, 4.0)], 3),
        ([Pause(0, 1.0, 5.0), Leave(0, 5.9)], 1),
        ([Pause(0, 1.0, 5.0), Pause(0, 6.0, 1.0), Pause(0, 6.5, 1.0)], 2),
        ([Pause(0, 1.0, 5.0), Kill(0, 2.0), Restart(0, 3.0), Pause(0, 4.0, 1.0), Restart(0, 4.5)], 4),
        ([Join(0, 5.0), Pause(0, 4.0, 1.0)], 1),
        ([Pause(0, 1.0, 0.0)], 0),
        ([Pause(0, 1.0, math.nan)], 0),
        ([Leave(0, math.inf)], 0),
    ],
)
def test_leaving_and_pausing_have_their_order(changes: list[Leave[int]], index: int) -> None:
    with pytest.raises(SettingError, match=rf"^scenario\[{index}\]"):
        check_scenario(changes, 1)
    check_scenario(changes[:index], 1)


def test_faults_in_words() -> None:
    assert describe(None) == "cut"
    assert describe(LinkFaults()) == "no faults"
    every = LinkFaults(0.4, 0.02, 0.1, 0.2, bandwidth_bits_per_s=512e3)
    assert describe(every) == "drop 0.4, duplicate 0.1, reorder 0.2, delay 0.02s, bandwidth 512kbit"
    change = FaultChange(drop=0.0, delay_s=Constant(0.0), bandwidth_bits_per_s=math.inf)
    assert describe(change) == "drop 0, delay 0.0s, bandwidth unlimited"
    with pytest.raises(SettingError, match=r"faults\.dorp: 1 is not possible; there are only drop, delay_s"):
        read_change({"dorp": 1}, {key: key for key in FAULT_KEYS}, lambda name: f"faults.{name}")


def test_what_people_do_to_links_in_words() -> None:
    assert set_on_links("a", "b", None, 120.0) == "links from a to b: cut for 120 s"
    assert set_on_links("a", None, FaultChange(drop=0.4), None) == "links from a: drop 0.4"
    assert set_on_links(None, None, FaultChange(drop=0.4), None) == "all links: drop 0.4"
    assert cleared_on_links(None, "b") == "links to b: what was set is taken back"


def test_the_file_is_read_or_named(tmp_path: Path) -> None:
    file = tmp_path / "demo.toml"
    file.write_text('[[event]]\nat = 1\nkill = "agent-0"\n', encoding="utf-8")
    assert read_scenario(file, MEMBERS).changes == (Kill("agent-0", 1.0),)
    assert read_scenario(None) == Scenario()
    file.write_bytes(b"\xff")
    for path, why in (
        (file, "it is no text"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none.toml", "No such file or directory"),
    ):
        told = rf"^scenario: '{path}' is not possible; {why}; give a file of TOML$"
        with pytest.raises(SettingError, match=told):
            read_scenario(path)


def test_who_comes_back_says_what_with() -> None:
    """An agent that is a process of its own has a state directory, or none."""
    scenario = Scenario("a.toml", (), (Kill("box", 1.0), Restart("box", 4.0), Restart("fox", 4.0, False)))
    scenario.check_alone("box-abcdefghijklmnopqrst", has_state=True)
    scenario.check_alone("fox", has_state=False)
    scenario.check_alone("owl", has_state=False)
    with pytest.raises(SettingError, match=r"restart: 'box at 4 s' is not possible; give --state DIR"):
        scenario.check_alone("box", has_state=False)
    with pytest.raises(SettingError, match=r"restart: 'fox at 4 s' .* somebody new: leave out --state"):
        scenario.check_alone("fox", has_state=True)


@pytest.mark.parametrize(
    ("passed_s", "coming"),
    [(0.0, 2.0), (1.9, 2.0), (2.0, 2.0), (3.0, 3.0), (4.0, 6.0), (5.0, 6.0), (6.5, 6.5), (8.0, None)],
)
def test_when_an_agent_is_to_be_there(passed_s: float, coming: float | None) -> None:
    changes = (
        *(Join("box", 2.0), Pause("box", 3.0, 0.5), Kill("box", 4.0), Restart("fox", 5.0)),
        *(Restart("box", 6.0), Leave("box", 7.0)),
    )
    assert Scenario("a.toml", (), changes).next_coming("box", passed_s) == coming
    assert Scenario("a.toml", (), changes[1:]).next_coming("box", 0.0) == 0.0


def test_what_is_left_of_a_scenario() -> None:
    windows = (*(FaultWindow(1.0, 3.0, None), FaultWindow(2.0, 9.0, None), FaultWindow(8.0, math.inf, None)),)
    scenario = Scenario("a.toml", windows, (Kill("box", 3.0), Restart("box", 5.0, False)))
    assert scenario.since(0.0) is scenario
    left = scenario.since(3.0)
    assert left.windows == (FaultWindow(0.0, 6.0, None), FaultWindow(5.0, math.inf, None))
    assert left.changes == (Restart("box", 2.0, False),)
    assert left.file == "a.toml"


def test_whom_a_file_names_if_not_this_agent() -> None:
    window = FaultWindow(0.0, 1.0, None, ("box",), None)
    scenario = Scenario("a.toml", (window,), (Leave("fox", 9.0),))
    assert scenario.strangers("owl") == ["box", "fox"]
    assert scenario.strangers("box-abcdefghijklmnopqrst") == scenario.strangers("fox") == []
    assert Scenario("a.toml", (FaultWindow(0.0, 1.0, None),)).strangers("owl") == []
