"""One scenario file, two programs: real and simulated agents go through the same and come to the truth."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.cli import main
from peer.events import EpochEntered, PeerDeparted
from peer.quadratic import QuadraticProblem, closed_form
from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, member_names
from peer.scenario_file import parse_scenario
from peer.seats import CommonTime, Seats
from peer.settings import AgentSettings
from peer.swarm import learn
from peer.tasks.task import SyntheticTask
from peer.until import Ending
from wire import FaultPlan, LinkFaults, cut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

STORM = Path(__file__).parents[2] / "deploy/scenarios/storm.toml"
THERE = ["agent-0", "agent-1", "agent-3", "agent-4+1", "agent-5"]
SETTINGS = AgentSettings(
    tick_s=0.02,
    model_step_size=0.3,
    adjoint_step_size=0.3,
    momentum=0.5,
    wire_dtype="float64",
    warm_up_ticks=15.0,
    epoch_warm_ups_min=3.0,
    evaluate_every=0,
)
LIMIT_S = 120.0  # far more than any of these takes; a hang must fail, not wait


class Quadratics(SyntheticTask):
    """As the synthetic task, but settled in some hundred ticks."""

    def __init__(self, agents: int) -> None:
        super().__init__(agents, 0, "none")
        generator = torch.Generator().manual_seed(0)
        self.problems = [
            QuadraticProblem.random(generator, dimension=4, condition=4, hyper_dimension=2)
            for _ in range(agents)
        ]


def storm(speed: float) -> Scenario:
    """The example, so many times as fast."""
    text = STORM.read_text(encoding="utf-8")
    faster = re.sub(r'"(\d+)s"', lambda found: f'"{int(found[1]) * 1000 / speed:.0f}ms"', text)
    return parse_scenario(faster, str(STORM), member_names(6))


def test_the_example_has_every_kind_of_change() -> None:
    scenario = storm(1.0)
    assert {type(change) for change in scenario.changes} == {Join, Kill, Leave, Pause, Restart}
    assert [window.faults is None for window in scenario.windows] == [True, True, True, False]
    assert storm(4.0).last_s == scenario.last_s / 4 == 6.5


def test_simulated_agents_survive_it_and_do_so_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reference: DESIGN (Epochs). The second run has the same digest."""

    def run(name: str) -> Any:
        options = ["--agents", "6", "--task", "synthetic", "--wire-dtype", "float64", "--tick-ms", "100"]
        options += [
            "--warm-up-ticks",
            "15",
            "--epoch-warm-ups-min",
            "3",
            "--duration",
            "45",
            "--momentum",
            "0.8",
        ]
        assert main(["simulate", *options, "--scenario", str(STORM), "--json", str(tmp_path / name)]) == 0
        return json.loads((tmp_path / name).read_text(encoding="utf-8"))

    result = run("one.json")
    assert [agent["id"] for agent in result["agents"]] == THERE
    assert result["absent"] == ["agent-2"]
    assert result["config"]["changes"][0] == "4 s: agent-1 is killed"
    for agent in result["agents"]:
        assert max(agent["error"].values()) < 1e-6, agent
    printed = capsys.readouterr().out
    for line in ("4 s: agent-1 is killed", "8 s: agent-1 is back", "10 s: agent-5 joins"):
        assert f"{line}\n" in printed
    for line in ("12 s: agent-2 leaves", "13 s: agent-3 stands still for 2 s"):
        assert f"{line}\n" in printed
    assert "17 s: agent-4 is back, as somebody new\n" in printed
    assert "not there at the end, so not scored: agent-2\n" in printed
    assert run("two.json")["digest"] == result["digest"]


@asynccontextmanager
async def opened(
    scenario: Scenario, agents: int, faults: FaultPlan | None = None
) -> AsyncIterator[tuple[Seats, list[tuple[str, Any]]]]:
    """A swarm of the synthetic task on real sockets, and its events."""
    events: list[tuple[str, Any]] = []
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as executor:
        seats = Seats(
            Quadratics(agents),
            SETTINGS,
            faults=scenario.plan(faults or FaultPlan()),
            scenario=scenario,
            seed=0,
            executor=executor,
            on_event=lambda peer, event: events.append((peer, event)),
            on_change=lambda change: events.append((change.agent, change)),
        )
        try:
            await seats.open()
            yield seats, events
        finally:
            await seats.close()


async def learn_until(seats: Seats, reached: Callable[[], bool]) -> None:
    """Run until the condition holds; fail if it never does."""
    stop = asyncio.Event()
    async with asyncio.timeout(LIMIT_S):
        await learn(seats.running, Ending(), stop, lambda _: stop.set() if reached() else None, changes=seats)


