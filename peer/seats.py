"""The agents of one program as a scenario has them: who is there, who comes, goes, or stands still.

Everything happens to real agents: who is killed closes its sockets without a word, who comes back has another
port and, with state, its identity and epoch. Nobody is told: the others hear it, or hear nothing more. Only
where a newcomer listens is known to all, as discovery would tell them.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, member_names, next_life
from peer.service import AgentService
from peer.state import ephemeral
from wire import LiveFaults
from wire.keys import SECRET_BYTES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from peer.events import Event
    from peer.problem import BilevelProblem
    from peer.scenario import AnyChange
    from peer.settings import AgentSettings
    from peer.state import AgentState
    from peer.tasks import Task
    from peer.trace.files import Traces
    from wire import FaultPlan, LinkFaults, PeerId
    from wire.outgoing import FaultModel


class CommonTime:
    """Faults of many agents' links by one clock, whenever an agent was started."""

    def __init__(self, faults: FaultModel) -> None:
        self.began_at = time.monotonic()
        self._faults = faults

    def elapsed_s(self) -> float:
        """The time that faults go by, now."""
        return time.monotonic() - self.began_at

    def faults_on(self, source: PeerId, target: PeerId, elapsed_s: float) -> LinkFaults | None:  # noqa: ARG002  (by the agent's own clock)
        """The faults of one link now; None if it is cut."""
        return self._faults.faults_on(source, target, self.elapsed_s())

    def deliveries(
        self,
        source: PeerId,
        target: PeerId,
        elapsed_s: float,  # noqa: ARG002  (by the agent's own clock)
        rng: random.Random,
    ) -> tuple[float, ...]:
        """Delays of the copies that arrive."""
        return self._faults.deliveries(source, target, self.elapsed_s(), rng)


