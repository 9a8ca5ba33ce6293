"""Finding each other by multicast, on the loopback interface."""

import asyncio
import dataclasses
import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import zeroconf
from zeroconf.asyncio import AsyncServiceInfo

import wire.zeroconf_discovery
from tests.wire.diary import ALICE, BOB, OTHER_SWARM, SWARM, TIMEOUT_S, Diary
from wire import AddressError, PeerRecord, RejectReason, TransportError
from wire.addresses import LocalAddress
from wire.records import instance_label
from wire.zeroconf_discovery import SERVICE_TYPE, ZeroconfDiscovery


@asynccontextmanager
async def discovering(
    record: PeerRecord, diary: Diary, **options: object
) -> AsyncIterator[ZeroconfDiscovery]:
    discovery = ZeroconfDiscovery(
        record,
        on_seen=diary.on_seen,
        on_incompatible=diary.on_incompatible,
        **options,
    )
    try:
        await discovery.start()
    except TransportError as error:
        if "multicast" not in str(error):
            raise
        pytest.skip(f"no multicast on the loopback interface of this machine: {error}")
    try:
        yield discovery
    finally:
        await discovery.close()
        assert not discovery._background, "no task is left behind"
        assert not discovery._resolving


@asynccontextmanager
async def announced(record: PeerRecord, **options: object) -> AsyncIterator[Diary]:
    diary = Diary()
    async with discovering(record, diary, **options):
        yield diary


async def test_agents_on_one_machine_find_each_other_again_and_again() -> None:
    """Alice starts; Bob and a stranger come; Bob says goodbye and comes back as he was."""
    stranger = dataclasses.replace(BOB, peer="stranger", swarm=OTHER_SWARM)
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
        await bob_stack.enter_async_context(announced(BOB))
        await alice.until(lambda: alice.seen == [BOB, BOB])
        assert alice.incompatible == [(stranger, RejectReason.WRONG_SWARM)]


async def test_a_name_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(*_: object, **__: object) -> None:
        raise zeroconf.NonUniqueNameException

    async with announced(ALICE):  # skips where there is no multicast
        monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf.async_register_service", taken)
        second = ZeroconfDiscovery(ALICE, on_seen=print)
        with pytest.raises(TransportError, match=f"'alice' is already announced in swarm '{SWARM}'"):
            await second.start()


async def test_an_interface_that_is_not_there_is_named() -> None:
    discovery = ZeroconfDiscovery(ALICE, on_seen=print, interfaces=["192.0.2.250"])
    with pytest.raises(TransportError, match=r"by multicast on \['192.0.2.250'\].*seeds"):
        await discovery.start()
    with pytest.raises(AddressError):
        ZeroconfDiscovery(dataclasses.replace(ALICE, address="nowhere"), on_seen=print)


async def test_a_host_name_is_looked_up() -> None:
    record = dataclasses.replace(ALICE, address="localhost:7701")
    discovery = ZeroconfDiscovery(record, on_seen=print)
    assert (await discovery._ip_address()).is_loopback
    nowhere = dataclasses.replace(ALICE, address="no-such-host.invalid:7701")
    with pytest.raises(TransportError, match="has no address"):
        await ZeroconfDiscovery(nowhere, on_seen=print).start()


RESPONSE = 0x8400  # flags: an authoritative answer
ANYWHERE = "0.0.0.0"  # noqa: S104  (nothing is bound)


def card(address: str, interface: str = "eth0") -> LocalAddress:
    found = ipaddress.ip_interface(address)
    return LocalAddress(interface, 1, found.ip, found.network.prefixlen)


