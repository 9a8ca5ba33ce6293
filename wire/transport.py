"""Links that carry frames: what they guarantee, and those over websockets. An edge: asyncio and aiohttp.

    send --> Outbox --> OutgoingLink (fault plan) --> Sender ===> GET /v1/push --> on_frame

The agent knows Transport only. Listening and receiving are here, one task per target in sender.py.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from wire.codec import MESSAGE_BYTES_MAX, PROTOCOL_VERSION
from wire.counters import LinkCounters, TransportCounters
from wire.errors import DecodeError, RejectReason, TransportError
from wire.faults import FaultPlan, link_rng
from wire.messages import PeerId, format_address, parse_address
from wire.outgoing import OutgoingLink
from wire.records import PEERS_TOLD_MAX
from wire.sender import CLOSE_TIMEOUT_S, LINK_FAILURES, Sender, open_session, set_options, url_of
from wire.slots import TARGETS_MAX, Outbox

CONNECTIONS_MAX: Final = 512  # incoming; as many as peers can be known, beyond it 503
SOCKETS_MAX: Final = CONNECTIONS_MAX + 64  # accepted at all: handshakes and identities on top
HANDSHAKE_S: Final = 10.0  # a socket that is no push connection by then is closed: it only takes a place
REQUEST_BYTES_MAX: Final = 1_024  # no request has a body
IDENTITY_BYTES_MAX: Final = 24_576  # a handful of names and numbers, PEERS_TOLD_MAX addresses

# A sender that vanished without a word gives its place back after two minutes.
_KEEPALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))


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

    async def start(self) -> None:
        """Begin to listen and to send. Raises TransportError."""

    async def close(self) -> None:
        """Stop; what still waits is dropped. Nothing started is left behind."""

    def connect(self, peer: PeerId, address: str) -> None:
        """Set or change where `peer` listens. Raises AddressError, or ValueError for one peer too many."""

    def disconnect(self, peer: PeerId) -> None:
        """Forget `peer`, what waits for it and its counters."""

    def send(self, targets: Sequence[PeerId], block: int, frame: bytes) -> None:
        """Let the same bytes wait for each target, in the place of an older frame of this block."""


class WebSocketTransport:
    """Transport over one long-lived websocket per target.

    `on_frame` is called in the event loop with each binary message. If it raises DecodeError the message is
    counted by reason; any other exception is a bug: it ends the connection and surfaces in `wait_failed`, as
    do bugs of the senders. `identity` is what GET /v1/identity answers, with the protocol version and, as
    "peers", the addresses of at most PEERS_TOLD_MAX connected targets that are not unreachable. With
    `faults`, messages are lost, delayed, doubled before they reach a socket, each link drawing from
    link_rng(fault_seed, ...).
    `advertise_host` is the host part of `address` where it is not the one listened on.
    """

    def __init__(
        self,
        *,
        peer: PeerId,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
        identity: Mapping[str, str | int],
        on_frame: Callable[[bytes], None],
        faults: FaultPlan | None = None,
        fault_seed: int = 0,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        clock: Callable[[], float] = time.monotonic,
        advertise_host: str | None = None,
    ) -> None:
        self.counters = TransportCounters()
        self.port = listen_port
        self._peer = peer
        self._listen_host = listen_host
        self._advertise_host = advertise_host
        self._identity = {**identity, "protocol": PROTOCOL_VERSION}
        self._told = 0  # peers told of so far
        self._on_frame = on_frame
        self._faults = faults
        self._fault_seed = fault_seed
        self._message_bytes_max = message_bytes_max
        self._clock = clock
        self._outbox = Outbox()
        self._senders: dict[PeerId, Sender] = {}
        self._streams: dict[PeerId, random.Random] = {}  # outlive the links: a new epoch repeats no draws
        self._retired: dict[asyncio.Task[None], None] = {}  # of disconnected targets, saying goodbye
        self._incoming: dict[web.WebSocketResponse, None] = {}
        self._upgraded: dict[asyncio.BaseProtocol, None] = {}  # one each per place of CONNECTIONS_MAX
        self._server: asyncio.Server | None = None
        self._started_at = 0.0
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        """Where others reach this transport, once started."""
        return format_address(self._advertise_host or _reachable_host(self._listen_host), self.port)

    @property
    def per_peer(self) -> dict[PeerId, LinkCounters]:
        """`counters.per_peer`."""
        return self.counters.per_peer

    async def start(self) -> None:
        """Listen, and begin to send to the targets connected so far.

        Raises TransportError naming host, port and remedy if the port cannot be had; nothing is left open
        then.
        """
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.router.add_get("/v1/push", self._handle_push)
        application.router.add_get("/v1/identity", self._handle_identity)
        application.on_shutdown.append(self._close_incoming)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_TIMEOUT_S
        )
        await runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: self._accept(runner), self._listen_host, self.port
            )
        except OSError as error:
            await runner.cleanup()
            raise TransportError(
                f"cannot listen on host {self._listen_host!r}, port {self.port}: {error.strerror or error}; "
                "choose another port, or port 0 for a free one, and a host of this machine"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._runner = runner
        self._session = open_session()
        self._failed = asyncio.get_running_loop().create_future()
        self._started_at = self._clock()
        for sender in self._senders.values():
            sender.start(self._session)

    async def close(self) -> None:
        """Cancel all that was started and wait for it; sockets say goodbye for at most CLOSE_TIMEOUT_S."""
        if self._runner is None or self._session is None or self._server is None:
            return
        runner, session, server = self._runner, self._session, self._server
        self._runner = self._session = self._server = None
        server.close()
        for peer in list(self._senders):
            self._stop(peer)
        await asyncio.gather(*self._retired, return_exceptions=True)
        await runner.cleanup()
        await session.close()

    async def wait_failed(self) -> None:
        """Wait for a bug in `on_frame` or in a sender, and raise it; does not return otherwise."""
        if self._failed is None:
            raise RuntimeError("call start() first")
        await asyncio.shield(self._failed)

    def connect(self, peer: PeerId, address: str) -> None:
        """Set or change where `peer` listens; a change closes the old connection.

        Raises AddressError, and ValueError if TARGETS_MAX others are connected.
        """
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
        sender = self._senders[peer] = Sender(link, address, self._clock, self._elapsed, self._fail)
        if self._session is not None:
            sender.start(self._session)

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

    def _accept(self, runner: web.AppRunner) -> asyncio.BaseProtocol:
        """The protocol of a new socket: one of aiohttp while there is room, else none at all."""
        server = runner.server
        if server is None or len(server.connections) >= SOCKETS_MAX:
            return _Refused()
        handler = server()
        asyncio.get_running_loop().call_later(HANDSHAKE_S, self._expire, handler)
        return handler

    def _expire(self, handler: web.RequestHandler) -> None:
        if handler not in self._upgraded and handler.transport is not None:
            handler.transport.abort()

    async def _handle_identity(self, _request: web.Request) -> web.Response:
        return web.json_response({**self._identity, "peers": self._peers_to_tell()})

    def _peers_to_tell(self) -> list[str]:
        """Addresses of reachable targets, sorted; where one answer cannot hold all, they take turns."""
        reachable = (
            sender.address
            for sender in self._senders.values()
            if sender.link.counters.unreachable_since is None
        )
        addresses = sorted(set(reachable))
        if len(addresses) <= PEERS_TOLD_MAX:
            return addresses
        first = self._told % len(addresses)
        self._told += PEERS_TOLD_MAX
        return sorted((addresses[first:] + addresses[:first])[:PEERS_TOLD_MAX])

    async def _handle_push(self, request: web.Request) -> web.StreamResponse:
        if len(self._upgraded) >= CONNECTIONS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{CONNECTIONS_MAX} connections are open\n")
        handler = request.protocol
        self._upgraded[handler] = None
        # aiohttp refuses a message of max_msg_size bytes; ours may have all of message_bytes_max.
        incoming = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S, compress=False, max_msg_size=self._message_bytes_max + 1
        )
        try:
            await incoming.prepare(request)
            self._incoming[incoming] = None
            set_options(incoming.get_extra_info("socket"), _KEEPALIVE_OPTIONS)
            while self._receive(await incoming.receive()):
                pass
            await incoming.close()
        finally:
            self._incoming.pop(incoming, None)
            del self._upgraded[handler]
        return incoming

    def _receive(self, message: aiohttp.WSMessage) -> bool:
        """Take in one message; False if the connection is over."""
        if message.type is aiohttp.WSMsgType.TEXT:
            self.counters.reject(RejectReason.MALFORMED)
            return True
        if message.type is aiohttp.WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
            too_big = message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            self.counters.reject(RejectReason.OVERSIZED if too_big else RejectReason.MALFORMED)
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        frame: bytes = message.data
        self.counters.received += 1
        self.counters.bytes_received += len(frame)
        try:
            self._on_frame(frame)
        except DecodeError as error:
            self.counters.reject(error.reason)
        except Exception as error:  # not handled: handed to whoever waits in wait_failed
            self._fail(error)
            return False
        return True

    async def _close_incoming(self, _application: web.Application) -> None:
        goodbyes = (incoming.close(code=aiohttp.WSCloseCode.GOING_AWAY) for incoming in list(self._incoming))
        await asyncio.gather(*goodbyes, return_exceptions=True)


class _Refused(asyncio.Protocol):
    """Closes the socket it is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _reachable_host(listen_host: str) -> str:
    """`listen_host`, or for a wildcard the address that packets to elsewhere would carry. Sends nothing."""
    if listen_host not in ("", "0.0.0.0", "::"):  # noqa: S104
        return listen_host
    six = listen_host == "::"
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if six else "192.0.2.1", 9))  # reserved for documentation
        except OSError:  # no route: this machine is alone
            return "::1" if six else "127.0.0.1"
        return str(probe.getsockname()[0])