async def test_real_agents_survive_it() -> None:
    """Reference: DESIGN (Epochs). The same file, four times as fast, on lossy links of loopback."""
    scenario = storm(4.0)
    async with opened(scenario, 6, FaultPlan(drop=0.1, delay_s=0.005)) as (seats, events):
        problems = [seat.problem for name, seat in seats.seats.items() if name != "agent-2"]
        truth: Any = closed_form(problems)  # type: ignore[arg-type]  # they are quadratic
        began = time.monotonic()

        def error() -> float:
            services = [seat.service for seat in seats.seats.values() if seat.service is not None]
            solvers = [service.agent.solver for service in services]
            found = [(solver.model.estimate, truth.model) for solver in solvers]
            found += [(solver.adjoint.estimate, truth.adjoint) for solver in solvers]
            return max(float((estimate - exact).norm() / exact.norm()) for estimate, exact in found)

        await learn_until(seats, lambda: time.monotonic() - began > scenario.last_s + 2 and error() < 1e-6)
        assert [change for _, change in events if change in scenario.changes] == list(scenario.changes)
        there = [seat.service for seat in seats.seats.values() if seat.service is not None]
        assert [service.record.peer for service in there] == THERE
        assert [service.record.incarnation for service in there] == [1, 2, 1, 1, 1]
        assert PeerDeparted("agent-2") in [event for _, event in events]
    for peer in ("agent-1", *THERE):
        numbers = [event.epoch for who, event in events if who == peer and isinstance(event, EpochEntered)]
        assert numbers == sorted(set(numbers)), f"{peer} entered an epoch twice, or went back"
    keys = {name: seat.state.identity.fingerprint for name, seat in seats.seats.items()}
    assert len(set(keys.values())) == 6


async def test_who_leaves_is_missed_at_once_and_who_is_killed_is_not() -> None:
    """Both are gone for their own program; what the other hears is a goodbye, or nothing."""
    scenario = Scenario("", changes=(Leave("agent-1", 0.3), Kill("agent-2", 0.3)))
    async with opened(scenario, 3) as (seats, events):
        one = seats.seats["agent-0"].service
        assert one is not None
        left: list[list[str]] = []

        def nobody_else() -> bool:
            if not left and ("agent-0", PeerDeparted("agent-1")) in events:
                left.append(one.agent.peers.alive())
            return one.agent.peers.alive() == []

        await learn_until(seats, nobody_else)
        assert left == [["agent-2"]], "its silence was not yet long enough when the goodbye was heard"
        assert seats.running.services == [one]


async def test_a_bug_in_an_agent_that_was_killed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Scenario("", changes=(Kill("agent-0", 0.0),)), 1) as (seats, _):
        (service,) = seats.running.services

        def broken(now: float) -> None:
            raise ZeroDivisionError("a bug in the agent")

        monkeypatch.setattr(service.agent, "handle_timer", broken)
        await asyncio.wait(seats.running.tasks)
        await seats.work(0.0)
        assert seats.running.services == []
        with pytest.raises(ZeroDivisionError, match="a bug in the agent"):
            await seats.close()


def test_windows_open_for_all_at_the_same_time_whenever_they_came() -> None:
    faults = CommonTime(FaultPlan(windows=(cut("a", "b", 0.0, 1000.0),)))
    assert faults.faults_on("a", "b", 2000.0) is None
    faults.began_at -= 1000.0
    assert faults.faults_on("a", "b", 0.0) == LinkFaults()


def test_swarm_takes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, found = tmp_path / "short.toml", tmp_path / "found.json"
    file.write_text('[[event]]\nat = 0.2\nkill = "agent-1"\n[[event]]\nat = 90\ndrop = 1\n', encoding="utf-8")
    options = ["--agents", "2", "--task", "synthetic", "--duration", "1.5", "--tick-ms", "20"]
    assert main(["swarm", *options, "--scenario", str(file), "--json", str(found)]) == 0
    printed = capsys.readouterr().out
    for line in ("0.2 s: agent-1 is killed", "not there at the end, so not scored: agent-1"):
        assert f"{line}\n" in printed
    assert f" s; {file} goes on until 90 s\n" in printed
    result = json.loads(found.read_text(encoding="utf-8"))
    assert ([agent["id"] for agent in result["agents"]], result["absent"]) == (["agent-0"], ["agent-1"])


@pytest.mark.parametrize("command", ["swarm", "simulate"])
def test_a_run_stopped_while_nobody_is_there_has_no_results(command: str, tmp_path: Path) -> None:
    file = tmp_path / "gone.toml"
    events = '[[event]]\nat = 0.1\nkill = "agent-0"\n[[event]]\nat = 1e6\nrestart = "agent-0"\n'
    file.write_text(events, encoding="utf-8")
    words = [sys.executable, "-m", "peer.cli", command, "--agents", "1", "--task", "synthetic"]
    with subprocess.Popen([*words, "--scenario", str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("agent-0 is killed" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "not there at the end, so not scored: agent-0\n" in rest


@pytest.mark.parametrize("command", ["swarm", "simulate"])
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    for agent, told in (("agent-9", "no such agent"), ("agent-0", "let at least one agent be there")):
        file.write_text(f'[[event]]\nat = 1\nkill = "{agent}"\n', encoding="utf-8")
        assert main([command, "--agents", "1", "--scenario", str(file)]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert str(file) in error
        assert error.count("\n") == 1
