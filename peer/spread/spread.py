"""A swarm whose agents are spread over several processes, as one crowd. An edge: asyncio.

              settle, begin           look, several times a second
    Spread ------------------> Place --------------------------> views, events
       |                          x   its process has ended
       +-- settle again ------> Place   the same seats; whoever comes is somebody new, and is found by all

Nothing of an agent is kept elsewhere: who was in a process that has ended is gone, as a broken machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError
from peer.page.many import ANSWER_S
from peer.scenario import Join, Kill, Leave, Restart, member_names
from peer.seats import Changes, hindrance
from peer.spread.crew import PlaceLostError
from peer.swarm import OBSERVE_EVERY_S, Results
from wire import TransportError
from wire.keys import SECRET_BYTES, KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from peer.details import AgentDetails
    from peer.outcome import AgentOutcome
    from peer.scenario import AnyChange, Scenario
    from peer.spread.crew import Crew
    from peer.spread.place import Look, Settlement
    from peer.swarm import Tell, TellChange
    from peer.tasks import Answer
    from peer.views import AgentView
    from wire import PeerId, PeerRecord

DETAILS_EVERY_S: Final = 1.0
AGAIN_S: Final = 1.0  # until a process is tried again that could not be had
END_S: Final = 30.0  # a process that has not said goodbye by then is given up
CLOSE_S: Final = 5.0
LOOK_S: Final = 5.0  # who takes longer is not there until it answers
TELL_S: Final = 5.0


@dataclass(slots=True)
class Host:
    """One process, and who is in it."""

    number: int
    settlement: Settlement
    seats: tuple[str, ...]
    is_up: bool = False
    views: Sequence[AgentView] = ()
    details: Sequence[AgentDetails] = ()
    names: Mapping[str, PeerId] = field(default_factory=dict)  # of those who are there, by seat
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)  # nobody comes or goes meanwhile

    def told(self) -> str:
        """For people."""
        first, last = self.seats[0], self.seats[-1]
        return f"process {self.number} ({first if first == last else f'{first} to {last}'})"


class Spread(Changes):
    """All agents of the settlements, one of each process: a `peer.swarm.Crowd`."""

    def __init__(
        self,
        settlements: Sequence[Settlement],
        crew: Crew,
        scenario: Scenario,
        *,
        on_event: Tell,
        on_change: TellChange,
        say: Callable[[str], None],
        wants_details: bool,
    ) -> None:
        """`say` is told of processes that end and come back."""
        super().__init__(scenario.changes)
        names = member_names(settlements[0].agents)
        self.hosts = [
            Host(number, one, tuple(names[shard] for shard in one.shards))
            for number, one in enumerate(settlements)
        ]
        late = {change.agent for change in scenario.changes if isinstance(change, Join)}
        self.there = {name for host in self.hosts for name in host.seats} - late  # who is to be
        self._following: list[asyncio.Task[None]] = []
        self._doing: set[asyncio.Task[None]] = set()  # changes under way
        self._over = asyncio.Event()
        self._host_of = {name: host for host in self.hosts for name in host.seats}
        self._crew = crew
        self._lives: dict[str, int] = {}
        self._records: dict[str, PeerRecord] = {}  # of those who are there, by seat
        self.made_at = time.monotonic()  # from which the times of a page count
        self._began_at: float | None = None
        self._keys: KeyRing | None = None
        self._fingerprint = ""  # of the task, as agents know it
        self._on_event = on_event
        self._on_change = on_change
        self._say = say
        self._wants_details = wants_details
        self._ended: dict[int, list[int]] = {}  # shards of those who said goodbye, by process

    @property
    def changes(self) -> Changes:
        """What is done to them."""
        return self

    @property
    def elapsed_s(self) -> float:
        """The time of faults and changes; below 0 before all are there."""
        return -1.0 if self._began_at is None else time.monotonic() - self._began_at

    @property
    def tasks(self) -> Collection[asyncio.Task[None]]:
        """Whoever follows a process, and what is being done."""
        return [*self._following, *self._doing]

    def name_of(self, seat: str) -> PeerId:
        """Of the agent that has it, or that had it last."""
        there = self._host_of[seat].names.get(seat)
        record = self._records.get(seat)
        return there or (seat if record is None else record.peer)

    def views(self) -> list[AgentView]:
        """As of the last look at each process."""
        return [view for host in self.hosts for view in host.views]

    def details(self) -> Iterator[AgentDetails]:
        """Likewise, once a second."""
        return (one for host in self.hosts for one in host.details)

    async def open(self) -> None:
        """All who do not join later are there, and know each other."""
        await self._crew.open(len(self.hosts))
        self._keys = None if self._crew.is_local else KeyRing.new(os.urandom(SECRET_BYTES))
        heard = await asyncio.gather(*(self._settle(host, founders=True) for host in self.hosts))
        members = [record for records in heard for record in records]
        self._began_at = time.monotonic()
        begun = [self._call(host, "begin", members, 0.0, founders=True) for host in self.hosts]
        await asyncio.gather(*begun)
        for host in self.hosts:
            host.is_up = True
            self._following.append(asyncio.create_task(self._follow(host), name=host.told()))

    async def carry_out(self, change: AnyChange[str]) -> None:
        """Begin to do it: what a process takes for it, or that it is being replaced, keeps nobody waiting."""
        doing = asyncio.create_task(self._carry_out(change), name=change.agent)
        self._doing.add(doing)
        doing.add_done_callback(self._done)

    def _done(self, doing: asyncio.Task[None]) -> None:
        """What has failed stays, for whoever looks at `tasks`."""
        if not doing.cancelled() and doing.exception() is None:
            self._doing.discard(doing)

    async def _carry_out(self, change: AnyChange[str]) -> None:
        """As `peer.seats.Seats` does; who is in a process that has ended is gone already."""
        seat, host = change.agent, self._host_of[change.agent]
        async with host.changing:
            if hindrance(change, is_there=seat in self.there) is not None:
                return
            if isinstance(change, Kill | Leave):
                self.there.discard(seat)
            elif isinstance(change, Join | Restart):
                self.there.add(seat)
            if isinstance(change, Restart):
                self._lives[seat] = self._lives.get(seat, 0) + 1
            if host.is_up:
                with contextlib.suppress(PlaceLostError):  # whoever follows it will see
                    record = await self._crew.call(host.number, "change", change)
                    if record is not None:
                        self._records[seat] = record
                        await self._introduce(host, [record])
        self._on_change(change)

    async def question(self, number: int, what: str, about: object) -> Any:
        """For a page, what the process answers; None if it does not in time."""
        if self.hosts[number].is_up:
            with contextlib.suppress(TimeoutError, PlaceLostError):
                async with asyncio.timeout(ANSWER_S):
                    return await self._crew.call(number, "ask", what, about)
        return None

    async def end(self) -> None:
        """Let all say goodbye; raises what went wrong in one of them."""
        self._over.set()
        tasks = self.tasks
        if tasks:  # let what is under way come through: events are told only once
            await asyncio.wait(tasks, timeout=LOOK_S)
        for task in tasks:
            if task.done():
                task.result()
        await self._stop()
        ended = await self._all("end", END_S)
        for number, (shards, events) in ended.items():
            self._ended[number] = shards
            self._tell(events)

    async def results(self) -> Results:
        """Scores those who are there, once they have ended."""
        there = sorted(shard for shards in self._ended.values() for shard in shards)
        found = await self._all("score", None, there)
        outcomes: list[AgentOutcome] = []
        answers: list[Answer] = []
        for number in sorted(found):
            outcomes += found[number][0]
            answers += found[number][1]
        scored = {shard for number in found for shard in self._ended[number]}
        seats = [pair for host in self.hosts for pair in zip(host.seats, host.settlement.shards, strict=True)]
        return Results(
            outcomes, answers, [self.name_of(seat) for seat, shard in seats if shard not in scored]
        )

    async def close(self) -> None:
        """No process is left."""
        await self._stop()
        try:
            await self._all("close", CLOSE_S)
        finally:
            await self._crew.close()

    async def _stop(self) -> None:
        tasks = self.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._following.clear()
        self._doing.clear()

    # ---- processes

    async def _settle(self, host: Host, *, founders: bool) -> list[PeerRecord]:
        absent = [seat for seat in host.seats if seat not in self.there]
        settlement = replace(
            host.settlement,
            listen_host=await self._crew.listen_host(host.number),
            keys=self._keys,
            page_began_at=self.made_at if self._crew.is_local else None,
            page_age_s=time.monotonic() - self.made_at,
        )
        records: list[PeerRecord] = await self._call(
            host, "settle", settlement, dict(self._lives), absent, founders=founders
        )
        for record in records:
            self._fingerprint = self._fingerprint or record.fingerprint
            if record.fingerprint != self._fingerprint:
                raise HyperpushError(
                    f"{host.told()} has another task than the others, of the same name: its data, its file "
                    "or its version of hyperpush differ; let all machines have the same"
                )
        present = [seat for seat in host.seats if seat in self.there]
        self._records |= zip(present, records, strict=True)
        return records

    async def _call(self, host: Host, method: str, *arguments: Any, **options: Any) -> Any:
        """Raises PlaceLostError that names the process."""
        try:
            return await self._crew.call(host.number, method, *arguments, **options)
        except PlaceLostError as error:
            raise PlaceLostError(f"{host.told()}: {error}") from None

    async def _follow(self, host: Host) -> None:
        """Look at it again and again; if it has ended, let another one take its place. Bugs are raised."""
        looked_s = -DETAILS_EVERY_S
        while not self._over.is_set():
            now = time.monotonic()
            due = self._wants_details and now >= looked_s + DETAILS_EVERY_S
            looking = asyncio.create_task(self._crew.call(host.number, "look", details=due))
            try:
                if not (await asyncio.wait({looking}, timeout=LOOK_S))[0]:
                    self._say(f"{host.told()} does not answer")
                    host.views, host.details, host.names = (), (), {}
                self._take(host, await looking)
            except PlaceLostError as error:
                await self._replace(host, error)
            finally:
                looking.cancel()
            if due:
                looked_s = now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), OBSERVE_EVERY_S)

    def _take(self, host: Host, seen: Look) -> None:
        host.views, host.names = seen.views, seen.names
        host.details = seen.details or host.details
        self._tell(seen.events)

    async def _replace(self, host: Host, error: PlaceLostError) -> None:
        """Its agents come back as somebody new."""
        host.is_up = False
        host.views, host.details, host.names = (), (), {}
        why = str(error)
        self._renew(host)
        self._say(f"{host.told()}: {why}; it is begun anew, its agents as others")
        while True:
            try:
                async with host.changing:
                    await self._come_back(host)
                break
            except (TransportError, HyperpushError, OSError, MemoryError) as again:
                if str(again) != why:
                    self._say(f"it cannot be begun: {again}")
                why = str(again)
            await asyncio.sleep(AGAIN_S)
        self._say(f"{host.told()} is back")

    def _renew(self, host: Host) -> None:
        """Whoever is in it next is somebody else."""
        for seat in host.seats:
            self._lives[seat] = self._lives.get(seat, 0) + 1

    async def _come_back(self, host: Host) -> None:
        own = await self._settle(host, founders=False)
        try:
            await self._call(host, "begin", own, self.elapsed_s, founders=False)
        except PlaceLostError:
            self._renew(host)  # somebody may have heard of them already
            raise
        host.is_up = True
        await self._introduce(host, own)

    async def _introduce(self, host: Host, records: Sequence[PeerRecord]) -> None:
        """Who came at this process, and everybody elsewhere, find each other."""
        others = [other for other in self.hosts if other is not host and other.is_up]
        there = {name for other in others for name in other.names.values()}
        known = [record for record in self._records.values() if record.peer in there]

        async def tell(other: Host, news: Sequence[PeerRecord]) -> None:
            with contextlib.suppress(PlaceLostError, TimeoutError):  # whoever follows it will see
                async with asyncio.timeout(TELL_S):
                    await self._crew.call(other.number, "found", news)

        await asyncio.gather(tell(host, known), *(tell(other, records) for other in others))

    async def _all(self, method: str, limit_s: float | None, *arguments: Any) -> dict[int, Any]:
        """What every process gives that is there; who does not in time is given up. Bugs are raised."""

        async def one(host: Host) -> Any:
            calling = asyncio.create_task(self._crew.call(host.number, method, *arguments))
            try:
                if (await asyncio.wait({calling}, timeout=limit_s))[0]:
                    return calling.result()
                self._say(f"{host.told()} does not answer within {limit_s:g} s, and is given up")
            except PlaceLostError as error:
                self._say(f"{host.told()}: {error}")
            finally:
                calling.cancel()
            host.is_up = False
            return None

        up = [host for host in self.hosts if host.is_up]
        found = await asyncio.gather(*(one(host) for host in up))
        return {host.number: told for host, told in zip(up, found, strict=True) if host.is_up}

    def _tell(self, events: Collection[tuple[PeerId, Any]]) -> None:
        for peer, event in events:
            self._on_event(peer, event)
