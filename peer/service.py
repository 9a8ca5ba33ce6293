"""The runtime: one `Agent` as an asyncio service with its own socket, clock and worker threads.

    bytes in --> open --> decode --> agent.receive         timer --> agent.handle_timer
    agent effects: Compute --> worker thread --> agent.computed;   Send --> transport;   Persist --> disk

This file decides nothing about learning or membership. What takes long (averaging, gradients, encoding,
sealing, the disk) happens in a worker thread; at most one computation per agent is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any

from peer import assembly
from peer.errors import SettingError, StateError
from peer.events import Checkpoint, Compute, LinkDeaf, PeerDeparted, Persist, Reach, Send
from peer.keeping import Keeper
from peer.outlet import Outlet, has_happened, sayable
from peer.personal_copies import PersonalCopies
from peer.reaching import Reacher
from peer.sealing import Bare, Seal, Sealed
from peer.state import ephemeral
from wire import PROTOCOL_VERSION, PeerRecord, WebSocketTransport
from wire.envelope import SESSION_BYTES
from wire.keys import SECRET_BYTES, fingerprint_of_peer
from wire.records import HEARS_TOLD_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from torch import Tensor

    from peer.events import Event, TickResult
    from peer.predicting import PersonalModel
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.state import AgentState
    from peer.torch_learner import MakeOptimizer
    from peer.trace.files import Trace
    from wire import PeerId, Push
    from wire.keys import KeyRing
    from wire.outgoing import FaultModel
    from wire.transport import MakeTransport

FAREWELL_S = 1.0  # for the last words to leave
DISK_AGAIN_S = 1.0  # a disk that refuses an epoch is asked again so often
MARKS_EVERY_S = 5.0  # replay marks are kept so often; what came since a crash is of epochs that are over


class AgentService:
    """One agent of a swarm, complete: `start`, `run` until `stop`, `close`.

    Peers come in through `meet` (from the starter of a swarm), `find` (from discovery) and by what messages
    tell. Events are given to `on_event` in the loop. With `state` the agent keeps its identity, and enters no
    epoch twice; with `keys` messages are sealed, and `peer` must be named after the identity in `state`.
    """

    def __init__(
        self,
        problem: BilevelProblem[Any],
        settings: AgentSettings,
        *,
        peer: PeerId,
        swarm: str,
        seed: int,
        founder: bool,
        executor: Executor,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
        advertise_host: str | None = None,
        advertise_port: int | None = None,
        faults: FaultModel | None = None,
        make_optimizer: MakeOptimizer | None = None,
        on_event: Callable[[PeerId, Event], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
        task: str = "",
        state: AgentState | None = None,
        keys: KeyRing | None = None,
        allowed: frozenset[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        trace: Trace | None = None,
        make_transport: MakeTransport = WebSocketTransport,
    ) -> None:
        """`state` must not have been started; a new identity in memory without one.

        `clock` may jump ahead, but must not run backwards. `trace` is for whoever gives it to close.
        """
        self.clock = clock
        self.state = ephemeral(os.urandom(SECRET_BYTES)) if state is None else state
        if keys is not None and fingerprint_of_peer(peer) != self.state.identity.fingerprint:
            raise SettingError("peer", peer, f"end the name with -{self.state.identity.fingerprint}")
        incarnation = self.state.start()
        self.seal: Seal = Bare()
        if keys is not None:
            self.seal = Sealed(keys, self.state, os.urandom(SESSION_BYTES), allowed)
        self.agent, self.learner = assembly.make_agent(
            problem,
            settings,
            peer=peer,
            swarm=swarm,
            seed=seed,
            task=task,
            now=clock(),
            founder=founder,
            incarnation=incarnation,
            epoch_floor=self.state.epoch,
            make_optimizer=make_optimizer,
            trace=trace,
        )
        self._keeper = Keeper(self.agent, self.state, self._tell, clock)
        self._keeper.go_on()
        fingerprint = self.agent.identity.fingerprint
        self.record = PeerRecord(peer, incarnation, "", swarm, fingerprint, keys=self.seal.key_ids)
        self.transport = make_transport(
            peer=peer,
            listen_host=listen_host,
            listen_port=listen_port,
            advertise_host=advertise_host,
            advertise_port=advertise_port,
            identity=self._tell_identity,
            on_frame=self._on_frame,
            faults=faults,
            fault_seed=seed,
            clock=clock,
        )
        self.began_at = self.clock()
        self._reacher = Reacher(self.transport)
        self._executor = executor
        self._on_event = on_event
        self._on_problem = on_problem
        self._told = ""  # the last problem
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._frames: dict[tuple[int, int], bytes] = {}  # encoded by the worker, by (block, sequence)
        self._computation: asyncio.Task[None] | None = None
        self._copies = PersonalCopies(self.agent, self.learner)
        self._outlet = Outlet()
        self._marks_kept_at = self.began_at
        self._paused_until = 0.0
        self._waits_for_disk = False

    async def start(self) -> None:
        """Listen. Raises `wire.TransportError` if the port cannot be had."""
        await self.transport.start()
        self.move(self.transport.address)

    def move(self, address: str) -> None:
        """Others are told this address from now on; what was dialled from another one is dialled anew."""
        if self.record.address:
            self.transport.redial()
        self.record = dataclasses.replace(self.record, address=address)
        self._reacher.start(self.record)
        self.agent.listens_at(address)

    def use_keys(self, ring: KeyRing) -> None:
        """Seal and open with these keys from now on; a swarm changes its key without stopping."""
        if isinstance(self.seal, Sealed):
            self.seal.use(ring)
            self.record = dataclasses.replace(self.record, keys=ring.key_ids)
            self._reacher.start(self.record)

    def meet(self, record: PeerRecord) -> None:
        """A member of the swarm listens here, says its starter."""
        if record.peer != self.record.peer and self._reacher.found(record):
            self.agent.peer_seen(record.peer, record.incarnation, self.clock())
            self._wake.set()

    def find(self, record: PeerRecord, *, introduce: bool = True) -> bool:
        """Discovery has found a compatible agent here; its messages will tell whether it lives.

        `introduce`: it has answered there, and others may be told. False if there is no room for one more.
        """
        if record.peer == self.record.peer:
            return True
        if not self._reacher.found(record):
            return False
        self.agent.peer_found(record.peer, self.clock(), record.address, introduce=introduce)
        self._wake.set()
        return True

    @property
    def ticks_before(self) -> int | None:
        """What it goes on from had been learned in so many ticks, of all its lives; None: not known."""
        return self._keeper.ticks_before

    def checkpoint_age_s(self, now: float) -> float | None:
        """Since the last checkpoint was kept in this life; None if none was."""
        return None if self._keeper.kept_at is None else now - self._keeper.kept_at

    async def personal_model(self) -> PersonalModel:
        """A copy of what predicts here: as of now, or as of the end of the computation under way.

        Ticks wait while it is made, in the loop, once a tick at most. Raises `RefusalError` if the problem
        has none.
        """
        computing = self._computation is not None and not self._computation.done()
        return await self._copies.newest(computing=computing)

    def stop(self) -> None:
        """Let `run` return after the computation under way, or at once if it has not begun."""
        self._stopping.set()
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Stand still for a while, as a stopped process would: no ticks, nothing sent, nothing heard.

        The last call counts: 0 ends a pause.
        """
        self._paused_until = self.clock() + seconds
        self._wake.set()

    @property
    def waits_for(self) -> str:
        """Why it need not tick now: "its end", "the end of a pause", "the disk"; "" if it is to."""
        if self._stopping.is_set():
            return "its end"
        if self.clock() < self._paused_until:
            return "the end of a pause"
        return "the disk" if self._waits_for_disk else ""

    async def run(self) -> None:
        """Tick until `stop`, then say goodbye. A bug anywhere in the service surfaces here."""
        failure = asyncio.create_task(self.transport.wait_failed(), name=f"{self.record.peer} failures")
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                now = self.clock()
                if now >= self._paused_until:
                    self.agent.handle_timer(now)
                    await self._perform()
                self._reacher.work(now)
                await self._keep_marks(now)
                deadline = self.agent.next_deadline()
                wake_at = None if deadline is None else max(deadline, self._paused_until)
                await self._sleep_until(wake_at, failure)
            if self._computation is not None:
                await self._computation
                self._computation = None
            self.agent.leave(self.clock())
            await self._perform()
            await asyncio.gather(self.transport.flush(FAREWELL_S), self._keeper.finish())
        finally:
            failure.cancel()
            await asyncio.gather(failure, return_exceptions=True)

    async def close(self) -> None:
        """Close all sockets; what waits to be sent is dropped."""
        if self._computation is not None:
            await asyncio.gather(self._computation, return_exceptions=True)
        await self._reacher.close()
        await self.transport.close()
        try:
            await self._keeper.finish()
            await self._persist_marks("what came since it was written may be taken again after a restart")
        finally:
            self.state.close()

    async def _sleep_until(self, deadline: float | None, failure: asyncio.Task[None]) -> None:
        timeout_s = None if deadline is None else max(0.0, deadline - self.clock())
        waker = asyncio.create_task(self._wake.wait())
        watched: set[asyncio.Task[Any]] = {waker, failure}
        if self._computation is not None:
            watched.add(self._computation)
        try:
            await asyncio.wait(watched, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
        if failure.done():
            failure.result()
        if self._computation is not None and self._computation.done():
            computation, self._computation = self._computation, None
            computation.result()

    async def _perform(self) -> None:
        """Carry out the agent's effects in order; nothing is computed, or sent otherwise, while it awaits."""
        for effect in self.agent.take_effects():
            match effect:
                case Persist(epoch):
                    await self._persist_epoch(epoch)
                case Compute(work):
                    self._computation = asyncio.create_task(self._compute(work))
                case Send(targets, push):
                    self._send(targets, push)
                case Reach(peer, address):
                    self._reacher.told(peer, address)
                case Checkpoint(snapshot):
                    self._keeper.keep(snapshot)
        for event in self.agent.take_events():
            if not has_happened(event, self.state.epoch):
                continue
            if isinstance(event, PeerDeparted | LinkDeaf):
                self.transport.redial(event.peer)  # what nobody hears may be a dead connection
            if self._on_event is not None:
                self._on_event(self.record.peer, event)

    def _send(self, targets: tuple[PeerId, ...], push: Push[Tensor]) -> None:
        frame = self._frames.pop((push.block, push.sequence)) if push.arrays else None
        said = sayable(push, self.state.epoch)
        if said is not None:
            place = self._outlet.place(said)
            self.transport.send(targets, place, frame or self.seal.wrap(said, self._version(targets)))

    async def _persist_epoch(self, epoch: int) -> None:
        """In a disk's time. While it refuses, the agent stands still: it has not entered that epoch yet.

        If it is to stop meanwhile, the epoch is given up: nothing is sent in one that is not durable.
        """
        while True:
            try:
                await asyncio.to_thread(self.state.persist_epoch, epoch)
            except StateError as error:
                if self._stopping.is_set():
                    self._tell(f"{error}; the agent leaves without having entered epoch {epoch}")
                    return
                self._tell(f"{error}; the agent stands still until that is possible")
                self._waits_for_disk = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), DISK_AGAIN_S)
            else:
                self._told = ""
                self._waits_for_disk = False
                return

    def _tell(self, problem: str) -> None:
        """Once, until it is another one."""
        if problem != self._told and self._on_problem is not None:
            self._on_problem(problem)
        self._told = problem

    async def _compute(self, work: Callable[[], TickResult[Tensor]]) -> None:
        version = self._version(self.agent.out_neighbours)

        def tick() -> tuple[TickResult[Tensor], dict[tuple[int, int], bytes]]:
            result = work()
            frames = {(push.block, push.sequence): self.seal.wrap(push, version) for push in result.pushes}
            return result, frames

        try:
            result, self._frames = await asyncio.get_running_loop().run_in_executor(self._executor, tick)
        except BaseException:
            self._copies.failed()
            raise
        self._copies.computed()
        self.agent.computed(result, self.clock())
        await self._perform()

    def _version(self, targets: tuple[PeerId, ...]) -> int:
        """The newest version of the protocol that all of them read."""
        known = (self._reacher.protocol_of(peer) for peer in targets)
        return min((min(version, PROTOCOL_VERSION) for version in known if version), default=PROTOCOL_VERSION)

    def _on_frame(self, frame: bytes) -> PeerId | None:
        """File one message. Raises `DecodeError`, which the transport counts by reason."""
        if self.clock() < self._paused_until:
            return None
        push = self.seal.unwrap(frame)
        self.agent.receive(push, self.clock())
        self._reacher.heard(push.sender, push.address)
        return push.sender

    async def _keep_marks(self, now: float) -> None:
        if now - self._marks_kept_at > MARKS_EVERY_S:
            self._marks_kept_at = now
            await self._persist_marks("learning goes on")

    async def _persist_marks(self, otherwise: str) -> None:
        """Nothing depends on marks being kept at once; if they are not, that and `otherwise` is told."""
        marks = self.seal.marks()
        try:
            if marks != self.state.marks:  # a disk's time and wear
                await asyncio.to_thread(self.state.persist_replay, marks)
            self._told = ""
        except StateError as error:
            self._tell(f"{error}; {otherwise}")

    def _tell_identity(self) -> dict[str, object]:
        """What whoever asks is told: a record, and who hears whom."""
        membership, now = self.agent.membership, self.clock()
        alive = self.agent.peers.alive()
        return {
            **self.record.to_fields(),
            "hears": [peer for peer in alive if membership.hears(peer, now)][:HEARS_TOLD_MAX],
            "heard_by": [peer for peer in alive if membership.is_heard_by(peer, now)][:HEARS_TOLD_MAX],
        }
