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
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from peer.running import Running
from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, member_names, next_life
from peer.service import AgentService
from peer.state import ephemeral
from wire import LiveFaults
from wire.keys import SECRET_BYTES, peer_name

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping, Sequence
    from concurrent.futures import Executor

    from peer.events import Event
    from peer.problem import BilevelProblem
    from peer.scenario import AnyChange
    from peer.settings import AgentSettings
    from peer.state import AgentState
    from peer.tasks import Task
    from peer.trace.files import Traces
    from wire import FaultPlan, LinkFaults, PeerId, PeerRecord
    from wire.keys import KeyRing
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

    shard: int
    problem: BilevelProblem[Any]
    key: str  # by which a scenario knows it
    faults: LiveFaults  # of the links from it
    timed: CommonTime  # the same by the time of the program
    lives: int = 0
    name: PeerId = field(init=False)  # of the agent that holds it now
    state: AgentState = field(init=False)
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
        shards: Sequence[int] | None = None,
        lives: Mapping[str, int] = MappingProxyType({}),
        listen_host: str = "127.0.0.1",
        keys: KeyRing | None = None,
    ) -> None:
        """The names of the scenario are those of `member_names`. With `keys` messages are sealed.

        `shards`: of those agents that are of this program, all by default; whose `lives` is above 0 comes as
        somebody new, in the place of others.
        """
        super().__init__(scenario.changes)
        self.began_at = time.monotonic()  # from which the times of faults count
        names = member_names(len(task.problems))
        self._listen_host = listen_host
        self._keys = keys
        self.seats: dict[str, Seat] = {}
        for shard in range(len(names)) if shards is None else shards:
            live = LiveFaults(faults)
            seat = Seat(shard, task.problems[shard], names[shard], live, CommonTime(live))
            seat.lives = lives.get(names[shard], 0)
            self._renew(seat)
            self.seats[names[shard]] = seat
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
        self.begin(await self.listen(late))

    async def listen(self, absent: Collection[str] = (), *, founders: bool = True) -> list[PeerRecord]:
        """Start all but these; where they listen. They do nothing before `begin`."""
        return [
            (await self._start(seat, founder=founders)).record
            for name, seat in self.seats.items()
            if name not in absent
        ]

    def begin(self, members: Sequence[PeerRecord], *, elapsed_s: float = 0.0, founders: bool = True) -> None:
        """Let those learn who listen; they know these members: founders as such, or as discovery finds them.

        `elapsed_s` after the swarm began.
        """
        self.began_at = time.monotonic() - elapsed_s
        for seat in self.seats.values():
            seat.timed.began_at = self.began_at
        services = [seat.service for seat in self.seats.values() if seat.service is not None]
        for service in services:
            for member in members:
                if founders:
                    service.meet(member)
                else:
                    service.find(member)
        for service in services:
            self.running.begin(service)

    def found(self, members: Sequence[PeerRecord]) -> None:
        """As discovery would tell it, to all who are there."""
        for service in self.running.services:
            for member in members:
                service.find(member)

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
                run = self.running.let_go(service)
                seat.closing = asyncio.create_task(_gone(service, run, silently=isinstance(change, Kill)))
            case Join():
                await self._join(seat)
            case _:  # a restart
                await self._closed(seat)
                seat.lives += 1
                if not change.with_state:
                    self._renew(seat)
                await self._join(seat)
        self._on_change(change)

    def _renew(self, seat: Seat) -> None:
        """Somebody new is to come."""
        seat.state = ephemeral(os.urandom(SECRET_BYTES))
        if self._keys is not None:  # another fingerprint is another name, of which faults know the rest
            seat.name = peer_name(seat.key, seat.state.identity.fingerprint)
        else:
            seat.name = next_life(seat.key, seat.lives) if seat.lives else seat.key

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
            keys=self._keys,
            listen_host=self._listen_host,
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
