import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import zeroconf

import wire.discovery
from wire import AddressError, PeerRecord, RejectReason, TransportError
from wire.discovery import SeedDiscovery, ZeroconfDiscovery, _Known

TIMEOUT_S = 10.0
ALICE = PeerRecord("alice", 1, "127.0.0.1:7701", "test-swarm", "c0ffee")
BOB = PeerRecord("bob", 1, "127.0.0.1:7702", "test-swarm", "c0ffee")


class Diary:
    """What one agent was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[PeerRecord] = []
        self.gone: list[str] = []
        self.incompatible: list[tuple[PeerRecord, RejectReason]] = []
        self._told = asyncio.Event()

    def on_seen(self, record: PeerRecord) -> None:
        self.seen.append(record)
        self._told.set()

    def on_gone(self, peer: str) -> None:
        self.gone.append(peer)
        self._told.set()

    def on_incompatible(self, record: PeerRecord, reason: RejectReason) -> None:
        self.incompatible.append((record, reason))
        self._told.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not done():
                self._told.clear()
                await self._told.wait()


@asynccontextmanager
async def announced(record: PeerRecord) -> AsyncIterator[Diary]:
    diary = Diary()
    discovery = ZeroconfDiscovery(
        record, on_seen=diary.on_seen, on_gone=diary.on_gone, on_incompatible=diary.on_incompatible
    )
    try:
        await discovery.start()
    except TransportError as error:
        if "multicast" not in str(error):
            raise
        pytest.skip(f"no multicast on the loopback interface of this machine: {error}")
    try:
        yield diary
    finally:
        await discovery.close()


async def test_agents_on_one_machine_find_each_other_and_hear_goodbyes() -> None:
    """Alice starts; Bob and a stranger come; Bob leaves and comes back elsewhere."""
    stranger = dataclasses.replace(BOB, peer="stranger", swarm="another-swarm")
    again = dataclasses.replace(BOB, incarnation=2, address="127.0.0.1:7703")
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(announced(ALICE))
        bob_stack = await stack.enter_async_context(AsyncExitStack())
        bob, other = await asyncio.gather(
            bob_stack.enter_async_context(announced(BOB)), stack.enter_async_context(announced(stranger))
        )
        await alice.until(lambda: BOB in alice.seen)
        await bob.until(lambda: ALICE in bob.seen)
        await alice.until(lambda: (stranger, RejectReason.WRONG_SWARM) in alice.incompatible)
        assert alice.seen == [BOB]
        assert other.seen == []
        await bob_stack.aclose()
        await alice.until(lambda: alice.gone == ["bob"])
        await bob_stack.enter_async_context(announced(again))
        await alice.until(lambda: alice.seen == [BOB, again])
        assert alice.incompatible == [(stranger, RejectReason.WRONG_SWARM)]


async def test_a_name_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(*_: object, **__: object) -> None:
        raise zeroconf.NonUniqueNameException

    async with announced(ALICE):  # skips where there is no multicast
        monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf.async_register_service", taken)
        second = ZeroconfDiscovery(ALICE, on_seen=print, on_gone=print)
        with pytest.raises(TransportError, match="'alice' is already announced in swarm 'test-swarm'"):
            await second.start()


async def test_an_interface_that_is_not_there_is_named() -> None:
    discovery = ZeroconfDiscovery(ALICE, on_seen=print, on_gone=print, interfaces=["192.0.2.250"])
    with pytest.raises(TransportError, match=r"by multicast on \['192.0.2.250'\].*seeds"):
        await discovery.start()
    with pytest.raises(AddressError):
        ZeroconfDiscovery(dataclasses.replace(ALICE, address="nowhere"), on_seen=print, on_gone=print)


async def test_a_host_name_is_looked_up() -> None:
    record = dataclasses.replace(ALICE, address="localhost:7701")
    discovery = ZeroconfDiscovery(record, on_seen=print, on_gone=print)
    assert (await discovery._ip_address()).is_loopback
    nowhere = dataclasses.replace(ALICE, address="no-such-host.invalid:7701")
    with pytest.raises(TransportError, match="has no address"):
        await ZeroconfDiscovery(nowhere, on_seen=print, on_gone=print).start()


def known(diary: Diary) -> _Known:
    return _Known(ALICE, diary.on_seen, diary.on_gone, diary.on_incompatible)


async def test_each_change_is_told_once() -> None:
    diary = Diary()
    table = known(diary)
    table.heard("self", dataclasses.replace(ALICE, incarnation=9))
    table.heard("bob", BOB)
    table.heard("bob", BOB)
    moved = dataclasses.replace(BOB, address="127.0.0.1:1")
    table.heard("bob", moved)
    assert diary.seen == [BOB, moved]
    other = dataclasses.replace(BOB, fingerprint="other")
    table.heard("bob", other)
    table.heard("bob", other)
    assert diary.gone == ["bob"]
    assert diary.incompatible == [(other, RejectReason.WRONG_FINGERPRINT)]
    table.lost("bob")
    table.heard("bob", BOB)
    table.lost("bob")
    table.lost("bob")
    assert diary.seen == [BOB, moved, BOB]
    assert diary.gone == ["bob", "bob"]


async def test_another_peer_under_the_same_name_takes_the_place_of_the_former() -> None:
    """A process restarted on the same port as somebody else."""
    told: list[str] = []
    table = _Known(
        ALICE, lambda record: told.append(f"+{record.peer}"), lambda peer: told.append(f"-{peer}"), None
    )
    table.heard("seed", BOB)
    table.heard("seed", dataclasses.replace(BOB, peer="carol"))
    assert told == ["+bob", "-bob", "+carol"]
    table.heard("seed", dataclasses.replace(BOB, peer="dave", swarm="x"))
    assert told == ["+bob", "-bob", "+carol", "-carol"]
    table.heard("seed", BOB)
    table.heard("seed", ALICE)
    assert told[4:] == ["+bob", "-bob"], "now it is this one itself"


async def test_a_peer_under_two_names_is_gone_with_the_last() -> None:
    diary = Diary()
    table = known(diary)
    moved = dataclasses.replace(BOB, incarnation=2, address="127.0.0.1:1")
    table.heard("old", BOB)
    table.heard("new", moved)
    table.lost("old")
    assert (diary.seen, diary.gone) == ([BOB, moved], [])
    table.lost("new")
    assert diary.gone == ["bob"]


async def test_who_is_forgotten_is_told_of_again() -> None:
    diary = Diary()
    discovery = ZeroconfDiscovery(ALICE, on_seen=diary.on_seen, on_gone=diary.on_gone)
    carol = dataclasses.replace(BOB, peer="carol")
    for _ in range(2):
        discovery._known.heard("bob", BOB)
        discovery._known.heard("carol", carol)
    assert diary.seen == [BOB, carol]
    discovery.forget("bob")
    discovery.forget("nobody")
    discovery._known.heard("bob", BOB)
    discovery._known.heard("carol", carol)
    assert diary.seen == [BOB, carol, BOB]
    discovery.forget("bob")
    discovery._known.lost("bob")
    assert diary.gone == [], "whoever forgot knows already"


async def test_a_flood_of_names_is_bounded() -> None:
    """STYLE 11: a hostile LAN peer must not grow tables without bound."""
    diary = Diary()
    table = known(diary)
    for index in range(wire.discovery.PEERS_KNOWN_MAX + 50):
        table.heard(f"{index}", dataclasses.replace(BOB, peer=f"peer-{index}"))
        table.heard(f"x{index}", dataclasses.replace(BOB, peer=f"peer-{index}", swarm="x"))
    assert len(diary.seen) == len(diary.incompatible) == wire.discovery.PEERS_KNOWN_MAX


class Seeds:
    """Answers to fetch, by address; None is no answer."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, object] | None] = {}
        self.asked: list[str] = []

    async def fetch(self, address: str, timeout_s: float) -> dict[str, object] | None:
        assert timeout_s > 0
        self.asked.append(address)
        return self.answers.get(address)


