"""Finding the other agents on the LAN by multicast DNS. An edge: asyncio, sockets, zeroconf.

What is heard is unauthenticated: a hint whom to push to, never a reason to believe a message. Callbacks run
in the event loop; what one raises is a bug, and surfaces in `wait_failed`.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from zeroconf import Error as ZeroconfError
from zeroconf import NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf._dns import DNSAddress
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from wire.addresses import (
    ANNOUNCED_MAX,
    WILDCARDS,
    IpAddress,
    LocalAddress,
    announceable,
    in_order_of_dialling,
    multicast_interfaces,
)
from wire.errors import DecodeError, TransportError
from wire.interfaces import local_addresses
from wire.known_peers import KnownPeers, OnIncompatible, OnSeen
from wire.messages import PeerId, format_address, parse_address
from wire.records import PeerRecord, instance_label, read_record
from wire.surfacing import Surfacing

SERVICE_TYPE: Final = "_hyperpush._tcp.local."
RESOLVE_TIMEOUT_S: Final = 3.0  # three multicast questions
RESOLVING_MAX: Final = 64  # names asked about at a time; a flood of names must not become a flood of tasks
BROWSED_MAX: Final = 20_000  # names one browser schedules questions for: 6 MB; then another takes its place
FLUSHED_TTL_S: Final = 1  # of an address that its owner no longer announces, RFC 6762 (10.2)
INTERFACES_POLL_S: Final = 3.0  # a cable or another Wi-Fi: found out while the user still looks

Interfaces = Sequence[str | int]
ReadInterfaces = Callable[[], tuple[LocalAddress, ...]]


class ZeroconfDiscovery(Surfacing):
    """Announces `record` on the LAN and listens for the others.

    With `listen_host` a wildcard, all addresses of this machine are announced, and announced anew when they
    change; else only `record.address` is. Of what a peer announces, the likeliest address comes first.

    `interfaces`: what to speak on, IPv4 addresses and numbers of interfaces with IPv6. By default everything
    there is, followed when it changes; only the loopback interface if `record` listens there, so that agents
    on one machine find each other and nobody else hears of them. With `announce` False it only listens.
    """

    def __init__(
        self,
        record: PeerRecord,
        *,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible | None = None,
        listen_host: str | None = None,
        interfaces: Interfaces | None = None,
        announce: bool = True,
        read_interfaces: ReadInterfaces = local_addresses,
        poll_s: float = INTERFACES_POLL_S,
    ) -> None:
        super().__init__()
        self._record = record
        self._host, self._port = parse_address(record.address)
        self._wildcard = WILDCARDS.get(listen_host or "")
        self._interfaces = interfaces
        self._announce = announce
        self._read_interfaces = read_interfaces
        self._poll_s = poll_s
        self._known = KnownPeers(record, on_seen, on_incompatible)
        self._local: tuple[LocalAddress, ...] = ()
        self._address: IpAddress | None = None
        self._spoken: list[str | int] = []
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._browsed = 0  # names the present browser was told of
        self._background: dict[asyncio.Task[None], None] = {}

    async def start(self) -> None:
        """Listen, then announce; takes about two seconds, as others are asked whether the name is taken.

        Raises TransportError if multicast is not possible here, or if another process is heard to announce
        this peer (one that itself began within the last second may not be heard).
        """
        self._open()
        self._address = await self._ip_address()
        self._local = self._read_interfaces()
        self._spoken = self._interfaces_to_speak_on()
        try:
            self._zeroconf = self._open_zeroconf()
            await self._zeroconf.zeroconf.async_wait_for_start()
            self._browser = self._browse(self._zeroconf.zeroconf)
            if self._announce:
                await (await self._zeroconf.async_register_service(self._information()))
        except NonUniqueNameException as error:
            await self.close()
            raise TransportError(
                f"peer {self._record.peer!r} is already announced in swarm {self._record.swarm!r}: "
                "give every agent its own name"
            ) from error
        except (OSError, RuntimeError, ZeroconfError) as error:  # RuntimeError: an interface went away
            await self.close()
            raise TransportError(
                f"cannot announce {self._record.address} by multicast on {self._spoken}: {error}; "
                "choose other interfaces, or name the others as seeds"
            ) from error
        self._in_background(self._watch_interfaces(), "watch interfaces")

    async def close(self) -> None:
        """Say goodbye, so that the others know at once, and stop listening."""
        closing, self._zeroconf = self._zeroconf, None  # nothing new begins
        tasks = [*self._resolving.values(), *self._background]
        self._resolving.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.async_cancel()
        if closing is not None:
            await closing.async_unregister_all_services()
            await closing.async_close()

    def forget(self, peer: PeerId) -> None:
        """`peer` was not reported: at the next update of its record `on_seen` is told, changed or not."""
        self._known.forget(peer)

    def refused(self) -> set[PeerId]:
        """Who is found at this moment and does not fit."""
        return self._known.refused()

    async def _ip_address(self) -> IpAddress:
        """What to announce: DNS carries addresses, not names."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self._host.partition("%")[0])
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise TransportError(f"host {self._host!r} has no address: {error}; use an IP address") from error
        return ipaddress.ip_address(found[0][4][0])

    def _interfaces_to_speak_on(self) -> list[str | int]:
        if self._interfaces is not None:
            return list(self._interfaces)
        assert self._address is not None
        if self._address.is_loopback and self._wildcard is None:
            return ["127.0.0.1"]
        return multicast_interfaces(self._local)

    def _open_zeroconf(self) -> AsyncZeroconf:
        """On all interfaces to speak on; without IPv6 where the system only seems to have it."""
        if self._interfaces is not None:
            _check_addresses(self._interfaces)
        four = [one for one in self._spoken if isinstance(one, str)]
        if not self._spoken:
            raise OSError("this machine has no network interface with an address")
        try:
            return AsyncZeroconf(interfaces=self._spoken)
        except OSError:
            if not four or four == self._spoken:
                raise
            self._spoken = [*four]
            return AsyncZeroconf(interfaces=self._spoken)

    def _browse(self, zeroconf: Zeroconf) -> AsyncServiceBrowser:
        self._browsed = 0
        return AsyncServiceBrowser(zeroconf, SERVICE_TYPE, handlers=[self._on_change])

    def _information(self) -> AsyncServiceInfo:
        label = instance_label(self._record.swarm, self._record.peer)
        addresses = [str(self._address)]
        if self._wildcard is not None:
            addresses = announceable(self._local, self._wildcard, str(self._address)) or addresses
        return AsyncServiceInfo(
            SERVICE_TYPE,
            f"{label}.{SERVICE_TYPE}",
            parsed_addresses=addresses,
            port=self._port,
            properties={key: str(value) for key, value in self._record.to_fields().items()},
            server=f"{label}.local.",
        )

    def _in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._spawn(work, name)
        self._background[task] = None
        task.add_done_callback(lambda done: self._background.pop(done, None))

    async def _watch_interfaces(self) -> None:
        """Follow cards that come and go and addresses that change."""
        while True:
            await asyncio.sleep(self._poll_s)
            found = self._read_interfaces()
            if found != self._local and self._zeroconf is not None:
                self._local = found
                await self._follow_interfaces(self._zeroconf)

    async def _follow_interfaces(self, zeroconf: AsyncZeroconf) -> None:
        """New addresses first: a card that is new must not be told the old ones."""
        if self._announce and self._wildcard is not None:
            await (await zeroconf.async_update_service(self._information()))
        spoken = self._interfaces_to_speak_on()
        if spoken and spoken != self._spoken:
            self._spoken = spoken
            # A card that vanishes in this moment is told of at the next look.
            with contextlib.suppress(OSError, RuntimeError):
                await zeroconf.async_update_interfaces(self._spoken)

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Browser callback, in the event loop; whom zeroconf would tell of a bug does not pass it on."""
        try:
            self._changed(zeroconf, service_type, name, state_change)
        except Exception as error:  # not handled: handed to whoever waits in wait_failed
            self._fail(error)

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        former = self._resolving.pop(name, None)
        if former is not None:
            former.cancel()
        if state_change is ServiceStateChange.Removed:
            self._known.lost(name)
            return
        self._count_browsed(state_change)
        information = AsyncServiceInfo(service_type, name)
        if information.load_from_cache(zeroconf):  # announced in one packet, as we do
            self._heard(zeroconf, information)
        elif self._zeroconf is not None:
            if len(self._resolving) >= RESOLVING_MAX:  # the newest wins: whoever comes last is not lost
                self._resolving.pop(next(iter(self._resolving))).cancel()
            self._resolving[name] = self._spawn(self._resolve(zeroconf, information), f"resolve {name}")

    def _count_browsed(self, state_change: ServiceStateChange) -> None:
        """Replace the browser before a flood of names fills memory: it forgets none before its time."""
        self._browsed += state_change is ServiceStateChange.Added
        if self._browsed > BROWSED_MAX and self._zeroconf is not None:
            self._browsed = 0
            self._in_background(self._replace_browser(self._zeroconf.zeroconf), "replace browser")

    async def _replace_browser(self, zeroconf: Zeroconf) -> None:
        """The new one is told of all that is cached: at most 10,000 records, says zeroconf."""
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = self._browse(zeroconf)

    async def _resolve(self, zeroconf: Zeroconf, information: AsyncServiceInfo) -> None:
        """Ask for address and text of a name."""
        try:
            if await information.async_request(zeroconf, RESOLVE_TIMEOUT_S * 1000):
                self._heard(zeroconf, information)
        finally:
            if self._resolving.get(information.name) is asyncio.current_task():
                del self._resolving[information.name]

    def _heard(self, zeroconf: Zeroconf, information: AsyncServiceInfo) -> None:
        """Note who announces this; what is malformed is no agent of ours."""
        port = information.port
        flushed = {
            ipaddress.ip_address(record.address)
            for record in zeroconf.cache.async_entries_with_name(information.server or "")
            if isinstance(record, DNSAddress) and record.ttl <= FLUSHED_TTL_S
        }
        announced = [
            text
            for text in information.parsed_scoped_addresses()[: 2 * ANNOUNCED_MAX]
            if ipaddress.ip_address(text.partition("%")[0]) not in flushed
        ]
        if not announced or not port:
            return
        first, *others = (format_address(host, port) for host in in_order_of_dialling(announced, self._local))
        try:
            record = read_record(dict(information.decoded_properties), first, tuple(others))
        except (DecodeError, UnicodeDecodeError):
            return
        # Only the name made of its own swarm and peer speaks for a peer.
        if information.name == f"{instance_label(record.swarm, record.peer)}.{information.type}":
            self._known.heard(information.name, record)


def _check_addresses(interfaces: Interfaces) -> None:
    """Raise OSError for an address that no interface here has; zeroconf would leave a socket open then."""
    for interface in interfaces:
        if isinstance(interface, str):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((interface, 0))
