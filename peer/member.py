"""One agent of a swarm on this machine, complete: service, discovery, keys that change, admin listener."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from peer.admin import open_listener
from peer.admin_groups import fault_routes, status_routes
from peer.admin_predict import predict_routes
from peer.admin_routes import compose
from peer.agent_status import agent_status
from peer.errors import HyperpushError, SettingError
from peer.key_files import read_key_ring
from peer.page.watch import Watch
from peer.pulse import Pulse
from peer.refused import Refusals, why_apart
from peer.service_manager import ServiceManager
from peer.settled import ResidualTrend
from wire import DnsDiscovery, SeedDiscovery, TransportError, ZeroconfDiscovery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from peer.admin import AdminServer
    from peer.admin_access import AdminAccess
    from peer.service import AgentService
    from peer.status import AgentStatus
    from peer.until import Ending
    from wire import LiveFaults, PeerId, PeerRecord, RejectReason
    from wire.discovery import Discovery, MakeDiscovery

WATCH_S = 2.0  # between two looks at the key file and at the own address
SETTLED = 1e-6  # residual from which an agent counts as settled, unless the run asks for another


class Member:
    """An agent service and what a machine of its own needs beside it; `start`, `watch`, `close`.

    A bug in any part comes out of one of `guards`.
    """

    def __init__(
        self,
        service: AgentService,
        *,
        listen_host: str,
        seeds: Sequence[str] = (),
        dns: Sequence[tuple[str, int]] = (),
        zeroconf: bool = True,
        discoveries: Sequence[MakeDiscovery] = (),
        key_file: Path | None = None,
        ending: Ending,
        say: Callable[[str], None],
        manager: ServiceManager | None = None,
    ) -> None:
        self.service = service
        self.admin: AdminServer | None = None
        self.watch = Watch(self)
        self._listen_host = listen_host
        self._seeds = seeds
        self._dns = dns
        self._zeroconf = zeroconf
        self._others = discoveries
        self._key_file = key_file
        self._key_problem = ""  # the last that was told
        self._ending = ending
        self._say = say
        self._trend = ResidualTrend()
        self._goal = min((goal.value for goal in ending.goals if goal.kind == "residual"), default=SETTLED)
        self._refusals = Refusals()
        self._discoveries: list[Discovery] = []
        self._stale = False  # discovery is to begin anew
        self._hindrances: set[str] = set()  # told since it last could
        self._failures: list[asyncio.Task[None]] = []
        self._manager = manager or ServiceManager()
        self._pulse = Pulse()
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for the others; from now on, to the end of `close`, the service manager is told how it is."""
        await self._discover()
        self._manager.ready(f"listens on {self.service.record.address}")
        if self._manager.is_there:
            self._beating = asyncio.create_task(self._manager.beat(self._look), name="service manager")

    async def open_admin(
        self,
        access: AdminAccess,
        *,
        faults: LiveFaults,
    ) -> AdminServer:
        """Let people watch and set faults. Raises `wire.TransportError` or `SettingError`."""
        began = time.monotonic()
        routes = compose(
            status_routes(lambda: self.status_of(self.service).to_dict()),
            fault_routes(faults, lambda: time.monotonic() - began, self._say_faults),
            *self.watch.routes(),
            predict_routes(self.service.personal_model),
        )
        self.admin = await open_listener(access, routes)
        return self.admin

    def _say_faults(self, what: str) -> None:
        self.watch.say(what)
        self._say(what)

    async def close(self) -> None:
        """Say goodbye on the network and stop listening for people; the service is closed by its owner."""
        await self._stop_discovery()
        if self.admin is not None:
            await self.admin.close()
        if self._beating is not None:
            self._beating.cancel()
            (ended,) = await asyncio.gather(self._beating, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended

    def guards(self) -> list[Coroutine[object, object, None]]:
        """To be awaited while the agent runs: they return only by raising."""
        admin = [] if self.admin is None else [self.admin.wait_failed()]
        return [self._watch(), *admin]

    @property
    def incompatible(self) -> Sequence[PeerId]:
        """Who was found and does not fit."""
        return tuple(self._refusals.listed)

    @property
    def title(self) -> str:
        """What people watch."""
        return f"{self.service.record.peer} in swarm {self.service.record.swarm}"

    @property
    def actions(self) -> Sequence[str]:
        """Whoever wants it to end says so to its process."""
        return ()

    def services(self) -> Sequence[AgentService]:
        """The one."""
        return (self.service,)

    def absent(self) -> Sequence[str]:
        """Nobody."""
        return ()

    def status_of(self, service: AgentService) -> AgentStatus:
        """What people are told of the agent."""
        agent = service.agent
        alone = "" if agent.peers.alive() else "alone, for what it has itself: "
        self._note_progress()  # an epoch may have begun since the last look
        return agent_status(
            service,
            service.clock(),
            settled_line=alone + self._trend.line(agent.progress.residual(), self._goal, agent.phase),
            until_line=self._ending.describe(),
            incompatible=self._refusals.listed,
        )

    def _look(self) -> tuple[bool, str]:
        """Whether the agent ticks, or need not; and how it is, in a line."""
        service, agent = self.service, self.service.agent
        still_s = self._pulse.still_s((agent.ticks, agent.next_deadline()), service.clock())
        waits_for = service.waits_for
        is_well = bool(waits_for) or still_s < self._manager.beat_s
        status = f"tick {agent.ticks}, epoch {agent.epoch}, {agent.phase.value}; others: {len(agent.peers)}"
        if waits_for:
            status += f"; waits for {waits_for}"
        elif not is_well:
            status += f"; has not gone on for {still_s:.0f} s"
        return is_well, status

    async def _watch(self) -> None:
        """Follow the key file and the address of this machine; surface bugs of what works beside it."""
        while True:
            if self._failures:
                await asyncio.wait(self._failures, timeout=WATCH_S)
            else:
                await asyncio.sleep(WATCH_S)
            for failure in self._failures:
                if failure.done():
                    failure.result()
            if self._beating is not None and self._beating.done():
                self._beating.result()
            self._note_progress()
            shown = set().union(*(discovery.refused() for discovery in self._discoveries))
            self._refusals.look(shown, self.service.clock())
            address = self.service.transport.address
            moved = address != self.service.record.address
            if moved:
                self._say(f"this machine has another address now: {address}")
                self.service.move(address)
            if self._new_keys() or moved:
                self._stale = True
            if self._stale:
                await self._discover_anew()

    def _note_progress(self) -> None:
        agent = self.service.agent
        residual, now = agent.progress.residual(), self.service.clock()
        self._trend.note(residual, now, epoch=agent.epoch, phase=agent.phase)

    async def _discover_anew(self) -> None:
        """Look for the others with the present record; what stands in the way now may be gone soon."""
        await self._stop_discovery()
        try:
            await self._discover()
        except (TransportError, HyperpushError) as error:
            await self._stop_discovery()
            if str(error) not in self._hindrances:
                self._hindrances.add(str(error))
                self._say(f"{error}; this is tried again until it works")
            return
        self._stale = False
        if self._hindrances:
            self._hindrances.clear()
            self._say("the others are looked for again")

    def _new_keys(self) -> bool:
        """Use what the key file holds; a file that makes no sense changes nothing."""
        if self._key_file is None:
            return False
        try:
            ring = read_key_ring(self._key_file)
        except SettingError as error:
            if str(error) != self._key_problem:
                self._say(f"the keys stay as they were: {error}")
            self._key_problem = str(error)
            return False
        self._key_problem = ""
        if ring.key_ids == self.service.seal.key_ids:
            return False
        self.service.use_keys(ring)
        self._say(f"keys {', '.join(ring.key_ids)}, sealing with {ring.key_ids[0]}")
        return True

    async def _discover(self) -> None:
        service = self.service
        record, fetch = service.record, service.transport.fetch_identity
        on_seen, refuse = self._seen, self._refuse
        if self._seeds:
            self._discoveries.append(
                SeedDiscovery(
                    record,
                    self._seeds,
                    fetch=fetch,
                    on_seen=on_seen,
                    on_incompatible=refuse,
                )
            )
        if self._dns:
            self._discoveries.append(
                DnsDiscovery(
                    record,
                    self._dns,
                    fetch=fetch,
                    on_seen=on_seen,
                    on_incompatible=refuse,
                    on_problem=self._say,
                )
            )
        if self._zeroconf:
            self._discoveries.append(
                ZeroconfDiscovery(
                    record,
                    on_seen=partial(self._seen, introduce=False),  # anybody may announce anything
                    on_incompatible=refuse,
                    listen_host=self._listen_host,
                )
            )
        for make in self._others:
            self._discoveries.append(
                make(
                    record,
                    fetch=fetch,
                    on_seen=partial(self._seen, introduce=False),  # nobody says that they have answered
                    on_incompatible=refuse,
                    on_problem=self._say,
                )
            )
        for discovery in self._discoveries:
            await discovery.start()
        self._failures = [asyncio.create_task(discovery.wait_failed()) for discovery in self._discoveries]

    async def _stop_discovery(self) -> None:
        failures, self._failures = self._failures, []
        discoveries, self._discoveries = self._discoveries, []
        for failure in failures:
            failure.cancel()
        await asyncio.gather(*failures, return_exceptions=True)
        await asyncio.gather(*(discovery.close() for discovery in discoveries))

    def _seen(self, record: PeerRecord, *, introduce: bool = True) -> None:
        self._refusals.fits(record.peer)
        if not self.service.find(record, introduce=introduce):
            for discovery in self._discoveries:
                discovery.forget(record.peer)  # there may be room when it is next heard of

    def _refuse(self, record: PeerRecord, reason: RejectReason) -> None:
        if self._refusals.note(record, reason, self.service.clock()):
            what, remedy = why_apart(reason, self.service.record, record)
            self._say(f"{record.peer} at {record.address} is not spoken to: it {what} -> {remedy}")
