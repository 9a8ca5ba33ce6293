"""What happens to an agent, for whoever reads it, at whatever pace. An edge: asyncio."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVENTS_KEPT: Final = 1000  # for each reader; who reads more slowly misses the oldest

T = TypeVar("T")


class Readers(Generic[T]):
    """All who read; each is told what comes after it has begun."""

    def __init__(self) -> None:
        self._readers: list[_Reader[T]] = []
        self._over = False

    def tell(self, event: T) -> None:
        """All of them."""
        for reader in self._readers:
            reader.tell(event)

    def end(self) -> None:
        """There will be no more."""
        self._over = True
        for reader in self._readers:
            reader.end()

    async def read(self) -> AsyncIterator[T]:
        """What is told from now on, until the end."""
        reader: _Reader[T] = _Reader()
        self._readers.append(reader)
        if self._over:
            reader.end()
        try:
            async for event in reader:
                yield event
        finally:
            self._readers.remove(reader)


class _Reader(Generic[T]):
    def __init__(self) -> None:
        self._waiting: collections.deque[T] = collections.deque(maxlen=EVENTS_KEPT)
        self._more = asyncio.Event()
        self._over = False

    def tell(self, event: T) -> None:
        self._waiting.append(event)
        self._more.set()

    def end(self) -> None:
        self._over = True
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._over:
                return
            self._more.clear()
            await self._more.wait()
