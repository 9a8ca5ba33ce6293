"""Writes frames to one websocket, whichever side opened it. An edge: asyncio, aiohttp, sockets.

aiohttp lets a writer run ahead by 64 KiB and the kernel by megabytes: on a slow link that is minutes of
frames that newer ones should have replaced. A SocketWriter is done with a frame only when the kernel has all
of it, and the kernel is told to take little more than it can send at once.

Measured, 8 Mbit/s of frames offered to a link of 1 Mbit/s: they arrive 0.6 s old, most of it spent in the
router's queue; 7 s without this. The price, on the loopback of one machine: a frame of 4 kB costs its sender
twice as much as with bare aiohttp, which writes many at once; of 64 kB and 1 MB about as much (the rows
"written late" of `hyperpush bench wire`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
from aiohttp import web

CLOSE_TIMEOUT_S: Final = 1.0  # waiting for the other side to say goodbye too
STALL_S: Final = 60.0  # not one byte accepted for so long: dead. A slow link makes progress and stays
UNSENT_BYTES: Final = 16 * 2**10  # in the kernel beyond what is under way

LINK_FAILURES: Final = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError; anything else is a bug

_SOCKET_OPTIONS: Final = (
    ("TCP_NODELAY", 1),  # one frame is one message: nothing to wait for
    ("TCP_NOTSENT_LOWAT", UNSENT_BYTES),
    ("TCP_USER_TIMEOUT", int(STALL_S * 1000)),  # the same limit for what is under way
)


class SocketWriter:
    """The outgoing side of one websocket. One push at a time."""

    def __init__(
        self,
        websocket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
        protocol: Any,
        transport: asyncio.Transport,
    ) -> None:
        self._websocket = websocket
        self._protocol = protocol
        self._transport = transport
        self._draining: asyncio.Task[None] | None = None
        self._stall = _Stall(transport)
        # Nothing may wait in the program: paused when the kernel takes no more, resumed when it has all.
        transport.set_write_buffer_limits(high=0)
        set_options(transport.get_extra_info("socket"), _SOCKET_OPTIONS)

    @property
    def closed(self) -> str | None:
        """Why nothing can be written any more; None while it can."""
        if self._websocket.close_code is not None:
            return f"closed by the receiver with code {self._websocket.close_code}"
        return "connection lost" if self._websocket.closed or self._transport.is_closing() else None

    async def push(self, frame: bytes) -> None:
        """Write one frame and wait until the kernel has all of it, however slow the link is.

        Raises one of LINK_FAILURES if the connection goes away, or makes no progress for STALL_S. Cancelled,
        it leaves the frame to the connection, which stays usable.
        """
        self._stall.watch(self._transport.get_write_buffer_size() + len(frame))
        try:
            if self._transport.get_write_buffer_size():
                await self._drain()  # of a frame whose push was cancelled
            await self._websocket.send_bytes(frame)
            if self._transport.get_write_buffer_size():
                await self._drain()
        except LINK_FAILURES as error:
            raise self._stall.explain(error) from error
        finally:
            self._stall.look_away()
        if self._transport.is_closing():
            raise self._stall.explain(ConnectionResetError("connection lost"))

    async def ping(self) -> None:
        """Show routers on the way that the connection lives; no answer is waited for, TCP_USER_TIMEOUT is."""
        if not self._transport.get_write_buffer_size():
            with contextlib.suppress(*LINK_FAILURES):  # whoever reads will know
                await self._websocket.ping()

    async def pong(self, data: bytes) -> None:
        """Answer a ping, unless something is in the way: answers must not pile up."""
        if not self._transport.get_write_buffer_size():
            with contextlib.suppress(*LINK_FAILURES):
                await self._websocket.pong(data)

    def abort(self) -> None:
        """Let go at once: a push under way raises ConnectionResetError."""
        self._transport.abort()

    async def close(self, code: int = aiohttp.WSCloseCode.OK) -> None:
        """Say goodbye if nothing is in the way, and let go."""
        if not self._transport.is_closing() and not self._transport.get_write_buffer_size():
            await self._websocket.close(code=code)
        self._transport.abort()
        self._stall.stop()
        if self._draining is not None:
            await asyncio.gather(self._draining, return_exceptions=True)

    async def _drain(self) -> None:
        """Wait for the kernel to have all.

        aiohttp shares one future between all who wait, and whoever is cancelled cancels it for good: so a
        task waits, and outlives those who wait for it.
        """
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._protocol._drain_helper())  # noqa: SLF001
            self._draining.add_done_callback(_look)
        await asyncio.shield(self._draining)


class _Stall:
    """Aborts a transport that accepts no byte for STALL_S while it is watched.

    One timer for all pushes, which are many and short: it finds out when it fires whether it still matters.
    """

    __slots__ = ("_detected", "_since", "_timer", "_transport", "_waiting")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._waiting = 0
        self._since: float | None = None  # when more than `_waiting` bytes were last seen to wait
        self._timer: asyncio.TimerHandle | None = None
        self._detected = False

    def watch(self, waiting: int) -> None:
        """From now on, until `look_away`; so many bytes wait to be accepted, or will in a moment."""
        loop = asyncio.get_running_loop()
        self._waiting, self._since = waiting, loop.time()
        if self._timer is None:
            self._timer = loop.call_later(STALL_S, self._check)

    def look_away(self) -> None:
        """Nothing has to be accepted."""
        self._since = None

    def stop(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def explain(self, error: Exception) -> Exception:
        """`error`, or what is behind it."""
        return ConnectionAbortedError(f"not one byte accepted for {STALL_S:g} s") if self._detected else error

    def _check(self) -> None:
        self._timer = None
        if self._since is None:
            return
        loop = asyncio.get_running_loop()
        now, waiting = loop.time(), self._transport.get_write_buffer_size()
        due = self._since + STALL_S
        if now >= due and waiting >= self._waiting:
            self._detected = True
            self._transport.abort()
            return
        if now >= due:
            self._waiting, self._since, due = waiting, now, now + STALL_S
        self._timer = loop.call_at(due, self._check)


def set_options(connection: socket.socket | None, options: Sequence[tuple[str, int]]) -> None:
    """Set what this platform knows of `options`; a refusal costs freshness, not correctness."""
    if connection is None:
        return
    for name, value in options:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _look(task: asyncio.Task[None]) -> None:
    """Take notice of a lost connection, which whoever waits is told of anyway."""
    if not task.cancelled():
        task.exception()
