"""The listening side: sockets, websockets, and which of them leads to which peer. An edge: asyncio, aiohttp.

    socket --> Callers: may it stay? --> GET /v1/push --> websocket --> Intake
                                     --> GET /v1/identity

Whoever opened a websocket and sent a good message over it can be pushed to through it: `reverse`.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Final, cast

import aiohttp
from aiohttp import web

from wire.addresses import host_is_loopback, is_loopback
from wire.callers import CONNECTIONS_MAX, Callers, Refusal
from wire.counters import TransportCounters
from wire.errors import TransportError
from wire.intake import Intake
from wire.messages import PeerId
from wire.socket_writer import CLOSE_TIMEOUT_S, LINK_FAILURES, SocketWriter, set_options

ACCEPT_TURNS: Final = 4  # of the loop, after which a socket that it has accepted is served
HANDSHAKE_S: Final = 10.0  # a socket that is no websocket by then is closed: it only takes a place
USELESS_S: Final = 600.0  # without one good message: 14 kbit/s, if it is the largest that is under way
BODY_BYTES_MAX: Final = 1_024  # no request has a body
REQUEST_BYTES_MAX: Final = 16_384  # with its headers; ours has 300
LINE_BYTES_MAX: Final = 2_048  # of a request and of each header
HEADERS_MAX: Final = 64  # of a request: ours has nine, proxies add some

# A sender that vanished without a word gives its place back after two minutes.
_KEEPALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))
_NO_LIMIT: Final = 2**62  # aiohttp need not wait for the kernel: SocketWriter does


class Listener:
    """Accepts sockets and websockets.

    `identity` gives what GET /v1/identity answers. `on_bound` is called when another websocket, or none any
    more, leads to a peer. Without keys a stranger may claim any name: see `reverse`.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        counters: TransportCounters,
        identity: Callable[[], Mapping[str, object]],
        message_bytes_max: int,
        on_bound: Callable[[PeerId], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._intake = intake
        self._counters = counters
        self._identity = identity
        self._message_bytes_max = message_bytes_max
        self._on_bound = on_bound
        self._on_bug = on_bug
        self._callers = Callers()
        self._websockets: dict[_Websocket, None] = {}  # at most CONNECTIONS_MAX, the oldest first
        self._bound: dict[PeerId, _Websocket] = {}  # at most one entry per websocket
        self._serials = itertools.count()
        self._for_this_machine = False  # only, as its address says
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was chosen, if `port` is 0.

        Raises TransportError naming host, port and remedy if it cannot be had; nothing is left open then.
        """
        self._for_this_machine = is_loopback(host)
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_get("/v1/push", self._handle_push)
        application.router.add_get("/v1/identity", self._handle_identity)
        application.on_shutdown.append(self._close_websockets)
        runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=CLOSE_TIMEOUT_S)
        await runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Socket(self, runner), host, port
            )
        except OSError as error:
            await runner.cleanup()
            raise TransportError(
                f"cannot listen on host {host!r}, port {port}: {error.strerror or error}; "
                "choose another port, or port 0 for a free one, and a host of this machine"
            ) from error
        self._runner = runner
        return int(self._server.sockets[0].getsockname()[1])

    def stop_accepting(self) -> None:
        """Let nobody in any more; who is in stays.

        The server itself is closed some turns later: asyncio would forget a socket that it has just accepted.
        """
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for listening in self._server.sockets:
                loop.remove_reader(listening.fileno())
            self._close_soon(self._server, ACCEPT_TURNS)

    def _close_soon(self, server: asyncio.Server, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._close_soon, server, turns - 1)
        else:
            server.close()

    async def close(self) -> None:
        """Close everything; websockets say goodbye for at most CLOSE_TIMEOUT_S."""
        self.stop_accepting()
        for _ in range(ACCEPT_TURNS + 1):
            await asyncio.sleep(0)
        runner, self._server, self._runner = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    def reverse(self, peer: PeerId) -> SocketWriter | None:
        """The websocket that `peer` has opened: of those over which a good message of it came, the newest.

        Without keys, it leads to whoever says that this is its name.
        """
        websocket = self._bound.get(peer)
        return None if websocket is None or websocket.writer.closed is not None else websocket.writer

    def enter(self, host: str) -> Refusal | None:
        """A socket from `host`; counts it, and why it must not stay."""
        refusal = self._callers.enter(host, asyncio.get_running_loop().time())
        if refusal is not None:
            self._counters.refuse(refusal)
        return refusal

    def leave(self, host: str) -> None:
        """A socket that had entered is closed."""
        self._callers.leave(host)

    def refuse(self, reason: Refusal) -> None:
        """Count what a socket is closed for."""
        self._counters.refuse(reason)

    def handle_error(self, error: BaseException | None, status: int) -> None:
        """A request that is no HTTP is counted; an exception in a handler is a bug of ours."""
        if status < 500:
            self.refuse(Refusal.BAD_REQUEST)
        elif error is not None and not isinstance(error, LINK_FAILURES):
            self._on_bug(error)

    def _check_caller(self, request: web.Request) -> None:
        """No web page may speak here, whatever site made a browser on this machine show it.

        Browsers name the page in Origin; a name that was made to point here (DNS rebinding) is in Host.
        """
        foreign = self._for_this_machine and not host_is_loopback(request.headers.get("Host"))
        if foreign or "Origin" in request.headers:
            self.refuse(Refusal.BAD_REQUEST)
            raise web.HTTPForbidden(text="agents only\n")

    async def _handle_identity(self, request: web.Request) -> web.Response:
        self._check_caller(request)
        response = web.json_response(dict(self._identity()))
        response.force_close()  # nobody asks twice in HANDSHAKE_S
        return response

    async def _handle_push(self, request: web.Request) -> web.StreamResponse:
        self._check_caller(request)
        if len(self._websockets) >= CONNECTIONS_MAX:
            self.refuse(Refusal.CONNECTIONS)
            raise web.HTTPServiceUnavailable(text=f"{CONNECTIONS_MAX} connections are open\n")
        handler, transport = request.protocol, request.transport
        if transport is None or not isinstance(handler, _Socket):
            raise web.HTTPBadRequest
        if "Sec-WebSocket-Protocol" in request.headers:  # aiohttp would write what a stranger says to the log
            self.refuse(Refusal.BAD_REQUEST)
            raise web.HTTPBadRequest(text="no subprotocol is spoken here\n")
        response = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            autoping=False,  # the intake answers, if it is not flooded
            compress=False,
            max_msg_size=self._message_bytes_max + 1,  # aiohttp refuses as many bytes
            writer_limit=_NO_LIMIT,
        )
        try:
            await response.prepare(request)
        except web.HTTPBadRequest:
            self.refuse(Refusal.BAD_REQUEST)
            raise
        handler.upgraded()
        set_options(transport.get_extra_info("socket"), _KEEPALIVE_OPTIONS)
        websocket = _Websocket(SocketWriter(response, handler, transport), next(self._serials), self)
        self._websockets[websocket] = None
        try:
            if await self._intake.run(
                response, websocket.writer, lambda peer: self._accepted(websocket, peer)
            ):
                self.refuse(Refusal.REJECTED)
                self._callers.send_away(handler.host, asyncio.get_running_loop().time())
            await websocket.writer.close()
        finally:
            websocket.timer.cancel()
            del self._websockets[websocket]
            self._unbind(websocket)
        return response

    def _accepted(self, websocket: "_Websocket", peer: PeerId | None) -> None:
        """A good message came; the websocket leads to its sender now, and only to that."""
        websocket.useful_at = asyncio.get_running_loop().time()
        if peer is None or self._bound.get(peer) is websocket:
            return
        current = self._bound.get(peer)
        if current is not None and current.serial > websocket.serial:
            return  # the peer has opened another one since
        self._unbind(websocket)
        if current is not None:
            current.peer = None
        self._bound[peer] = websocket
        websocket.peer = peer
        self._on_bound(peer)

    def _unbind(self, websocket: "_Websocket") -> None:
        peer, websocket.peer = websocket.peer, None
        if peer is not None:
            del self._bound[peer]
            self._on_bound(peer)

    async def _close_websockets(self, _application: web.Application) -> None:
        goodbyes = (websocket.writer.close(aiohttp.WSCloseCode.GOING_AWAY) for websocket in self._websockets)
        await asyncio.gather(*goodbyes, return_exceptions=True)


class _Websocket:
    """One incoming websocket. Aborted when nothing good has come for USELESS_S.

    That ends whatever can be done to hold a place: silence, a message that never ends, pings only.
    """

    __slots__ = ("_listener", "peer", "serial", "timer", "useful_at", "writer")

    def __init__(self, writer: SocketWriter, serial: int, listener: Listener) -> None:
        self.writer = writer
        self.serial = serial  # the higher, the newer
        self.peer: PeerId | None = None  # whom it leads to
        self._listener = listener
        self.useful_at = asyncio.get_running_loop().time()
        self._watch()

    def _watch(self) -> None:
        self.timer = asyncio.get_running_loop().call_at(self.useful_at + USELESS_S, self._check)

    def _check(self) -> None:
        if asyncio.get_running_loop().time() >= self.useful_at + USELESS_S:
            self._listener.refuse(Refusal.USELESS)
            self.writer.abort()
        else:
            self._watch()


class _Socket(web.RequestHandler):
    """One accepted socket; speaks HTTP if it may stay, and until HANDSHAKE_S."""

    __slots__ = ("_entered", "_expiry", "_listener", "_room", "host")

    def __init__(self, listener: Listener, runner: web.AppRunner) -> None:
        assert runner.server is not None
        super().__init__(
            runner.server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None is documented to switch it off
            auto_decompress=False,  # no request has a body
            lingering_time=0.0,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
        self.host = ""
        self._listener = listener
        self._entered = False
        self._expiry: asyncio.TimerHandle | None = None
        self._room = REQUEST_BYTES_MAX

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it stay or close it."""
        peername = transport.get_extra_info("peername")
        self.host = peername[0] if peername else ""
        stream = cast("asyncio.Transport", transport)
        if self._listener.enter(self.host) is not None:
            stream.abort()
            return
        self._entered = True
        self._expiry = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._expire, stream)
        super().connection_made(stream)

    def data_received(self, data: bytes) -> None:
        """Before there is a websocket, only the beginning of all that comes is read: one request is answered.

        The parser quotes what it cannot read, escaped and underlined, which makes megabytes of much.
        """
        if self._expiry is not None:
            data = data[: self._room]
            self._room -= len(data)
        if data:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        if self._entered:
            self._entered = False
            self.upgraded()
            self._listener.leave(self.host)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # for whoever sent it: nothing of use to us
    ) -> web.StreamResponse:
        """Answer what is no HTTP. aiohttp would write it to the log, as often as a stranger likes."""
        self._listener.handle_error(exc, status)
        if request.writer.output_size > 0:
            raise ConnectionResetError("part of another answer has been sent already")
        response = web.Response(status=status, text="bad request\n" if status < 500 else "error\n")
        response.force_close()
        return response

    def upgraded(self) -> None:
        """It has become a websocket in time, or is closed: its time does not run out."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _expire(self, stream: asyncio.Transport) -> None:
        self._listener.refuse(Refusal.HANDSHAKE)
        stream.abort()