async def test_seeds_are_asked_until_they_answer_and_gone_when_they_stop() -> None:
    diary, seeds = Diary(), Seeds()
    garbage, bob = "127.0.0.1:1", BOB.address
    discovery = SeedDiscovery(
        ALICE,
        [garbage, bob, ALICE.address, bob],
        fetch=seeds.fetch,
        on_seen=diary.on_seen,
        on_gone=diary.on_gone,
        retry_s=0.001,
        refresh_s=0.001,
    )
    seeds.answers = {garbage: {"peer": 7}, ALICE.address: dict(ALICE.to_fields())}
    await discovery.start()
    seeds.answers[bob] = dict(BOB.to_fields())
    await diary.until(lambda: diary.seen == [BOB])
    again = dataclasses.replace(BOB, incarnation=2)
    seeds.answers[bob] = dict(again.to_fields())
    await diary.until(lambda: diary.seen == [BOB, again])
    seeds.answers[bob] = None
    await diary.until(lambda: diary.gone == ["bob"])
    await discovery.close()
    assert diary.seen == [BOB, again]
    assert set(seeds.asked) == {garbage, bob, ALICE.address}


async def test_a_bug_in_a_callback_surfaces() -> None:
    def bug(_record: PeerRecord) -> None:
        raise ZeroDivisionError("ours")

    seeds = Seeds()
    seeds.answers = {BOB.address: dict(BOB.to_fields())}
    discovery = SeedDiscovery(ALICE, [BOB.address], fetch=seeds.fetch, on_seen=bug, on_gone=print)
    with pytest.raises(RuntimeError):
        await discovery.wait_failed()
    await discovery.start()
    with pytest.raises(ZeroDivisionError, match="ours"):
        async with asyncio.timeout(TIMEOUT_S):
            await discovery.wait_failed()
    await discovery.close()


def test_a_seed_that_is_no_address_is_refused() -> None:
    with pytest.raises(AddressError, match="'somewhere' has no port"):
        SeedDiscovery(ALICE, ["somewhere"], fetch=Seeds().fetch, on_seen=print, on_gone=print)
