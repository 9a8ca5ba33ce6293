"""One agent with all that it has on a machine of its own: discovery, keys that change, people who ask."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import peer.member
import peer.refused
from peer.admin_access import AdminAccess
from peer.admin_client import AdminClient
from peer.cli import main
from peer.errors import StateError
from peer.events import PeerDeparted
from peer.member import Member
from peer.service import AgentService
from peer.service_manager import ServiceManager
from peer.until import Ending
from tests.runtime.agents import LIMIT_S, Group, alive, group, quadratics, rejected, ring
from wire import FaultPlan, LiveFaults, RejectReason, SeedDiscovery, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from wire.keys import KeyRing


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.member, "WATCH_S", 0.02)


class Crew(Group):
    """A group whose agents are members, each watched."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        super().__init__(executor)
        self.watched: list[Member] = []
        self.said: dict[AgentService, list[str]] = {}
        self._guards: list[asyncio.Task[object]] = []

    async def join(self, service: AgentService, *, admin: LiveFaults | None = None, **options: Any) -> Member:
        """Let it look for others and, with `admin`, answer people; then run it."""
        said = self.said.setdefault(service, [])
        options = {"listen_host": "127.0.0.1", "zeroconf": False, "ending": Ending(), **options}
        member = Member(service, say=said.append, **options)
        self.watched.append(member)
        if admin is not None:
            await member.open_admin(AdminAccess("127.0.0.1", 0), faults=admin)
        await member.start()
        self._guards += [asyncio.create_task(guard) for guard in member.guards()]
        self.run(service)
        return member

    async def leave(self) -> None:
        for guard in self._guards:
            guard.cancel()
        ended = await asyncio.gather(*self._guards, return_exceptions=True)
        await asyncio.gather(*(member.close() for member in self.watched))
        assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended


@asynccontextmanager
async def crew() -> AsyncIterator[Crew]:
    async with group(Crew) as found:
        try:
            yield found
        finally:
            await found.leave()


def write(path: Path, keys: KeyRing) -> Path:
    path.write_text(keys.to_text(), encoding="utf-8")
    return path


async def test_agents_find_each_other_from_one_seed_or_one_name() -> None:
    """Nobody is told of the third but by the first; a stranger is listed with the reason, and said once."""
    problems = quadratics(3)
    async with crew() as swarm:
        first, second, third = [
            await swarm.add(problem, f"agent-{n}", keys=ring(1)) for n, problem in enumerate(problems)
        ]
        stranger = await swarm.add(problems[0], "stranger", keys=ring(2))
        await swarm.join(first, seeds=[stranger.record.address])
        await swarm.join(second, seeds=[first.record.address])
        await swarm.join(third, dns=[("localhost", first.transport.port)])
        await swarm.learned(problems, first, second, third)
        (link,) = [link for link in links(swarm.watched[0]) if link["peer"] == stranger.record.peer]
        assert link["incompatible"] == "wrong_key"
        told = f"{stranger.record.peer} at {stranger.record.address} is not spoken to: it has key "
        (said,) = swarm.said[first]
        assert said.startswith(told)
        assert "-> give both the same key file" in said
        assert not stranger.transport.counters.received


async def test_who_has_become_compatible_is_listed_as_incompatible_no_more() -> None:
    async with crew() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        member = await swarm.join(one)
        member._refuse(other.record, RejectReason.WRONG_KEY)
        assert [link["incompatible"] for link in links(member)] == ["wrong_key"]
        member._seen(other.record)
        await swarm.join(other)
        await swarm.until(lambda: alive(one))
        assert [link["incompatible"] for link in links(member)] == [None]


async def test_who_has_left_is_no_working_link() -> None:
    """A goodbye counts at once, however lately the peer was heard and heard us."""
    async with crew() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        member = await swarm.join(one)
        await swarm.join(other, seeds=[one.record.address])
        await swarm.until(lambda: bool(alive(one) and alive(other)))
        await swarm.until(lambda: [link["heard_by"] for link in links(member)] == [True])
        other.stop()
        await swarm.until(lambda: any(link["left"] for link in links(member)))
        (link,) = links(member)
        assert (link["hears"], link["heard_by"]) == (False, False)


async def test_who_does_not_fit_and_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer.refused, "FORGOTTEN_S", 0.2)
    async with crew() as swarm:
        problem = quadratics(1)[0]
        one, stranger = [
            await swarm.add(problem, f"agent-{n}", keys=keys) for n, keys in enumerate((None, ring(1)))
        ]
        member = await swarm.join(one, seeds=[stranger.record.address])
        await swarm.until(lambda: bool(links(member)))
        listed_at = one.clock()
        await swarm.until(lambda: one.clock() > listed_at + 0.5)
        assert [link["incompatible"] for link in links(member)] == ["wrong_key"], "it is there"
        await stranger.transport.close()
        await swarm.until(lambda: not links(member))


