"""The outgoing end of one link. An edge: asyncio, aiohttp, sockets.

aiohttp lets a writer run ahead by 64 KiB and the kernel by megabytes: on a slow link that is minutes of
frames that newer ones should have replaced. A PushSocket is done with a frame only when the kernel has all
of it, and the kernel is told to take little more than it can send at once.

Measured, 8 Mbit/s of frames offered to a link of 1 Mbit/s: they arrive 0.6 s old, most of it spent in the
router's queue; 7 s without this.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp
from yarl import URL

from wire.messages import parse_address
from wire.outgoing import OutgoingLink

CONNECT_TIMEOUT_S: Final = 5.0  # name, TCP and upgrade together: two lost SYNs are allowed for
CLOSE_TIMEOUT_S: Final = 1.0  # waiting for the other side to say goodbye too
STALL_S: Final = 60.0  # not one byte accepted for so long: dead. A slow link makes progress and stays
UNSENT_BYTES: Final = 16 * 2**10  # in the kernel beyond what is under way
ANSWER_BYTES_MAX: Final = 1_024  # a receiver has nothing to say but close
ERROR_TEXT_MAX: Final = 200  # of last_error: an answer's reason phrase is a stranger's text

LINK_FAILURES: Final = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError; anything else is a bug

_SOCKET_OPTIONS: Final = (
    ("TCP_NODELAY", 1),  # one frame is one message: nothing to wait for
    ("TCP_NOTSENT_LOWAT", UNSENT_BYTES),
    ("TCP_USER_TIMEOUT", int(STALL_S * 1000)),  # the same limit for what is under way
)
_OVER: Final = (
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
)


class Sender:
    """The task of one target: takes a frame, has a socket, writes it, and only then takes the next.

    `wake` is set when there may be work. `on_bug` gets any exception that is no failure of the link.
    """

    def __init__(
        self,
        link: OutgoingLink,
        address: str,
        clock: Callable[[], float],
        elapsed: Callable[[float], float],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self.link = link
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._address = address
        self._clock = clock
        self._elapsed = elapsed
        self._on_bug = on_bug
        self._socket: PushSocket | None = None
        self._socket_address = ""

    @property
    def address(self) -> str:
        """Where the target listens."""
        return self._address

    def start(self, session: aiohttp.ClientSession) -> None:
        """Begin; cancel `task` to end."""
        self.task = asyncio.create_task(self._run(session), name=f"push to {self.link.target}")
        self.task.add_done_callback(self._ended)

    def move(self, address: str) -> None:
        """The target listens elsewhere now: leave the old connection, even in the middle of a frame."""
        if address != self._address:
            self._address = address
            self.link.moved()
            if self._socket is not None:
                self._socket.abort()
            self.wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_bug(error)

    async def _run(self, session: aiohttp.ClientSession) -> None:
        try:
            while True:
                self.wake.clear()
                await self._close_if_over()
                now = self._clock()
                if self._socket is None and now < self.link.retry_at:
                    await self._wait(self.link.retry_at - now)
                    continue
                frame = self.link.next_frame(now, self._elapsed(now))
                if frame is None:
                    due = self.link.wake_at()
                    await self._wait(None if due is None else due - now)
                    continue
                try:
                    await self._push(session, frame)
                    self.link.succeeded(frame)
                except LINK_FAILURES as error:
                    self.link.failed(self._clock(), f"{type(error).__name__}: {error}"[:ERROR_TEXT_MAX])
                    await self._close_socket()
                await asyncio.sleep(0)  # the other targets' turn
        finally:
            await self._close_socket()

    async def _wait(self, seconds: float | None) -> None:
        """Until woken, or for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()

    async def _push(self, session: aiohttp.ClientSession, frame: bytes) -> None:
        if self._socket is None:
            self.link.dialled(self._clock())
            self._socket_address = self._address
            self._socket = await PushSocket.dial(session, self._address, self.wake.set)
        await self._socket.push(frame)

    async def _close_if_over(self) -> None:
        """Let go of a socket that is closed, or that leads to where the target no longer listens."""
        if self._socket is not None:
            reason = self._socket.closed
            if reason is not None:
                self.link.counters.last_error = reason
            if reason is not None or self._socket_address != self._address:
                await self._close_socket()

    async def _close_socket(self) -> None:
        if self._socket is not None:
            closing, self._socket = self._socket, None
            await closing.close()


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
    """One connected websocket to a target. Close it: the reader task inside ends with it."""

    def __init__(
        self, response: _Response, connection: Any, transport: asyncio.Transport, on_over: Callable[[], None]
    ) -> None:
        self._response = response
        self._connection = connection
        self._protocol = connection.protocol
        self._transport = transport
        # Nothing may wait in the program: paused when the kernel takes no more, resumed when it has all.
        transport.set_write_buffer_limits(high=0)
        set_options(transport.get_extra_info("socket"), _SOCKET_OPTIONS)
        self._reader = asyncio.create_task(self._read(), name="push socket reader")
        self._reader.add_done_callback(lambda _: on_over())

    @classmethod
    async def dial(
        cls, session: aiohttp.ClientSession, address: str, on_over: Callable[[], None]
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
                    max_msg_size=ANSWER_BYTES_MAX,
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
        return cls(response, connection, connection.transport, on_over)

    @property
    def closed(self) -> str | None:
        """Why nothing can be written any more; None while it can."""
        if self._response.close_code is not None:
            return f"closed by the receiver with code {self._response.close_code}"
        return "connection lost" if self._response.closed or self._transport.is_closing() else None

    async def push(self, frame: bytes) -> None:
        """Write one frame and wait until the kernel has all of it, however slow the link is.

        Raises one of LINK_FAILURES if the connection goes away, or makes no progress for STALL_S.
        """
        stall = _Stall(self._transport, len(frame))
        try:
            await self._response.send_bytes(frame)
            if self._transport.get_write_buffer_size():
                # The one way to wait for all of it: send_bytes does so for more than 64 KiB only.
                await self._protocol._drain_helper()  # noqa: SLF001
        except LINK_FAILURES as error:
            raise stall.explain(error) from error
        finally:
            stall.stop()
        if self._transport.is_closing():
            raise stall.explain(ConnectionResetError("connection lost"))

    def abort(self) -> None:
        """Let go at once: a push under way raises ConnectionResetError."""
        self._transport.abort()

    async def close(self) -> None:
        """Say goodbye if nothing is in the way, and let go."""
        if not self._transport.is_closing() and self._transport.get_write_buffer_size() == 0:
            await self._response.close()
        self._transport.abort()
        self._connection.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        """Answer the other side's close and ping; what else it says is ignored."""
        while (await self._response.receive()).type not in _OVER:
            pass


class _Stall:
    """Aborts a transport that accepts no byte for STALL_S."""

    def __init__(self, transport: asyncio.Transport, frame_bytes: int) -> None:
        self._transport = transport
        self._detected = False
        self._watch(frame_bytes)

    def stop(self) -> None:
        self._timer.cancel()

    def explain(self, error: Exception) -> Exception:
        """`error`, or what is behind it."""
        return ConnectionAbortedError(f"not one byte accepted for {STALL_S:g} s") if self._detected else error

    def _watch(self, waiting: int) -> None:
        self._waiting = waiting
        self._timer = asyncio.get_running_loop().call_later(STALL_S, self._check)

    def _check(self) -> None:
        waiting = self._transport.get_write_buffer_size()
        if waiting < self._waiting:
            self._watch(waiting)
        else:
            self._detected = True
            self._transport.abort()


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


def set_options(connection: socket.socket | None, options: Sequence[tuple[str, int]]) -> None:
    """Set what this platform knows of `options`; a refusal costs freshness, not correctness."""
    if connection is None:
        return
    for name, value in options:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
