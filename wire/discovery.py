"""Finding the other agents: on the LAN by multicast DNS, elsewhere by the addresses of a few. An edge.

Both say who is there (`on_seen`, again when a record changes) and who left (`on_gone`); who shares neither
swarm, protocol nor model is told to `on_incompatible` only. What they hear is unauthenticated: a hint whom to
push to, never a reason to believe a message. Callbacks run in the event loop; what one raises is a bug, and
surfaces in `wait_failed`.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final

from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, IPVersion, NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from wire.errors import DecodeError, RejectReason, TransportError
from wire.messages import PeerId, format_address, parse_address
from wire.records import (
    PEERS_KNOWN_MAX,
    PeerRecord,
    incompatibility,
    instance_label,
    read_record,
    read_told,
)

__all__ = ["PEERS_KNOWN_MAX", "SERVICE_TYPE", "PeerRecord", "SeedDiscovery", "ZeroconfDiscovery"]

SERVICE_TYPE: Final = "_hyperpush._tcp.local."
RESOLVE_TIMEOUT_S: Final = 3.0  # three multicast questions
RESOLVING_MAX: Final = 64  # names asked about at a time; a flood of names must not become a flood of tasks
SEED_TIMEOUT_S: Final = 3.0  # for one answer
SEED_RETRY_S: Final = 1.0  # until a seed answers; it may be starting
SEED_REFRESH_S: Final = 5.0  # afterwards: a seed is asked for newcomers, too
SEED_MISSES_MAX: Final = 3  # answers missed in a row until a seed is gone, and a learned address is dropped
ASKING_MAX: Final = 64  # learned addresses asked at a time, and per refresh_s: a liar may tell of many

OnSeen = Callable[[PeerRecord], None]
OnGone = Callable[[PeerId], None]
OnIncompatible = Callable[[PeerRecord, RejectReason], None]
Fetch = Callable[[str, float], Awaitable[dict[str, object] | None]]


class _Known:
    """Turns what is heard under a name into callbacks, each change once, at most PEERS_KNOWN_MAX names.

    A peer heard under several names is gone when the last of them is.
    """

    def __init__(
        self, own: PeerRecord, on_seen: OnSeen, on_gone: OnGone, on_incompatible: OnIncompatible | None
    ) -> None:
        self._own = own
        self._on_seen = on_seen
        self._on_gone = on_gone
        self._on_incompatible = on_incompatible
        self._compatible: dict[str, PeerRecord] = {}
        self._others: dict[str, PeerRecord] = {}

    def heard(self, name: str, record: PeerRecord) -> None:
        if record.peer == self._own.peer and record.swarm == self._own.swarm:
            self.lost(name)
            return
        former = self._compatible.get(name)
        if former is not None and former.peer != record.peer:
            self._leave(name)  # another one took its place
        reason = incompatibility(self._own, record)
        if reason is not None:
            self._leave(name)  # it was one of us before
            if self._keep(self._others, name, record) and self._on_incompatible is not None:
                self._on_incompatible(record, reason)
            return
        self._others.pop(name, None)
        if self._keep(self._compatible, name, record):
            self._on_seen(record)

    def lost(self, name: str) -> None:
        self._others.pop(name, None)
        self._leave(name)

    def forget(self, peer: PeerId) -> None:
        for name in [name for name, record in self._compatible.items() if record.peer == peer]:
            del self._compatible[name]

    def _leave(self, name: str) -> None:
        record = self._compatible.pop(name, None)
        if record is not None and all(other.peer != record.peer for other in self._compatible.values()):
            self._on_gone(record.peer)

    @staticmethod
    def _keep(table: dict[str, PeerRecord], name: str, record: PeerRecord) -> bool:
        """True if this is news and there is room for it."""
        if table.get(name) == record or (name not in table and len(table) >= PEERS_KNOWN_MAX):
            return False
        table[name] = record
        return True


class _Surfacing:
    """Starts tasks whose bugs surface in `wait_failed`."""

    def __init__(self) -> None:
        self._failed: asyncio.Future[None] | None = None

    async def wait_failed(self) -> None:
        """Wait for a bug in a callback, and raise it; does not return otherwise."""
        if self._failed is None:
            raise RuntimeError("call start() first")
        await asyncio.shield(self._failed)

    def _open(self) -> None:
        self._failed = asyncio.get_running_loop().create_future()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)


class ZeroconfDiscovery(_Surfacing):
    """Announces `record` on the LAN and listens for the others.

    `interfaces`: addresses of interfaces to speak on, or a choice of zeroconf. By default all of them; only
    the loopback interface if `record` listens there, so that agents on one machine find each other and nobody
    else hears of them.
    """

    def __init__(
        self,
        record: PeerRecord,
        *,
        on_seen: OnSeen,
        on_gone: OnGone,
        on_incompatible: OnIncompatible | None = None,
        interfaces: Sequence[str] | InterfaceChoice | None = None,
    ) -> None:
        super().__init__()
        self._record = record
        self._host, self._port = parse_address(record.address)
        self._interfaces = interfaces
        self._known = _Known(record, on_seen, on_gone, on_incompatible)
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def start(self) -> None:
        """Listen, then announce; takes about two seconds, as others are asked whether the name is taken.

        Raises TransportError if multicast is not possible here, or if another process is heard to announce
        this peer (one that itself began within the last second may not be heard).
        """
        self._open()
        address = await self._ip_address()
        interfaces: Sequence[str] | InterfaceChoice = InterfaceChoice.All
        if self._interfaces is not None:
            interfaces = self._interfaces
        elif address.is_loopback:
            interfaces = ["127.0.0.1"]
        six = address.version == 6 and not address.is_loopback
        label = instance_label(self._record.swarm, self._record.peer)
        information = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{label}.{SERVICE_TYPE}",
            addresses=[address.packed],
            port=self._port,
            properties={key: str(value) for key, value in self._record.to_fields().items()},
            server=f"{label}.local.",
        )
        try:
            if isinstance(interfaces, Sequence):
                _check_interfaces(interfaces)
            self._zeroconf = AsyncZeroconf(
                interfaces=list(interfaces) if isinstance(interfaces, Sequence) else interfaces,
                ip_version=IPVersion.All if six else IPVersion.V4Only,
            )
            self._browser = AsyncServiceBrowser(
                self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change]
            )
            await (await self._zeroconf.async_register_service(information))
        except NonUniqueNameException as error:
            await self.close()
            raise TransportError(
                f"peer {self._record.peer!r} is already announced in swarm {self._record.swarm!r}: "
                "give every agent its own name"
            ) from error
        except (OSError, ZeroconfError) as error:
            await self.close()
            raise TransportError(
                f"cannot announce {self._record.address} by multicast on {interfaces}: {error}; "
                "choose other interfaces, or name the others as seeds"
            ) from error

    async def close(self) -> None:
        """Say goodbye, so that the others know at once, and stop listening."""
        resolving = list(self._resolving.values())
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.async_cancel()
        for task in resolving:
            task.cancel()
        await asyncio.gather(*resolving, return_exceptions=True)
        closing, self._zeroconf = self._zeroconf, None
        if closing is not None:
            await closing.async_unregister_all_services()
            await closing.async_close()

    def forget(self, peer: PeerId) -> None:
        """`peer` was not reported: at the next update of its record `on_seen` is told, changed or not."""
        self._known.forget(peer)

    async def _ip_address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """What to announce: DNS carries addresses, not names."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self._host)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise TransportError(f"host {self._host!r} has no address: {error}; use an IP address") from error
        return ipaddress.ip_address(found[0][4][0])

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Browser callback, in the event loop."""
        former = self._resolving.pop(name, None)
        if former is not None:
            former.cancel()
        if state_change is ServiceStateChange.Removed:
            self._known.lost(name)
        elif self._browser is not None and len(self._resolving) < RESOLVING_MAX:
            self._resolving[name] = self._spawn(
                self._resolve(zeroconf, service_type, name), f"resolve {name}"
            )

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        """Ask for address and text of `name`; what is malformed is no agent of ours."""
        information = AsyncServiceInfo(service_type, name)
        try:
            answered = await information.async_request(zeroconf, RESOLVE_TIMEOUT_S * 1000)
            addresses = information.parsed_scoped_addresses()
            if answered and addresses and information.port:
                record = read_record(
                    dict(information.decoded_properties),
                    format_address(addresses[0], information.port),
                )
                # Only the name made of its own swarm and peer speaks for a peer.
                if name == f"{instance_label(record.swarm, record.peer)}.{service_type}":
                    self._known.heard(name, record)
        except (DecodeError, UnicodeDecodeError):
            return
        finally:
            if self._resolving.get(name) is asyncio.current_task():
                del self._resolving[name]


class SeedDiscovery(_Surfacing):
    """Asks known addresses who listens there, and whom those know: often until they answer, then slowly.

    `seeds` are "HOST:PORT"; `fetch(address, timeout_s)` is WebSocketTransport.fetch_identity. Raises
    AddressError for a seed that is no address. The agent itself may be among the seeds.

    Seeds are asked for ever. The addresses a compatible agent tells of are asked as well, while they answer
    and are compatible themselves: at most PEERS_KNOWN_MAX addresses in all, one task each, ASKING_MAX of the
    learned ones at a time and (roughly) per `refresh_s`, however many there are.
    """

    def __init__(
        self,
        record: PeerRecord,
        seeds: Sequence[str],
        *,
        fetch: Fetch,
        on_seen: OnSeen,
        on_gone: OnGone,
        on_incompatible: OnIncompatible | None = None,
        retry_s: float = SEED_RETRY_S,
        refresh_s: float = SEED_REFRESH_S,
    ) -> None:
        super().__init__()
        for seed in seeds:
            parse_address(seed)
        self._record = record
        self._seeds = tuple(dict.fromkeys(seeds))
        self._fetch = fetch
        self._known = _Known(record, on_seen, on_gone, on_incompatible)
        self._retry_s = retry_s
        self._refresh_s = refresh_s
        self._asking = asyncio.Semaphore(ASKING_MAX)
        self._polls: dict[str, asyncio.Task[None]] = {}  # by address, seeds and learned ones

    async def start(self) -> None:
        """Begin to ask."""
        self._open()
        self._polls = {seed: self._spawn(self._poll_seed(seed), f"seed {seed}") for seed in self._seeds}

    async def close(self) -> None:
        """Stop asking."""
        polls, self._polls = self._polls, {}
        for task in polls.values():
            task.cancel()
        await asyncio.gather(*polls.values(), return_exceptions=True)

    def forget(self, peer: PeerId) -> None:
        """`peer` was not reported: when its address next answers `on_seen` is told, record changed or not."""
        self._known.forget(peer)

    async def _poll_seed(self, seed: str) -> None:
        misses = 0
        while True:
            record = await self._ask(seed)
            misses = 0 if record is not None else misses + 1
            if misses >= SEED_MISSES_MAX:
                self._known.lost(seed)
            await asyncio.sleep(self._refresh_s if record is not None else self._retry_s)

    async def _poll_learned(self, address: str) -> None:
        misses = 0
        try:
            while True:
                async with self._asking:
                    record = await self._ask(address)
                useful = record is not None and incompatibility(self._record, record) is None
                misses = 0 if useful else misses + 1
                if misses >= SEED_MISSES_MAX:
                    self._known.lost(address)
                    return
                refresh_s = self._refresh_s * max(1.0, len(self._polls) / ASKING_MAX)
                await asyncio.sleep(refresh_s if useful else self._retry_s)
        finally:
            self._polls.pop(address, None)

    async def _ask(self, address: str) -> PeerRecord | None:
        """Who listens at `address`, if anybody sensible; says so, and follows whom they tell of."""
        answer = await self._fetch(address, SEED_TIMEOUT_S)
        if answer is None:
            return None
        try:
            record = read_record(answer, address)
        except DecodeError:
            return None
        self._known.heard(address, record)
        if incompatibility(self._record, record) is None:
            self._follow(read_told(answer))
        return record

    def _follow(self, told: Sequence[str]) -> None:
        for address in told:
            if len(self._polls) >= PEERS_KNOWN_MAX:
                return
            if address not in self._polls and address != self._record.address:
                self._polls[address] = self._spawn(self._poll_learned(address), f"learned {address}")


def _check_interfaces(interfaces: Sequence[str]) -> None:
    """Raise OSError for an address that no interface here has; zeroconf would leave a socket open then."""
    for interface in interfaces:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((interface, 0))
