"""Websockets for both directions: who cannot be dialled is pushed to through the one that it has opened."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.wire.test_websocket_transport import (
    TIMEOUT_S,
    Mailbox,
    free_port,
    nothing_is_left_behind,  # noqa: F401  # autouse
    opened,
    until,
)
from wire import MESSAGE_BYTES_MAX, DecodeError, RejectReason
from wire.transport import WebSocketTransport


class Named(Mailbox):
    """Frames here begin with the name of their sender and a colon."""

    def __call__(self, frame: bytes) -> str:  # type: ignore[override]
        super().__call__(frame)
        return frame.partition(b":")[0].decode()


@asynccontextmanager
async def pair(
    **options: object,
) -> AsyncIterator[tuple[WebSocketTransport, Named, WebSocketTransport, Named]]:
    """`near` cannot be dialled; `far` can. Both know each other."""
    at_near, at_far = Named(), Named()
    async with opened("near", at_near) as (near, _), opened("far", at_far, **options) as (far, _):
        near.connect("far", far.address)
        far.connect("near", "")
        yield near, at_near, far, at_far


async def test_who_cannot_be_dialled_is_pushed_to_through_its_own_websocket() -> None:
    async with pair() as (near, at_near, far, at_far):
        near.send(["far"], 0, b"near:hello")
        assert await at_far.count(1) == [b"near:hello"]
        for number in range(3):
            far.send(["near"], 0, b"far:%d" % number)
            await at_near.count(number + 1)
        assert at_near.frames == [b"far:0", b"far:1", b"far:2"]
        assert (near.counters.received, near.counters.bytes_received) == (3, 15)
        assert near.per_peer["far"].route == "dialled"
        await until(lambda: far.per_peer["near"].sent == 3)
        link = far.per_peer["near"]
        assert (link.route, link.unreachable_since, link.unsent) == ("reverse", None, 0)
        assert len(near._listener._websockets) == 0, "far has dialled nobody"
        assert await far.fetch_identity(far.address, TIMEOUT_S) is not None
        answer = await near.fetch_identity(far.address, TIMEOUT_S)
        assert answer is not None
        assert answer["peers"] == [], "others could not dial it either"


async def test_until_it_opens_one_frames_wait_and_the_newest_wins() -> None:
    async with pair(clock=asyncio.get_running_loop().time) as (near, at_near, far, _):
        link = far.per_peer["near"]
        for number in range(5):
            far.send(["near"], 0, b"far:%d" % number)
        await until(lambda: link.unreachable_since is not None)
        assert "has opened no websocket" in str(link.last_error)
        near.send(["far"], 0, b"near:hello")
        assert await at_near.count(1) == [b"far:4"]
        await until(lambda: link.sent == 1)
        assert (link.unsent, link.replaced, link.unreachable_since) == (0, 4, None)


async def test_the_reverse_way_is_taken_when_dialling_fails_and_dialling_is_rare_then() -> None:
    async with pair() as (near, at_near, far, at_far):
        far.connect("near", f"127.0.0.1:{free_port()}")
        near.send(["far"], 0, b"near:hello")
        await at_far.count(1)
        dials: list[float] = []
        link = far._senders["near"].link
        dialled = link.dialled
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(link), "dialled", lambda _, now: (dials.append(now), dialled(now)))
            for number in range(20):
                far.send(["near"], 0, b"far:%d" % number)
                await at_near.count(number + 1)
            await until(lambda: "Connect" in str(far.per_peer["near"].last_error))
        assert len(dials) == 1
        counters = far.per_peer["near"]
        assert (counters.route, counters.unsent, counters.unreachable_since) == ("reverse", 0, None)


async def test_a_frame_whose_dialling_fails_goes_through_the_websocket_opened_meanwhile() -> None:
    """Nothing is lost for want of patience: dialling into a firewall takes CONNECT_TIMEOUT_S."""
    async with pair() as (near, at_near, far, at_far), silent_server() as (address, called, give_up):
        far.connect("near", address)
        far.send(["near"], 0, b"far:1")
        await called.wait()
        near.send(["far"], 0, b"near:hello")
        await at_far.count(1)
        give_up.set()
        assert await at_near.count(1) == [b"far:1"]
        assert far.counters.unsent == 0


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """Where it listens, that somebody has dialled it, and when it is to hang up; it says nothing."""
    called, give_up = asyncio.Event(), asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await give_up.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", called, give_up
        give_up.set()


async def test_who_moves_while_being_dialled_is_dialled_elsewhere_at_once() -> None:
    async with pair() as (near, at_near, far, _), silent_server() as (address, called, _):
        far.connect("near", address)
        far.send(["near"], 0, b"far:1")
        await called.wait()
        far.connect("near", near.address)
        await until(lambda: "has moved" in str(far.per_peer["near"].last_error))
        far.send(["near"], 0, b"far:2")
        assert await at_near.count(1) == [b"far:2"]


async def test_who_can_be_dialled_is_dialled() -> None:
    async with pair() as (near, at_near, far, at_far):
        near.send(["far"], 0, b"near:hello")
        await at_far.count(1)
        far.connect("near", near.address)
        for number in range(100):
            far.send(["near"], 0, b"far:%d" % number)
            await at_near.count(number + 1)
            if far.per_peer["near"].route == "dialled":
                break
        assert far.per_peer["near"].route == "dialled"
        assert far._senders["near"].address in far._peers_to_tell()


async def test_when_the_websocket_closes_its_peer_is_out_of_reach_until_it_opens_another() -> None:
    async with pair() as (near, at_near, far, at_far):
        near.send(["far"], 0, b"near:1")
        await at_far.count(1)
        far.send(["near"], 0, b"far:1")
        await at_near.count(1)
        near.disconnect("far")
        await until(lambda: far.per_peer["near"].route is None)
        assert far._listener._bound == {}
        far.send(["near"], 0, b"far:2")
        await until(lambda: far.per_peer["near"].unreachable_since is not None)
        near.connect("far", far.address)
        near.send(["far"], 0, b"near:2")
        assert await at_near.count(2) == [b"far:1", b"far:2"]


async def test_a_websocket_leads_to_one_peer_and_a_peer_to_its_newest_websocket() -> None:
    at_far = Named()
    async with AsyncExitStack() as stack:
        far, _ = await stack.enter_async_context(opened("far", at_far))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://{far.address}/v1/push"
        old, new = [await stack.enter_async_context(session.ws_connect(url)) for _ in range(2)]
        bound = far._listener._bound

        async def says(websocket: aiohttp.ClientWebSocketResponse, frame: bytes) -> None:
            await websocket.send_bytes(frame)
            await at_far.count(len(at_far.frames) + 1)

        for number in range(50):
            await says(old, b"peer-%d:" % number)
        assert list(bound) == ["peer-49"], "whoever claims many names gets the last"
        first = bound["peer-49"]
        await says(new, b"peer-49:")
        assert bound["peer-49"] is not first
        assert first.peer is None
        await says(old, b"peer-49:")
        assert bound["peer-49"] is not first, "a late message from the old one takes nothing back"
        await new.close()
        await until(lambda: not bound)
        await says(old, b"peer-49:")
        assert bound["peer-49"] is first, "and it is used again when the new one is gone"


@asynccontextmanager
async def deaf_client(far: WebSocketTransport) -> AsyncIterator[asyncio.Transport]:
    """A peer "near" that has opened a websocket to `far` and does not read a byte."""
    async with aiohttp.ClientSession() as session:
        websocket = await session.ws_connect(f"http://{far.address}/v1/push")
        connection = websocket._response.connection
        assert connection is not None
        assert connection.transport is not None
        transport = connection.transport
        await websocket.send_bytes(b"near:")
        transport.pause_reading()  # type: ignore[attr-defined]
        try:
            yield transport  # type: ignore[misc]
        finally:
            transport.abort()


async def test_newest_wins_before_a_peer_that_does_not_read_and_nobody_waits() -> None:
    """DESIGN 2, "Newest wins", through websockets that others have opened."""
    async with pair() as (near, at_near, far, at_far):
        far.connect("other", "")
        near.send(["far"], 0, b"other:")
        await at_far.count(1)
        async with deaf_client(far) as transport:
            await at_far.count(2)
            for number in range(200):
                far.send(["near", "other"], 0, b"far:" + number.to_bytes(4, "little") * 25_000)
                await at_near.count(number + 1)
            slow = far.per_peer["near"]
            assert slow.replaced > 100
            assert slow.sent + slow.replaced + 2 == 200, "one in the socket, one waiting"
            assert far._outbox.waiting("near") == 1
            transport.abort()
            await until(lambda: slow.unreachable_since is not None)
            assert slow.route is None


async def test_who_disconnects_in_the_middle_of_a_frame_can_connect_again() -> None:
    """What a cancelled push leaves half written is finished before the next; aiohttp would cancel it too."""
    at_far = Named()
    async with opened("far", at_far) as (far, _), aiohttp.ClientSession() as session:
        far.connect("near", "")
        websocket = await session.ws_connect(f"http://{far.address}/v1/push")
        transport = websocket._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        await websocket.send_bytes(b"near:")
        await at_far.count(1)
        transport.pause_reading()  # type: ignore[attr-defined]
        frames = [bytes([number]) * 1_000_000 for number in range(1, 40)]
        for block, frame in enumerate(frames):
            far.send(["near"], block, frame)
        await until(lambda: far._listener._bound["near"].writer._draining is not None)
        far.disconnect("near")
        await until(lambda: not far._retired)
        far.connect("near", "")
        far.send(["near"], 0, b"again")
        transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(TIMEOUT_S):
            received = [await websocket.receive_bytes()]
            while received[-1] != b"again":
                received.append(await websocket.receive_bytes())
        assert received[:-1] == frames[: len(received) - 1], "every frame is whole"
        assert 2 <= len(received) < 40
        await websocket.close()


async def test_close_does_not_wait_for_a_peer_that_does_not_read() -> None:
    at_far = Named()
    async with AsyncExitStack() as stack:
        far, _ = await stack.enter_async_context(opened("far", at_far))
        far.connect("near", "")
        await stack.enter_async_context(deaf_client(far))
        await at_far.count(1)
        for block in range(40):
            far.send(["near"], block, bytes(1_000_000))
        await until(lambda: far._listener._bound["near"].writer._draining is not None)
        async with asyncio.timeout(3.0):
            await far.close()


@pytest.mark.parametrize(
    ("reason", "frame"), [("oversized", bytes(1_001)), ("wrong_key", b"refused"), ("malformed", None)]
)
async def test_what_comes_through_a_dialled_websocket_is_checked_and_counted(
    reason: str, frame: bytes | None
) -> None:
    def refuse(_frame: bytes) -> None:
        raise DecodeError(RejectReason.WRONG_KEY, "no")

    async with (
        opened("near", refuse, message_bytes_max=1_000) as (near, _),
        websocket_server() as (port, peers),
    ):
        near.connect("far", f"127.0.0.1:{port}")
        near.send(["far"], 0, b"hello")
        await until(lambda: bool(peers))
        await (peers[0].send_str("text") if frame is None else peers[0].send_bytes(frame))
        await until(lambda: near.counters.rejected == {reason: 1})


async def test_a_bug_in_on_frame_surfaces_there_too() -> None:
    def bug(_frame: bytes) -> None:
        raise ZeroDivisionError("ours")

    async with opened("near", bug) as (near, _), websocket_server() as (port, peers):
        near.connect("far", f"127.0.0.1:{port}")
        near.send(["far"], 0, b"hello")
        await until(lambda: bool(peers))
        await peers[0].send_bytes(b"frame")
        with pytest.raises(ZeroDivisionError, match="ours"):
            async with asyncio.timeout(TIMEOUT_S):
                await near.wait_failed()


async def test_a_target_that_only_pushes_garbage_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_frame: bytes) -> None:
        raise DecodeError(RejectReason.WRONG_SWARM, "no")

    monkeypatch.setattr("wire.intake.REJECTED_MAX", 20)
    async with opened("near", refuse) as (near, _), websocket_server() as (port, peers):
        near.connect("far", f"127.0.0.1:{port}")
        near.send(["far"], 0, b"hello")
        await until(lambda: bool(peers))
        for _ in range(20):
            await peers[0].send_bytes(b"garbage")
        await until(lambda: "no good" in str(near.per_peer["far"].last_error))
        assert near.counters.rejected == {"wrong_swarm": 20}
        near.send(["far"], 0, b"it is dialled again")
        await until(lambda: len(peers) == 2)


async def test_the_reason_is_told_even_if_a_frame_was_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found under load: only that the connection was reset was told."""

    def refuse(_frame: bytes) -> None:
        raise DecodeError(RejectReason.WRONG_SWARM, "no")

    done = asyncio.Event()

    async def babble(websocket: web.WebSocketResponse) -> None:
        """And read nothing."""
        for _ in range(20):
            await websocket.send_bytes(b"garbage")
        await done.wait()

    monkeypatch.setattr("wire.intake.REJECTED_MAX", 20)
    async with opened("near", refuse) as (near, _), websocket_server(on_open=babble) as (port, _peers):
        near.connect("far", f"127.0.0.1:{port}")
        near.send(["far"], 0, bytes(MESSAGE_BYTES_MAX))
        await until(lambda: near.per_peer["far"].last_error is not None)
        assert "no good" in str(near.per_peer["far"].last_error)
        done.set()