async def test_who_found_no_room_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with crew() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        member = await swarm.join(one, seeds=[other.record.address])
        (discovery,) = member._discoveries
        forgotten: list[str] = []
        monkeypatch.setattr(discovery, "forget", forgotten.append)
        monkeypatch.setattr(one._reacher, "found", lambda record: record.peer != other.record.peer)
        await swarm.until(lambda: forgotten == [other.record.peer])
        monkeypatch.undo()
        member._seen(other.record)
        await swarm.until(lambda: one.transport.address_of(other.record.peer) == other.record.address)


def links(member: Member) -> list[dict[str, Any]]:
    found = member.status_of(member.service).to_dict()["links"]
    assert isinstance(found, list)
    return found


async def test_a_swarm_changes_its_key_without_stopping(tmp_path: Path) -> None:
    """Reference: keys.py: second line everywhere, first everywhere, old one dropped. Nobody is lost."""
    problems = quadratics(3)
    async with crew() as swarm:
        services = [
            await swarm.add(problem, f"agent-{n}", keys=ring(1)) for n, problem in enumerate(problems)
        ]
        files = [write(tmp_path / str(n), ring(1)) for n in range(3)]
        for service, file in zip(services, files, strict=True):
            await swarm.join(service, seeds=[services[0].record.address], key_file=file)
        await swarm.learned(problems)
        for keys in (ring(1, 2), ring(2, 1), ring(2)):
            for service, file in zip(services, files, strict=True):
                write(file, keys)
                await swarm.until(lambda service=service, keys=keys: service.seal.key_ids == keys.key_ids)
                await swarm.ticks(5)  # with some at this step and some at the one before
        await swarm.ticks(50)
        assert not any(rejected(service) for service in services)
        assert not swarm.of(PeerDeparted)
        newcomer, late = [
            await swarm.add(problems[0], name, keys=ring(n)) for name, n in (("new", 2), ("late", 1))
        ]
        for service in (newcomer, late):
            await swarm.join(service, seeds=[services[1].record.address])
        await swarm.until(lambda: len(alive(newcomer)) == 3)
        await swarm.until(lambda: swarm.said[late])
        assert not late.transport.counters.sent


async def test_a_key_file_that_makes_no_sense_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    async with crew() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", keys=ring(1), founder=True)
        file = write(tmp_path / "key", ring(1))
        await swarm.join(service, key_file=file)
        await swarm.ticks(20)
        assert not swarm.said[service]
        for text in (b"hyperpush-swarm-key-1 secret", b"\xff\xfe\x00"):
            file.write_bytes(text)
            await swarm.ticks(50)
        file.unlink()
        await swarm.ticks(50)
        *malformed, missing = swarm.said[service]
        stay = f"the keys stay as they were: key: '{file}' is not possible; "
        assert len(malformed) == 2
        assert all(told.startswith(f"{stay}line 1 ") for told in malformed)
        assert "secret" not in malformed[0]
        remedy = "give a file that is there (`hyperpush keys new-swarm` prints a new one)"
        assert missing == f"{stay}it cannot be read: No such file or directory; {remedy}"
        assert service.seal.key_ids == ring(1).key_ids
        write(file, ring(2))
        await swarm.until(lambda: service.seal.key_ids == ring(2).key_ids)


async def test_a_key_file_that_changed_while_the_agent_started_is_followed(tmp_path: Path) -> None:
    async with crew() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", keys=ring(1), founder=True)
        await swarm.join(service, key_file=write(tmp_path / "key", ring(1, 2)))
        await swarm.until(lambda: service.seal.key_ids == ring(1, 2).key_ids)
        assert service.record.keys == ring(1, 2).key_ids


async def test_another_address_of_this_machine_is_told_to_the_others() -> None:
    problems = quadratics(2)
    async with crew() as swarm:
        mover, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(problems)]
        await swarm.join(mover, seeds=[other.record.address])
        await swarm.join(other)
        await swarm.until(lambda: alive(other))
        mover.transport._advertise_host = "localhost"
        address = f"localhost:{mover.transport.port}"
        lives = other.agent.membership.liveness.lives
        await swarm.until(lambda: lives[mover.record.peer].address == address)
        assert swarm.said[mover] == [f"this machine has another address now: {address}"]
        await swarm.learned(problems)


