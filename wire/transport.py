"""Links that carry frames: what they guarantee, and those over websockets. An edge: asyncio and aiohttp.

    send --> Outbox --> OutgoingLink (fault plan) --> Sender ===> websocket ===> Intake --> on_frame

The agent knows Transport only. One task per target is in sender.py, the listening side in listener.py; what
comes in, over websockets of either side, is in intake.py.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from wire.codec import MESSAGE_BYTES_MAX, PROTOCOL_VERSION
from wire.counters import LinkCounters, TransportCounters
from wire.faults import link_rng
from wire.intake import Intake
from wire.interfaces import outward_host
from wire.listener import Listener
from wire.messages import PeerId, format_address, parse_address
from wire.outgoing import FaultModel, OutgoingLink
from wire.push_socket import open_session, url_of
from wire.records import PEERS_TOLD_MAX
from wire.sender import Sender
from wire.slots import TARGETS_MAX, Outbox
from wire.socket_writer import LINK_FAILURES

if TYPE_CHECKING:
    import aiohttp

IDENTITY_BYTES_MAX: Final = 24_576  # a handful of names and numbers, PEERS_TOLD_MAX addresses
SEALED_BYTES_MAX: Final = 512  # what keys may add to a message: name, counter, signature, tag
FRAME_BYTES_MAX: Final = MESSAGE_BYTES_MAX + SEALED_BYTES_MAX


class Transport(Protocol):
    """One-way links to named peers.

    What is guaranteed: `send` returns at once, whatever the links do; memory is bounded (one frame per target
    and block, and named caps); a frame that arrives is whole, and goes to the receiver's `on_frame` once per
    copy; a newer frame of the same (target, block) replaces an older one that still waits; a slow target
    slows no other.

    What is not: that a frame arrives, that it arrives once, in order, or soon, or that anybody tells.
    """

    counters: TransportCounters

    @property
    def address(self) -> str:
        """Where others reach this one, "host:port"."""

    @property
    def per_peer(self) -> Mapping[PeerId, LinkCounters]:
        """What was sent to each connected peer, and how its link is."""

    async def start(self) -> None:
        """Begin to listen and to send. Raises TransportError."""

    async def close(self) -> None:
        """Stop; what still waits is dropped. Nothing started is left behind."""

    def connect(self, peer: PeerId, address: str) -> None:
        """Set or change where `peer` listens, "" if it cannot be dialled.

        Raises AddressError, or ValueError for one peer too many.
        """

    def disconnect(self, peer: PeerId) -> None:
        """Forget `peer`, what waits for it and its counters."""

    def send(self, targets: Sequence[PeerId], block: int, frame: bytes) -> None:
        """Let the same bytes wait for each target, in the place of an older frame of this block."""

    def address_of(self, peer: PeerId) -> str | None:
        """Where `peer` listens, "" if it cannot be dialled; None if it is not connected."""

    def redial(self, peer: PeerId | None = None) -> None:
        """What there is of a connection to `peer`, or to all, may lead nowhere: begin anew."""

    async def flush(self, timeout_s: float) -> None:
        """Wait until all that can be sent is, or for so long."""

    async def fetch_identity(self, address: str, timeout_s: float) -> dict[str, object] | None:
        """What `identity` gives at the agent that listens there, with its "protocol"; None if nobody does.

        A stranger may answer anything: what comes back is a table of JSON, no more.
        """

    async def wait_failed(self) -> None:
        """Wait for a bug in it or in `on_frame`, and raise it; does not return otherwise."""


class MakeTransport(Protocol):
    """Makes the links of one agent; arguments as those of WebSocketTransport."""

    def __call__(
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
        advertise_host: str | None,
        advertise_port: int | None,
    ) -> Transport:
        """Not started."""


class WebSocketTransport:
    """Transport over long-lived websockets: one dialled to each target, or else one that it has opened.

    `on_frame` is called in the event loop with each binary message, and returns who sent it, or None. By
    that, websockets of peers that cannot be dialled are found. If it raises DecodeError the message is
    counted by reason; any other exception is a bug: it ends the connection and surfaces in `wait_failed`, as
    do bugs of the senders. `identity` gives what GET /v1/identity answers, with the protocol version and,
    as "peers", the addresses of at most PEERS_TOLD_MAX connected targets that can be dialled. With `faults`,
    messages are lost, delayed, doubled before they reach a socket, each link drawing from
    link_rng(fault_seed, ...).
    `advertise_host` and `advertise_port` are `address` where it is not the one listened on.
    """

    def __init__(
        self,
        *,
        peer: PeerId,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
        identity: Callable[[], Mapping[str, object]],
        on_frame: Callable[[bytes], PeerId | None],
        faults: FaultModel | None = None,
        fault_seed: int = 0,
        message_bytes_max: int = FRAME_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
        advertise_host: str | None = None,
        advertise_port: int | None = None,
    ) -> None:
        self.counters = TransportCounters()
        self.port = listen_port
        self._peer = peer
        self._listen_host = listen_host
        self._advertise_host = advertise_host
        self._advertise_port = advertise_port
        self._identity = identity
        self._told = 0  # peers told of so far
        self._faults = faults
        self._fault_seed = fault_seed
        self._message_bytes_max = message_bytes_max
        self._clock = clock
        self._outbox = Outbox()
        self._senders: dict[PeerId, Sender] = {}
        self._streams: dict[PeerId, random.Random] = {}  # outlive the links: a new epoch repeats no draws
        self._retired: dict[asyncio.Task[None], None] = {}  # of disconnected targets, saying goodbye
        self._intake = Intake(on_frame, self.counters, self._fail)
        self._listener = Listener(
            intake=self._intake,
            counters=self.counters,
            identity=self._answer_identity,
            message_bytes_max=message_bytes_max,
            on_bound=self._wake,
            on_bug=self._fail,
        )
        self._started_at = 0.0
        self._session: aiohttp.ClientSession | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        """Where others reach this transport, once started."""
        host = self._advertise_host or outward_host(self._listen_host)
        return format_address(host, self._advertise_port or self.port)

    @property
    def per_peer(self) -> dict[PeerId, LinkCounters]:
        """`counters.per_peer`."""
        return self.counters.per_peer

    async def start(self) -> None:
        """Listen, and begin to send to the targets connected so far.

        Raises TransportError naming host, port and remedy if the port cannot be had; nothing is left open
        then.
        """
        self.port = await self._listener.start(self._listen_host, self.port)
        self._failed = asyncio.get_running_loop().create_future()
        self._session = open_session()
        self._started_at = self._clock()
        for sender in self._senders.values():
            sender.start(self._session)

    async def close(self) -> None:
        """Cancel all that was started and wait for it; sockets say goodbye for at most CLOSE_TIMEOUT_S."""
        if self._session is None:
            return
        session, self._session = self._session, None
        self._listener.stop_accepting()
        for peer in list(self._senders):
            self._stop(peer)
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self._listener.close()
        await session.close()

    async def wait_failed(self) -> None:
        """Wait for a bug in `on_frame` or in a sender, and raise it; does not return otherwise."""
        if self._failed is None:
            raise RuntimeError("call start() first")
        await asyncio.shield(self._failed)

    def connect(self, peer: PeerId, address: str) -> None:
        """Set or change where `peer` listens; a change closes the old connection.

        With "" it is only reachable through websockets that it opens. Raises AddressError, and ValueError if
        TARGETS_MAX others are connected.
        """
        if address:
            parse_address(address)
        sender = self._senders.get(peer)
        if sender is not None:
            sender.move(address)
            return
        if len(self._senders) >= TARGETS_MAX:
            raise ValueError(
                f"target {peer!r} is one too many: {TARGETS_MAX} are connected; disconnect another first"
            )
        # Not those of what was sent before there was an address: whoever comes is not unreachable.
        counters = self.counters.per_peer[peer] = LinkCounters()
        link = OutgoingLink(
            self._peer,
            peer,
            outbox=self._outbox,
            plan=self._faults,
            rng=self._stream(peer),
            counters=counters,
            totals=self.counters,
        )
        sender = self._senders[peer] = Sender(
            link,
            address,
            clock=self._clock,
            elapsed=self._elapsed,
            intake=self._intake,
            message_bytes_max=self._message_bytes_max,
            reverse=lambda: self._listener.reverse(peer),
            on_bug=self._fail,
        )
        if self._session is not None:
            sender.start(self._session)

    def address_of(self, peer: PeerId) -> str | None:
        """Where `peer` is dialled; "" if nowhere; None if it is not connected."""
        sender = self._senders.get(peer)
        return None if sender is None else sender.address

    def redial(self, peer: PeerId | None = None) -> None:
        """Let go of the connection to `peer`, or of all: it may lead nowhere, and TCP would try for long."""
        for target, sender in self._senders.items():
            if peer in (None, target):
                sender.redial()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all that can be written is, or for so long."""
        for sender in self._senders.values():
            sender.resting.clear()
            sender.wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for sender in list(self._senders.values()):
                    await sender.resting.wait()

    def disconnect(self, peer: PeerId) -> None:
        """Forget `peer`: what waits for it counts as unsent, its counters leave `per_peer`."""
        self._stop(peer)
        self.counters.per_peer.pop(peer, None)

    def send(self, targets: Sequence[PeerId], block: int, frame: bytes) -> None:
        """Let the same bytes object wait for each target, and wake its sender; never waits.

        A target that is not connected counts as unsent. Raises ValueError for a frame no receiver would take.
        """
        if len(frame) > self._message_bytes_max:
            raise ValueError(
                f"frame of {len(frame)} bytes: at most {self._message_bytes_max}; use smaller blocks"
            )
        for target in targets:
            sender = self._senders.get(target)
            if sender is None or self._session is None:
                self._count_unaddressed(target)
                continue
            if self._outbox.put(target, block, frame):
                self.counters.replaced += 1
                sender.link.counters.replaced += 1
            sender.wake.set()

    async def fetch_identity(self, address: str, timeout_s: float) -> dict[str, object] | None:
        """What GET /v1/identity of "host:port" answers; None if nothing, or nothing sensible, comes in time.

        Raises AddressError for text that is no address.
        """
        parse_address(address)
        if self._session is None:
            return None
        try:
            url = url_of(address, "/v1/identity")
            async with asyncio.timeout(timeout_s), self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                body = b""
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > IDENTITY_BYTES_MAX:
                        return None
            answer: object = json.loads(body)
        except (*LINK_FAILURES, ValueError, RecursionError):  # a stranger wrote text and address
            return None
        return answer if isinstance(answer, dict) else None

    def _stop(self, peer: PeerId) -> None:
        """End the sender of `peer`, without waiting for it."""
        self.counters.unsent += self._outbox.forget(peer)
        sender = self._senders.pop(peer, None)
        if sender is not None and sender.task is not None:
            sender.task.cancel()
            self._retired[sender.task] = None
            sender.task.add_done_callback(lambda task: self._retired.pop(task, None))

    def _stream(self, peer: PeerId) -> random.Random:
        """The fault plan's random stream of one target; the oldest is forgotten beyond TARGETS_MAX."""
        if peer not in self._streams and len(self._streams) >= TARGETS_MAX:
            del self._streams[next(iter(self._streams))]
        return self._streams.setdefault(peer, link_rng(self._fault_seed, self._peer, peer))

    def _wake(self, peer: PeerId) -> None:
        """Another websocket leads to `peer`, or none any more."""
        sender = self._senders.get(peer)
        if sender is not None:
            sender.wake.set()

    def _elapsed(self, now: float) -> float:
        return now - self._started_at

    def _fail(self, error: BaseException) -> None:
        """Surface a bug; the first one counts."""
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _count_unaddressed(self, target: PeerId) -> None:
        self.counters.unsent += 1
        known = self.counters.per_peer
        if target in known or len(known) < TARGETS_MAX:
            known.setdefault(target, LinkCounters()).fail(self._clock(), "no address known")

    def _answer_identity(self) -> dict[str, object]:
        return {"protocol": PROTOCOL_VERSION, **self._identity(), "peers": self._peers_to_tell()}

    def _peers_to_tell(self) -> list[str]:
        """Addresses of reachable targets, sorted; where one answer cannot hold all, they take turns."""
        links = ((sender.address, sender.link.counters) for sender in self._senders.values())
        reachable = (
            address
            for address, link in links
            if address and link.unreachable_since is None and link.route != "reverse"
        )
        addresses = sorted(set(reachable))
        if len(addresses) <= PEERS_TOLD_MAX:
            return addresses
        first = self._told % len(addresses)
        self._told += PEERS_TOLD_MAX
        return sorted((addresses[first:] + addresses[:first])[:PEERS_TOLD_MAX])
