"""The page of all agents of a swarm whose agents are in other processes: each is asked. An edge: asyncio.

A process that is stopped or has ended answers nothing: its agents are not there until it does.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import ProcessCollector

from peer.admin import open_listener
from peer.admin_groups import description_routes, health_routes
from peer.admin_routes import compose
from peer.page.chronicle import Chronicle
from peer.page.desk import ACTIONS, desk_routes
from peer.page.health import Silence
from peer.page.routes import page_routes, shown_routes
from peer.problem_details import RefusalError
from peer.status import AgentStatus
from wire import FaultPlanError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    from peer.admin import AdminServer
    from peer.admin_access import AdminAccess
    from peer.admin_input import FaultRequest
    from peer.page.desk import TellFaults
    from peer.scenario import AnyChange
    from wire import PeerId

ANSWER_S: Final = 1.0  # a process that takes longer is stopped, or has too much else to do


class ManyPage:
    """`open`, `close`; what happens is told by `say` and `heard`.

    `ask(process, what, about)` gives what that process answers, as `peer.page.hosted` has it, and None if it
    does not in time.
    """

    def __init__(
        self,
        title: str,
        members: Sequence[Sequence[str]],
        ask: Callable[[int, str, object], Awaitable[Any]],
        *,
        there: Collection[str],
        peer_of: Callable[[str], PeerId],
        now_s: Callable[[], float],
        change: Callable[[AnyChange[str]], None],
        on_faults: TellFaults = lambda _what, _live: None,
        began_at: float | None = None,
    ) -> None:
        """`members`: the agents of each process. `there`: who is to be there.

        `on_faults` is told what people do to links, as `peer.page.desk.Desk.tell_faults` is.

        `now_s` is the time of faults and changes, below 0 before all have started. Times of the page count
        from `began_at`, a monotonic time, which the processes have to count from as well.
        """
        self.chronicle = Chronicle()
        self.began_at = time.monotonic() if began_at is None else began_at
        self._title = title
        self._members = members
        self._ask_one = ask
        self._there = there
        self._peer_of = peer_of
        self._now_s = now_s
        self._change = change
        self._on_faults = on_faults
        self._run = secrets.token_hex(8)
        self._silence = Silence()
        self._server: AdminServer | None = None

    async def open(self, access: AdminAccess) -> str:
        """Listen; the URL. Raises `wire.TransportError`."""
        collector = ProcessCollector(registry=None)
        routes = (
            health_routes(self._problems),
            description_routes(),
            page_routes(),
            shown_routes(self, collector),
        )
        self._server = await open_listener(access, compose(*routes, desk_routes(self)))
        return self._server.url

    async def close(self) -> None:
        """Nobody may ask any more."""
        if self._server is not None:
            await self._server.close()

    def guards(self) -> list[Coroutine[object, object, None]]:
        """To be awaited meanwhile: they return only by raising."""
        return [] if self._server is None else [self._server.wait_failed()]

    def say(self, text: str) -> None:
        """Something happened."""
        self.chronicle.say(time.monotonic() - self.began_at, text)

    def heard(self, peer: PeerId, kind: str, text: str) -> None:
        """A process tells what has happened to an agent."""
        self.chronicle.say(time.monotonic() - self.began_at, text, peer=peer, kind=kind)

    # ---- what is watched: `peer.page.routes.Shown`

    async def _problems(self) -> list[str]:
        return self._silence.problems(time.monotonic(), await self._ask_all("problems", None))

    async def live(self, after_s: float, after_event: int) -> Mapping[str, object]:
        """All that the processes answer, in the order of their numbers."""
        agents = await self._look(after_s)
        return {
            "run": self._run,
            "title": self._title,
            "now_s": time.monotonic() - self.began_at,
            "actions": ACTIONS,
            "agents": agents,
            "absent": self._absent([agent["status"]["peer"] for agent in agents]),
            "events": self.chronicle.since(after_event),
        }

    async def statuses(self) -> tuple[list[AgentStatus], list[str]]:
        """Of those whose processes answer."""
        agents = await self._look(time.monotonic())
        there = [AgentStatus.from_dict(agent["status"]) for agent in agents]
        return there, self._absent([status.peer for status in there])

    async def _look(self, after_s: float) -> list[Any]:
        after = after_s if after_s > float("-inf") else None
        answers = await self._ask_all("look", after)
        return [agent for answer in answers if answer is not None for agent in answer]

    async def _ask_all(self, what: str, about: object) -> list[Any]:
        """Every process; None for each that does not answer."""
        return await asyncio.gather(
            *(self._ask_one(number, what, about) for number in range(len(self._members)))
        )

    def _absent(self, seen: Collection[PeerId]) -> list[PeerId]:
        return [peer for peer in self.names().values() if peer not in seen]

    # ---- what may be done: `peer.page.desk.Desk`

    def elapsed_s(self) -> float:
        """Since all agents were started."""
        return max(0.0, self._now_s())

    def names(self) -> Mapping[str, PeerId]:
        """By name in the plan: of the newest life."""
        return {agent: self._peer_of(agent) for members in self._members for agent in members}

    def is_there(self, agent: str) -> bool:
        """Whether it is to be, dead process or not."""
        return agent in self._there

    async def told_faults(self, agents: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        """Of those whose processes answer."""
        answers = await self._ask("faults", agents)
        return {agent: found for answer in answers if answer for agent, found in answer.items()}

    async def set_faults(self, agents: Sequence[str], change: FaultRequest) -> None:
        """Raises `FaultPlanError`, also if a process does not answer."""
        faults = None if change.faults is None else change.faults.to_dict()
        for answer in await self._ask("set_faults", agents, change.to, faults, change.duration_s):
            if answer is None or answer:
                raise FaultPlanError(answer or "a process does not answer: ask again when it is back")

    async def clear_faults(self, agents: Sequence[str], to: PeerId | None) -> int:
        """Of those whose processes answer."""
        return sum(answer or 0 for answer in await self._ask("clear", agents, to))

    async def _ask(self, what: str, agents: Sequence[str], *more: object) -> list[Any]:
        """Each process about its own agents among these."""
        asked = []
        for number, members in enumerate(self._members):
            own = [agent for agent in members if agent in agents]
            if own:
                asked.append(self._ask_one(number, what, [own, *more] if more else own))
        return await asyncio.gather(*asked)

    def tell_faults(self, what: str, live: Mapping[PeerId, Sequence[object]]) -> None:
        """Whoever watches, and whoever keeps a record."""
        self.say(what)
        self._on_faults(what, live)

    def carry_out(self, change: AnyChange[str]) -> None:
        """As a scenario would. Raises `RefusalError` before all have started."""
        if self._now_s() < 0:
            raise RefusalError(409, "agent", change.agent, "the swarm has not started yet: ask again then")
        self._change(change)
