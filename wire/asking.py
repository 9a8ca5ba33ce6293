"""Asking addresses who listens there, and whom those know. An edge: asyncio.

What discovery by seeds and by DNS share; they differ in where the addresses come from.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from wire.discovery import Fetch
from wire.errors import DecodeError
from wire.known_peers import KnownPeers, OnIncompatible, OnSeen
from wire.messages import PeerId
from wire.records import PEERS_KNOWN_MAX, PeerRecord, incompatibility, read_record, read_told
from wire.surfacing import Surfacing

ASK_TIMEOUT_S: Final = 3.0  # for one answer
RETRY_S: Final = 1.0  # until an address answers; an agent may be starting there
REFRESH_S: Final = 5.0  # afterwards: it is asked for newcomers, too
MISSES_MAX: Final = 3  # answers missed in a row until a learned address is dropped
ASKING_MAX: Final = 64  # addresses asked at a time, and per refresh_s: a liar may tell of many


class AddressAsking(Surfacing):
    """Asks addresses, often until they answer, then slowly; callbacks say who is there.

    `fetch(address, timeout_s)` is WebSocketTransport.fetch_identity. Given addresses are asked as long as
    they are given. Those that a compatible agent tells of are asked as well, while they answer and are
    compatible themselves: at most PEERS_KNOWN_MAX addresses in all, one task each, ASKING_MAX at a time and
    (roughly) per `refresh_s`, however many there are. Given ones do not wait for others, if they are few.
    """

    def __init__(
        self,
        record: PeerRecord,
        *,
        fetch: Fetch,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible | None = None,
        retry_s: float = RETRY_S,
        refresh_s: float = REFRESH_S,
    ) -> None:
        super().__init__()
        self._record = record
        self._fetch = fetch
        self._known = KnownPeers(record, on_seen, on_incompatible)
        self._retry_s = retry_s
        self._refresh_s = refresh_s
        self._asking = asyncio.Semaphore(ASKING_MAX)
        self._given: frozenset[str] = frozenset()
        self._polls: dict[str, asyncio.Task[None]] = {}  # by address, given and learned ones

    def ask(self, addresses: Sequence[str]) -> None:
        """From now on these are the given ones, "host:port" each; once started (`_open`)."""
        self._given = frozenset(addresses)
        self._follow(addresses)

    async def close(self) -> None:
        """Stop asking."""
        polls, self._polls = self._polls, {}
        for task in polls.values():
            task.cancel()
        await asyncio.gather(*polls.values(), return_exceptions=True)

    def forget(self, peer: PeerId) -> None:
        """`peer` was not reported: when its address next answers `on_seen` is told, record changed or not."""
        self._known.forget(peer)

    def refused(self) -> set[PeerId]:
        """Who is found at this moment and does not fit."""
        return self._known.refused()

    def _follow(self, addresses: Iterable[str]) -> None:
        """Ask these, too, as far as there is room."""
        for address in addresses:
            if len(self._polls) >= PEERS_KNOWN_MAX:
                return
            if address not in self._polls and address != self._record.address:
                self._polls[address] = self._spawn(self._poll(address), f"ask {address}")

    async def _poll(self, address: str) -> None:
        misses = 0
        try:
            while True:
                given = address in self._given
                at_once = given and len(self._given) <= ASKING_MAX
                async with contextlib.nullcontext() if at_once else self._asking:
                    record = await self._ask(address)
                stays = record is not None and (given or incompatibility(self._record, record) is None)
                misses = 0 if stays else misses + 1
                if misses >= MISSES_MAX:
                    self._known.lost(address)
                    if address not in self._given:
                        return
                crowd = 1.0 if at_once else max(1.0, len(self._polls) / ASKING_MAX)
                await asyncio.sleep(self._refresh_s * crowd if stays else self._retry_s)
        finally:
            self._polls.pop(address, None)

    async def _ask(self, address: str) -> PeerRecord | None:
        """Who listens at `address`, if anybody sensible; says so, and follows whom they tell of."""
        answer = await self._fetch(address, ASK_TIMEOUT_S)
        if answer is None:
            return None
        try:
            record = read_record(answer, address)
        except DecodeError:
            return None
        self._known.heard(address, record)
        if incompatibility(self._record, record) is None:
            self._follow(read_told(answer))
        return record
