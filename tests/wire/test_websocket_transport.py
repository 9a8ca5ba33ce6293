import asyncio
import contextlib
import gc
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

import wire.transport
from wire import (
    PROTOCOL_VERSION,
    AddressError,
    Array,
    Constant,
    DecodeError,
    FaultPlan,
    Push,
    RejectReason,
    TransportError,
    cut,
    decode_push,
    encode_push,
    peer_mark,
)
from wire.transport import FRAME_BYTES_MAX, Transport, WebSocketTransport

TIMEOUT_S = 10.0  # of every wait; nothing here takes a second unless it fails


class Mailbox:
    """What one transport received, and a way to wait for it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._arrived = asyncio.Event()

    def __call__(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._arrived.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not done():
                self._arrived.clear()
                await self._arrived.wait()

    async def count(self, count: int) -> list[bytes]:
        await self.until(lambda: len(self.frames) >= count)
        return self.frames


async def until(done: Callable[[], bool]) -> None:
    """Wait for counters, which have no event of their own: look again whenever the loop has turned."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        while not done():
            turned = loop.create_future()
            loop.call_later(0.001, lambda turned=turned: turned.done() or turned.set_result(None))
            await turned


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
    gc.collect()  # an unclosed socket or session warns now, and a warning is an error


@asynccontextmanager
async def opened(
    name: str = "a", on_frame: Callable[[bytes], None] | None = None, **options: object
) -> AsyncIterator[tuple[WebSocketTransport, Mailbox]]:
    mailbox = Mailbox()
    transport = WebSocketTransport(
        peer=name, identity=lambda: {"peer": name, "incarnation": 1}, on_frame=on_frame or mailbox, **options
    )
    await transport.start()
    try:
        yield transport, mailbox
    finally:
        async with asyncio.timeout(TIMEOUT_S):
            await transport.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def push(sequence: int = 1, floats: int = 4) -> bytes:
    data = struct.pack(f"<{floats}f", *range(floats))
    arrays = (Array("<f4", data),)
    return encode_push(Push("s", "f", "a", 1, 1, 0, sequence, 1, 0.1, "", arrays, (peer_mark("b"),)))


async def test_a_frame_arrives_as_it_was_sent_at_every_target() -> None:
    async with AsyncExitStack() as stack:
        sender, _ = await stack.enter_async_context(opened("a"))
        receivers = [await stack.enter_async_context(opened(name)) for name in "bcd"]
        for name, (receiver, _) in zip("bcd", receivers, strict=True):
            sender.connect(name, receiver.address)
        frame = push()
        sender.send(["b", "c", "d"], 0, frame)
        for _, mailbox in receivers:
            assert await mailbox.count(1) == [frame]
        await until(lambda: sender.counters.sent == 3)
        assert sender.counters.bytes_sent == 3 * len(frame)
        assert {name: link.sent for name, link in sender.per_peer.items()} == {"b": 1, "c": 1, "d": 1}
        receiver = receivers[0][0]
        assert (receiver.counters.received, receiver.counters.bytes_received) == (1, len(frame))
        assert decode_push(receivers[0][1].frames[0]).arrays[0].count == 4


async def test_blocks_of_one_target_all_arrive_over_one_connection() -> None:
    async with opened("a") as (sender, _), opened("b") as (receiver, mailbox):
        sender.connect("b", receiver.address)
        frames = [bytes([block]) * 10_000 for block in range(50)]
        for block, frame in enumerate(frames):
            sender.send(["b"], block, frame)
        assert await mailbox.count(50) == frames
        assert len(receiver._listener._websockets) == 1


async def test_a_frame_of_the_largest_size_arrives() -> None:
    async with opened("a") as (sender, _), opened("b") as (receiver, mailbox):
        sender.connect("b", receiver.address)
        frame = bytes(FRAME_BYTES_MAX)
        sender.send(["b"], 0, frame)
        assert await mailbox.count(1) == [frame]
        with pytest.raises(ValueError, match="at most 1049088"):
            sender.send(["b"], 0, frame + b"\0")


