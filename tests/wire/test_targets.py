"""Whom a transport is connected to: bad addresses, counters, caps, and what it tells others."""

import asyncio
from typing import cast

import aiohttp
import pytest

import wire.push_socket
import wire.transport
from tests.wire.test_websocket_transport import (
    TIMEOUT_S,
    free_port,
    nothing_is_left_behind,  # noqa: F401  # autouse
    opened,
    push,
    until,
)
from wire.records import PEERS_TOLD_MAX
from wire.transport import WebSocketTransport


@pytest.mark.parametrize("error", [ValueError("not an IP address"), UnicodeError("label too long")])
async def test_an_address_that_cannot_be_dialled_is_a_link_failure(
    monkeypatch: pytest.MonkeyPatch, error: ValueError
) -> None:
    """What a later yarl or codec refuses must not end the process."""

    def refuse(address: str, path: str) -> object:
        raise error

    monkeypatch.setattr(wire.push_socket, "url_of", refuse)
    monkeypatch.setattr(wire.transport, "url_of", refuse)
    async with opened("a") as (sender, _):
        sender.connect("b", "xn--a:1")
        sender.send(["b"], 0, push())
        await until(lambda: sender.counters.unsent == 1)
        link = sender.per_peer["b"]
        assert f"xn--a:1 cannot be dialled: {error}" in str(link.last_error)
        assert link.unreachable_since is not None
        assert sender._senders["b"].link.retry_at > link.unreachable_since, "backs off"
        assert await sender.fetch_identity("xn--a:1", TIMEOUT_S) is None
        assert sender._failed is not None
        assert not sender._failed.done()


async def test_other_errors_of_a_sender_are_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dial(*_: object, **__: object) -> object:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(wire.push_socket.PushSocket, "dial", dial)
    async with opened("a") as (sender, _):
        sender.connect("b", "127.0.0.1:1")
        sender.send(["b"], 0, push())
        with pytest.raises(ZeroDivisionError, match="ours"):
            async with asyncio.timeout(TIMEOUT_S):
                await sender.wait_failed()


async def test_whoever_returns_is_not_unreachable() -> None:
    async with opened("a") as (sender, _), opened("b") as (receiver, mailbox):
        sender.send(["b"], 0, push())
        before = sender.per_peer["b"]
        assert before.unreachable_since is not None
        sender.connect("b", receiver.address)
        link = sender.per_peer["b"]
        assert (link.unsent, link.unreachable_since) == (0, None)
        sender.connect("b", receiver.address)
        assert sender.per_peer["b"] is link, "connected already: the counters go on"
        sender.send(["b"], 0, b"x")
        await mailbox.count(1)
        await until(lambda: link.sent == 1)


def test_targets_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.transport, "TARGETS_MAX", 2)
    transport = WebSocketTransport(peer="a", identity=dict, on_frame=print)
    transport.connect("b", "127.0.0.1:1")
    transport.connect("c", "127.0.0.1:2")
    with pytest.raises(ValueError, match="'d' is one too many: 2 are connected; disconnect another first"):
        transport.connect("d", "127.0.0.1:3")
    assert set(transport.per_peer) == {"b", "c"}
    transport.connect("b", "127.0.0.1:4")
    transport.disconnect("c")
    transport.connect("d", "127.0.0.1:3")


async def told_by(transport: WebSocketTransport, asker: WebSocketTransport) -> list[str]:
    answer = await asker.fetch_identity(transport.address, TIMEOUT_S)
    assert answer is not None
    return cast("list[str]", answer["peers"])


async def test_reachable_targets_are_told_of() -> None:
    async with opened("a") as (a, _), opened("b") as (b, _):
        dead = f"127.0.0.1:{free_port()}"
        a.connect("z", "127.0.0.1:9")
        a.connect("y", "[::1]:9")
        a.connect("x", "127.0.0.1:10")
        a.connect("dead", dead)
        assert await told_by(a, b) == sorted(["127.0.0.1:9", "[::1]:9", "127.0.0.1:10", dead])
        a.disconnect("x")
        a.send(["dead"], 0, push())
        await until(lambda: a.counters.unsent == 1)
        assert await told_by(a, b) == ["127.0.0.1:9", "[::1]:9"]


async def test_many_targets_take_turns_in_answers_of_bounded_size() -> None:
    longest = "x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 50
    addresses = {f"{longest}{index:02}:7700" for index in range(PEERS_TOLD_MAX + 6)}
    async with opened("a") as (a, _), opened("b") as (b, _):
        for index, address in enumerate(sorted(addresses)):
            a.connect(f"peer-{index}", address)
        first, second = await told_by(a, b), await told_by(a, b)
        assert len(first) == len(second) == PEERS_TOLD_MAX
        assert (first, second) == (sorted(first), sorted(second))
        assert {*first, *second} == addresses
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{a.address}/v1/identity") as answer,
        ):
            assert len(await answer.read()) <= wire.transport.IDENTITY_BYTES_MAX
