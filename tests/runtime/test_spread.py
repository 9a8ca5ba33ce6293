"""One swarm in several processes: one to whoever looks, exact, and whole again when a process has ended."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import pickle
import re
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from peer.admin_access import AdminAccess
from peer.cli import main
from peer.data.choice import DataChoice
from peer.errors import HyperpushError
from peer.events import EpochEntered
from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, told
from peer.spread.crew import PlaceLostError, patiently
from peer.spread.page import SpreadPage
from peer.spread.place import LOOPBACK, Servant, Settlement
from peer.spread.processes import ProcessCrew
from peer.spread.spread import Spread
from peer.swarm import run_swarm
from peer.until import Ending
from tests.runtime.agents import LIMIT_S, LOOK_S, SETTINGS
from wire import FaultPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from peer.settings import AgentSettings
    from peer.swarm import SwarmResult

AGENTS = 4
LEARNING = dataclasses.replace(
    SETTINGS, tick_s=0.02, model_step_size=None, adjoint_step_size=None, momentum=None
)


class LoopCrew:
    """Places in this very loop; all that passes is pickled, as between processes."""

    def __init__(self, *, is_local: bool = True) -> None:
        self.is_local = is_local
        self.servants: dict[int, Servant] = {}
        self.begun: list[int] = []
        self._calling: set[asyncio.Future[Any]] = set()
        self.refuses = [0, 0]  # calls of each place that come to nothing
        self.slow: set[tuple[int, str]] = set()  # methods of a place that are never answered

    async def open(self, places: int) -> None:
        assert places == 2

    async def listen_host(self, number: int) -> str:
        return LOOPBACK

    async def call(self, number: int, method: str, *arguments: Any, **options: Any) -> Any:
        if self.refuses[number]:
            self.refuses[number] -= 1
            raise PlaceLostError("nobody answers")
        if (number, method) in self.slow:
            await asyncio.Event().wait()
        if number not in self.servants:
            self.begun.append(number)
            self.servants[number] = Servant()
        servant = self.servants[number]
        sent, named = pickle.loads(pickle.dumps((arguments, options)))  # noqa: S301  (our own)
        calling = asyncio.ensure_future(servant.call(method, *sent, **named))
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)
        found = await patiently(calling)
        if self.servants.get(number) is not servant:
            raise PlaceLostError("its process has ended")
        return pickle.loads(pickle.dumps(found))  # noqa: S301  (our own)

    async def lose(self, number: int) -> None:
        """The process ends, as by SIGKILL: nobody is told."""
        servant = self.servants.pop(number)
        assert servant._place is not None
        for service in servant._place.services():
            servant._place._seats.running.let_go(service).cancel()
        await servant._place.close()

    async def close(self) -> None:
        """Sockets of processes that are ended are closed by the system."""
        await asyncio.gather(*self._calling, return_exceptions=True)
        for servant in self.servants.values():
            if servant._place is not None:
                await servant._place.close()
        self.servants.clear()


class Watched:
    """A swarm that learns until it is told to stop, and what it says."""

    def __init__(
        self,
        crew: Any,
        scenario: Scenario,
        shares: Sequence[tuple[int, ...]],
        settings: AgentSettings,
        *,
        page: bool,
    ) -> None:
        self.crew = crew
        self.said: list[str] = []
        self.events: list[tuple[str, Any]] = []
        self.changes: list[str] = []
        self.faults: list[tuple[str, Any]] = []
        self.views: Sequence[Any] = ()
        self.details: dict[str, Any] = {}
        self.stop = asyncio.Event()
        self.spread: Spread
        self._scenario = scenario
        self._shares = shares
        self._settings = settings
        self._page = page
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.result: asyncio.Task[SwarmResult] = asyncio.create_task(self._run())

    async def _run(self) -> SwarmResult:
        agents = sum(map(len, self._shares))
        settlements = [
            Settlement(
                *("synthetic", agents, 0, "none", DataChoice(), self._settings, FaultPlan(drop=0.1)),
                shards=share,
                threads=1,
            )
            for share in self._shares
        ]

        def make(tell: Any, tell_change: Any) -> Spread:
            self.spread = Spread(
                settlements,
                self.crew,
                self._scenario,
                on_event=tell,
                on_change=tell_change,
                say=self.said.append,
                wants_details=True,
            )
            return self.spread

        def make_page(spread: Spread) -> SpreadPage:
            access = AdminAccess("127.0.0.1", 0)
            return SpreadPage(
                "a swarm",
                spread,
                access,
                lambda line: self.url.set_result(line[6:]),
                lambda what, live: self.faults.append((what, live)),
            )

        return await run_swarm(
            make,
            ending=Ending(),
            stop=self.stop,
            observe=self._observe,
            inspect=lambda details: self.details.update({one.id: one for one in details()}),
            on_event=lambda peer, event: self.events.append((peer, event)),
            on_change=lambda change: self.changes.append(told(change)),
            make_page=make_page if self._page else None,
        )

    def _observe(self, views: Sequence[Any]) -> None:
        self.views = views

    async def until(self, holds: Callable[[], bool]) -> None:
        """Fails with what went wrong if it ends before."""
        while not holds():
            if self.result.done():
                self.result.result()
                raise AssertionError("it has ended")
            await asyncio.wait([self.result], timeout=LOOK_S)

    def names(self) -> list[str]:
        return [view.id for view in self.views]

    async def learned(self) -> dict[str, float]:
        """Its largest error, by agent, once it is stopped."""
        self.stop.set()
        found = await self.result
        assert found.interrupted
        assert len(found.answers) == len(found.outcomes)
        return {one.id: max(value for value in one.scores.values()) for one in found.outcomes}


@asynccontextmanager
async def watched(
    crew: Any,
    *changes: Any,
    shares: Sequence[tuple[int, ...]] = ((0, 1), (2, 3)),
    settings: AgentSettings = LEARNING,
    page: bool = False,
    limit_s: float = 2 * LIMIT_S,
) -> AsyncIterator[Watched]:
    async with asyncio.timeout(limit_s):
        found = Watched(crew, Scenario(changes=tuple(changes)), shares, settings, page=page)
        try:
            yield found
        finally:
            found.stop.set()
            await asyncio.wait([found.result])


def settled(swarm: Watched, agents: int = AGENTS, residual: float = 1e-5) -> bool:
    """All are there, in one epoch that is not that of their beginning, and settled."""
    epochs = {view.epoch for view in swarm.views}
    return (
        len(swarm.views) == agents
        and len(epochs) == 1
        and all(view.tick > 60 and view.residual < residual for view in swarm.views)
    )


def are_among_themselves(swarm: Watched) -> bool:
    """In this epoch nobody pushes to somebody who is no more: else the answer is settled, and not theirs."""
    names = set(swarm.names())
    pushed_to: dict[str, set[str]] = {}
    for peer, event in swarm.events:
        if isinstance(event, EpochEntered):
            pushed_to[peer] = set(event.out_neighbours)
    return all(pushed_to.get(name, set()) <= names for name in names)


async def test_it_is_one_swarm() -> None:
    async with watched(LoopCrew()) as swarm:
        await swarm.until(lambda: settled(swarm))
        assert swarm.names() == ["agent-0", "agent-1", "agent-2", "agent-3"]
        assert {peer for peer, event in swarm.events if isinstance(event, EpochEntered)} == set(swarm.names())
        await swarm.until(lambda: len(swarm.details) == AGENTS)
        assert {link.peer for link in swarm.details["agent-0"].links} == set(swarm.names()) - {"agent-0"}
        errors = await swarm.learned()
        assert list(errors) == ["agent-0", "agent-1", "agent-2", "agent-3"]
        assert max(errors.values()) < 1e-3
        assert swarm.said == []


async def test_who_was_in_a_process_that_ended_comes_back_as_another_and_the_answer_is_exact_again() -> None:
    crew = LoopCrew()
    async with watched(crew) as swarm:
        await swarm.until(lambda: settled(swarm, residual=1e-3))
        crew.refuses[1] = 2  # also when it is to begin anew
        await crew.lose(1)
        await swarm.until(lambda: {"agent-2+1", "agent-3+1"} <= set(swarm.names()))
        assert crew.begun == [0, 1, 1]
        await swarm.until(lambda: settled(swarm))
        errors = await swarm.learned()
        assert list(errors) == ["agent-0", "agent-1", "agent-2+1", "agent-3+1"]
        assert max(errors.values()) < 1e-3
        told = "\n".join(swarm.said)
        assert "process 1 (agent-2 to agent-3): " in told
        assert "it is begun anew, its agents as others" in told
        assert "process 1 (agent-2 to agent-3) is back" in told


async def test_a_scenario_reaches_all_processes() -> None:
    changes = [
        Pause("agent-0", 0.2, 0.3),
        Kill("agent-1", 0.4),
        Join("agent-3", 0.6),
        Restart("agent-1", 1.2, with_state=False),
        Leave("agent-2", 1.4),
    ]
    async with watched(LoopCrew(), *changes) as swarm:
        await swarm.until(lambda: len(swarm.views) == 3)
        assert "agent-3" not in swarm.names()
        await swarm.until(
            lambda: settled(swarm, 3) and "agent-1+1" in swarm.names() and are_among_themselves(swarm)
        )
        errors = await swarm.learned()
        assert set(errors) == {"agent-0", "agent-1+1", "agent-3"}
        assert max(errors.values()) < 1e-3
        assert [told(change) for change in changes] == swarm.changes
        assert list((await swarm.result).absent) == ["agent-2"]


async def test_beyond_this_machine_messages_are_sealed_and_names_are_proved() -> None:
    async with watched(LoopCrew(is_local=False)) as swarm:
        await swarm.until(lambda: settled(swarm, residual=1e-3))
        assert all(re.fullmatch(r"agent-\d-[0-9a-z]+", name) for name in swarm.names())
        places = [servant._place for servant in swarm.crew.servants.values()]
        keys = {service.record.keys for place in places if place is not None for service in place.services()}
        assert len(keys) == 1
        assert keys != {()}


async def test_the_page_of_all_asks_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(LoopCrew(), page=True) as swarm, aiohttp.ClientSession() as session:
        url = await swarm.url

        async def ask(method: str, path: str, **options: Any) -> Any:
            async with session.request(method, url + path, **options) as response:
                return await response.json()

        await swarm.until(lambda: len(swarm.views) == AGENTS)
        live = await ask("GET", "/v1/live")
        assert [one["status"]["peer"] for one in live["agents"]] == swarm.names()
        assert live["absent"] == []
        change = {"from": "agent-3", "to": "agent-0", "faults": {"drop": 0.5}, "for_s": 60.0}
        answered = await ask("PUT", "/v1/faults", json=change)
        assert [bool(one["live"]) for one in answered["agents"].values()] == [False, False, False, True]
        assert (await ask("DELETE", "/v1/faults"))["cleared"] == 1
        told = [one["text"] for one in (await ask("GET", "/v1/live"))["events"] if one["kind"] == "said"]
        assert told[-2:] == [
            "links from agent-3 to agent-0: drop 0.5 for 60 s",
            "all links: what was set is taken back",
        ]
        assert [(what, sorted(live)) for what, live in swarm.faults] == [
            (told[-2], ["agent-3"]),
            (told[-1], swarm.names()),
        ]
        assert (await ask("POST", "/v1/agents/agent-2/kill"))["asked"] == "kill"
        await swarm.until(lambda: len(swarm.views) == 3)
        assert (await ask("GET", "/v1/live"))["absent"] == ["agent-2"]
        assert (await ask("POST", "/v1/agents/agent-2/kill"))["status"] == 409
        assert await ask("GET", "/healthz") == {"ok": True, "problems": []}
        monkeypatch.setattr("peer.page.health.STALLED_S", 0.0)
        assert len((await ask("GET", "/healthz"))["problems"]) == 3, "agents that stand still are told of"
        swarm.crew.slow |= {(0, "ask"), (1, "ask")}
        assert (await ask("GET", "/v1/live"))["agents"] == []
        silent = ["a process of agents has not answered for 0 s"] * 2
        assert await ask("GET", "/healthz") == {"ok": False, "problems": silent}


async def test_a_process_that_does_not_answer_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("END_S", "CLOSE_S", "LOOK_S", "TELL_S"):
        monkeypatch.setattr(f"peer.spread.spread.{name}", 0.2)
    crew = LoopCrew()
    async with watched(crew, Kill("agent-0", 0.3), Kill("agent-2", 0.5)) as swarm:
        await swarm.until(lambda: len(swarm.views) == AGENTS)
        crew.slow |= {(0, method) for method in ("change", "look", "end")}
        await swarm.until(lambda: swarm.changes == ["0.5 s: agent-2 is killed"])
        await swarm.until(lambda: swarm.names() == ["agent-3"])
        assert "process 0 (agent-0 to agent-1) does not answer" in swarm.said
        assert list(await swarm.learned()) == ["agent-3"]
        assert (await swarm.result).absent == ["agent-0", "agent-1", "agent-2"]
        assert "process 0 (agent-0 to agent-1) does not answer within 0.2 s, and is given up" in swarm.said


async def test_who_stops_it_before_all_are_there_does_not_wait() -> None:
    crew = LoopCrew()
    crew.slow.add((1, "settle"))
    async with watched(crew) as swarm:
        await swarm.until(lambda: crew.begun == [0])
        assert await swarm.learned() == {}
        assert (await swarm.result).absent == ["agent-0", "agent-1", "agent-2", "agent-3"]


async def test_another_task_of_the_same_name_is_refused() -> None:
    crew = LoopCrew()
    real = crew.call

    async def call(number: int, method: str, *arguments: Any, **options: Any) -> Any:
        found = await real(number, method, *arguments, **options)
        if (number, method) == (1, "settle"):
            found = [dataclasses.replace(record, fingerprint="another") for record in found]
        return found

    crew.call = call  # type: ignore[method-assign]
    async with watched(crew) as swarm:
        with pytest.raises(HyperpushError, match="has another task than the others, of the same name"):
            await swarm.result


async def test_an_actor_that_could_not_be_reached_for_a_while_is_settled_anew() -> None:
    """Its former agents are ended there: nobody is twice in the swarm."""
    crew = LoopCrew()
    async with watched(crew) as swarm:
        await swarm.until(lambda: len(swarm.views) == AGENTS)
        place = crew.servants[1]._place
        assert place is not None
        former = place._seats.running.tasks
        crew.refuses[1] = 1
        await swarm.until(lambda: "agent-3+1" in swarm.names())
        assert all(task.done() for task in former)


async def test_a_bug_of_an_agent_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = LoopCrew()
    async with watched(crew) as swarm:
        await swarm.until(lambda: len(swarm.views) == AGENTS)
        place = crew.servants[0]._place
        assert place is not None
        monkeypatch.setattr(place.services()[0].agent, "handle_timer", lambda now: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await swarm.result


async def test_real_processes_one_of_which_is_killed_and_one_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(ProcessCrew(), limit_s=4 * LIMIT_S) as swarm:
        await swarm.until(lambda: settled(swarm, residual=1e-2))
        _, process = swarm.crew._processes[0]
        (pid,) = process._processes
        os.kill(pid, signal.SIGKILL)
        await swarm.until(
            lambda: "agent-0+1" in swarm.names() and settled(swarm) and are_among_themselves(swarm)
        )
        assert "process 0 (agent-0 to agent-1): its process has ended; it is begun anew, " in swarm.said[0]
        monkeypatch.setattr("peer.spread.spread.END_S", 1.0)
        monkeypatch.setattr("peer.spread.spread.LOOK_S", 0.2)
        _, process = swarm.crew._processes[1]
        (stopped,) = process._processes
        os.kill(stopped, signal.SIGSTOP)
        errors = await swarm.learned()
        assert list(errors) == ["agent-0+1", "agent-1+1"], "who is stopped is given up"
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)


def test_the_command_tells_where_agents_are(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    swarm = ["swarm", "--agents", "3", "--task", "synthetic", "--personalization", "none", "--admin", "none"]
    out, found = tmp_path / "out", tmp_path / "found.json"
    assert main([*swarm, "--processes", "2", "--ticks", "30", "--out", str(out), "--json", str(found)]) == 0
    assert "3 agents in 2 processes, synthetic" in capsys.readouterr().out
    result = json.loads(found.read_text())
    assert [agent["id"] for agent in result["agents"]] == ["agent-0", "agent-1", "agent-2"]
    assert all(math.isfinite(error) for agent in result["agents"] for error in agent["error"].values())
    links = [json.loads(line) for line in (out / "links.jsonl").read_text().splitlines()]
    assert {line["agent"] for line in links} == {"agent-0", "agent-1", "agent-2"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--engine", "dask"], "--engine: 'dask' is not possible; give processes or ray"),
        (["--processes", "2", "--trace", "there"], "--trace: 'there' is not possible; agents of other"),
        (["--engine", "ray", "--processes", "2"], "--processes: 2 is not possible; with --engine ray"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["swarm", "--agents", "3", *arguments]) == 2
    assert told in capsys.readouterr().err
