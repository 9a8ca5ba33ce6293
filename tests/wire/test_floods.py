"""What strangers can do to a listener: it is dropped, counted, takes bounded memory, and hinders nobody."""

import asyncio
import contextlib
import gc
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.wire.test_websocket_transport import (
    TIMEOUT_S,
    Mailbox,
    nothing_is_left_behind,  # noqa: F401  # autouse
    opened,
    until,
)
from wire import DecodeError, RejectReason
from wire.listener import _Socket
from wire.transport import FRAME_BYTES_MAX, WebSocketTransport

UPGRADE = (
    b"GET /v1/push HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
CONTINUATION, TEXT, BINARY, PING, PONG = 0, 1, 2, 9, 10


def websocket_frame(
    opcode: int, payload: bytes, *, final: bool = True, packed: bool = False, announced: int | None = None
) -> bytes:
    """RFC 6455, section 5.2, masked with zeros; `announced` is the length it claims to have."""
    length = len(payload) if announced is None else announced
    first = bytes((opcode | 0x80 * final | 0x40 * packed,))
    if length < 126:
        return first + bytes((0x80 | length,)) + bytes(4) + payload
    return first + b"\xff" + length.to_bytes(8, "big") + bytes(4) + payload


class Target:
    """A listener under attack, and an honest peer that goes on pushing to it."""

    def __init__(self, transport: WebSocketTransport, mailbox: Mailbox, honest: WebSocketTransport) -> None:
        self.transport = transport
        self._mailbox = mailbox
        self._honest = honest
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def rejected(self) -> dict[str, int]:
        return self.transport.counters.rejected

    @property
    def refused(self) -> dict[str, int]:
        return self.transport.counters.refused

    async def dial(self, *said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.transport.port)
        self._writers.append(writer)
        for part in said:
            writer.write(part)
        return reader, writer

    async def dial_websocket(self, *said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.dial(UPGRADE, b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for part in said:
            writer.write(part)
        return reader, writer

    async def honest_traffic_flows(self) -> None:
        count = self._mailbox.frames.count(b"honest")
        self._honest.send(["target"], 0, b"honest")
        await self._mailbox.until(lambda: self._mailbox.frames.count(b"honest") == count + 1)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class Picky(Mailbox):
    """Takes honest frames only."""

    def __call__(self, frame: bytes) -> None:
        if frame != b"honest":
            raise DecodeError(RejectReason.MALFORMED, "not honest")
        super().__call__(frame)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    mailbox = Picky()
    async with opened("target", mailbox) as (transport, _), opened("honest") as (honest, _):
        honest.connect("target", transport.address)
        attacked = Target(transport, mailbox, honest)
        await attacked.honest_traffic_flows()
        yield attacked
        await attacked.honest_traffic_flows()
        assert honest.counters.unsent == 0, "over the same websocket all the time"
        attacked.hang_up()


@contextmanager
def memory_below(bytes_max: float) -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bytes_max


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side closes."""
    said = b""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            while more := await reader.read(2**16):
                said += more
        except ConnectionResetError:
            pass
    return said


@pytest.mark.parametrize("said", [b"", b"GET /v1/push HTTP/1.1\r\nHo", UPGRADE, b"\r\n" * 100])
async def test_handshakes_that_never_end(
    target: Target, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.listener.HANDSHAKE_S", 0.1)
    readers = [(await target.dial(said))[0] for _ in range(20)]
    for reader in readers:
        assert await ended(reader) == b""
    assert target.refused == {"handshake": 20}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        websocket_frame(BINARY, b"dribble", announced=1_000_000),
        websocket_frame(BINARY, b"begun", final=False) + websocket_frame(CONTINUATION, b"", final=False) * 99,
        websocket_frame(PING, b""),
    ],
    ids=["silence", "a frame that dribbles", "fragments without end", "only a ping"],
)
async def test_websockets_that_only_hold_a_place(
    target: Target, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.listener.USELESS_S", 0.15)
    with memory_below(4e6):
        readers = [(await target.dial_websocket(said))[0] for _ in range(20)]
        for _ in range(3):
            await target.honest_traffic_flows()
        for reader in readers:
            await ended(reader)
    assert target.refused == {"useless": 20}
    assert target.rejected == {}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (websocket_frame(BINARY, b"", announced=FRAME_BYTES_MAX + 1), "oversized"),
        (websocket_frame(BINARY, b"", announced=2**63 - 1), "oversized"),
        (
            websocket_frame(BINARY, bytes(2**19), final=False)
            + websocket_frame(CONTINUATION, bytes(2**19), final=False) * 4,
            "oversized",
        ),
        (websocket_frame(BINARY, gzip.compress(bytes(10**7))[10:-8], packed=True), "malformed"),
        (websocket_frame(TEXT, b"\xff"), "malformed"),
        (websocket_frame(3, b""), "malformed"),
        (websocket_frame(PING, bytes(200)), "malformed"),
        (websocket_frame(CONTINUATION, b""), "malformed"),
    ],
    ids=[
        *("too large", "absurdly large", "too large in pieces", "a compression bomb", "no UTF-8"),
        *("unknown opcode", "large ping", "no beginning"),
    ],
)
async def test_frames_that_break_a_websocket(target: Target, said: bytes, reason: str) -> None:
    with memory_below(8e6):
        await ended((await target.dial_websocket(said))[0])
    assert target.rejected == {reason: 1}


@pytest.mark.parametrize("opcode", [BINARY, TEXT, PING, PONG])
async def test_floods_of_frames_that_are_no_good(
    target: Target, opcode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flooder reads nothing, so that answers pile up; it is sent away, others of its network are not."""
    monkeypatch.setattr("wire.callers.caller_of", lambda host: host)  # as if it came from elsewhere
    flood = websocket_frame(opcode, b"x" * 100) * 20_000
    with memory_below(2 * len(flood) + 4e6):  # twice: what the flooder itself and its transport hold
        reader, _ = await target.dial_websocket(flood)
        await until(lambda: "rejected" in target.refused)
    assert target.rejected == {"malformed": 1_000}
    assert target.refused == {"rejected": 1}
    await ended(reader)
    for _ in range(3):
        assert await ended((await target.dial(UPGRADE))[0]) == b""
    assert target.refused == {"rejected": 1, "sent_away": 3}


async def test_a_good_message_now_and_then_makes_up_for_bad_ones(target: Target) -> None:
    """A peer of ours may be refused for a while, when it has joined or was quarantined."""
    good, bad = websocket_frame(BINARY, b"honest"), websocket_frame(BINARY, b"bad")
    await target.dial_websocket(*[bad * 999 + good] * 3)
    await until(lambda: target.rejected == {"malformed": 2_997})
    await until(lambda: target.transport.counters.received == 3_001)
    assert target.refused == {}


async def test_floods_of_connections(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.callers.LOOPBACK_SOCKETS_MAX", 9)
    with memory_below(4e6):
        readers = [(await target.dial())[0] for _ in range(200)]
        for reader in readers[8:]:
            assert await ended(reader) == b""
    assert target.refused == {"caller_sockets": 192}


async def test_connections_that_come_and_go_leave_nothing(target: Target) -> None:
    """A timer that waits for a handshake must not keep the socket that it waits for."""
    for _ in range(300):
        _, writer = await target.dial()
        writer.transport.abort()
    await until(lambda: target.transport._listener._callers._total == 1)

    def sockets() -> int:
        gc.collect()
        return sum(type(thing) is _Socket for thing in gc.get_objects())

    await until(lambda: sockets() == 1)  # that of the honest peer


@pytest.mark.parametrize(
    "said",
    [
        b"GET /v1/push HTTP/1.1\r\nHost: localhost\r\n\r\n",
        UPGRADE.replace(b": 13", b": 99") + b"\r\n",
        UPGRADE.replace(b"AAAA", b"A") + b"\r\n",
        UPGRADE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
        b"GET /v1/identity HTTP/1.1\r\nX: " + b"x" * 10**6,
        b"GET /v1/identity HTTP/1.1\r\n" + b"X: x\r\n" * 10**5,
        b"GET /" + b"x" * 10**6,
    ],
    ids=[
        *("no upgrade", "future version", "bad key", "subprotocol", "TLS"),
        *("a long header", "many headers", "a long line"),
    ],
)
async def test_requests_that_are_no_good(
    target: Target, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with memory_below(8e6):
        reader, _ = await target.dial(said)
        await until(lambda: target.refused == {"bad_request": 1})
        with contextlib.suppress(ConnectionResetError):  # what it did not read may reset the connection
            await reader.read(1)
    assert not caplog.records, "strangers do not write our log"


async def test_requests_without_end(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is answered once; whoever wants more has to come again."""
    with memory_below(4e6):
        reader, _ = await target.dial(b"GET /v1/identity HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10_000)
        assert (await ended(reader)).count(b"HTTP/1.1 200") == 1


async def test_garbage_is_not_quoted_at_length(target: Target) -> None:
    """The memory of it would be given back to Python, but not to the machine."""
    garbage = b"GET " + b"\xff" * 2**18
    with memory_below(8e6):
        for count in range(1, 21):
            reader, _ = await target.dial(garbage)
            await until(lambda count=count: target.refused == {"bad_request": count})
            await ended(reader)


async def test_bodies_are_not_unpacked(target: Target) -> None:
    bomb = gzip.compress(bytes(50 * 10**6))
    head = b"GET /v1/identity HTTP/1.1\r\nHost: [::1]\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    with memory_below(4e6):
        reader, _ = await target.dial(head % len(bomb), bomb)
        assert (await ended(reader)).count(b"HTTP/1.1 200") == 1


async def test_many_good_tiny_frames_are_only_traffic(target: Target) -> None:
    count = 20_000
    with memory_below(8e6):
        await target.dial_websocket(websocket_frame(BINARY, b"honest") * count)
        await until(lambda: target.transport.counters.received == count + 1)
    assert target.rejected == target.refused == {}
    assert target.transport.counters.bytes_received == 6 * (count + 1)


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("localhost", b"Origin: http://evil.example\r\n"),
        ("evil.example", b""),
        ("evil.example:80", b"Origin: x\r\n"),
    ],
)
async def test_no_web_page_may_push_or_ask(target: Target, host: str, more: bytes) -> None:
    """A browser lets any page open websockets to this machine, and says where the page is from."""
    for number, request in enumerate((UPGRADE, b"GET /v1/identity HTTP/1.1\r\nHost: localhost\r\n"), start=1):
        reader, _ = await target.dial(request.replace(b"localhost", host.encode()) + more + b"\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert target.refused["bad_request"] == number
