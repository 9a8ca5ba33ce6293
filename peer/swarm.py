"""A swarm of one program: agents that learn until an end is reached, and are scored; wherever they run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from peer import heap
from peer.events import PeerDeparted
from peer.scenario import told
from peer.seats import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence

    from peer.details import AgentDetails
    from peer.events import Event
    from peer.outcome import AgentOutcome
    from peer.scenario import AnyChange
    from peer.tasks import Answer
    from peer.until import Ending
    from peer.views import AgentView
    from wire import PeerId

    Observer = Callable[[Sequence[AgentView]], None]
    Inspector = Callable[[Callable[[], Iterable[AgentDetails]]], None]
    Tell = Callable[[PeerId, Event], None]
    TellChange = Callable[[AnyChange[str]], None]

OBSERVE_EVERY_S = 0.25
GIVE_BACK_EVERY_S = 60.0


class Group(Protocol):
    """Agents that learn."""

    @property
    def tasks(self) -> Collection[asyncio.Task[None]]:
        """They end only when something has failed, which they raise."""

    def views(self) -> Sequence[AgentView]:
        """Of those who are there, as they are now or were a moment ago."""

    def details(self) -> Iterable[AgentDetails]:
        """Likewise."""

    async def end(self) -> None:
        """Let all say goodbye; raises what went wrong in one of them."""


@dataclass(frozen=True, slots=True)
class Results:
    """What agents have come to, in the order of their problems: those who were there at the end."""

    outcomes: Sequence[AgentOutcome]
    answers: Sequence[Answer]
    absent: Sequence[PeerId]  # who was not


class Crowd(Group, Protocol):
    """All agents of one program, who come and go: `open`, learn, `end`, `results`, `close`."""

    @property
    def changes(self) -> Changes:
        """What is done to them."""

    async def open(self) -> None:
        """All who do not join later are there, and know each other."""

    async def results(self) -> Results:
        """Scores those who are there, once they have ended."""

    async def close(self) -> None:
        """Nothing of them is left."""


class Page(Protocol):
    """What people watch of them meanwhile."""

    async def open(self) -> None:
        """Once agents are there. Raises `wire.TransportError`."""

    async def close(self) -> None:
        """Nobody may ask any more."""

    def guards(self) -> list[Coroutine[Any, Any, None]]:
        """To be awaited while it is open: they return only by raising."""

    def look(self) -> None:
        """At all agents; called often."""

    def tell(self, peer: PeerId, event: Event) -> None:
        """Something happened to an agent."""

    def say(self, text: str) -> None:
        """Something happened."""


async def learn(
    group: Group,
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    *,
    changes: Changes | None = None,
    watched: Sequence[Coroutine[Any, Any, None]] = (),
    inspect: Inspector | None = None,
) -> bool:
    """Let agents learn until the end is reached or `stop` is set; whether it was stopped early.

    By `changes` they may come and go; while none is there, the end is not reached. `ending` has had a look
    before `observe` is called; after it `inspect` is. A failure of any of them, or of what is `watched`
    beside them, ends all and is raised.
    """
    changes = changes or Changes()
    began = time.monotonic()
    guards = [asyncio.create_task(watch) for watch in (*watched, stay_small())]
    stopper = asyncio.create_task(stop.wait())
    try:
        while not (ending.reached or stop.is_set()):
            due_s = began + changes.next_at_s - time.monotonic()
            await asyncio.wait(
                [stopper, *group.tasks, *guards],
                timeout=max(0.0, min(OBSERVE_EVERY_S, due_s)),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in (*group.tasks, *guards):
                if task.done():
                    task.result()
            elapsed_s = time.monotonic() - began
            await changes.work(elapsed_s)
            views = group.views()
            if views:
                ending.look(views, elapsed_s)
                observe(views)
                if inspect is not None:
                    inspect(group.details)
    finally:
        for waiting in (stopper, *guards):
            waiting.cancel()
        await asyncio.gather(stopper, *guards, return_exceptions=True)
        await group.end()
    return stop.is_set()


async def stay_small() -> None:
    """Give memory back now and then, in a thread: nobody has to wait for it."""
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        await asyncio.to_thread(heap.give_back)


@dataclass(frozen=True, slots=True)
class SwarmResult(Results):
    """And how it ended."""

    interrupted: bool  # stopped early
    learned_s: float


async def run_swarm(
    make_crowd: Callable[[Tell, TellChange], Crowd],
    *,
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    inspect: Inspector | None = None,
    on_event: Tell,
    on_change: TellChange = lambda _: None,
    on_scoring: Callable[[], None] = lambda: None,
    make_page: Callable[[Any], Page] | None = None,
) -> SwarmResult:
    """Let a crowd come together and learn, end it, and score those who are there.

    The crowd is made with what it is to tell events and changes; the page is made for the crowd, and is there
    until agents are scored.
    """
    page: Page | None = None

    def tell(peer: PeerId, event: Event) -> None:
        """That all say goodbye at the end, one after the other, is no news."""
        if not (isinstance(event, PeerDeparted) and (ending.reached or stop.is_set())):
            on_event(peer, event)
            if page is not None:
                page.tell(peer, event)

    def look(views: Sequence[AgentView]) -> None:
        observe(views)
        if page is not None:
            page.look()

    def changed(change: AnyChange[str]) -> None:
        on_change(change)
        if page is not None:
            page.say(told(change))

    crowd = make_crowd(tell, changed)
    try:
        page = None if make_page is None else make_page(crowd)
        if not await _opened(crowd, stop):
            found = await crowd.results()
            return SwarmResult(found.outcomes, found.answers, found.absent, interrupted=True, learned_s=0.0)
        if page is not None:
            await page.open()
        watched = [] if page is None else page.guards()
        began = time.monotonic()
        interrupted = await learn(
            crowd, ending, stop, look, changes=crowd.changes, watched=watched, inspect=inspect
        )
        learned_s = time.monotonic() - began
        on_scoring()
        found = await crowd.results()
        return SwarmResult(found.outcomes, found.answers, found.absent, interrupted, learned_s)
    finally:
        if page is not None:
            await page.close()
        await crowd.close()


async def _opened(crowd: Crowd, stop: asyncio.Event) -> bool:
    """Whether all are there; False if it was stopped before."""
    opening, stopper = asyncio.create_task(crowd.open()), asyncio.create_task(stop.wait())
    await asyncio.wait({opening, stopper}, return_when=asyncio.FIRST_COMPLETED)
    stopper.cancel()
    if opening.done():
        opening.result()
        return True
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    return False
