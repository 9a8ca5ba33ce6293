"""`hyperpush soak` as people use it, shorter than is of use, and what it finds when something is planted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from peer import liveness
from peer.cli import main
from peer.exit_codes import INTERRUPTED
from peer.inbox import Inbox, InboxCounters
from peer.outcome import AgentOutcome
from peer.scenario import Kill, Restart
from peer.soak.census import tables
from peer.soak.measures import SPEED
from peer.soak.meter import Meter
from peer.soak.real import RealSoak
from peer.soak.virtual import VirtualSoak
from peer.worker_threads import WAITING

if TYPE_CHECKING:
    from pathlib import Path

SHORT = ["soak", "--agents", "3", "--agent-ticks", "18000"]


@pytest.fixture(autouse=True)
def tables_are_soon_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "OWN_BEATS_MAX", 100)


def verdicts(printed: str) -> dict[str, str]:
    """By row. Those of time are left out: this machine may be busy with something else."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    assert all(name for name, *_ in cells), "a row is folded"
    return {name: verdict for name, *_, verdict in cells if "per" not in name.split()}


def test_a_short_simulated_soak_is_flat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "samples"
    assert main([*SHORT, "--record", str(record)]) in (0, 1)
    found = verdicts(capsys.readouterr().out)
    assert set(found.values()) == {"flat"}, found
    assert {"resident memory, MB", "allocated blocks", "relative error", "contacts"} <= set(found)
    samples = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(samples) >= 16
    assert samples[-1]["million agent-ticks"] >= 0.018
    assert samples[-1]["tables"]["Liveness.lives"] == 6
    assert samples[-1]["relative error"] < 1e-5


take = Inbox.take


def hoard(self: Any, epoch: int, **more: Any) -> Any:
    """Something of what was taken is never forgotten: enough to tell in a process that has done much else."""
    taken = take(self, epoch, **more)
    of_each = [(push.epoch, push.sequence, [copy]) for push in taken for copy in range(8)]
    vars(self).setdefault("hoard", deque()).extend(of_each)
    return taken


def test_a_planted_leak_is_found_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(Inbox, "take", hoard):
        assert main(SHORT) == 1
    found = verdicts(capsys.readouterr().out)
    assert found["entries of Inbox.hoard"] == found["allocated blocks"] == "grows"


def test_a_soak_that_is_interrupted_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    turns = iter(range(14))
    go_on = VirtualSoak.go_on

    def interrupted(self: VirtualSoak, ticks: float) -> None:
        if next(turns, None) is None:
            raise KeyboardInterrupt
        go_on(self, ticks)

    with mock.patch.object(VirtualSoak, "go_on", interrupted):
        assert main(SHORT) in (0, 1)
        assert "14 samples" in capsys.readouterr().out
        assert main(SHORT) == INTERRUPTED
        assert "too few samples to say anything" in capsys.readouterr().out


def test_speed_is_that_of_the_agents_alone() -> None:
    """Ticks over the process's time between two samples; what sampling took is nobody's."""
    soaked = SimpleNamespace(agent_ticks=0, roots=[], largest_sum=lambda: 1.0, error=lambda: 0.0)
    clock = [0.0, 5.0, 7.0, 9.0, 100.0]
    with mock.patch("peer.soak.meter.time.process_time", side_effect=clock):
        meter = Meter(soaked, None, hours=False, filling=0)
        for ticks in (1_000, 1_300):
            soaked.agent_ticks = ticks
            meter.take()
    assert list(meter.samples.values(SPEED)) == [200.0, 150.0]
    assert list(meter.samples.work) == [0.001, 0.0013]


def test_the_time_in_which_tables_fill_is_not_judged() -> None:
    """Found by a soak over sockets: agents made fewer ticks than thought, and filled a table for longer."""
    soaked = SimpleNamespace(agent_ticks=0, roots=[], largest_sum=lambda: 1.0, error=lambda: 0.0)
    meter = Meter(soaked, None, hours=True, filling=500)
    for ticks in range(100, 2_001, 100):
        soaked.agent_ticks = ticks
        meter.take()
    assert meter.samples.filling == 4


async def test_a_short_real_soak_is_exact_and_tells_all() -> None:
    """A restart, and looks long after it."""
    soaked = RealSoak(agents=3, seed=1, samples=3, sample_s=3.0)
    meter = Meter(soaked, None, hours=True, filling=0)
    found: list[dict[str, Any]] = []
    threads = []

    def look() -> None:
        meter.take()
        threads.append(threading.active_count())
        incarnations = sorted(agent.identity.incarnation for agent in soaked.agents)
        found.append({"error": soaked.error(), "lives": incarnations, **tables(soaked.roots)})

    before = threading.active_count()  # with those that learn
    await soaked.soak(3, look, asyncio.Event())
    assert set(threads) == {before + WAITING}, "found by an hour: pools that fill slowly look like a leak"
    assert [one["lives"] for one in found] == [[1, 1, 2]] * 3
    assert min(one["error"] for one in found) < 1e-3, found
    assert all(one["Liveness.lives"] == 6 for one in found)
    assert min(meter.samples.values(SPEED)) > 0
    assert meter.agent_ticks > 300


def test_ticks_are_counted_once_while_their_agent_is_gone_and_after_it_came_back() -> None:
    soaked = VirtualSoak(3, seed=1)
    soaked.simulation.run_until(20.0)
    before = soaked.agent_ticks
    assert before > 40
    soaked.change(Kill(0, 20.0))
    assert soaked.agent_ticks == before
    soaked.change(Restart(0, 20.0))
    assert soaked.agent_ticks == before


def test_every_table_is_counted_once() -> None:
    inside = {"a": 1, "b": 2}
    counters = AgentOutcome("name", 1, 2, 0.5, {"x": 1.0}, {"messages": [1, 2, 3], "same": inside})
    inbox: Inbox[Any] = Inbox()
    inbox.links["b"] = InboxCounters()
    assert tables([counters, [counters], inside]) == {
        "": 3,
        "AgentOutcome.scores": 1,
        "AgentOutcome.messages": 5,
        "AgentOutcome.metrics": 0,
    }
    assert tables([inbox])["Inbox.links"] == 1
    assert tables([main, "text", 7, None]) == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--agent-ticks", "1000"], "--agent-ticks: 1000 is not possible; give 735000 or more: tables have"),
        (["--real", "--minutes", "0.1"], "--minutes: 0.1 is not possible; give 1.63 or more: tables have"),
        (["--agents", "1"], "--agents: "),
        (["--record", "/nowhere/else"], "record: '/nowhere/else' cannot be written: No such file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["soak", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
