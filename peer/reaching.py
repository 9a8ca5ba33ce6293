"""Where peers are dialled: addresses from discovery, and addresses that messages tell of. An edge: asyncio.

What a message tells may be wrong or a lie, so the address is asked first who listens there. A peer that
cannot be asked may be behind a NAT: it is connected without an address, and reached through websockets that
it opens; the address is tried again later.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import AddressError, DecodeError
from wire.messages import parse_address
from wire.records import incompatibility, read_record
from wire.slots import TARGETS_MAX

if TYPE_CHECKING:
    from wire import PeerId, PeerRecord, Transport

ASKED_MAX = 8  # at the same time: a flood of names costs no more
ANSWER_S_MAX = 2.0  # time to answer
ASK_AGAIN_S = 15.0  # doubled each time nobody answers
ASK_AGAIN_S_MAX = 900.0
TOLD_MAX = 2  # addresses of one peer that messages tell of
UNREACHABLE_S = 5.0  # then another address of the peer is tried


@dataclass(slots=True)
class Whereabouts:
    """What is known of one peer's addresses."""

    told: tuple[str, ...] = ()  # not yet asked, best first
    verified: bool = False
    asked_at: float = -math.inf
    wait_s: float = ASK_AGAIN_S / 2  # from then to the next question; doubled by each
    protocol: int | None = None


class Reacher:
    """Keeps the transport's targets connected where they listen.

    At most TARGETS_MAX peers and ASKED_MAX questions at a time.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._own: PeerRecord | None = None
        self._known: dict[PeerId, Whereabouts] = {}
        self._asking: dict[PeerId, asyncio.Task[None]] = {}

    def start(self, own: PeerRecord) -> None:
        """From now on addresses may be asked."""
        self._own = own

    async def close(self) -> None:
        """Ask nobody any more."""
        asking, self._asking = self._asking, {}
        for task in asking.values():
            task.cancel()
        await asyncio.gather(*asking.values(), return_exceptions=True)

    def found(self, record: PeerRecord) -> bool:
        """Discovery has found this peer, or a starter knows it; False if there is no room for it.

        Nobody proves what discovery says: a way that works is not given up for it.
        """
        known = self._known.get(record.peer)
        link = self._transport.per_peer.get(record.peer)
        if known is not None and known.verified and link is not None and link.unreachable_since is None:
            self.heard(record.peer, record.address)
            return True
        if not self._connect(record.peer, record.address):
            return False
        known = self._known.setdefault(record.peer, Whereabouts())
        known.verified, known.protocol = True, record.protocol
        known.told = tuple(other for other in record.alternatives if other != record.address)
        return True

    def told(self, peer: PeerId, address: str) -> None:
        """Messages will be sent to `peer`, who is said to listen at `address`; "" if nobody says where."""
        if self._transport.address_of(peer) is not None or self._connect(peer, ""):
            self._known.setdefault(peer, Whereabouts())
            self.heard(peer, address)

    def heard(self, peer: PeerId, address: str) -> None:
        """A message has come from `peer`, who says that it listens at `address`: it may have moved."""
        known = self._known.get(peer)
        if known is None or not address or address in known.told:
            return
        if address != self._transport.address_of(peer):
            known.told = (address, *known.told)[:TOLD_MAX]
            known.wait_s = min(known.wait_s, ASK_AGAIN_S)  # not at once: it may tell another in every message

    def protocol_of(self, peer: PeerId) -> int | None:
        """The newest version of the protocol that this peer reads, as far as is known."""
        known = self._known.get(peer)
        return None if known is None else known.protocol

    def work(self, now: float) -> None:
        """Ask where something is to be asked; called every now and then. Bugs in asking surface here."""
        for peer, task in list(self._asking.items()):
            if task.done():
                del self._asking[peer]
                task.result()
        for peer, known in list(self._known.items()):
            if len(self._asking) >= ASKED_MAX:
                return
            link = self._transport.per_peer.get(peer)
            since = None if link is None else link.unreachable_since
            lost = since is not None and now - since > UNREACHABLE_S
            waits = peer in self._asking or now < known.asked_at + known.wait_s
            if waits or not known.told or (known.verified and not lost):
                continue
            known.asked_at, known.wait_s = now, min(2 * known.wait_s, ASK_AGAIN_S_MAX)
            address, *others = known.told
            known.told = (*others, address)  # the next time another one
            self._asking[peer] = asyncio.create_task(self._ask(peer, address))

    async def _ask(self, peer: PeerId, address: str) -> None:
        assert self._own is not None
        try:
            fields = await self._transport.fetch_identity(address, ANSWER_S_MAX)
            record = None if fields is None else read_record(fields, address)
        except (DecodeError, AddressError):
            return  # whoever answers there is none of us
        known = self._known.get(peer)  # it may have given way meanwhile
        if known is None or record is None or record.peer != peer:
            return
        if incompatibility(self._own, record) is None:
            known.verified, known.protocol, known.wait_s = True, record.protocol, ASK_AGAIN_S
            self._connect(peer, address)

    def _connect(self, peer: PeerId, address: str) -> bool:
        """Set where `peer` is dialled."""
        if self._transport.address_of(peer) is None and not self._make_room():
            return False
        if address:
            parse_address(address)
        self._transport.connect(peer, address)
        return True

    def _make_room(self) -> bool:
        """For one more target: whoever could not be reached for the longest gives way."""
        if len(self._known) < TARGETS_MAX:
            return True
        lost = [
            (link.unreachable_since, peer)
            for peer in self._known
            if (link := self._transport.per_peer.get(peer)) is not None and link.unreachable_since is not None
        ]
        if not lost:
            return False
        _, peer = min(lost)
        self._transport.disconnect(peer)
        del self._known[peer]
        return True
