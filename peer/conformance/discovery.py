"""What every way of finding agents, a `wire.discovery.Discovery`, has to hold.

Makers of one module look for each other: they share a folder, a name, or whatever it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from peer.conformance.common import has_what_is_asked_for, takes_its_text
from peer.conformance.loops import all_closed, in_a_loop, until
from wire import PeerRecord

if TYPE_CHECKING:
    from wire import RejectReason
    from wire.discovery import Discovery, MakeDiscovery

WATCHED_S: Final = 0.5  # for what must not come
BUG_S: Final = 10.0  # until a bug has surfaced
FIRST: Final = PeerRecord("first-of-two", 1, "127.0.0.1:47001", "on trial", "model")
SECOND: Final = PeerRecord("second-of-two", 1, "127.0.0.1:47002", "on trial", "model")
STRANGER: Final = PeerRecord("a-stranger", 1, "127.0.0.1:47003", "another swarm", "model")


class _Place:
    """Who listens where, and what discoveries of one agent have told."""

    def __init__(self, make: MakeDiscovery, *there: PeerRecord) -> None:
        self._make = make
        self.there = {record.address: record for record in there}

    async def fetch(self, address: str, timeout_s: float) -> dict[str, object] | None:
        del timeout_s
        found = self.there.get(address)
        return None if found is None else dict(found.to_fields())

    def look(self, record: PeerRecord) -> _Look:
        return _Look(self._make, self, record)


class _Look:
    """One agent's discovery, and its diary."""

    fails = False  # whether whoever is told has a bug

    def __init__(self, make: MakeDiscovery, place: _Place, record: PeerRecord) -> None:
        self.seen: list[PeerRecord] = []
        self._loop = asyncio.get_running_loop()
        self.refused: list[str] = []
        self.discovery: Discovery = make(
            record,
            fetch=place.fetch,
            on_seen=self._see,
            on_incompatible=self._refuse,
            on_problem=lambda _: None,
        )

    def _see(self, record: PeerRecord) -> None:
        assert asyncio.get_running_loop() is self._loop, "on_seen is called outside of the event loop"
        self.seen.append(record)
        if self.fails:
            raise OSError("a bug")

    def _refuse(self, record: PeerRecord, reason: RejectReason) -> None:
        assert reason, "a reason is not given"
        self.refused.append(record.peer)

    def has(self, peer: PeerRecord) -> bool:
        return any(one.peer == peer.peer and one.address == peer.address for one in self.seen)

    async def start(self) -> None:
        await self.discovery.start()

    async def close(self) -> None:
        await self.discovery.close()


@in_a_loop
async def it_has_what_is_asked_for(make: MakeDiscovery) -> None:
    """All methods of the protocol."""
    has_what_is_asked_for("discovery", make, _Place(make, FIRST).look(FIRST).discovery)


@in_a_loop
async def its_text_is_taken_or_refused_in_words(make: MakeDiscovery) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    place, nobody = _Place(make), {"on_seen": print, "on_incompatible": print, "on_problem": print}
    takes_its_text(make, FIRST, fetch=place.fetch, **nobody)


@in_a_loop
async def two_agents_find_each_other(make: MakeDiscovery) -> None:
    """Whoever comes first; and nobody finds itself."""
    place = _Place(make, FIRST, SECOND)
    first, second = place.look(FIRST), place.look(SECOND)
    try:
        await first.start()
        await second.start()
        await until(lambda: first.has(SECOND), "the first agent finds the second")
        await until(lambda: second.has(FIRST), "the second agent finds the first")
        await asyncio.sleep(WATCHED_S)
        for look, own in ((first, FIRST), (second, SECOND)):
            assert not look.has(own), f"{own.peer} is told of itself"
    finally:
        await all_closed(first, second)


@in_a_loop
async def who_does_not_fit_is_not_seen(make: MakeDiscovery) -> None:
    """An agent of another swarm may be refused, by name; it is never one that was seen."""
    place = _Place(make, FIRST, SECOND, STRANGER)
    looks = [place.look(record) for record in (FIRST, SECOND, STRANGER)]
    try:
        for look in looks:
            await look.start()
        await until(lambda: looks[0].has(SECOND) and looks[1].has(FIRST), "the two that fit find each other")
        await asyncio.sleep(WATCHED_S)
        for look in looks[:2]:
            assert not look.has(STRANGER), "an agent of another swarm is seen"
            assert set(look.discovery.refused()) <= {STRANGER.peer}, "somebody who fits is refused"
        assert not looks[2].seen, "the stranger sees those of another swarm"
    finally:
        await all_closed(*looks)


@in_a_loop
async def whoever_was_forgotten_is_told_of_again(make: MakeDiscovery) -> None:
    """There was no room; later there may be."""
    place = _Place(make, FIRST, SECOND)
    first, second = place.look(FIRST), place.look(SECOND)
    try:
        await first.start()
        await second.start()
        await until(lambda: first.has(SECOND), "the first agent finds the second")
        first.seen.clear()
        first.discovery.forget(SECOND.peer)
        await until(lambda: first.has(SECOND), "after forget the second is told of again")
    finally:
        await all_closed(first, second)


@in_a_loop
async def an_agent_that_comes_back_elsewhere_is_found_there(make: MakeDiscovery) -> None:
    """With a new record, and a new discovery, as agents do it."""
    elsewhere = replace(SECOND, incarnation=2, address="127.0.0.1:47009")
    place = _Place(make, FIRST, SECOND)
    first, second = place.look(FIRST), place.look(SECOND)
    again = place.look(elsewhere)
    try:
        await first.start()
        await second.start()
        await until(lambda: first.has(SECOND), "the first agent finds the second")
        await second.close()
        del place.there[SECOND.address]
        place.there[elsewhere.address] = elsewhere
        await again.start()
        await until(lambda: first.has(elsewhere), "the second is found where it is now")
    finally:
        await all_closed(first, again)


@in_a_loop
async def a_bug_in_whoever_is_told_surfaces(make: MakeDiscovery) -> None:
    """Out of `wait_failed`, which otherwise waits for ever."""
    place = _Place(make, FIRST, SECOND)
    first, second = place.look(FIRST), place.look(SECOND)
    first.fails = True
    waiting: asyncio.Task[None] | None = None
    try:
        await first.start()
        waiting = asyncio.create_task(first.discovery.wait_failed())
        await second.start()
        await asyncio.wait([waiting], timeout=BUG_S)
        assert waiting.done(), "wait_failed knows nothing of a bug in on_seen"
        assert isinstance(waiting.exception(), OSError), f"wait_failed raises {waiting.exception()!r}"
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await all_closed(first, second)


@in_a_loop
async def it_can_be_closed_at_any_time(make: MakeDiscovery) -> None:
    """Twice, and just after it has begun."""
    look = _Place(make, FIRST).look(FIRST)
    await look.start()
    await look.close()
    await look.close()


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    two_agents_find_each_other,
    who_does_not_fit_is_not_seen,
    whoever_was_forgotten_is_told_of_again,
    an_agent_that_comes_back_elsewhere_is_found_there,
    a_bug_in_whoever_is_told_surfaces,
    it_can_be_closed_at_any_time,
)
