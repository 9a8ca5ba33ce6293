"""One process of a swarm: hosts some of its agents, and does what `peer.spread.spread` tells it. An edge.

settle --> begin --> look, change, found, ask ... --> end --> score
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.agent_status import agent_status
from peer.page.hosted import HostedAgents
from peer.page.watch import Watch
from peer.running import score_all
from peer.scenario import Scenario
from peer.seats import Seats
from peer.spread.crew import PlaceLostError
from peer.swarm import stay_small
from peer.tasks import make_task
from peer.worker_threads import keep_waiting_threads, worker_threads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from peer.data.choice import DataChoice
    from peer.details import AgentDetails
    from peer.events import Event
    from peer.outcome import AgentOutcome
    from peer.scenario import AnyChange
    from peer.service import AgentService
    from peer.settings import AgentSettings
    from peer.status import AgentStatus
    from peer.tasks import Answer, Task
    from peer.views import AgentView
    from wire import FaultPlan, PeerId, PeerRecord
    from wire.keys import KeyRing

LOOPBACK: Final = "127.0.0.1"
EVENTS_MAX: Final = 10_000  # between two looks, of which there are several a second


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a process has to know of the swarm and of its own part of it."""

    task: str | Path
    agents: int  # of the whole swarm
    seed: int
    personalization: str
    choice: DataChoice
    settings: AgentSettings
    faults: FaultPlan
    shards: tuple[int, ...]  # of the agents that it hosts
    threads: int  # that compute
    listen_host: str = LOOPBACK
    keys: KeyRing | None = None  # with them messages are sealed
    page_began_at: float | None = None  # by the clock of this machine, if all are on one
    page_age_s: float = 0.0  # else, when this is sent

    def make_task(self) -> Task:
        """The same in every process. Raises `SettingError`."""
        return make_task(self.task, self.agents, self.seed, self.personalization, choice=self.choice)


@dataclass(frozen=True, slots=True)
class Look:
    """The agents of a place at one moment, and what has happened since the look before."""

    views: Sequence[AgentView]
    details: Sequence[AgentDetails]  # if they were asked for
    events: Sequence[tuple[PeerId, Event]]
    names: Mapping[str, PeerId]  # of those who are there, by seat


class Place:
    """Hosts the agents of a settlement; see `peer.page.scene.Source` for what it is to its page."""

    title = ""  # of the page, which is not here
    actions: Sequence[str] = ()

    def __init__(self) -> None:
        self._task: Task | None = None
        self._seats: Seats
        self._executor: ThreadPoolExecutor
        self._watch: Watch
        self._page: HostedAgents
        self._small: asyncio.Task[None]
        self._events: deque[tuple[PeerId, Event]] = deque(maxlen=EVENTS_MAX)

    async def settle(
        self, settlement: Settlement, lives: Mapping[str, int], absent: Collection[str], *, founders: bool
    ) -> list[PeerRecord]:
        """Let all its agents listen but for these; where they do. Whose `lives` is above 0 comes as another.

        Raises `SettingError`, `wire.TransportError`.
        """
        came_at = time.monotonic()
        began_at = (
            came_at - settlement.page_age_s if settlement.page_began_at is None else settlement.page_began_at
        )
        keep_waiting_threads()
        self._task = task = await asyncio.to_thread(settlement.make_task)
        self._executor = worker_threads(settlement.threads)
        self._seats = Seats(
            task,
            settlement.settings,
            faults=settlement.faults,
            scenario=Scenario(),
            seed=settlement.seed,
            executor=self._executor,
            on_event=self._tell,
            on_change=lambda _: None,
            shards=settlement.shards,
            lives=lives,
            listen_host=settlement.listen_host,
            keys=settlement.keys,
        )
        seats = self._seats.seats
        self._watch = Watch(self, began_at, settlement.agents)
        faults = {name: seat.faults for name, seat in seats.items()}
        self._page = HostedAgents(
            self._watch.scene, self._watch.health, faults, lambda name: seats[name].timed.elapsed_s()
        )
        self._small = asyncio.create_task(stay_small())
        return await self._seats.listen(absent, founders=founders)

    async def begin(self, members: Sequence[PeerRecord], elapsed_s: float, *, founders: bool) -> None:
        """All learn, `elapsed_s` after the swarm began."""
        self._seats.begin(members, elapsed_s=elapsed_s, founders=founders)

    async def look(self, *, details: bool) -> Look:
        """Raises what went wrong in an agent."""
        for task in self._seats.running.tasks:
            if task.done():
                task.result()
        await self._seats.work(0.0)
        self._watch.look()
        running = self._seats.running
        seen = Look(
            running.views(), list(running.details()) if details else (), list(self._events), self._names()
        )
        self._events.clear()
        return seen

    async def change(self, change: AnyChange[str]) -> PeerRecord | None:
        """Do this; where the agent listens, if it has come by that."""
        seat = self._seats.seats[change.agent]
        before = seat.service
        await self._seats.carry_out(change)
        after = seat.service
        return None if after is None or after is before else after.record

    async def found(self, members: Sequence[PeerRecord]) -> None:
        """These have come, as discovery would tell."""
        self._seats.found(members)

    async def ask(self, what: str, about: Any) -> object:
        """For a page: see `peer.page.hosted`."""
        return self._page.answer(what, about)

    async def end(self) -> tuple[list[int], list[tuple[PeerId, Event]]]:
        """Let all say goodbye; the shards of those who were there, and what happened since the last look."""
        await self._seats.running.end()
        seats = self._seats.seats.values()
        return [seat.shard for seat in seats if seat.service is not None], list(self._events)

    async def score(self, there: Sequence[int]) -> tuple[list[AgentOutcome], list[Answer]]:
        """Of those who ended, by shard; `there` are the shards of all who did, also elsewhere."""
        assert self._task is not None
        seats = self._seats.seats.values()
        services = {seat.shard: seat.service for seat in seats if seat.service is not None}
        return await score_all(self._task, services, there, self._executor)

    async def close(self) -> None:
        """Nothing of the agents is left."""
        if self._task is not None:
            running = self._seats.running.tasks  # of those who were not to say goodbye
            for task in (self._small, *running):
                task.cancel()
            await asyncio.gather(self._small, *running, return_exceptions=True)
            await self._seats.close()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def services(self) -> Sequence[AgentService]:
        """Of the agents that are there."""
        return [seat.service for seat in self._seats.seats.values() if seat.service is not None]

    def absent(self) -> Sequence[str]:
        """Whoever has settled them knows."""
        return ()

    def status_of(self, service: AgentService) -> AgentStatus:
        """As it would tell itself on a machine of its own."""
        return agent_status(service, service.clock(), settled_line="", until_line="", incompatible={})

    def _names(self) -> dict[str, PeerId]:
        return {key: seat.name for key, seat in self._seats.seats.items() if seat.service is not None}

    def _tell(self, peer: PeerId, event: Event) -> None:
        self._events.append((peer, event))


class Servant:
    """Serves one place at a time, a new one whenever there is something to `settle`."""

    def __init__(self) -> None:
        self._place: Place | None = None

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What this method of the place gives. Raises PlaceLostError if nothing was settled."""
        if method == "settle":
            if self._place is not None:
                await self._place.close()
            self._place = Place()
        if self._place is None:
            raise PlaceLostError("its process was begun anew")
        return await getattr(self._place, method)(*arguments, **options)