async def test_what_hinders_discovery_is_said_once_and_that_it_works_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two things in turn stand in the way of looking for others under the new address."""
    hindrances: list[str] = []
    start = SeedDiscovery.start

    async def hindered(self: SeedDiscovery) -> None:
        if not hindrances:
            return await start(self)
        raise TransportError(hindrances.pop())

    async with crew() as swarm:
        mover, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        await swarm.join(mover, seeds=[other.record.address])
        hindrances += ["no cable", "no address"] * 3
        monkeypatch.setattr(SeedDiscovery, "start", hindered)
        mover.transport._advertise_host = "localhost"
        await swarm.until(lambda: len(swarm.said[mover]) > 3)
        assert swarm.said[mover][1:] == [
            "no address; this is tried again until it works",
            "no cable; this is tried again until it works",
            "the others are looked for again",
        ]


async def test_status_shows_the_peers_and_faults_set_by_people_take_effect(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As `hyperpush status` and `hyperpush faults` ask for it, over HTTP."""
    problems = quadratics(3)
    async with crew() as swarm:
        faults = LiveFaults(FaultPlan())
        one, *others = [
            await swarm.add(problem, f"agent-{n}", faults=faults if n == 0 else None)
            for n, problem in enumerate(problems)
        ]
        member = await swarm.join(one, admin=faults)
        assert member.admin is not None
        url = member.admin.url
        for other in others:
            await swarm.join(other, seeds=[one.record.address])
        await swarm.learned(problems)
        status = await asyncio.to_thread(AdminClient(url, None).ask, "GET", "/v1/status")
        assert status["peer"] == "agent-0"
        assert status["rejected"].keys() <= {"unknown_sender"}  # some believe others before they are believed
        assert status["warnings"] == []
        found = {link["peer"]: link for link in links(member)}
        assert [link["peer"] for link in status["links"]] == sorted(found) == ["agent-1", "agent-2"]
        for link in found.values():
            assert link["hears"]
            assert link["heard_by"]
            assert link["pushes_to"]
            assert link["received"] > 0
            assert link["route"] in ("dialled", "reverse")
            assert link["rtt_s"] >= 0
        assert await asyncio.to_thread(main, ["faults", "set", url, "--to", "agent-1", "--cut"]) == 0
        lost = one.transport.counters.lost_by_faults
        heard = others[0].agent.membership.liveness.lives["agent-0"]
        await swarm.ticks(5)
        heartbeat = heard.heard_heartbeat
        await swarm.until(lambda: one.transport.counters.lost_by_faults > lost + 20)
        assert heard.heard_heartbeat == heartbeat
        assert await asyncio.to_thread(main, ["faults", "clear", url]) == 0
        await swarm.until(lambda: heard.heard_heartbeat > heartbeat)
        await swarm.learned(problems)
    assert "agent-1" in capsys.readouterr().out


async def test_a_bug_in_discovery_comes_out_of_the_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(record: object, *, introduce: bool) -> None:
        raise ZeroDivisionError("a bug")

    async with crew() as swarm:
        one, other = [await swarm.add(problem, f"agent-{n}") for n, problem in enumerate(quadratics(2))]
        monkeypatch.setattr(one, "find", broken)
        await swarm.join(one, seeds=[other.record.address])
        (guard,) = swarm._guards
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(ZeroDivisionError, match="a bug"):
                await guard
        swarm._guards.clear()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a service manager listens: at `n` in the folder of the test."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.setblocking(False)
        yield listening


async def told(supervisor: socket.socket, beginning: str, holding: str = "") -> str:
    """What it is told next that begins and goes on so."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            text = (await asyncio.get_running_loop().sock_recv(supervisor, 1000)).decode()
            if text.startswith(beginning) and holding in text:
                return text


async def test_the_watchdog_hears_of_ticks_pauses_and_disks_but_not_of_an_agent_that_hangs(
    supervisor: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart mends neither a pause that was asked for nor a full disk; it may mend a hang."""
    async with crew() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", founder=True)
        await swarm.join(service, manager=ServiceManager(str(tmp_path / "n"), 0.2))
        assert await told(supervisor, "READY") == f"READY=1\nSTATUS=listens on {service.record.address}"
        await told(supervisor, "WATCHDOG=1\nSTATUS=tick ", "running; others: 0")
        service.pause(1000.0)
        await told(supervisor, "WATCHDOG", "waits for the end of a pause")
        monkeypatch.setattr(AgentService, "waits_for", "")  # the same stillness, and nothing explains it
        line = await told(supervisor, "STATUS=", "has not gone on for")
        assert "WATCHDOG" not in line
        monkeypatch.undo()
        service.pause(0.0)
        await told(supervisor, "WATCHDOG=1\nSTATUS=tick ")

        def refuse(epoch: int) -> None:
            raise StateError("state: the disk is full")

        monkeypatch.setattr(service.state, "persist_epoch", refuse)
        another = await swarm.add(quadratics(1)[0], "agent-1", founder=True)
        service.meet(another.record)  # asks for an epoch, which cannot be noted
        swarm.run(another)
        await told(supervisor, "WATCHDOG", "waits for the disk")
        service.stop()
        await told(supervisor, "WATCHDOG", "waits for its end")


async def test_a_bug_in_telling_the_service_manager_surfaces(
    supervisor: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crew() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", founder=True)
        monkeypatch.setattr(AgentService, "waits_for", property(lambda service: 1 / 0))
        member = await swarm.join(service, manager=ServiceManager(str(tmp_path / "n")))
        (guard,) = swarm._guards
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(ZeroDivisionError):
                await guard
        swarm._guards.clear()
        with pytest.raises(ZeroDivisionError):
            await member.close()
        swarm.watched.clear()
