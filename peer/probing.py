"""Gathers the evidence of `hyperpush doctor`: asks interfaces, ports, DNS, multicast and peers. An edge.

It takes part in nothing: what it answers on the port of the agent is no record, so no peer meets it, and on
multicast it only asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import errno
import ipaddress
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from peer.evidence import Answer, Evidence, Multicast, Probe, Reached
from wire import DecodeError, PeerRecord, TransportError, ZeroconfDiscovery, format_address
from wire.dns_discovery import resolve
from wire.interfaces import local_addresses, outward_host
from wire.push_socket import open_session, url_of
from wire.records import PEERS_TOLD_MAX, read_names, read_record
from wire.transport import IDENTITY_BYTES_MAX

if TYPE_CHECKING:
    from wire import RejectReason
    from wire.addresses import LocalAddress

MULTICAST_PORT: Final = 5353
MULTICAST_GROUP: Final = "224.0.0.251"
SOURCES_MAX: Final = 256  # other machines heard by multicast
TEXT_MAX: Final = 200  # of a reason: it may hold a stranger's text
ZEROCONF: Final = "zeroconf"

Recognise = Callable[[Mapping[str, object]], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to look at: the network options of `run`."""

    own: PeerRecord  # without an address
    listen: tuple[str, int]
    advertise: tuple[str, int | None] | None
    peers: tuple[str, ...]
    names: tuple[tuple[str, int], ...]
    zeroconf: bool
    timeout_s: float
    nonce: str  # by which this process knows its own answer
    knows_task: bool = True  # False: `own.fingerprint` is of no task that was given


async def examine(plan: Plan) -> Evidence:
    """Look at everything; takes a few times `timeout_s` at most, as most of it happens at once."""
    host, port = plan.listen
    async with open_session() as session, _listening(host, port, plan.nonce) as (bound, taken):
        asking = _Asking(session, plan.timeout_s, plan.nonce)
        running = None
        if taken:
            for dialled in dict.fromkeys((_dialled(host), outward_host(host))):
                running = running or await asking.running(format_address(dialled, port))
        listen_error = taken if running is None else ""
        told_host, told_port = plan.advertise or (outward_host(host), None)
        address = format_address(told_host, told_port or bound)
        own = replace(plan.own, address=address)
        advertised, (multicast, heard), named = await asyncio.gather(
            _nothing() if listen_error else asking.ask(address, "--advertise"),
            _listen_to_multicast(plan, own),
            _look_up(plan),
        )
        unresolved = tuple(one for one in named if one.reached is Reached.NO_NAME)
        addresses = dict.fromkeys(plan.peers, "--peer")
        for one in named:
            addresses.setdefault(one.address, one.source)
        unknown = [address for address in addresses if address not in {one.address for one in unresolved}]
        peers = await asyncio.gather(
            *(asking.ask(address, addresses[address]) for address in unknown),
            *(asking.ask_announced(record) for record in heard if record.address not in addresses),
        )
    return Evidence(
        own=own,
        listen_host=host,
        listen_error=listen_error,
        running=running,
        advertised=advertised,
        local=local_addresses(),
        multicast=multicast,
        unresolved=unresolved,
        peers=tuple(peers),
        timeout_s=plan.timeout_s,
        knows_task=plan.knows_task,
    )


class _Asking:
    """Asks addresses for their identity."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float, nonce: str) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        self._deadline_s = 3 * timeout_s  # name, connection and answer
        self._nonce = nonce
        self._running = ""

    async def running(self, address: str) -> Answer | None:
        """The agent that listens here already; it is this one from now on."""
        probe = await self.ask(address, "--listen")
        if probe.answer is not None:
            self._running = probe.answer.record.peer
        return probe.answer

    async def ask_announced(self, record: PeerRecord) -> Probe:
        """Ask the addresses that a peer announces, until one answers; if none does, the first one counts."""
        probes = []
        for address in (record.address, *record.alternatives):
            probe = await self.ask(address, ZEROCONF)
            if probe.answer is not None:
                return probe
            probes.append(probe)
        return replace(probes[0], answer=Answer(record))

    async def ask(self, address: str, source: str) -> Probe:
        """Who listens there, or how far the question came."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._ask(address, source)
        except aiohttp.SocketTimeoutError:
            reached, detail = Reached.NO_AGENT, "it accepts connections, but says nothing"
        except TimeoutError:
            reached, detail = Reached.SILENT, ""
        except aiohttp.ClientConnectorDNSError as error:
            reached, detail = Reached.NO_NAME, error.os_error.strerror or str(error.os_error)
        except aiohttp.ClientConnectorError as error:
            reached, detail = _reached(error.os_error)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, DecodeError) as error:
            reached, detail = Reached.NO_AGENT, str(error)[:TEXT_MAX] or type(error).__name__
        return Probe(address, source, reached, detail)

    async def _ask(self, address: str, source: str) -> Probe:
        url = url_of(address, "/v1/identity")
        async with self._session.get(url, allow_redirects=False, timeout=self._timeout) as response:
            ahead_s = _ahead_s(response.headers.get("Date"), time.time())
            if response.status != 200:
                raise ValueError(f"it answers with HTTP status {response.status}")
            body = b""
            while len(body) <= IDENTITY_BYTES_MAX and (more := await response.content.readany()):
                body += more
        fields = json.loads(body)
        fields = fields if isinstance(fields, dict) else {}
        if fields.get("doctor") == self._nonce:
            return Probe(address, source, Reached.ANSWERED, is_self=True, clock_ahead_s=ahead_s)
        record = read_record(fields, address)
        answer = Answer(record, read_names(fields, "hears"), read_names(fields, "heard_by"))
        is_self = bool(self._running) and record.peer == self._running
        return Probe(address, source, Reached.ANSWERED, "", answer, is_self, ahead_s)


