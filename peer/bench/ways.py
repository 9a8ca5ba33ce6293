"""The ways from one process to another that `hyperpush bench wire` compares, each with a sending and a
receiving end. An edge: asyncio, aiohttp, sockets of this machine.

    bare       frames of bytes, with nothing of this project around them
    late       the same, each written as late as the transport writes it: the price of its freshness
    transport  the same frames through wire.transport
    agents     messages, from the arrays of one agent to the inbox of another; in service.py the same calls

A sender writes as fast as it is let. The transport replaces a frame that still waits by the next one of its
block, so here no block is written again before its last frame is out: nothing may be missing at the end.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import aiohttp
from aiohttp import web

from peer.bench.talkers import BLOCKS, Listener, Talker
from wire import TransportError, WebSocketTransport, format_address
from wire.counters import TransportCounters
from wire.intake import Intake
from wire.push_socket import PushSocket, open_session
from wire.transport import FRAME_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from wire.socket_writer import SocketWriter

    Take = Callable[[], None]
    OnFrame = Callable[[bytes], str | None]
    Frames = Callable[[], Awaitable[Sequence[bytes]]]

HOST: Final = "127.0.0.1"
SENDER: Final = "sender"  # to the transports; messages carry names of their own
RECEIVER: Final = "receiver"
WAITING_MAX: Final = 128  # frames offered to a transport that are not written yet
WAITING_BYTES_MAX: Final = 2**24
LOOK_S: Final = 0.002  # between two looks whether there is room for more; WAITING_MAX of 4 kB last for four
_LENGTH_BYTES: Final = 4


class Outlet(Protocol):
    """The sending end of an open connection."""

    async def put(self, frame: bytes) -> None:
        """Write, or let wait to be written."""

    async def finish(self) -> None:
        """Wait until everything is written. Raises TransportError if something never will be."""


@dataclass(frozen=True, slots=True)
class Way:
    """How messages with `size` bytes of arrays travel.

    `listen` gives the port, and calls `take` for each message that has arrived and was accepted; `frames`
    gives some messages more at each call.
    """

    listen: Callable[[int, Take], AbstractAsyncContextManager[int]]
    connect: Callable[[int, int], AbstractAsyncContextManager[Outlet]]
    frames: Callable[[int], Frames]


class Sent(NamedTuple):
    """What a sender has done; the CPU time is without the first message, which opens the connection."""

    messages: int
    cpu_s: float


async def send(way: Way, port: int, size: int, seconds: float) -> Sent:
    """Send as much as this way takes in `seconds`. Raises TransportError or OSError."""
    frames = way.frames(size)
    async with way.connect(port, size) as outlet:
        first, *_ = await frames()
        await outlet.put(first)
        await outlet.finish()
        messages = 1
        cpu_began, ends_at = time.process_time(), time.monotonic() + seconds
        while messages == 1 or time.monotonic() < ends_at:
            for frame in await frames():
                await outlet.put(frame)
                messages += 1
        await outlet.finish()
        return Sent(messages, time.process_time() - cpu_began)


# ---- bare streams


@asynccontextmanager
async def _listen_streams(_size: int, take: Take) -> AsyncIterator[int]:
    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while length := await reader.read(_LENGTH_BYTES):
            if len(length) < _LENGTH_BYTES:
                length += await reader.readexactly(_LENGTH_BYTES - len(length))
            await reader.readexactly(int.from_bytes(length, "little"))
            take()
        writer.close()

    async with await asyncio.start_server(read, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


class _StreamOutlet:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def put(self, frame: bytes) -> None:
        self._writer.writelines((len(frame).to_bytes(_LENGTH_BYTES, "little"), frame))
        await self._writer.drain()

    async def finish(self) -> None:
        """What the kernel has not taken yet, it takes when the connection closes."""


@asynccontextmanager
async def _connect_streams(port: int, _size: int) -> AsyncIterator[Outlet]:
    _, writer = await asyncio.open_connection(HOST, port)
    yield _StreamOutlet(writer)
    writer.close()
    await writer.wait_closed()


# ---- bare aiohttp


@asynccontextmanager
async def _serve(
    path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[int]:
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", path, handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@asynccontextmanager
async def _listen_posts(_size: int, take: Take) -> AsyncIterator[int]:
    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        take()
        return web.Response(status=204)

    async with _serve("/", handle) as port:
        yield port


class _PostOutlet:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def put(self, frame: bytes) -> None:
        async with self._session.post(self._url, data=frame) as response:
            response.raise_for_status()

    async def finish(self) -> None:
        """Each was answered."""


@asynccontextmanager
async def _connect_posts(port: int, _size: int) -> AsyncIterator[Outlet]:
    async with aiohttp.ClientSession() as session:
        yield _PostOutlet(session, f"http://{HOST}:{port}/")


@asynccontextmanager
async def _listen_websocket(_size: int, take: Take) -> AsyncIterator[int]:
    async def handle(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await websocket.prepare(request)
        async for _ in websocket:
            take()
        return websocket

    async with _serve("/v1/push", handle) as port:
        yield port


class _WebsocketOutlet:
    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket

    async def put(self, frame: bytes) -> None:
        await self._websocket.send_bytes(frame)

    async def finish(self) -> None:
        """What the kernel has not taken yet, it takes before the goodbye."""


@asynccontextmanager
async def _connect_websocket(port: int, _size: int) -> AsyncIterator[Outlet]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{HOST}:{port}/v1/push", compress=0, max_msg_size=0) as websocket,
    ):
        yield _WebsocketOutlet(websocket)


class _LateOutlet:
    def __init__(self, writer: SocketWriter) -> None:
        self._writer = writer

    async def put(self, frame: bytes) -> None:
        await self._writer.push(frame)

    async def finish(self) -> None:
        """The kernel has taken each."""


@asynccontextmanager
async def _connect_late(port: int, _size: int) -> AsyncIterator[Outlet]:
    counters = TransportCounters()
    async with open_session() as session:
        push_socket = await PushSocket.dial(
            session,
            format_address(HOST, port),
            intake=Intake(lambda _: None, counters, lambda _: None),  # nothing comes back
            message_bytes_max=FRAME_BYTES_MAX,
            on_over=lambda: None,
        )
        yield _LateOutlet(push_socket.writer)
        await push_socket.close()


# ---- ours


class _TransportOutlet:
    """Offers frames to a transport, so many that it never waits and so few that none is replaced."""

    def __init__(self, transport: WebSocketTransport, target: str, size: int) -> None:
        self._transport = transport
        self._target = target
        self._link = transport.per_peer[target]
        self._waiting_max = min(WAITING_MAX, max(BLOCKS, WAITING_BYTES_MAX // size))
        self._offered = 0

    async def put(self, frame: bytes) -> None:
        if self._offered - self._link.sent >= self._waiting_max:
            await self._until_waiting(self._waiting_max - 1)
        # Frames leave in the order of the blocks: the one of this number that was before is out.
        self._transport.send((self._target,), self._offered % self._waiting_max, frame)
        self._offered += 1

    async def finish(self) -> None:
        await self._until_waiting(0)

    async def _until_waiting(self, at_most: int) -> None:
        link = self._link
        while self._offered - link.sent > at_most:
            if link.unsent or link.replaced:
                raise TransportError(
                    f"{link.unsent} frames not sent, {link.replaced} replaced: {link.last_error}"
                )
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def _transport(name: str, on_frame: OnFrame) -> AsyncIterator[WebSocketTransport]:
    transport = WebSocketTransport(peer=name, listen_host=HOST, identity=dict, on_frame=on_frame)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def _listen_transport(_size: int, take: Take) -> AsyncIterator[int]:
    async with _transport(RECEIVER, lambda _: take()) as transport:
        yield transport.port


@asynccontextmanager
async def _connect_transport(port: int, size: int) -> AsyncIterator[Outlet]:
    async with _transport(SENDER, lambda _: None) as transport:
        transport.connect(RECEIVER, format_address(HOST, port))
        yield _TransportOutlet(transport, RECEIVER, size)


@asynccontextmanager
async def _listen_agent(size: int, take: Take, *, keys: bool) -> AsyncIterator[int]:
    listener = Listener(size, keys=keys)

    def on_frame(frame: bytes) -> str | None:
        sender = listener.hear(frame)
        take()
        return sender

    async with _transport(RECEIVER, on_frame) as transport:
        yield transport.port


def _noise(size: int) -> Frames:
    """As many frames as an agent has blocks, again and again: no message of an agent is still in a cache."""
    rng = random.Random(0)
    batch = [rng.randbytes(size) for _ in range(BLOCKS)]

    async def frames() -> Sequence[bytes]:
        return batch

    return frames


def _agent_frames(size: int, *, keys: bool) -> Frames:
    """What an agent says in one tick; made in a worker thread, as in a service."""
    talker = Talker(size, keys=keys)

    async def frames() -> Sequence[bytes]:
        return await asyncio.to_thread(talker.tick)

    return frames


STREAMS: Final = "bare asyncio streams"
POST: Final = "bare aiohttp POST"
WEBSOCKET: Final = "bare aiohttp websocket"
LATE: Final = "websocket, written late"
TRANSPORT: Final = "transport"
AGENTS: Final = "agent to agent"
AGENTS_WITH_KEYS: Final = "agent to agent, keys"

WAYS: Final[Mapping[str, Way]] = {
    STREAMS: Way(_listen_streams, _connect_streams, _noise),
    POST: Way(_listen_posts, _connect_posts, _noise),
    WEBSOCKET: Way(_listen_websocket, _connect_websocket, _noise),
    LATE: Way(_listen_websocket, _connect_late, _noise),
    TRANSPORT: Way(_listen_transport, _connect_transport, _noise),
    AGENTS: Way(partial(_listen_agent, keys=False), _connect_transport, partial(_agent_frames, keys=False)),
    AGENTS_WITH_KEYS: Way(
        partial(_listen_agent, keys=True), _connect_transport, partial(_agent_frames, keys=True)
    ),
}