async def read_on(websocket: web.WebSocketResponse) -> None:
    """At once."""


@asynccontextmanager
async def websocket_server(
    on_ping: Callable[[], None] = lambda: None,
    on_open: Callable[[web.WebSocketResponse], Awaitable[None]] = read_on,
) -> AsyncIterator[tuple[int, list[web.WebSocketResponse]]]:
    """Port, and the websockets opened to it; they never answer a ping."""
    peers: list[web.WebSocketResponse] = []

    async def push(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(autoping=False, timeout=0.1)
        await response.prepare(request)
        peers.append(response)
        await on_open(response)
        async for message in response:
            if message.type is aiohttp.WSMsgType.PING:
                on_ping()
        return response

    application = web.Application()
    application.router.add_get("/v1/push", push)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], peers
    finally:
        await runner.cleanup()


async def test_an_idle_websocket_shows_life_and_needs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping of NAT stays; and a link so slow that no pong comes back is not given up."""
    monkeypatch.setattr("wire.sender.PING_S", 0.01)
    pings: list[None] = []
    async with opened("near") as (near, _), websocket_server(lambda: pings.append(None)) as (port, peers):
        near.connect("far", f"127.0.0.1:{port}")
        near.send(["far"], 0, b"hello")
        await until(lambda: len(pings) >= 5)
        assert len(peers) == 1
        near.send(["far"], 0, b"still the same")
        await until(lambda: near.counters.sent == 2)
        assert len(peers) == 1
        assert near.per_peer["far"].route == "dialled"


async def test_our_own_pings_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.intake.SIGN_S_MIN", 0.0)
    monkeypatch.setattr("wire.sender.PING_S", 0.01)
    async with pair() as (near, _, far, at_far):
        near.send(["far"], 0, b"near:hello")
        await at_far.count(1)
        seen: list[bytes] = []
        writer = far._listener._bound["near"].writer
        pong = writer.pong

        async def answer(data: bytes) -> None:
            seen.append(data)
            await pong(data)

        monkeypatch.setattr(writer, "pong", answer)
        await until(lambda: len(seen) >= 3)
        assert far.counters.rejected == near.counters.rejected == {}
