"""The admin listener of a live agent over HTTP: who may ask, at what cost. An edge: asyncio and aiohttp.

What can be asked is in the routes it is given (`peer.admin_routes`, `peer.admin_groups`); errors are problem
details (`peer.problem_details`). It is apart from the port of the messages: what may stop a link must not be
open to whoever may push.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from aiohttp import web

from peer.admin_access import check_reach
from peer.admin_input import bearer_matches
from peer.admin_routes import (
    BUSY_RETRY_S,
    Asked,
    Route,
    Routes,
    discard_body,
    find_route,
    problem_answer,
    read_body,
)
from peer.errors import SettingError
from peer.problem_details import RefusalError
from wire import TransportError, format_address
from wire.addresses import host_is_loopback, is_loopback

if TYPE_CHECKING:
    import ssl

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from peer.admin_access import AdminAccess

CONNECTIONS_MAX: Final = 32  # at once: a few people and programs
CONNECTION_S: Final = 10.0  # each has one request, and as long to send it: a slow one only takes a place
SWEEP_S: Final = 1.0  # between two looks for those that have been there too long
HEADER_BYTES_MAX: Final = 4_096  # of one line; a token has a tenth
HEADERS_MAX: Final = 32
CLOSE_TIMEOUT_S: Final = 1.0

_GARBAGE: Final = logging.getLogger("hyperpush.admin.garbage")  # a traceback for each request that is none
_GARBAGE.setLevel(logging.CRITICAL)  # or strangers could fill the log


class AdminServer:
    """Answers about one agent, one request per connection.

    Whoever is on this machine may ask if there is no token; nothing but loopback is listened on then. What is
    no sensible request gets an error and changes nothing; memory is bounded by CONNECTIONS_MAX, the sizes
    above and what each route allows. An exception in a handler that is no `SettingError` is a bug, and comes
    out of `wait_failed`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Routes,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises `SettingError`."""
        check_reach(host, port, token)
        self.host = host
        self.port = port  # 0 becomes the one that was found free
        self.routes = routes
        self._token = token
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._until: dict[web.RequestHandler, float] = {}  # when which connection is closed
        self._busy: Counter[Route] = Counter()  # requests under way
        self._failed: asyncio.Future[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"{'http' if self._tls is None else 'https'}://{format_address(self.host, self.port)}"

    async def start(self) -> None:
        """Listen. Raises `wire.TransportError` naming host, port and remedy if that cannot be."""
        runner = web.ServerRunner(
            web.Server(
                self._answer,
                request_factory=_request,
                access_log=None,
                logger=_GARBAGE,
                auto_decompress=False,  # what is long in memory is then as long on the wire
                lingering_time=0.0,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                max_headers=HEADERS_MAX,
            ),
            handle_signals=False,
            shutdown_timeout=CLOSE_TIMEOUT_S,
        )
        await runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: self._accept(runner),
                self.host,
                self.port,
                backlog=CONNECTIONS_MAX,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else CONNECTION_S,
            )
        except OSError as error:
            await runner.cleanup()
            raise TransportError(
                f"admin: cannot listen on host {self.host!r}, port {self.port}: {error.strerror or error}; "
                "choose another port, or port 0 for a free one, and a host of this machine"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._runner = runner
        self._failed = loop.create_future()
        self._sweep = loop.call_later(SWEEP_S, self._close_old, runner)

    async def close(self) -> None:
        """Stop listening and close what is open."""
        if self._runner is None or self._server is None or self._sweep is None:
            return
        runner, server, sweep = self._runner, self._server, self._sweep
        self._runner = self._server = self._sweep = None
        sweep.cancel()
        server.close()
        await runner.cleanup()
        self._until.clear()

    async def wait_failed(self) -> None:
        """Wait for a bug in what it was given, and raise it; does not return otherwise."""
        if self._failed is None:
            raise RuntimeError("call start() first")
        await asyncio.shield(self._failed)

    def _accept(self, runner: web.ServerRunner) -> asyncio.BaseProtocol:
        server = runner.server
        if server is None or len(server.connections) >= CONNECTIONS_MAX:
            return _Refused()
        return server()

    def _close_old(self, runner: web.ServerRunner) -> None:
        """Close the connections that have had their time, every SWEEP_S."""
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        now = loop.time()
        latest = now + CONNECTION_S
        self._until = {handler: self._until.get(handler, latest) for handler in runner.server.connections}
        for handler, until in self._until.items():
            if now >= until and handler.transport is not None:
                handler.transport.abort()
        self._sweep = loop.call_later(SWEEP_S, self._close_old, runner)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Let the right ones in; whatever they did wrong is an answer, and the last on this connection."""
        try:
            response = await self._dispatch(request)
        except SettingError as error:
            response = problem_answer(error)
        except (web.RequestPayloadError, ConnectionError) as error:
            remedy = "send the body whole, and as its headers say"
            response = problem_answer(SettingError("body", str(error), remedy))
        except Exception as error:  # not handled: handed to whoever waits in wait_failed
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)
            remedy = "this is a bug: see the log of the agent"
            response = problem_answer(RefusalError(500, "agent", type(error).__name__, remedy))
        response.headers.setdefault("Cache-Control", "no-store")
        response.force_close()
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.Response:
        self._check_host(request)
        _check_origin(request)
        try:
            route, named = find_route(self.routes, request.method, request.rel_url.raw_path)
        except RefusalError:
            self._check_token(request)
            raise
        if not route.public:
            self._check_token(request)
        if route.at_once_max is not None and self._busy[route] >= route.at_once_max:
            remedy = f"{route.at_once_max} at once are answered here: ask again when one of them is through"
            await discard_body(request, route.body_bytes_max)
            raise RefusalError(503, "path", request.path, remedy, retry_after_s=BUSY_RETRY_S)
        clock = asyncio.get_running_loop().time
        self._busy[route] += 1
        try:
            if route.send_s is not None:
                self._until[request.protocol] = clock() + route.send_s
            body = await read_body(request, route.body_bytes_max)
            self._until[request.protocol] = clock() + route.answer_s
            return await route.handler(Asked(request, body, named))
        finally:
            self._busy[route] -= 1

    def _check_host(self, request: web.BaseRequest) -> None:
        host = request.headers.get("Host")
        if is_loopback(self.host) and not host_is_loopback(host):
            raise RefusalError(421, "Host", host, f"ask for {self.url}")

    def _check_token(self, request: web.BaseRequest) -> None:
        header = request.headers.get("Authorization")
        if self._token is not None and not bearer_matches(header, self._token):
            remedy = "send the token of this agent's --admin-token: Authorization: Bearer TOKEN"
            raise RefusalError(401, "Authorization", None, remedy, headers={"WWW-Authenticate": "Bearer"})


def _check_origin(request: web.BaseRequest) -> None:
    """A page of somebody else, open in a browser on this machine, must not do anything here."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
        raise RefusalError(403, "Origin", origin, "only the page of this listener may ask from a browser")


async def open_listener(access: AdminAccess, routes: Routes) -> AdminServer:
    """Listen where `access` says. Raises `wire.TransportError` or `SettingError`."""

    def make(port: int) -> AdminServer:
        return AdminServer(access.host, port, routes, token=access.token, tls=access.tls)

    server = make(access.port)
    try:
        await server.start()
    except TransportError:
        if not access.or_a_free_port:
            raise
        server = make(0)
        await server.start()
    return server


class _Refused(asyncio.Protocol):
    """Closes the socket it is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())
