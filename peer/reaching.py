"""Where peers are dialled: addresses from discovery, and addresses that messages tell of. An edge: asyncio.

What a message tells may be wrong or a lie, so the address is asked first who listens there. A peer that
cannot be asked may be behind a NAT: it is connected without an address, and reached through websockets that
it opens; the address is tried again later.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import AddressError, DecodeError
from wire.messages import parse_address
from wire.records import incompatibility, read_record
from wire.slots import TARGETS_MAX

if TYPE_CHECKING:
    from wire import PeerId, PeerRecord, WebSocketTransport

ASKED_MAX = 8  # at the same time: a flood of names costs no more
ANSWER_S_MAX = 2.0  # time to answer
ASK_AGAIN_S = 15.0  # doubled each time nobody answers
ASK_AGAIN_S_MAX = 900.0
UNREACHABLE_S = 5.0  # then another address of the peer is tried


@dataclass(slots=True)
class Whereabouts:
    """What is known of one peer's addresses."""

    told: tuple[str, ...] = ()  # not yet asked, best first
    verified: bool = False
    ask_at: float = 0.0
    wait_s: float = ASK_AGAIN_S
    protocol: int | None = None


class Reacher:
    """Keeps the transport's targets connected where they listen.

    At most TARGETS_MAX peers and ASKED_MAX questions at a time.
    """

    def __init__(self, transport: WebSocketTransport) -> None:
        self._transport = transport
        self._own: PeerRecord | None = None
        self._known: dict[PeerId, Whereabouts] = {}
        self._asking: dict[PeerId, asyncio.Task[None]] = {}

    def start(self, own: PeerRecord) -> None:
        """From now on addresses may be asked."""
        self._own = own

    async def close(self) -> None:
        """Ask nobody any more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def found(self, record: PeerRecord) -> bool:
        """Discovery has spoken with this peer, or a starter knows it; False if there is no room for it."""
        if not self._connect(record.peer, record.address):
            return False
        known = self._known.setdefault(record.peer, Whereabouts())
        known.verified, known.protocol = True, record.protocol
        known.told = tuple(other for other in record.alternatives if other != record.address)
        return True

    def told(self, peer: PeerId, address: str) -> None:
        """A message says that `peer` listens at `address`; "" if it does not say."""
        present = self._transport.address_of(peer)
        if present is None and not self._connect(peer, ""):
            return
        known = self._known.setdefault(peer, Whereabouts())
        if address and address != present and address not in known.told:
            known.told = (address, *known.told)[:2]
            known.ask_at, known.wait_s = 0.0, ASK_AGAIN_S

    def protocol_of(self, peer: PeerId) -> int | None:
        """The newest version of the protocol that this peer reads, as far as is known."""
        known = self._known.get(peer)
        return None if known is None else known.protocol

    def work(self, now: float) -> None:
        """Ask where something is to be asked; called every now and then."""
        for peer, known in list(self._known.items()):
            if len(self._asking) >= ASKED_MAX:
                return
            link = self._transport.per_peer.get(peer)
            since = None if link is None else link.unreachable_since
            lost = since is not None and now - since > UNREACHABLE_S
            if peer in self._asking or now < known.ask_at or not known.told or (known.verified and not lost):
                continue
            known.ask_at, known.wait_s = now + known.wait_s, min(2 * known.wait_s, ASK_AGAIN_S_MAX)
            address, *others = known.told
            known.told = (*others, address)  # the next time another one
            self._asking[peer] = asyncio.create_task(self._ask(peer, address))

    async def _ask(self, peer: PeerId, address: str) -> None:
        assert self._own is not None
        try:
            fields = await self._transport.fetch_identity(address, ANSWER_S_MAX)
            record = None if fields is None else read_record(fields, address)
            if record is not None and record.peer == peer and incompatibility(self._own, record) is None:
                known = self._known[peer]
                known.verified, known.protocol, known.wait_s = True, record.protocol, ASK_AGAIN_S
                self._connect(peer, address)
        except (DecodeError, AddressError):
            pass  # whoever answers there is none of us
        finally:
            del self._asking[peer]

    def _connect(self, peer: PeerId, address: str) -> bool:
        """Set where `peer` is dialled; whoever was dialled there before has gone elsewhere."""
        if self._transport.address_of(peer) is None and not self._make_room():
            return False
        if address:
            parse_address(address)
            for other, known in self._known.items():
                if other != peer and self._transport.address_of(other) == address:
                    self._transport.connect(other, "")
                    known.verified = False
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
