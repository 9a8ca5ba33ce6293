"""The admin listener: status and faults of one live agent over HTTP. An edge: asyncio and aiohttp.

    GET    /v1/status         what `peer.status.AgentStatus` holds
    GET    /v1/faults         {"elapsed_s", "plan", "live"}, as `wire.LiveFaults.to_dict` writes them
    PUT    /v1/faults         {"to": peer or null, "faults": {"drop": 0.4} or null, "for_s": 30 or null}
    DELETE /v1/faults?to=     clears what was set, for one peer or for all; as GET, and "cleared": how many
    GET    /healthz           {"ok": true}, also without a token

Errors are {"error": {"field", "value", "remedy"}}. It is apart from the port of the messages: what may stop a
link must not be open to whoever may push.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web

from peer.admin_access import check_reach
from peer.admin_input import (
    bearer_matches,
    read_fault_request,
    read_peer,
)
from peer.errors import SettingError
from peer.fault_words import brief
from peer.jsonable import jsonable
from wire import FaultPlanError, TransportError, format_address
from wire.addresses import host_is_loopback, is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from wire import LiveFaults

    Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

BODY_BYTES_MAX: Final = 64 * 1024  # a change has some hundred
CONNECTIONS_MAX: Final = 32  # at once: a few people and programs
CONNECTION_S: Final = 10.0  # each has one request, and as long for it: a slow one only takes a place
SWEEP_S: Final = 1.0  # between two looks for those that have been there too long
HEADER_BYTES_MAX: Final = 4_096  # of one line; a token has a tenth
HEADERS_MAX: Final = 32
CLOSE_TIMEOUT_S: Final = 1.0

_GARBAGE: Final = logging.getLogger("hyperpush.admin.garbage")  # a traceback for each request that is none
_GARBAGE.setLevel(logging.CRITICAL)  # or strangers could fill the log


class AdminServer:
    """Answers about one agent, one request per connection.

    Whoever is on this machine may ask if there is no token; nothing but loopback is listened on then. What is
    no sensible request gets an error and changes nothing; memory is bounded by CONNECTIONS_MAX and the sizes
    above. An exception in `status` or `elapsed` is a bug, and comes out of `wait_failed`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        status: Callable[[], Mapping[str, object]],
        faults: LiveFaults,
        elapsed: Callable[[], float],
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`elapsed` is the time of the fault plan. Raises `SettingError`."""
        check_reach(host, port, token)
        self.host = host
        self.port = port  # 0 becomes the one that was found free
        self._status = status
        self._faults = faults
        self._elapsed = elapsed
        self._token = token
        self._tls = tls
        self._routes: dict[str, dict[str, Handler]] = {
            "/v1/status": {"GET": self._get_status},
            "/v1/faults": {"GET": self._get_faults, "PUT": self._put_faults, "DELETE": self._delete_faults},
            "/healthz": {"GET": _healthz},
        }
        self._runner: web.ServerRunner | None = None
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._seen: dict[web.RequestHandler, float] = {}  # the connections there are, and since when
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
                auto_decompress=False,  # 64 KiB on the wire are then 64 KiB in memory
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
        self._seen.clear()

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
        self._seen = {handler: self._seen.get(handler, now) for handler in runner.server.connections}
        for handler, since in self._seen.items():
            if now - since >= CONNECTION_S and handler.transport is not None:
                handler.transport.abort()
        self._sweep = loop.call_later(SWEEP_S, self._close_old, runner)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Let the right ones in; whatever they did wrong is an answer, and the last on this connection."""
        try:
            response = self._refusal(request) or await self._dispatch(request)
        except SettingError as error:
            response = _error(400, error.field, error.value, error.remedy)
        except FaultPlanError as error:
            response = _error(409, "faults", None, str(error))
        except web.HTTPRequestEntityTooLarge:
            response = _error(413, "body", "too long", f"give at most {BODY_BYTES_MAX} bytes")
        except (web.RequestPayloadError, ConnectionError) as error:
            response = _error(400, "body", str(error), "send the body whole, and as its headers say")
        except Exception as error:  # not handled: handed to whoever waits in wait_failed
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)
            response = _error(500, "agent", type(error).__name__, "this is a bug: see the log of the agent")
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.Response:
        handlers = self._routes.get(request.path)
        if handlers is None:
            return _error(404, "path", request.path, f"there are {', '.join(self._routes)}")
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            response = _error(405, "method", request.method, f"here there are {', '.join(handlers)}")
            response.headers["Allow"] = ", ".join(handlers)
            return response
        return await handler(request)

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        host = request.headers.get("Host")
        if is_loopback(self.host) and not host_is_loopback(host):
            return _error(421, "Host", host, f"ask for {self.url}")
        header = request.headers.get("Authorization")
        if self._token is None or request.path == "/healthz" or bearer_matches(header, self._token):
            return None
        remedy = "send the token of this agent's --admin-token: Authorization: Bearer TOKEN"
        response = _error(401, "Authorization", None, remedy)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _get_status(self, _request: web.BaseRequest) -> web.Response:
        return _json(self._status())

    async def _get_faults(self, _request: web.BaseRequest) -> web.Response:
        return self._told_faults()

    async def _put_faults(self, request: web.BaseRequest) -> web.Response:
        asked = read_fault_request(await request.read())
        self._faults.set(asked.to, asked.faults, self._elapsed(), asked.duration_s)
        return self._told_faults()

    async def _delete_faults(self, request: web.BaseRequest) -> web.Response:
        cleared = self._faults.clear(read_peer(request.query.get("to")))
        return self._told_faults(cleared=cleared)

    def _told_faults(self, **more: object) -> web.Response:
        return _json({"elapsed_s": self._elapsed(), **self._faults.to_dict(), **more})


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
    return web.BaseRequest(
        message,
        payload,
        protocol,
        writer,
        task,
        asyncio.get_running_loop(),
        client_max_size=BODY_BYTES_MAX,
    )


async def _healthz(_request: web.BaseRequest) -> web.Response:
    return _json({"ok": True})


def _json(content: Mapping[str, object], status: int = 200) -> web.Response:
    text = json.dumps(jsonable(content), allow_nan=False)
    return web.Response(text=text + "\n", status=status, content_type="application/json")


def _error(status: int, field: str, value: object, remedy: str) -> web.Response:
    shown = value if value is None or isinstance(value, int | float | str) else repr(value)
    return _json({"error": {"field": field, "value": brief(shown), "remedy": remedy}}, status)