class Running:
    """Started services, each running in a task of its own."""

    def __init__(self, services: Sequence[AgentService] = ()) -> None:
        self.tasks: dict[AgentService, asyncio.Task[None]] = {}
        for service in services:
            self.begin(service)

    @property
    def services(self) -> list[AgentService]:
        """In the order in which they began."""
        return list(self.tasks)

    def begin(self, service: AgentService) -> None:
        """Let it run from now on."""
        self.tasks[service] = asyncio.create_task(service.run(), name=service.record.peer)

    async def end(self) -> None:
        """Let all say goodbye; raises what went wrong in one of them."""
        for service in self.tasks:
            service.stop()
        for result in await asyncio.gather(*self.tasks.values(), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


class Changes:
    """What a scenario does to agents of this program; `work` when something is due."""

    def __init__(self, changes: Sequence[AnyChange[str]] = ()) -> None:
        self._waiting = list(changes)  # in the order of time

    @property
    def next_at_s(self) -> float:
        """When something is due again, in seconds since learning began; infinity if nothing is."""
        return self._waiting[0].at_s if self._waiting else math.inf

    def ask(self, change: AnyChange[str]) -> None:
        """Do this before anything else, when `work` is next called."""
        self._waiting.insert(0, change)

    async def work(self, elapsed_s: float) -> None:
        """Do what is due."""
        while self.next_at_s <= elapsed_s:
            await self.carry_out(self._waiting.pop(0))

    async def carry_out(self, change: AnyChange[str]) -> None:
        """Do this to whom it names."""
        raise NotImplementedError


@dataclass(slots=True)
class Seat:
    """One place in the swarm: its problem, and the agent that holds it now."""

    problem: BilevelProblem[Any]
    name: PeerId
    state: AgentState
    faults: LiveFaults  # of the links from it
    timed: CommonTime  # the same by the time of the program
    lives: int = 0
    service: AgentService | None = None  # of an agent that is there
    closing: asyncio.Task[None] | None = None  # of the one that was there before


class Seats(Changes):
    """One agent per problem of a task, under a scenario: `open`, `work` when something is due, `close`."""

    def __init__(
        self,
        task: Task,
        settings: AgentSettings,
        *,
        faults: FaultPlan,
        scenario: Scenario,
        seed: int,
        executor: Executor,
        on_event: Callable[[PeerId, Event], None],
        on_change: Callable[[AnyChange[str]], None],
        traces: Traces | None = None,
    ) -> None:
        """The names of the scenario are those of `member_names`."""
        super().__init__(scenario.changes)
        self.began_at = time.monotonic()  # from which the times of faults count
        names = member_names(len(task.problems))
        own = [LiveFaults(faults) for _ in names]
        self.seats = {
            name: Seat(problem, name, ephemeral(os.urandom(SECRET_BYTES)), live, CommonTime(live))
            for name, problem, live in zip(names, task.problems, own, strict=True)
        }
        self.running = Running()
        self._task = task
        self._settings = settings
        self._seed = seed
        self._executor = executor
        self._on_event = on_event
        self._on_change = on_change
        self._traces = traces

    async def open(self) -> None:
        """Start all who do not join later; they know each other."""
        late = {change.agent for change in self._waiting if isinstance(change, Join)}
        founders = [
            await self._start(seat, founder=True) for name, seat in self.seats.items() if name not in late
        ]
        for service in founders:
            for other in founders:
                service.meet(other.record)
        self.began_at = time.monotonic()
        for seat in self.seats.values():
            seat.timed.began_at = self.began_at
        for service in founders:
            self.running.begin(service)

    async def work(self, elapsed_s: float) -> None:
        """Do what is due. A bug of an agent that has gone surfaces here, or in `close`."""
        for seat in self.seats.values():
            if seat.closing is not None and seat.closing.done():
                await self._closed(seat)
        await super().work(elapsed_s)

    async def close(self) -> None:
        """Close all sockets."""
        seats = self.seats.values()
        there = [seat.service.close() for seat in seats if seat.service is not None]
        await asyncio.gather(*there, *(self._closed(seat) for seat in seats))

    async def carry_out(self, change: AnyChange[str]) -> None:
        """Do this to the agent that it names, and tell `on_change`.

        What a scenario has for an agent that people have killed or brought back meanwhile is left out.
        """
        seat = self.seats[change.agent]
        service = seat.service
        if hindrance(change, is_there=service is not None) is not None:
            return
        match change:
            case Pause(duration_s=duration_s):
                assert service is not None
                service.pause(duration_s)
            case Kill() | Leave():
                assert service is not None
                seat.service = None
                run = self.running.tasks.pop(service)
                seat.closing = asyncio.create_task(_gone(service, run, silently=isinstance(change, Kill)))
            case Join():
                await self._join(seat)
            case _:  # a restart
                await self._closed(seat)
                seat.lives += 1
                if not change.with_state:
                    seat.name, seat.state = (
                        next_life(seat.name, seat.lives),
                        ephemeral(os.urandom(SECRET_BYTES)),
                    )
                await self._join(seat)
        self._on_change(change)

    async def _join(self, seat: Seat) -> None:
        service = await self._start(seat, founder=False)
        for other in self.running.services:
            service.find(other.record)
            other.find(service.record)
        self.running.begin(service)

    async def _start(self, seat: Seat, *, founder: bool) -> AgentService:
        seat.service = AgentService(
            seat.problem,
            self._settings,
            peer=seat.name,
            swarm=f"swarm-{self._seed}",
            seed=self._seed,
            task=self._task.fingerprint,
            founder=founder,
            executor=self._executor,
            faults=seat.timed,
            on_event=self._on_event,
            state=seat.state,
            trace=None if self._traces is None else self._traces.of(seat.name, seat.lives),
        )
        await seat.service.start()
        return seat.service

    async def _closed(self, seat: Seat) -> None:
        """Wait until whoever was there before is gone."""
        closing, seat.closing = seat.closing, None
        if closing is not None:
            await closing


def hindrance(change: AnyChange[str], *, is_there: bool) -> str | None:
    """Why this cannot be done to an agent now; None if it can."""
    if isinstance(change, Join | Restart):
        return "it is there: only who is gone comes back" if is_there else None
    return None if is_there else "it is not there: restart it first"


async def _gone(service: AgentService, run: asyncio.Task[None], *, silently: bool) -> None:
    """End one agent, with a goodbye or without. A bug that has ended it before is raised."""
    if silently:
        run.cancel()
    else:
        service.stop()
    try:
        (result,) = await asyncio.gather(run, return_exceptions=True)
    finally:
        await service.close()
    if isinstance(result, Exception):
        raise result