async def test_all_addresses_are_announced_and_changes_followed() -> None:
    """Bob's machine has a card, a bridge of containers and IPv6, and comes into Alice's network."""
    bobs = [card("198.51.100.7/24"), card("172.17.0.1/16", "docker0"), card("2001:db8::7/64")]
    alices = (card("192.0.2.9/24"), card("172.17.0.1/16", "docker0"))
    bob = dataclasses.replace(BOB, address="198.51.100.7:7702")
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(
            announced(ALICE, interfaces=["127.0.0.1"], read_interfaces=lambda: alices)
        )
        await stack.enter_async_context(
            announced(
                bob,
                listen_host=ANYWHERE,
                interfaces=["127.0.0.1"],
                read_interfaces=lambda: tuple(bobs),
                poll_s=0.01,
            )
        )
        await alice.until(lambda: bool(alice.seen))
        found = dataclasses.replace(bob, alternatives=("172.17.0.1:7702",))
        assert alice.seen == [found], "the one that leads to Alice herself comes last"
        bobs[0] = card("192.0.2.7/24")
        await alice.until(lambda: alice.seen[-1].address == "192.0.2.7:7702")


async def test_an_address_that_is_announced_no_longer_is_not_kept() -> None:
    """Even if it was the better one."""
    diary = Diary()
    options = {"announce": False, "read_interfaces": lambda: (card("192.0.2.9/24"),)}
    async with discovering(ALICE, diary, interfaces=["127.0.0.1"], **options) as discovery:
        manager = discovery._zeroconf.zeroconf.record_manager
        former, moved = (
            dataclasses.replace(BOB, address=f"{host}:7702") for host in ("192.0.2.7", "198.51.100.7")
        )
        manager.async_updates_from_response(packet_of(former, age_s=5.0))
        manager.async_updates_from_response(packet_of(moved))
        assert diary.seen == [former, moved]