@asynccontextmanager
async def stalled_receiver() -> AsyncIterator[str]:
    """Accepts the upgrade, then does not read a byte."""

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        assert request.transport is not None
        request.transport.pause_reading()  # type: ignore[attr-defined]
        stalled.set()
        try:
            await leave.wait()
        finally:
            request.transport.abort()  # type: ignore[attr-defined]
        return response

    stalled, leave = asyncio.Event(), asyncio.Event()
    application = web.Application()
    application.router.add_get("/v1/push", stall)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{site.port if hasattr(site, 'port') else runner.addresses[0][1]}"
    finally:
        leave.set()
        await runner.cleanup()


async def test_newest_wins_under_a_stalled_reader_and_nobody_else_waits() -> None:
    """DESIGN 2, "Newest wins": nothing grows, and a slow neighbour slows nobody."""
    async with stalled_receiver() as address, opened("a") as (sender, _), opened("c") as (fast, mailbox):
        sender.connect("slow", address)
        sender.connect("fast", fast.address)
        tracemalloc.start()
        try:
            for sequence in range(300):
                frame = sequence.to_bytes(4, "little") * 25_000
                sender.send(["slow", "fast"], 0, frame)
                await mailbox.until(lambda frame=frame: mailbox.frames == [frame])  # type: ignore[misc]
                mailbox.frames.clear()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3e6, "30 MB went through"
        assert sender.per_peer["fast"].sent == 300
        assert sender.per_peer["fast"].replaced == 0
        slow = sender.per_peer["slow"]
        assert slow.replaced > 200
        assert slow.sent + slow.replaced + slow.unsent + 2 == 300, "one in the socket, one waiting"
        assert sender._outbox.waiting("slow") == 1


async def test_a_stalled_receiver_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.socket_writer.STALL_S", 0.05)
    async with stalled_receiver() as address, opened("a") as (sender, _):
        sender.connect("slow", address)
        for block in range(64):
            sender.send(["slow"], block, bytes(200_000))
        await until(lambda: sender.counters.unsent > 0)
        assert "not one byte accepted" in str(sender.per_peer["slow"].last_error)
        assert sender.per_peer["slow"].unreachable_since is not None


async def test_a_refused_connection_counts_as_unsent() -> None:
    async with opened("a", clock=asyncio.get_running_loop().time) as (sender, _):
        sender.connect("b", f"127.0.0.1:{free_port()}")
        started = asyncio.get_running_loop().time()
        sender.send(["b"], 0, push())
        await until(lambda: sender.counters.unsent == 1)
        link = sender.per_peer["b"]
        assert (link.sent, link.unsent) == (0, 1)
        assert "Connect" in str(link.last_error)
        first = link.unreachable_since
        assert first is not None
        assert started <= first
        sender.send(["b"], 0, push(2))
        await until(lambda: sender.counters.unsent == 2)
        assert link.unreachable_since == first
        assert sender._outbox.waiting("b") == 0, "never retried: the next contains it"


async def test_without_an_address_a_target_counts_as_unsent() -> None:
    async with opened("a") as (sender, _):
        sender.send(["nobody"], 0, push())
        assert sender.counters.unsent == 1
        assert sender.per_peer["nobody"].last_error == "no address known"
        sender.disconnect("nobody")
        assert sender.per_peer == {}


async def test_a_peer_restarting_on_the_same_port_is_reached_again() -> None:
    port = free_port()
    async with opened("a") as (sender, _):
        sender.connect("b", f"127.0.0.1:{port}")
        async with opened("b", listen_port=port) as (_, mailbox):
            sender.send(["b"], 0, b"before")
            assert await mailbox.count(1) == [b"before"]
        sender.send(["b"], 0, b"meanwhile")
        await until(lambda: sender.counters.unsent == 1)
        assert sender.per_peer["b"].unreachable_since is not None
        async with opened("b", listen_port=port) as (_, mailbox):
            sender.send(["b"], 0, b"after")
            assert await mailbox.count(1) == [b"after"]
            await until(lambda: sender.per_peer["b"].unreachable_since is None)
        assert sender.per_peer["b"].sent == 2


