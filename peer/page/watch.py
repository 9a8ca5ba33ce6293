"""What people watch of the agents of a program, by its clock, and may ask of them. An edge: time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from peer.admin_groups import description_routes, health_routes
from peer.page.health import Health
from peer.page.routes import page_routes, shown_routes
from peer.page.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.admin_routes import Routes
    from peer.events import Event
    from peer.page.scene import Source
    from peer.service import AgentService
    from peer.status import AgentStatus
    from wire import PeerId


class Watch:
    """`look` often, `tell` and `say` what happens; `routes` answer whoever asks."""

    def __init__(self, source: Source, began_at: float | None = None, agents: int | None = None) -> None:
        """`began_at` is a monotonic time, of this machine, that others count from as well.

        `agents`: of the whole page, if others of them are elsewhere.
        """
        self.scene = Scene(source, agents)
        self.health = Health()
        self._began = time.monotonic() if began_at is None else began_at

    def elapsed_s(self) -> float:
        """Since the program began."""
        return time.monotonic() - self._began

    def look(self) -> None:
        """At all agents; cheap enough to be called often."""
        now_s = self.elapsed_s()
        self.scene.look(now_s)
        services = self.scene.source.services()
        self.health.look(now_s, {service.record.peer: _mark(service) for service in services})

    def tell(self, peer: PeerId, event: Event) -> None:
        """Something happened to an agent."""
        self.scene.chronicle.tell(self.elapsed_s(), peer, event)

    def say(self, text: str) -> None:
        """Something happened."""
        self.scene.chronicle.say(self.elapsed_s(), text)

    async def problems(self) -> list[str]:
        """Why not all agents work, naming nobody."""
        return self.health.problems()

    async def live(self, after_s: float, after_event: int) -> Mapping[str, object]:
        """`peer.page.routes.Shown`."""
        return self.scene.live(self.elapsed_s(), after_s, after_event)

    async def statuses(self) -> tuple[list[AgentStatus], list[str]]:
        """`peer.page.routes.Shown`."""
        return self.scene.statuses(), list(self.scene.source.absent())

    def routes(self) -> list[Routes]:
        """Of every listener."""
        return [
            health_routes(self.problems),
            description_routes(),
            page_routes(),
            shown_routes(self, ProcessCollector(registry=None)),
        ]


def _mark(service: AgentService) -> object:
    """Changes whenever the agent goes on; None while it waits for something outside."""
    return None if service.waits_for else (service.agent.ticks, service.agent.next_deadline())
