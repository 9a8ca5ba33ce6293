"""The page of a swarm that is spread over processes. An edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peer.event_words import sentence
from peer.page.many import ManyPage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from peer.admin_access import AdminAccess
    from peer.events import Event
    from peer.page.desk import TellFaults
    from peer.spread.spread import Spread
    from wire import PeerId


class SpreadPage:
    """A `peer.swarm.Page`; `note` is told where it is."""

    def __init__(
        self,
        title: str,
        spread: Spread,
        access: AdminAccess,
        note: Callable[[str], None],
        on_faults: TellFaults = lambda _what, _live: None,
    ) -> None:
        self._access = access
        self._note = note
        self._page = ManyPage(
            title,
            [host.seats for host in spread.hosts],
            spread.question,
            there=spread.there,
            peer_of=spread.name_of,
            now_s=lambda: spread.elapsed_s,
            change=spread.ask,
            on_faults=on_faults,
            began_at=spread.made_at,
        )

    async def open(self) -> None:
        """Listen. Raises `wire.TransportError`."""
        self._note(f"page: {await self._page.open(self._access)}")

    async def close(self) -> None:
        """Nobody may ask any more."""
        await self._page.close()

    def guards(self) -> list[Coroutine[Any, Any, None]]:
        """They return only by raising."""
        return self._page.guards()

    def look(self) -> None:
        """Processes look at their own agents."""

    def tell(self, peer: PeerId, event: Event) -> None:
        """Something happened to an agent."""
        self._page.heard(peer, type(event).__name__, sentence(event))

    def say(self, text: str) -> None:
        """Something happened."""
        self._page.say(text)
