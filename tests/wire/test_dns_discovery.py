"""Asking a DNS name again and again, as for a headless service of Kubernetes."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.wire.diary import ALICE, BOB, CAROL, DAVE, OTHER_SWARM, Diary, Seeds, telling
from wire import AddressError, RejectReason
from wire.asking import MISSES_MAX
from wire.dns_discovery import DnsDiscovery, resolve

NAME = ("agents.default.svc", 7700)
OTHER_NAME = ("more.default.svc", 7701)


class Resolver:
    """What the names stand for now; an OSError is raised."""

    def __init__(self, diary: Diary) -> None:
        self.answers: dict[str, list[str] | OSError] = {}
        self.asked: list[str] = []
        self._diary = diary

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        self._diary.wake()
        answer = self.answers.get(host, [])
        if isinstance(answer, OSError):
            raise answer
        return answer


@asynccontextmanager
async def looking_up(
    resolver: Resolver, seeds: Seeds, diary: Diary, *names: tuple[str, int]
) -> AsyncIterator[tuple[DnsDiscovery, list[str]]]:
    before = asyncio.all_tasks()
    problems: list[str] = []
    discovery = DnsDiscovery(
        ALICE,
        names,
        fetch=seeds.fetch,
        resolve=resolver.resolve,
        on_seen=diary.on_seen,
        on_incompatible=diary.on_incompatible,
        on_problem=problems.append,
        look_up_s=0.001,
        retry_s=0.001,
        refresh_s=0.001,
    )
    await discovery.start()
    try:
        yield discovery, problems
    finally:
        await discovery.close()
        assert asyncio.all_tasks() == before, "no task is left behind"


async def test_every_address_behind_a_name_is_asked_and_pods_come_and_go() -> None:
    """Bob and Carol run; Carol's pod goes and Dave's comes: Carol is asked until she stops answering."""
    diary = Diary()
    resolver, seeds = Resolver(diary), Seeds(diary)
    resolver.answers = {NAME[0]: [BOB.address, CAROL.address, ALICE.address], OTHER_NAME[0]: []}
    seeds.answers = {record.address: telling(record) for record in (BOB, CAROL, DAVE)}
    async with looking_up(resolver, seeds, diary, NAME, OTHER_NAME) as (discovery, _):
        await diary.until(lambda: len(diary.seen) == 2)
        assert {record.peer for record in diary.seen} == {"bob", "carol"}
        resolver.answers = {NAME[0]: [BOB.address], OTHER_NAME[0]: [DAVE.address]}
        await diary.until(lambda: DAVE in diary.seen)
        still = seeds.asked.count(CAROL.address)
        await diary.until(lambda: seeds.asked.count(CAROL.address) > still + 2 * MISSES_MAX)
        seeds.answers[CAROL.address] = None
        await diary.until(lambda: set(discovery._polls) == {BOB.address, DAVE.address})
        asked = seeds.asked.count(CAROL.address)
        looked_up = len(resolver.asked)
        await diary.until(lambda: len(resolver.asked) > looked_up + 20)
        assert seeds.asked.count(CAROL.address) == asked, "and nobody asks there any more"
    assert ALICE.address not in seeds.asked


async def test_an_address_that_dns_names_is_asked_until_it_answers() -> None:
    diary = Diary()
    resolver, seeds = Resolver(diary), Seeds(diary)
    resolver.answers = {NAME[0]: [BOB.address, CAROL.address]}
    seeds.answers = {CAROL.address: telling(dataclasses.replace(CAROL, swarm=OTHER_SWARM))}
    async with looking_up(resolver, seeds, diary, NAME):
        await diary.until(lambda: seeds.asked.count(BOB.address) > 3 * MISSES_MAX)
        seeds.answers[BOB.address] = telling(BOB)
        await diary.until(lambda: diary.seen == [BOB])
        assert [reason for _, reason in diary.incompatible] == [RejectReason.WRONG_SWARM], "said once"


async def test_a_name_that_cannot_be_looked_up_is_said_once() -> None:
    diary = Diary()
    resolver, seeds = Resolver(diary), Seeds(diary)
    seeds.answers = {BOB.address: telling(BOB)}
    resolver.answers = {NAME[0]: OSError("no such name")}
    async with looking_up(resolver, seeds, diary, NAME) as (_, problems):
        await diary.until(lambda: len(resolver.asked) > 5)
        assert problems == [
            "DNS name agents.default.svc cannot be looked up: no such name; it is asked again"
        ]
        resolver.answers = {NAME[0]: [BOB.address]}
        await diary.until(lambda: diary.seen == [BOB])
        resolver.answers = {NAME[0]: TimeoutError()}
        await diary.until(lambda: len(problems) == 2)
        assert "no answer in time" in problems[1]
        asked = seeds.asked.count(BOB.address)
        await diary.until(
            lambda: seeds.asked.count(BOB.address) > asked + 2 * MISSES_MAX
        )  # the last answer stays
    assert len(problems) == 2


async def test_names_are_looked_up_as_the_system_does() -> None:
    assert "127.0.0.1:7700" in await resolve("localhost", 7700)
    for nonsense in ("no-such-host.invalid", "a" * 64):
        with pytest.raises(OSError, match=r"."):
            await resolve(nonsense, 7700)
    with pytest.raises(AddressError, match=r"'\.\.:7700'"):
        DnsDiscovery(ALICE, [("..", 7700)], fetch=Seeds().fetch, on_seen=print)