async def test_a_peer_can_move() -> None:
    async with opened("a") as (sender, _), opened("b") as (old, before), opened("b") as (new, after):
        sender.connect("b", old.address)
        sender.send(["b"], 0, b"1")
        await before.count(1)
        sender.connect("b", old.address)
        sender.send(["b"], 0, b"2")
        assert await before.count(2) == [b"1", b"2"]
        sender.connect("b", new.address)
        sender.send(["b"], 0, b"3")
        assert await after.count(1) == [b"3"]
        await until(lambda: len(old._listener._websockets) == 0)
        with pytest.raises(AddressError):
            sender.connect("b", "nowhere")


async def test_a_connection_that_may_be_dead_is_dialled_anew() -> None:
    async with opened("a") as (sender, _), opened("b") as (b, to_b), opened("c") as (c, to_c):
        for name, receiver, mailbox in (("b", b, to_b), ("c", c, to_c)):
            sender.connect(name, receiver.address)
            sender.send([name], 0, b"1")
            await mailbox.count(1)
        (old_b,), (old_c,) = b._listener._websockets, c._listener._websockets
        sender.redial("b")
        sender.send(["b", "c"], 0, b"2")
        await to_b.count(2)
        await to_c.count(2)
        await until(lambda: old_b not in b._listener._websockets)
        assert list(c._listener._websockets) == [old_c]
        sender.redial()
        sender.send(["c"], 0, b"3")
        await to_c.count(3)
        await until(lambda: old_c not in c._listener._websockets)


async def test_disconnect_drops_what_waits() -> None:
    async with opened("a") as (sender, _), opened("b") as (receiver, mailbox):
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, b"1")
        await mailbox.count(1)
        sender.send(["b"], 0, b"2")
        sender.disconnect("b")
        assert sender.counters.unsent == 1
        await until(lambda: len(receiver._listener._websockets) == 0)
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, b"3")
        assert await mailbox.count(2) == [b"1", b"3"]


async def test_an_oversized_frame_closes_its_connection_and_is_counted() -> None:
    async with opened("a") as (sender, _), opened("b", message_bytes_max=1_000) as (receiver, mailbox):
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, bytes(1_001))
        await until(lambda: receiver.counters.rejected == {"oversized": 1})
        await until(lambda: "1009" in str(sender.per_peer["b"].last_error))
        assert receiver.counters.received == 0
        sender.send(["b"], 0, bytes(1_000))
        assert await mailbox.count(1) == [bytes(1_000)]


def decoding(frame: bytes) -> None:
    decode_push(frame)


async def test_garbage_is_counted_by_reason_and_the_connection_stays() -> None:
    async with opened("b", on_frame=decoding) as (receiver, _), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://{receiver.address}/v1/push") as garbage:
            await garbage.send_bytes(b"garbage")
            await garbage.send_bytes(b"HP\x09\x00\x00\x00\x00\x00")
            await garbage.send_str("text")
            await garbage.send_bytes(push())
            await until(lambda: receiver.counters.received == 3)
        assert receiver.counters.rejected == {"malformed": 2, "future_version": 1}


async def test_bytes_that_are_no_websocket_are_counted() -> None:
    async with opened("b") as (receiver, _), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://{receiver.address}/v1/push") as garbage:
            connection = garbage._response.connection
            assert connection is not None
            assert connection.transport is not None
            connection.transport.write(b"\xff" * 64)
            await until(lambda: receiver.counters.rejected == {"malformed": 1})
        async with session.get(f"http://{receiver.address}/v1/push") as response:
            assert response.status == 400
        async with session.get(f"http://{receiver.address}/elsewhere") as response:
            assert response.status == 404


async def test_a_reason_the_receiver_gives_is_counted() -> None:
    def refuse(_frame: bytes) -> None:
        raise DecodeError(RejectReason.WRONG_SWARM, "swarm is 'x'")

    async with opened("a") as (sender, _), opened("b", on_frame=refuse) as (receiver, _):
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, push())
        await until(lambda: receiver.counters.rejected == {"wrong_swarm": 1})


