"""Websockets that this side opens. An edge: asyncio, aiohttp."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from yarl import URL

from wire.intake import Intake
from wire.messages import PeerId, parse_address
from wire.socket_writer import CLOSE_TIMEOUT_S, SocketWriter

CONNECT_TIMEOUT_S: Final = 5.0  # name, TCP and upgrade together: two lost SYNs are allowed for


class _Response(aiohttp.ClientWebSocketResponse):
    """Keeps hold of the connection, which ws_connect shows to the constructor only."""

    def __init__(
        self,
        reader: Any,
        writer: Any,
        protocol: str | None,
        response: aiohttp.ClientResponse,
        *rest: Any,
        **named: Any,
    ) -> None:
        super().__init__(reader, writer, protocol, response, *rest, **named)
        self.connection = response.connection


class PushSocket:
    """One connected websocket to a target, for both directions. Close it: the reader task inside ends too.

    What the target pushes into it goes to `intake`.
    """

    def __init__(self, address: str, response: _Response, connection: Any, intake: Intake) -> None:
        self.address = address
        self._connection = connection
        self.writer = SocketWriter(response, connection.protocol, connection.transport)
        self._reader = asyncio.create_task(
            intake.run(response, self.writer, _not_bound), name=f"read from {address}"
        )

    @classmethod
    async def dial(
        cls,
        session: aiohttp.ClientSession,
        address: str,
        *,
        intake: Intake,
        message_bytes_max: int,
        on_over: Callable[[], None],
    ) -> "PushSocket":
        """Connect to "host:port", with a session of open_session. Raises one of LINK_FAILURES.

        `on_over` is called when the other side has closed, or the connection is lost.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                response = await session.ws_connect(
                    url_of(address, "/v1/push"),
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                    compress=0,  # noise does not compress
                    autoping=False,  # the intake answers, if it is not flooded
                    max_msg_size=message_bytes_max + 1,  # aiohttp refuses as many bytes
                )
        except (
            ValueError
        ) as error:  # of yarl or a codec of host names: a stranger may have written the address
            raise ConnectionError(f"{address} cannot be dialled: {error}") from error
        if not isinstance(response, _Response):
            raise TypeError("the session must come from open_session")
        connection = response.connection
        if connection is None or connection.protocol is None or connection.transport is None:
            await response.close()
            raise ConnectionResetError("closed right after the handshake")
        dialled = cls(address, response, connection, intake)
        dialled._reader.add_done_callback(lambda _: on_over())
        return dialled

    @property
    def closed(self) -> str | None:
        """Why nothing can be written any more; None while it can.

        Raises what a bug has raised while reading.
        """
        return self.ended_here or self.writer.closed

    @property
    def ended_here(self) -> str | None:
        """Why this side has ended it, if it has: what breaks in consequence is no reason of its own."""
        if self._reader.done() and self._reader.result():
            return "closed here: it only pushed messages that are no good"
        return None

    async def close(self) -> None:
        """Say goodbye if nothing is in the way, and let go."""
        await self.writer.close()
        self._connection.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


def open_session() -> aiohttp.ClientSession:
    """A session for PushSocket.dial: no cookies, no limit but the number of links, nothing unpacked."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        ws_response_class=_Response,
        auto_decompress=False,
    )


def url_of(address: str, path: str) -> URL:
    """The URL of `path` at "host:port". Raises AddressError, or ValueError if yarl knows better."""
    host, port = parse_address(address)
    return URL.build(scheme="http", host=host, port=port, path=path)


def _not_bound(_sender: PeerId | None) -> None:
    """Whom this side has dialled is pushed to here anyway."""
