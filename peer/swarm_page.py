"""The page of all agents of `hyperpush swarm`: what they do, and what may be done to them. An edge: time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from peer.admin import open_listener
from peer.admin_routes import compose
from peer.agent_status import agent_status
from peer.page.desk import ACTIONS, desk_routes
from peer.page.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from peer.admin import AdminServer
    from peer.admin_access import AdminAccess
    from peer.admin_input import FaultRequest
    from peer.events import Event
    from peer.page.desk import TellFaults
    from peer.scenario import AnyChange
    from peer.seats import Seats
    from peer.service import AgentService
    from peer.status import AgentStatus
    from wire import PeerId


class SwarmPage:
    """`open` once agents are there, `watch.look` often, `close`. A bug comes out of `guards`."""

    def __init__(
        self,
        title: str,
        seats: Seats,
        until: Callable[[], str],
        access: AdminAccess,
        note: Callable[[str], None],
        on_faults: TellFaults = lambda _what, _live: None,
    ) -> None:
        """`until` says what the swarm runs for; `note` is told where the page is.

        `on_faults` is told what people do to links, as `peer.page.desk.Desk.tell_faults` is.
        """
        self.title = title
        self.watch = Watch(self)
        self._seats = seats
        self._until = until
        self._access = access
        self._note = note
        self._on_faults = on_faults
        self._server: AdminServer | None = None

    async def open(self) -> None:
        """Listen. Raises `wire.TransportError`."""
        self._server = await open_listener(self._access, compose(*self.watch.routes(), desk_routes(self)))
        self._note(f"page: {self._server.url}")

    async def close(self) -> None:
        """Nobody may ask any more."""
        if self._server is not None:
            await self._server.close()

    def guards(self) -> list[Coroutine[object, object, None]]:
        """To be awaited while agents run: they return only by raising."""
        return [] if self._server is None else [self._server.wait_failed()]

    def look(self) -> None:
        """At all agents."""
        self.watch.look()

    def tell(self, peer: PeerId, event: Event) -> None:
        """Something happened to an agent."""
        self.watch.tell(peer, event)

    def say(self, text: str) -> None:
        """Something happened."""
        self.watch.say(text)

    # ---- what is watched: `peer.page.scene.Source`

    @property
    def actions(self) -> Sequence[str]:
        """All."""
        return ACTIONS

    def services(self) -> Sequence[AgentService]:
        """In the order of their seats."""
        return [seat.service for seat in self._seats.seats.values() if seat.service is not None]

    def absent(self) -> Sequence[str]:
        """Whose seat is empty."""
        return [seat.name for seat in self._seats.seats.values() if seat.service is None]

    def status_of(self, service: AgentService) -> AgentStatus:
        """As it would tell itself on a machine of its own."""
        now = service.clock()
        return agent_status(service, now, settled_line="", until_line=self._until(), incompatible={})

    # ---- what may be done: `peer.page.desk.Desk`

    def elapsed_s(self) -> float:
        """The time of the fault plan."""
        return time.monotonic() - self._seats.began_at

    def names(self) -> Mapping[str, PeerId]:
        """By seat."""
        return {key: seat.name for key, seat in self._seats.seats.items()}

    def is_there(self, agent: str) -> bool:
        """Whether somebody has the seat."""
        return self._seats.seats[agent].service is not None

    async def told_faults(self, agents: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        """Of these seats."""
        return {agent: self._seats.seats[agent].faults.to_dict() for agent in agents}

    async def set_faults(self, agents: Sequence[str], change: FaultRequest) -> None:
        """Whoever has these seats. Raises `FaultPlanError`."""
        for agent in agents:
            self._seats.seats[agent].faults.set(change.to, change.faults, self.elapsed_s(), change.duration_s)

    async def clear_faults(self, agents: Sequence[str], to: PeerId | None) -> int:
        """Likewise."""
        return sum(self._seats.seats[agent].faults.clear(to) for agent in agents)

    def tell_faults(self, what: str, live: Mapping[PeerId, Sequence[object]]) -> None:
        """Whoever watches, and whoever keeps a record."""
        self.say(what)
        self._on_faults(what, live)

    def carry_out(self, change: AnyChange[str]) -> None:
        """With the next look at the agents."""
        self._seats.ask(change)