def _reached(error: OSError) -> tuple[Reached, str]:
    if error.errno == errno.ECONNREFUSED:
        return Reached.REFUSED, ""
    if error.errno == errno.ETIMEDOUT:
        return Reached.SILENT, ""
    return Reached.NO_ROUTE, os.strerror(error.errno) if error.errno else str(error)[:TEXT_MAX]


def _ahead_s(date: str | None, now: float) -> float | None:
    """How far the clock that wrote this HTTP date is ahead."""
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return None


def _dialled(host: str) -> str:
    """Where this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (names it, binds nothing)


@contextlib.asynccontextmanager
async def _listening(host: str, port: int, nonce: str) -> AsyncIterator[tuple[int, str]]:
    """Answer on the agent's port, with the nonce; gives the port and "", or why it cannot be had."""

    async def identity(_request: web.Request) -> web.Response:
        return web.json_response({"doctor": nonce})

    application = web.Application()
    application.router.add_get("/v1/identity", identity)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            yield port, f"{format_address(host, port)}: {error.strerror or error}"
        else:
            yield int(runner.addresses[0][1]), ""
    finally:
        await runner.cleanup()


async def _nothing() -> None:
    """Where nobody listens, there is nobody to ask."""


async def _look_up(plan: Plan) -> list[Probe]:
    """The addresses behind the DNS names, not asked yet; a name that leads nowhere as it is."""

    async def one(host: str, port: int) -> list[Probe]:
        source = f"--dns {host}"
        try:
            async with asyncio.timeout(plan.timeout_s):
                found = await resolve(host, port)
        except OSError as error:
            detail = getattr(error, "strerror", None) or str(error) or "no answer in time"
            return [Probe(format_address(host, port), source, Reached.NO_NAME, detail)]
        return [Probe(address, source, Reached.SILENT) for address in found[:PEERS_TOLD_MAX]]

    answers = await asyncio.gather(*(one(host, port) for host, port in plan.names))
    return [probe for answer in answers for probe in answer]


async def _listen_to_multicast(plan: Plan, own: PeerRecord) -> tuple[Multicast | None, list[PeerRecord]]:
    """What multicast brings in `timeout_s`: packets at its port, and the agents that answer."""
    if not plan.zeroconf:
        return None, []
    heard: dict[str, PeerRecord] = {}

    def seen(record: PeerRecord, _reason: RejectReason | None = None) -> None:
        heard[record.peer] = record

    discovery = ZeroconfDiscovery(
        own,
        on_seen=seen,
        on_incompatible=seen,
        listen_host=plan.listen[0],
        announce=False,
    )
    local = local_addresses()
    sources = _Sources({str(one.ip) for one in local})
    try:
        transport = await _open_multicast(local, sources)
    except OSError as error:
        return Multicast(error=f"UDP port {MULTICAST_PORT}: {error.strerror or error}"), []
    try:
        await discovery.start()
        await asyncio.sleep(plan.timeout_s)
    except TransportError as error:
        return Multicast(error=str(error)), []
    finally:
        await discovery.close()
        transport.close()
    return Multicast(own=tuple(sorted(sources.own)), others=tuple(sorted(sources.others))), list(
        heard.values()
    )


class _Sources(asyncio.DatagramProtocol):
    """Whose packets arrive."""

    def __init__(self, ours: set[str]) -> None:
        self.own: set[str] = set()
        self.others: set[str] = set()
        self._ours = ours

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Note the sender."""
        del data
        if addr[0] in self._ours:
            self.own.add(addr[0])
        elif len(self.others) < SOURCES_MAX:
            self.others.add(addr[0])


async def _open_multicast(local: tuple[LocalAddress, ...], sources: _Sources) -> asyncio.DatagramTransport:
    """A socket beside those of zeroconf, which says where packets come from. Raises OSError."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for option in ("SO_REUSEADDR", "SO_REUSEPORT"):
            if hasattr(socket, option):
                found.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        found.bind(("", MULTICAST_PORT))
        for one in local:
            if isinstance(one.ip, ipaddress.IPv4Address):
                with contextlib.suppress(OSError):  # joined already, or no multicast there: nothing comes
                    group = socket.inet_aton(MULTICAST_GROUP) + one.ip.packed
                    found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        found.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: sources, sock=found)
    except OSError:
        found.close()
        raise
    return transport
