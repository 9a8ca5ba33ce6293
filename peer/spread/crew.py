"""What runs the processes of a swarm."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar

from peer.errors import HyperpushError

T = TypeVar("T")


class PlaceLostError(HyperpushError):
    """A process has ended, or cannot be reached: what it hosted is gone."""


async def patiently(answer: asyncio.Future[T]) -> T:
    """What is answered. Whoever is cancelled meanwhile leaves the call alone: it is under way elsewhere."""
    answer.add_done_callback(_is_heard)
    return await asyncio.shield(answer)


def _is_heard(answer: asyncio.Future[T]) -> None:
    """Nobody may be there any more to hear of an error."""
    if not answer.cancelled():
        answer.exception()


class Crew(Protocol):
    """As many processes as there are places; each has one `peer.spread.place.Servant`.

    Whatever ends one of them, another one is begun in its place.
    """

    @property
    def is_local(self) -> bool:
        """Whether all are, and stay, on this machine."""

    async def open(self, places: int) -> None:
        """Begin so many. Raises `HyperpushError` if there is no room for them."""

    async def listen_host(self, number: int) -> str:
        """Where agents of this place are to listen, so that those of all others reach them."""

    async def call(self, number: int, method: str, *arguments: Any, **options: Any) -> Any:
        """What this method of the place gives; both are pickled.

        Raises what it raises; and PlaceLostError, also if it is a new one that nobody has settled yet.
        """

    async def close(self) -> None:
        """End them all, whatever they do."""
