"""A discovery: agents that see the same folder, on a disk of theirs or of their network."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from wire import AddressError, TransportError, parse_address
from wire.asking import AddressAsking

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire import PeerRecord
    from wire.discovery import Fetch
    from wire.known_peers import OnIncompatible, OnSeen

LOOK_S = 0.5
FILES_MAX = 256


class SharedFolder(AddressAsking):
    """Each agent writes where it listens into a file of its own, and asks those of the others who they are.

    `AddressAsking` does the asking; a file that lies is an address where nobody answers.

    `TEXT` is the folder.
    """

    def __init__(
        self,
        record: PeerRecord,
        *,
        text: str,
        fetch: Fetch,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible,
        on_problem: Callable[[str], None],
    ) -> None:
        super().__init__(record, fetch=fetch, on_seen=on_seen, on_incompatible=on_incompatible, refresh_s=2.0)
        self._folder = Path(text)
        self._address = record.address
        name = hashlib.blake2s(f"{record.swarm}/{record.peer}".encode(), digest_size=8).hexdigest()
        self._file = self._folder / f"{name}.agent"
        self._on_problem = on_problem
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Say where this one is."""
        self._open()
        try:
            await asyncio.to_thread(self._file.write_text, self._address, encoding="utf-8")
        except OSError as error:
            raise TransportError(f"discovery: {self._folder} cannot be written to: {error}") from error
        self._looking = self._spawn(self._look(), f"look into {self._folder}")

    async def close(self) -> None:
        """Take it back."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._file.unlink, missing_ok=True)
        await super().close()

    async def _look(self) -> None:
        said = False
        while True:
            try:
                self.ask(await asyncio.to_thread(self._addresses))
                said = False
            except OSError as error:
                if not said:
                    self._on_problem(f"{self._folder} cannot be read: {error}; this is tried again")
                said = True
            await asyncio.sleep(LOOK_S)

    def _addresses(self) -> list[str]:
        found = []
        for path in sorted(self._folder.glob("*.agent"))[:FILES_MAX]:
            with contextlib.suppress(OSError, UnicodeDecodeError, AddressError):
                address = path.read_text(encoding="utf-8")[:300]
                parse_address(address)
                found.append(address)
        return found