async def test_a_bug_in_on_frame_surfaces() -> None:
    """STYLE: a bug is never swallowed."""

    def bug(_frame: bytes) -> None:
        raise ZeroDivisionError("ours")

    async with opened("a") as (sender, _), opened("b", on_frame=bug) as (receiver, _):
        waiting = asyncio.create_task(receiver.wait_failed())
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, push())
        with pytest.raises(ZeroDivisionError, match="ours"):
            async with asyncio.timeout(TIMEOUT_S):
                await waiting


async def test_a_bug_in_a_sender_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("ours")

    async with opened("a") as (sender, _):
        monkeypatch.setattr("wire.outgoing.OutgoingLink.next_frame", bug)
        sender.connect("b", "127.0.0.1:1")
        with pytest.raises(ZeroDivisionError, match="ours"):
            async with asyncio.timeout(TIMEOUT_S):
                await sender.wait_failed()


async def test_total_loss_loses_everything_and_is_not_unsent() -> None:
    async with opened("a", faults=FaultPlan(drop=1.0)) as (sender, _), opened("b") as (receiver, mailbox):
        sender.connect("b", receiver.address)
        for block in range(20):
            sender.send(["b"], block, push())
        await until(lambda: sender.counters.lost_by_faults == 20)
        assert (sender.counters.sent, sender.counters.unsent) == (0, 0)
        assert sender.per_peer["b"].unreachable_since is None
        assert mailbox.frames == []


async def test_a_plan_cuts_one_direction() -> None:
    plan = FaultPlan(windows=(cut("a", "b", 0.0),))
    async with opened("a", faults=plan) as (a, at_a), opened("b", faults=plan) as (b, at_b):
        a.connect("b", b.address)
        b.connect("a", a.address)
        a.send(["b"], 0, b"to b")
        b.send(["a"], 0, b"to a")
        assert await at_a.count(1) == [b"to a"]
        assert a.counters.lost_by_faults == 1
        assert at_b.frames == []


async def test_duplicates_and_delays() -> None:
    plan = FaultPlan(duplicate=1.0, delay_s=Constant(0.05))
    async with opened("a", faults=plan) as (sender, _), opened("b") as (receiver, mailbox):
        sender.connect("b", receiver.address)
        started = asyncio.get_running_loop().time()
        sender.send(["b"], 0, b"x")
        assert await mailbox.count(2) == [b"x", b"x"]
        assert asyncio.get_running_loop().time() - started >= 0.05
        await until(lambda: sender.counters.sent == 2)


async def test_the_draws_of_a_link_go_on_after_it_was_disconnected() -> None:
    async with opened("a", faults=FaultPlan(drop=0.5), fault_seed=3) as (sender, _):
        stream = sender._stream("b")
        sender.disconnect("b")
        assert sender._stream("b") is stream
        for index in range(wire.transport.TARGETS_MAX):
            sender._stream(f"other-{index}")
        assert len(sender._streams) == wire.transport.TARGETS_MAX
        assert "b" not in sender._streams


async def test_a_busy_port_is_named_with_its_remedy() -> None:
    async with opened("a") as (first, _):
        second = WebSocketTransport(peer="b", listen_port=first.port, identity=dict, on_frame=decoding)
        with pytest.raises(TransportError) as caught:
            await second.start()
        assert f"host '127.0.0.1', port {first.port}" in str(caught.value)
        assert "choose another port" in str(caught.value)
        await second.close()
        with pytest.raises(RuntimeError):
            await second.wait_failed()