async def test_interfaces_that_come_and_go_are_spoken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun without a network: only loopback. Then a cable, IPv6 included; then again none."""
    spoken: asyncio.Queue[list[str | int]] = asyncio.Queue()

    async def update(self: object, interfaces: list[str | int]) -> None:
        spoken.put_nowait(interfaces)

    monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf.async_update_interfaces", update)
    loopback = card("127.0.0.1/8", "lo")
    now = [loopback]
    alice = dataclasses.replace(ALICE, address="127.0.0.1:7701")
    async with (
        announced(alice, listen_host=ANYWHERE, read_interfaces=lambda: tuple(now), poll_s=0.01),
        asyncio.timeout(TIMEOUT_S),
    ):
        now += [card("192.0.2.9/24"), card("2001:db8::9/64")]
        assert await spoken.get() == ["127.0.0.1", "192.0.2.9", 1]
        del now[1:]
        assert await spoken.get() == ["127.0.0.1"]


async def test_who_only_listens_is_not_heard() -> None:
    async with announced(BOB, announce=False) as bob, announced(ALICE) as alice:
        await bob.until(lambda: bob.seen == [ALICE])
        assert alice.seen == []


def packet_of(
    record: PeerRecord, answers: int = 4, label: str = "", age_s: float = 0.0
) -> zeroconf.DNSIncoming:
    """What another process multicasts when it announces `record`, or the first answers of it."""
    label = label or instance_label(record.swarm, record.peer)
    host, port = record.address.split(":")
    information = AsyncServiceInfo(
        SERVICE_TYPE,
        f"{label}.{SERVICE_TYPE}",
        parsed_addresses=[host],
        port=int(port),
        properties={key: str(value) for key, value in record.to_fields().items()},
        server=f"{label}.local.",
    )
    out = zeroconf.DNSOutgoing(RESPONSE)
    all_answers = (
        information.dns_pointer(),
        information.dns_service(),
        information.dns_text(),
        *information.dns_addresses(),
    )
    for answer in all_answers[:answers]:
        out.add_answer_at_time(answer, 0)
    return zeroconf.DNSIncoming(out.packets()[0], now=zeroconf.current_time_millis() - 1000 * age_s)


async def test_a_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """STYLE 11. Every name is another one; whoever comes afterwards is asked about all the same.

    Measured with a million whole announcements: 51 MB, as after the first 50,000 (38 MB before); without new
    browsers 270 bytes more for each.
    """
    monkeypatch.setattr(wire.zeroconf_discovery, "BROWSED_MAX", 10_500)  # zeroconf caches 10,000
    diary = Diary()
    async with discovering(ALICE, diary, announce=False) as discovery:
        first = discovery._browser
        manager = discovery._zeroconf.zeroconf.record_manager
        for start in range(0, 11_000, 100):
            out = zeroconf.DNSOutgoing(RESPONSE)
            for number in range(start, start + 100):
                information = AsyncServiceInfo(SERVICE_TYPE, f"{number}.{SERVICE_TYPE}")
                out.add_answer_at_time(information.dns_pointer(), 0)
            for packet in out.packets():
                manager.async_updates_from_response(zeroconf.DNSIncoming(packet))
            background = [task for task in discovery._background if task.get_name() == "replace browser"]
            await asyncio.gather(*background)
        assert discovery._browser is not first
        assert discovery._browsed <= 10_500
        assert len(discovery._resolving) == wire.zeroconf_discovery.RESOLVING_MAX
        manager.async_updates_from_response(packet_of(BOB))
        assert f"{instance_label(BOB.swarm, BOB.peer)}.{SERVICE_TYPE}" in discovery._resolving


async def test_a_name_without_an_address_yet_is_asked_about() -> None:
    """Pointer and text arrive first; the rest is asked for, RESOLVING_MAX at a time, the last ones."""
    diary = Diary()
    async with discovering(ALICE, diary, announce=False) as discovery:
        manager = discovery._zeroconf.zeroconf.record_manager
        for number in range(wire.zeroconf_discovery.RESOLVING_MAX + 10):
            manager.async_updates_from_response(packet_of(dataclasses.replace(BOB, peer=f"{number}"), 1))
        assert len(discovery._resolving) == wire.zeroconf_discovery.RESOLVING_MAX
        last = f"{wire.zeroconf_discovery.RESOLVING_MAX + 9}"
        manager.async_updates_from_response(packet_of(dataclasses.replace(BOB, peer=last)))
        assert [record.peer for record in diary.seen] == [last]
        assert len(discovery._resolving) == wire.zeroconf_discovery.RESOLVING_MAX - 1


@pytest.mark.parametrize("state", [zeroconf.ServiceStateChange.Added, zeroconf.ServiceStateChange.Removed])
async def test_a_bug_in_a_callback_surfaces(state: zeroconf.ServiceStateChange) -> None:
    def bug(_: object) -> None:
        raise ZeroDivisionError("ours")

    diary = Diary()
    async with discovering(ALICE, diary, announce=False) as discovery:
        manager = discovery._zeroconf.zeroconf.record_manager
        if state is zeroconf.ServiceStateChange.Added:
            discovery._known._on_seen = bug
        else:
            discovery._known.lost = bug
        manager.async_updates_from_response(packet_of(BOB))
        label = f"{instance_label(BOB.swarm, BOB.peer)}.{SERVICE_TYPE}"
        discovery._on_change(discovery._zeroconf.zeroconf, SERVICE_TYPE, label, state)
        with pytest.raises(ZeroDivisionError, match="ours"):
            async with asyncio.timeout(TIMEOUT_S):
                await discovery.wait_failed()


async def test_what_is_no_agent_of_ours_is_ignored() -> None:
    """Under the label of another peer; without a name; without an address of ours to lead there."""
    diary = Diary()
    async with discovering(ALICE, diary, announce=False) as discovery:
        packet = packet_of(dataclasses.replace(BOB, peer="eve"), label=instance_label(BOB.swarm, BOB.peer))
        discovery._zeroconf.zeroconf.record_manager.async_updates_from_response(packet)
        nameless = packet_of(dataclasses.replace(BOB, peer=""))
        discovery._zeroconf.zeroconf.record_manager.async_updates_from_response(nameless)
        assert (diary.seen, diary.incompatible) == ([], [])


async def test_without_an_interface_there_is_nothing_to_speak_on() -> None:
    discovery = ZeroconfDiscovery(ALICE, on_seen=print, listen_host=ANYWHERE, read_interfaces=tuple)
    with pytest.raises(TransportError, match="no network interface with an address"):
        await discovery.start()
