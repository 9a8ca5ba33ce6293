"""A transport: agents of one process hand each other frames, without a socket."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, ClassVar

from wire import (
    DecodeError,
    LinkCounters,
    Outbox,
    TransportCounters,
    TransportError,
    format_address,
    link_rng,
)
from wire.codec import PROTOCOL_VERSION
from wire.outgoing import OutgoingLink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wire import PeerId
    from wire.outgoing import FaultModel


class InProcess:
    """For notebooks and tests with many agents. Faults are those of the plan, as over sockets.

    `OutgoingLink` decides what is lost and when the rest is due, `Outbox` that the newest of a block wins;
    here frames are carried. All in the event loop, so a receiver is called while its sender sends.
    """

    _everywhere: ClassVar[dict[str, InProcess]] = {}
    _ports: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(
        self,
        *,
        peer: PeerId,
        listen_host: str,
        listen_port: int,
        identity: Callable[[], Mapping[str, object]],
        on_frame: Callable[[bytes], PeerId | None],
        faults: FaultModel | None,
        fault_seed: int,
        clock: Callable[[], float],
        advertise_host: str | None = None,
        advertise_port: int | None = None,
    ) -> None:
        del advertise_host, advertise_port  # nobody comes from elsewhere
        self.counters = TransportCounters()
        self._peer, self._host, self._port = peer, listen_host, listen_port
        self._identity, self._on_frame = identity, on_frame
        self._faults, self._seed, self._clock = faults, fault_seed, clock
        self._outbox = Outbox()
        self._links: dict[PeerId, tuple[OutgoingLink, str]] = {}
        self._wakes: dict[PeerId, asyncio.TimerHandle] = {}
        self._began_at: float | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        """As of a socket, so that it can be told."""
        return format_address(self._host, self._port)

    @property
    def per_peer(self) -> Mapping[PeerId, LinkCounters]:
        """By target."""
        return self.counters.per_peer

    async def start(self) -> None:
        """Take a number; TransportError if somebody has it."""
        self._port = self._port or next(self._ports)
        if self.address in self._everywhere:
            raise TransportError(f"listen: {self.address} is taken in this process; give port 0")
        self._everywhere[self.address] = self
        self._began_at = self._clock()
        self._failed = asyncio.get_running_loop().create_future()
        for peer in self._links:
            self._carry(peer)

    async def close(self) -> None:
        """Give it back."""
        if self._began_at is not None:
            self._everywhere.pop(self.address)
            self._began_at = None
        for wake in self._wakes.values():
            wake.cancel()
        self._wakes.clear()

    async def wait_failed(self) -> None:
        """Raises the first bug."""
        assert self._failed is not None, "call start() first"
        await asyncio.shield(self._failed)

    def connect(self, peer: PeerId, address: str) -> None:
        """Know where `peer` is; "" if it does not say: then nothing reaches it."""
        if peer in self._links:
            link = self._links[peer][0]
            link.moved()
        else:
            counters = self.counters.per_peer[peer] = LinkCounters()
            rng = link_rng(self._seed, self._peer, peer)
            link = OutgoingLink(
                *(self._peer, peer),
                outbox=self._outbox,
                plan=self._faults,
                rng=rng,
                counters=counters,
                totals=self.counters,
            )
        self._links[peer] = link, address
        self._carry(peer)

    def disconnect(self, peer: PeerId) -> None:
        """Forget it."""
        self.counters.unsent += self._outbox.forget(peer)
        self._links.pop(peer, None)
        self.counters.per_peer.pop(peer, None)
        if (wake := self._wakes.pop(peer, None)) is not None:
            wake.cancel()

    def send(self, targets: Sequence[PeerId], block: int, frame: bytes) -> None:
        """Hand it over as soon as the loop is free; what waits is replaced."""
        for target in targets:
            if target not in self._links or self._began_at is None:
                self.counters.unsent += 1
                continue
            if self._outbox.put(target, block, frame):
                self.counters.replaced += 1
            self._wake(target, 0.0)

    def address_of(self, peer: PeerId) -> str | None:
        """As `connect` was told."""
        return self._links[peer][1] if peer in self._links else None

    def redial(self, peer: PeerId | None = None) -> None:
        """There is nothing to dial."""

    async def flush(self, timeout_s: float) -> None:
        """All that need not wait for the plan."""
        del timeout_s
        for peer in list(self._links):
            self._carry(peer)

    async def fetch_identity(self, address: str, timeout_s: float) -> dict[str, object] | None:
        """Ask it."""
        del timeout_s
        found = self._everywhere.get(address)
        return None if found is None else {"protocol": PROTOCOL_VERSION, **found._identity(), "peers": []}

    def _wake(self, peer: PeerId, after_s: float) -> None:
        if (wake := self._wakes.pop(peer, None)) is not None:
            wake.cancel()
        self._wakes[peer] = asyncio.get_running_loop().call_later(after_s, self._carry, peer)

    def _carry(self, peer: PeerId) -> None:
        """All that is due for this target."""
        if self._began_at is None or peer not in self._links:
            return
        link, address = self._links[peer]
        now = self._clock()
        while (frame := link.next_frame(now, now - self._began_at)) is not None:
            target = self._everywhere.get(address)
            if target is None:
                link.failed(now, "nobody of this process is there")
            else:
                link.succeeded(frame, "dialled")
                target._take(frame)
        due = link.wake_at(now)
        if due is not None:
            self._wake(peer, max(0.0, due - now))

    def _take(self, frame: bytes) -> None:
        self.counters.received += 1
        self.counters.bytes_received += len(frame)
        try:
            self._on_frame(frame)
        except DecodeError as error:
            self.counters.rejected[error.reason] = self.counters.rejected.get(error.reason, 0) + 1
        except Exception as error:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)
                self._failed.exception()  # it is waited for, or nobody wants to know
