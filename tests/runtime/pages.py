"""A swarm with a page on loopback: small problems, real sockets, and somebody who asks."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from peer.admin_access import AdminAccess
from peer.here import AgentsHere
from peer.swarm import run_swarm
from peer.swarm_page import SwarmPage
from peer.tasks import make_task
from peer.until import Ending
from tests.runtime.agents import LIMIT_S, LOOK_S, SETTINGS
from wire import FaultPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from peer.swarm import Tell, TellChange

LEARNING = dataclasses.replace(SETTINGS, tick_s=0.05, evaluate_every=5, warm_up_ticks=None)


class Visitor:
    """Asks the page of a swarm."""

    def __init__(self, page: SwarmPage, url: str, session: aiohttp.ClientSession) -> None:
        self.page = page
        self.url = url
        self._session = session

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON."""
        async with self._session.request(method, self.url + path, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str, **options: Any) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers."""
        async with self._session.get(self.url + path, **options) as response:
            return response.status, await response.read(), response.headers

    async def until(self, holds: Callable[[Any], bool], path: str = "/v1/live") -> Any:
        """What is answered once that holds."""
        while True:
            _, found = await self.ask("GET", path)
            if holds(found):
                return found
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=LOOK_S)


@asynccontextmanager
async def visited(agents: int, task: str = "synthetic", drop: float = 0.0) -> AsyncIterator[Visitor]:
    """A swarm that learns until the visitor has gone."""
    stop = asyncio.Event()
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    pages: list[SwarmPage] = []
    made = make_task(task, agents, 0, "bias" if task != "synthetic" else "none")

    def make_crowd(tell: Tell, tell_change: TellChange) -> AgentsHere:
        return AgentsHere(
            made.among(list(range(agents))),
            dataclasses.replace(LEARNING, **made.settings),
            faults=FaultPlan(drop=drop),
            seed=0,
            on_event=tell,
            on_change=tell_change,
        )

    def make_page(crowd: AgentsHere) -> SwarmPage:
        access = AdminAccess("127.0.0.1", 0)
        pages.append(SwarmPage("a swarm", crowd.seats, lambda: "no end", access, told.set_result))
        return pages[0]

    running = asyncio.create_task(
        run_swarm(
            make_crowd,
            ending=Ending(),
            stop=stop,
            observe=lambda _: None,
            on_event=lambda *_: None,
            make_page=make_page,
        )
    )
    try:
        async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession() as session:
            await asyncio.wait([told, running], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            yield Visitor(pages[0], (await told).removeprefix("page: "), session)
    finally:
        stop.set()
        await running
