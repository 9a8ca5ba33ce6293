"""Asking the seeds, and following whom they tell of."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import wire.asking
from tests.wire.diary import ALICE, BOB, CAROL, DAVE, OTHER_SWARM, TIMEOUT_S, Diary, Seeds, telling
from wire import AddressError, PeerRecord, RejectReason
from wire.asking import MISSES_MAX
from wire.records import PEERS_KNOWN_MAX, PEERS_TOLD_MAX
from wire.seed_discovery import SeedDiscovery

DEAD = "127.0.0.1:9"


@asynccontextmanager
async def following(seeds: Seeds, diary: Diary, *addresses: str) -> AsyncIterator[SeedDiscovery]:
    before = asyncio.all_tasks()
    discovery = SeedDiscovery(
        ALICE,
        addresses,
        fetch=seeds.fetch,
        on_seen=diary.on_seen,
        on_incompatible=diary.on_incompatible,
        retry_s=0.001,
        refresh_s=0.001,
    )
    await discovery.start()
    try:
        yield discovery
    finally:
        await discovery.close()
        assert asyncio.all_tasks() == before, "no task is left behind"


async def test_whom_a_seed_tells_of_is_asked_too() -> None:
    """Bob tells of Carol, who tells of Dave; neither themselves nor nonsense is asked."""
    diary = Diary()
    seeds = Seeds(diary)
    seeds.answers = {
        BOB.address: telling(BOB, CAROL.address, ALICE.address, "nowhere", 7, "[::::]:1", BOB.address),
        CAROL.address: telling(CAROL, DAVE.address, BOB.address),
        DAVE.address: telling(DAVE),
    }
    async with following(seeds, diary, BOB.address) as discovery:
        await diary.until(lambda: len(diary.seen) == 3)
        assert diary.seen == [BOB, CAROL, DAVE]
        assert set(discovery._polls) == {BOB.address, CAROL.address, DAVE.address}
    assert set(seeds.asked) == {BOB.address, CAROL.address, DAVE.address}


async def test_a_learned_address_is_dropped_when_it_falls_silent_a_seed_never() -> None:
    diary = Diary()
    seeds = Seeds(diary)
    seeds.answers = {BOB.address: telling(BOB, CAROL.address, DEAD), CAROL.address: telling(CAROL)}
    async with following(seeds, diary, BOB.address) as discovery:
        await diary.until(lambda: CAROL in diary.seen)
        seeds.answers = {BOB.address: None}
        await diary.until(lambda: set(discovery._polls) == {BOB.address})
        asked = len(seeds.asked)
        await diary.until(lambda: len(seeds.asked) > asked + 2 * MISSES_MAX)
        assert set(seeds.asked[asked:]) == {BOB.address}
        seeds.answers = {BOB.address: telling(BOB, CAROL.address), CAROL.address: telling(CAROL)}
        await diary.until(lambda: diary.seen[2:] == [BOB, CAROL])
    assert diary.seen[:2] == [BOB, CAROL]


async def test_others_are_neither_followed_nor_kept() -> None:
    diary = Diary()
    seeds = Seeds(diary)
    stranger = dataclasses.replace(CAROL, swarm=OTHER_SWARM)
    seeds.answers = {BOB.address: telling(BOB, CAROL.address), CAROL.address: telling(stranger, DAVE.address)}
    async with following(seeds, diary, BOB.address) as discovery:
        await diary.until(lambda: (stranger, RejectReason.WRONG_SWARM) in diary.incompatible)
        seeds.answers[BOB.address] = telling(BOB)
        await diary.until(lambda: set(discovery._polls) == {BOB.address})
    assert DAVE.address not in seeds.asked


async def test_a_liar_cannot_let_tables_and_tasks_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """STYLE 11: every answer tells of other addresses, all of which answer."""
    monkeypatch.setattr(wire.asking, "ASKING_MAX", 8)
    diary = Diary()
    asking = most = 0

    async def lie(address: str, timeout_s: float) -> dict[str, object]:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turned.set_result, None)
        await turned
        asking -= 1
        port = int(address.rpartition(":")[2])
        others = (f"192.0.2.1:{1 + (port * 100 + index) % 60_000}" for index in range(2 * PEERS_TOLD_MAX))
        return telling(dataclasses.replace(BOB, peer=f"peer-{port}"), *others)

    seeds = Seeds()
    monkeypatch.setattr(seeds, "fetch", lie)
    async with following(seeds, diary, "127.0.0.1:7") as discovery:
        await diary.until(lambda: len(diary.seen) == PEERS_KNOWN_MAX)
        assert len(discovery._polls) == PEERS_KNOWN_MAX
        assert len(discovery._known._compatible) == PEERS_KNOWN_MAX
    assert most <= 8 + 1, "the learned ones at a time, and the seed"


async def test_who_is_forgotten_is_told_of_when_the_seed_answers_again() -> None:
    diary, seeds = Diary(), Seeds()
    seeds.answers = {BOB.address: telling(BOB)}
    async with following(seeds, diary, BOB.address) as discovery:
        await diary.until(lambda: diary.seen == [BOB])
        discovery.forget("bob")
        await diary.until(lambda: diary.seen == [BOB, BOB])


async def test_seeds_are_asked_until_they_answer_and_told_of_again_when_they_come_back() -> None:
    diary = Diary()
    seeds = Seeds(diary)
    garbage, bob = "127.0.0.1:1", BOB.address
    discovery = SeedDiscovery(
        ALICE,
        [garbage, bob, ALICE.address, bob],
        fetch=seeds.fetch,
        on_seen=diary.on_seen,
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
    await diary.until(lambda: len(discovery._known) == 0)
    seeds.answers[bob] = dict(again.to_fields())
    await diary.until(lambda: diary.seen == [BOB, again, again])
    await discovery.close()
    assert set(seeds.asked) == {garbage, bob}


async def test_a_bug_in_a_callback_surfaces() -> None:
    def bug(_record: PeerRecord) -> None:
        raise ZeroDivisionError("ours")

    seeds = Seeds()
    seeds.answers = {BOB.address: dict(BOB.to_fields())}
    discovery = SeedDiscovery(ALICE, [BOB.address], fetch=seeds.fetch, on_seen=bug)
    with pytest.raises(RuntimeError):
        await discovery.wait_failed()
    await discovery.start()
    with pytest.raises(ZeroDivisionError, match="ours"):
        async with asyncio.timeout(TIMEOUT_S):
            await discovery.wait_failed()
    await discovery.close()


def test_a_seed_that_is_no_address_is_refused() -> None:
    with pytest.raises(AddressError, match="'somewhere' has no port"):
        SeedDiscovery(ALICE, ["somewhere"], fetch=Seeds().fetch, on_seen=print)