async def test_identity() -> None:
    async with opened("a") as (a, _), opened("b") as (b, _):
        expected = {"peer": "b", "incarnation": 1, "protocol": PROTOCOL_VERSION, "peers": []}
        assert await a.fetch_identity(b.address, TIMEOUT_S) == expected
        assert await a.fetch_identity(f"127.0.0.1:{free_port()}", TIMEOUT_S) is None
        with pytest.raises(AddressError):
            await a.fetch_identity("nowhere", TIMEOUT_S)
    assert await a.fetch_identity("127.0.0.1:1", TIMEOUT_S) is None, "closed"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{" * 100_000, 200), (b"[" * 4_000, 200), (b"\xff", 200), (b"[1]", 200), (b"{}", 500), (b"{}", 302)],
)
async def test_a_stranger_s_identity_is_bounded_and_checked(body: bytes, status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={"Location": "/"})

    application = web.Application()
    application.router.add_get("/v1/identity", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with opened("a") as (transport, _):
        assert await transport.fetch_identity(f"127.0.0.1:{runner.addresses[0][1]}", TIMEOUT_S) is None
    await runner.cleanup()


async def test_connections_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.listener.CONNECTIONS_MAX", 1)
    async with opened("a") as (first, _), opened("c") as (second, _), opened("b") as (receiver, mailbox):
        first.connect("b", receiver.address)
        first.send(["b"], 0, b"first")
        await mailbox.count(1)
        second.connect("b", receiver.address)
        second.send(["b"], 0, b"second")
        await until(lambda: second.counters.unsent == 1)
        assert "503" in str(second.per_peer["b"].last_error)
        first.disconnect("b")
        await until(lambda: len(receiver._listener._websockets) == 0)
        second.send(["b"], 0, b"third")
        assert await mailbox.count(2) == [b"first", b"third"]


async def test_idle_sockets_are_capped_and_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """STYLE 11: a stranger who connects and says nothing must not take a place for ever."""
    monkeypatch.setattr("wire.callers.SOCKETS_MAX", 2)
    monkeypatch.setattr("wire.listener.HANDSHAKE_S", 0.1)
    async with opened("a") as (sender, _), opened("b") as (receiver, mailbox), asyncio.timeout(TIMEOUT_S):
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, b"1")
        await mailbox.count(1)
        idle = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(2)]
        assert await idle[1][0].read() == b"", "refused"
        assert await idle[0][0].read() == b"", "closed in the end"
        sender.send(["b"], 0, b"2")
        assert await mailbox.count(2) == [b"1", b"2"], "a push connection stays"
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()


async def test_what_was_connected_before_the_start_is_sent_to_after_it() -> None:
    async with opened("b") as (receiver, mailbox):
        sender = WebSocketTransport(peer="a", identity=dict, on_frame=decoding)
        sender.connect("b", receiver.address)
        sender.send(["b"], 0, b"too early")
        assert sender.counters.unsent == 1
        await sender.start()
        sender.send(["b"], 0, b"x")
        assert await mailbox.count(1) == [b"x"]
        await sender.close()
        await sender.close()
        sender.send(["b"], 0, b"too late")
        assert sender.counters.unsent == 2


async def test_the_port_is_free_again_after_close() -> None:
    port = free_port()
    for _ in range(2):
        async with opened("a", listen_port=port) as (transport, _):
            assert transport.address == f"127.0.0.1:{port}"


def test_addresses_others_can_reach() -> None:
    def address(**options: str) -> str:
        return WebSocketTransport(
            peer="a", identity=dict, on_frame=decoding, listen_port=7, **options
        ).address

    everywhere = "0.0.0.0"  # noqa: S104
    assert address(listen_host="::1") == "[::1]:7"
    assert address(listen_host=everywhere, advertise_host="node-7") == "node-7:7"
    assert not address(listen_host=everywhere).startswith(everywhere)


async def test_thirty_two_in_one_loop() -> None:
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(opened(f"agent-{index}")) for index in range(32)]
        for index, (agent, _) in enumerate(agents):
            for step in (1, 5, 11):
                target = agents[(index + step) % 32][0]
                agent.connect(target._peer, target.address)
        for block in range(10):
            for agent, _ in agents:
                agent.send(list(agent.per_peer), block, push(block + 1, 1_000))
        for _, mailbox in agents:
            assert len(await mailbox.count(30)) == 30


def test_the_websocket_transport_is_a_transport() -> None:
    transport: Transport = WebSocketTransport(peer="a", identity=dict, on_frame=decoding)
    assert transport.counters.sent == 0


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_in_while_it_closes_is_closed_as_well(turns: int) -> None:
    """Found on a slow machine: a socket that was accepted and not yet served when a killed agent closed."""
    loop = asyncio.get_running_loop()
    transport = WebSocketTransport(peer="a", identity=dict, on_frame=decoding)
    await transport.start()
    with socket.create_connection(("127.0.0.1", transport.port)) as client:
        for _ in range(turns):
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned
        await transport.close()
        client.settimeout(TIMEOUT_S)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""
