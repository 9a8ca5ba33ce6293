"""One agent of a swarm on this machine, complete: service, discovery, keys that change, admin listener."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from peer.admin import AdminServer
from peer.agent_status import agent_status
from peer.errors import SettingError
from peer.key_files import read_key_ring
from peer.refused import Refusals
from peer.settled import ResidualTrend
from wire import DnsDiscovery, SeedDiscovery, TransportError, ZeroconfDiscovery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from peer.admin_access import AdminAccess
    from peer.service import AgentService
    from peer.until import Ending
    from wire import LiveFaults, PeerRecord, RejectReason

    Discovery = ZeroconfDiscovery | SeedDiscovery | DnsDiscovery

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
        key_file: Path | None = None,
        ending: Ending,
        say: Callable[[str], None],
    ) -> None:
        self.service = service
        self.admin: AdminServer | None = None
        self._listen_host = listen_host
        self._seeds = seeds
        self._dns = dns
        self._zeroconf = zeroconf
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

    async def start(self) -> None:
        """Look for the others."""
        await self._discover()

    async def open_admin(
        self,
        access: AdminAccess,
        *,
        faults: LiveFaults,
    ) -> AdminServer:
        """Let people ask for status and set faults. Raises `wire.TransportError` or `SettingError`."""
        began = time.monotonic()

        def make(port: int) -> AdminServer:
            return AdminServer(
                access.host,
                port,
                status=self.status,
                faults=faults,
                elapsed=lambda: time.monotonic() - began,
                token=access.token,
                tls=access.tls,
            )

        admin = make(access.port)
        try:
            await admin.start()
        except TransportError:
            if not access.or_a_free_port:
                raise
            admin = make(0)
            await admin.start()
        self.admin = admin
        return admin

    async def close(self) -> None:
        """Say goodbye on the network and stop listening for people; the service is closed by its owner."""
        await self._stop_discovery()
        if self.admin is not None:
            await self.admin.close()

    def guards(self) -> list[Coroutine[object, object, None]]:
        """To be awaited while the agent runs: they return only by raising."""
        admin = [] if self.admin is None else [self.admin.wait_failed()]
        return [self._watch(), *admin]

    def status(self) -> Mapping[str, object]:
        """What people are told."""
        agent = self.service.agent
        alone = "" if agent.peers.alive() else "alone, for what it has itself: "
        self._note_progress()  # an epoch may have begun since the last look
        return agent_status(
            self.service,
            self.service.clock(),
            settled_line=alone + self._trend.line(agent.progress.residual(), self._goal, agent.phase),
            until_line=self._ending.describe(),
            incompatible=self._refusals.listed,
        ).to_dict()

    async def _watch(self) -> None:
        """Follow the key file and the address of this machine; surface bugs of the discoveries."""
        while True:
            if self._failures:
                await asyncio.wait(self._failures, timeout=WATCH_S)
            else:
                await asyncio.sleep(WATCH_S)
            for failure in self._failures:
                if failure.done():
                    failure.result()
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
        except TransportError as error:
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
                    on_seen=on_seen,
                    on_incompatible=refuse,
                    listen_host=self._listen_host,
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

    def _seen(self, record: PeerRecord) -> None:
        self._refusals.fits(record.peer)
        if not self.service.find(record):
            for discovery in self._discoveries:
                discovery.forget(record.peer)  # there may be room when it is next heard of

    def _refuse(self, record: PeerRecord, reason: RejectReason) -> None:
        if self._refusals.note(record, reason, self.service.clock()):
            self._say(f"{record.peer} at {record.address} is not spoken to: {reason}")
