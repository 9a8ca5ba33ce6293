"""Where peers are dialled: behind NAT, at addresses that messages tell, after a move."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import peer.reaching
from peer.agent_status import agent_status
from peer.reaching import ASKED_MAX, Reacher
from tests.runtime.agents import LIMIT_S, NOWHERE, alive, group, quadratics
from wire import LinkCounters, PeerRecord
from wire.slots import TARGETS_MAX

if TYPE_CHECKING:
    from peer.service import AgentService

OWN = PeerRecord("own", 1, "127.0.0.1:1", "test", "model")


def route(service: AgentService, to: AgentService) -> str | None:
    return service.transport.per_peer[to.record.peer].route


def warnings(service: AgentService) -> tuple[str, ...]:
    now = time.monotonic()
    service.began_at = now - 3600.0  # a newcomer is warned of nothing
    return agent_status(service, now, settled_line="", until_line="", incompatible={}).warnings


async def test_an_agent_that_nobody_can_dial_receives_through_the_websockets_it_opens() -> None:
    problems = quadratics(3)
    async with group() as swarm:
        hidden, *others = [
            await swarm.add(problem, f"agent-{n}", advertise_port=None if n else NOWHERE)
            for n, problem in enumerate(problems)
        ]
        for other in others:  # as its discovery finds them; they cannot find it
            hidden.find(other.record)
        swarm.run()
        await swarm.learned(problems)
        for other in others:
            assert other.transport.address_of(hidden.record.peer) == ""
            assert route(other, hidden) == "reverse"
            assert route(hidden, other) == "dialled"
            assert not warnings(other)


async def test_two_agents_behind_nat_learn_through_a_third_and_status_says_why() -> None:
    """Their own link cannot be: the ring is drawn without it, as neither says that it hears the other."""
    problems = quadratics(3)
    async with group() as swarm:
        left, right, middle = [
            await swarm.add(problem, name, advertise_port=port)
            for problem, name, port in zip(
                problems, ("left", "right", "middle"), (NOWHERE, NOWHERE, None), strict=True
            )
        ]
        left.find(middle.record)
        right.find(middle.record)
        swarm.run()
        await swarm.until(lambda: all(len(alive(service)) == 2 for service in swarm.members))
        await swarm.learned(problems)
        assert left.agent.out_neighbours == right.agent.out_neighbours == ("middle",)
        assert middle.agent.out_neighbours == ("left", "right")
        assert warnings(left) == (
            "there is no way to right: it cannot be dialled and has opened no websocket to here",
        )
        assert not warnings(middle)


async def test_an_address_that_a_message_tells_is_dialled_only_if_the_peer_answers_there() -> None:
    async with group() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        reacher = one._reacher
        for name, address in (("ghost", other.record.address), ("agent-1", other.record.address)):
            reacher.told(name, address)
        reacher.work(time.monotonic())
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*reacher._asking.values())
        assert one.transport.address_of("ghost") == ""
        assert one.transport.address_of("agent-1") == other.record.address
        assert reacher.protocol_of("agent-1") == other.record.protocol
        assert reacher.protocol_of("ghost") is None


@pytest.mark.parametrize("moved_by", ["message", "discovery"])
async def test_a_peer_that_moves_is_followed(moved_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port it was dialled at is a forwarder, which goes away; its own port is the new address."""
    monkeypatch.setattr(peer.reaching, "UNREACHABLE_S", 0.1)
    problems = quadratics(2)
    async with group() as swarm:
        ports: list[int] = []
        pipes: set[asyncio.StreamWriter] = set()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pipes.add(writer)
            while data := await reader.read(2**16):
                writer.write(data)
            writer.close()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner = await asyncio.open_connection("127.0.0.1", ports[0])
            await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer), return_exceptions=True)

        forwarder = await asyncio.start_server(forward, "127.0.0.1", 0)
        old = forwarder.sockets[0].getsockname()[1]
        mover = await swarm.add(problems[0], "mover", advertise_port=old)
        ports.append(mover.transport.port)
        other = await swarm.add(problems[1], "other")
        swarm.introduce()
        swarm.run()
        await swarm.until(lambda: route(other, mover) == "dialled" and alive(other))
        forwarder.close()
        mover.move(f"127.0.0.1:{ports[0]}")
        for pipe in pipes:
            pipe.close()
        if moved_by == "discovery":
            other.find(mover.record)
        await swarm.until(lambda: mover.record.address in known_addresses(other, "mover"))
        await forwarder.wait_closed()
        await swarm.learned(problems)


def known_addresses(service: AgentService, name: str) -> tuple[str | None, ...]:
    """Where it is dialled, or would be if that failed."""
    return service.transport.address_of(name), *service._reacher._known[name].told


class Links:
    """In the place of a transport: what `Reacher` uses of it."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.per_peer: dict[str, LinkCounters] = {}
        self.asked: list[str] = []
        self.answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    def connect(self, name: str, address: str) -> None:
        assert name in self.addresses or len(self.addresses) < TARGETS_MAX
        self.addresses[name] = address
        self.per_peer.setdefault(name, LinkCounters())

    def disconnect(self, name: str) -> None:
        del self.addresses[name], self.per_peer[name]

    def address_of(self, name: str) -> str | None:
        return self.addresses.get(name)

    async def fetch_identity(self, address: str, timeout_s: float) -> dict[str, object]:
        self.asked.append(address)
        return await asyncio.shield(self.answer)


async def test_who_has_given_way_while_being_asked_stays_away() -> None:
    """Its answer comes too late; the agent goes on."""
    links = Links()
    reacher = Reacher(links)  # type: ignore[arg-type]
    reacher.start(OWN)
    reacher.told("first", "127.0.0.1:2")
    reacher.work(0.0)
    links.per_peer["first"].fail(1.0, "refused")
    for number in range(TARGETS_MAX):
        reacher.told(f"name-{number}", "")
    assert links.address_of("first") is None
    (asking,) = reacher._asking.values()
    links.answer.set_result(replace(OWN, peer="first").to_fields())
    async with asyncio.timeout(LIMIT_S):
        await asking
    assert links.address_of("first") is None


async def test_addresses_are_asked_ever_more_rarely_and_in_turn() -> None:
    links = Links()
    links.answer.set_result({"no": "record"})
    reacher = Reacher(links)  # type: ignore[arg-type]
    reacher.start(OWN)
    for port in (2, 3, 4):
        reacher.told("peer", f"127.0.0.1:{port}")
    times = [0.0, 14.0, 16.0, 44.0, 46.0, 10_000.0]
    asked = []
    for now in times:
        reacher.work(now)
        await asyncio.gather(*reacher._asking.values())
        asked.append(len(links.asked))
    assert asked == [1, 1, 2, 2, 3, 4]
    assert links.asked == ["127.0.0.1:4", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:3"]


async def test_few_are_asked_at_a_time() -> None:
    links = Links()
    reacher = Reacher(links)  # type: ignore[arg-type]
    reacher.start(OWN)
    for number in range(100):
        reacher.told(f"name-{number}", f"127.0.0.1:{number + 1}")
    reacher.work(0.0)
    reacher.work(1.0)
    assert len(reacher._asking) == ASKED_MAX
    await reacher.close()
    assert not reacher._asking
