"""The runtime: one `Agent` as an asyncio service with its own socket, clock and worker threads.

    bytes in --> decode --> agent.receive         timer --> agent.handle_timer
    agent effects: Compute --> worker thread --> agent.computed;   Send --> transport

This file decides nothing about learning. Everything that takes longer than filing a message (averaging,
gradients, encoding) happens in a worker thread; at most one computation per agent is under way.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peer import assembly
from peer.events import Compute, Persist, Reach, Send
from wire import DecodeError, PeerRecord, RejectReason, WebSocketTransport
from wire.records import incompatibility, read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from torch import Tensor

    from peer.events import Event, TickResult
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.torch_learner import MakeOptimizer
    from wire import FaultPlan, PeerId

UNREACHABLE_S = 10.0  # a target that cannot be dialled for so long is taken for gone
HOLD_OFF_S = 30.0  # a late message of a peer just gone must not bring it back; doubled each time it goes
HOLD_OFF_S_MAX = 3600.0
PARTED_MAX = 512  # peers remembered as gone
ASKED_MAX = 8  # strangers asked at the same time who they are; a flood of names costs no more
BEACON = -1  # in the place of a block: beacons replace beacons only
ANSWER_S_MAX = 2.0  # time they have to answer


@dataclass(frozen=True, slots=True)
class Parted:
    """A peer that is gone, and when to ask at its address again."""

    record: PeerRecord
    ask_at: float
    hold_off_s: float

    def again(self, record: PeerRecord, now: float) -> Parted:
        """Wait twice as long as the last time, up to a limit."""
        hold_off_s = min(2 * self.hold_off_s, HOLD_OFF_S_MAX)
        return Parted(record, now + hold_off_s, hold_off_s)


class AgentService:
    """One agent of a swarm, complete: `start`, `run` until `stop`, `close`.

    Peers come in through `meet` (from discovery, or from the starter of a swarm) and leave through `part`.
    Events are given to `on_event` in the loop.
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
        faults: FaultPlan | None = None,
        make_optimizer: MakeOptimizer | None = None,
        on_event: Callable[[PeerId, Event], None] | None = None,
        task: str = "",
    ) -> None:
        self.agent, self.learner = assembly.make_agent(
            problem,
            settings,
            peer=peer,
            swarm=swarm,
            seed=seed,
            task=task,
            now=time.monotonic(),
            founder=founder,
            make_optimizer=make_optimizer,
        )
        self.record = PeerRecord(peer, 0, "", swarm, self.agent.identity.fingerprint)
        self.transport = WebSocketTransport(
            peer=peer,
            listen_host=listen_host,
            listen_port=listen_port,
            advertise_host=advertise_host,
            identity=self.record.to_fields(),
            on_frame=self._on_frame,
            faults=faults,
            fault_seed=seed,
        )
        self._executor = executor
        self._on_event = on_event
        self._wake = asyncio.Event()
        self._stopping = False
        self._frames: dict[tuple[int, int], bytes] = {}  # encoded by the worker, by (block, sequence)
        self._computation: asyncio.Task[None] | None = None
        self._met: dict[PeerId, PeerRecord] = {}
        self._parted: dict[PeerId, Parted] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}  # by address

    async def start(self) -> None:
        """Listen. Raises `wire.TransportError` if the port cannot be had."""
        await self.transport.start()
        self.record = dataclasses.replace(self.record, address=self.transport.address)
        self.agent.listens_at(self.transport.address)

    def meet(self, record: PeerRecord) -> None:
        """A compatible peer lives at this address; whoever was there before is gone."""
        if record.peer == self.record.peer:
            return
        for other, known in list(self._met.items()):
            if known.address == record.address and other != record.peer:
                self.part(other)
        self.agent.peer_seen(record.peer, record.incarnation, time.monotonic())
        if self.agent.peers.incarnation(record.peer) is None:
            return  # the table of peers is full
        self._met[record.peer] = record
        self.transport.connect(record.peer, record.address)
        self._wake.set()

    def part(self, peer: PeerId) -> None:
        """A peer is gone. It is asked again later, ever more rarely, as it may only have been cut off."""
        record = self._met.pop(peer, None)
        if record is None:
            return
        now = time.monotonic()
        before = self._parted.pop(peer, None)
        first = Parted(record, now + HOLD_OFF_S, HOLD_OFF_S)
        self._parted[peer] = first if before is None else before.again(record, now)
        while len(self._parted) > PARTED_MAX:
            del self._parted[next(iter(self._parted))]
        self.transport.disconnect(peer)
        self.agent.peer_gone(peer, now, record.incarnation)
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return after the computation under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Tick until `stop`. A bug anywhere in the service surfaces here."""
        self._stopping = False
        failure = asyncio.create_task(self.transport.wait_failed(), name=f"{self.record.peer} failures")
        try:
            while not self._stopping:
                self._wake.clear()
                now = time.monotonic()
                self.agent.handle_timer(now)
                self._perform()
                self._part_from_unreachable(now)
                self._ask_parted(now)
                await self._sleep_until(self.agent.next_deadline(), failure)
            if self._computation is not None:
                await self._computation
        finally:
            failure.cancel()
            await asyncio.gather(failure, return_exceptions=True)

    async def close(self) -> None:
        """Close all sockets; what waits to be sent is dropped."""
        if self._computation is not None:
            await asyncio.gather(self._computation, return_exceptions=True)
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self.transport.close()

    async def _sleep_until(self, deadline: float | None, failure: asyncio.Task[None]) -> None:
        timeout_s = None if deadline is None else max(0.0, deadline - time.monotonic())
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

    def _perform(self) -> None:
        """Carry out the agent's effects in order."""
        for effect in self.agent.take_effects():
            match effect:
                case Persist():
                    pass  # no state directory yet: every start is a new identity, which has entered no epoch
                case Compute(work):
                    self._computation = asyncio.create_task(self._compute(work))
                case Send(targets, push) if push.arrays:
                    self.transport.send(targets, push.block, self._frames.pop((push.block, push.sequence)))
                case Send(targets, push):
                    self.transport.send(targets, BEACON, assembly.encode(push))
                case Reach():
                    pass
        for event in self.agent.take_events():
            if self._on_event is not None:
                self._on_event(self.record.peer, event)

    async def _compute(self, work: Callable[[], TickResult[Tensor]]) -> None:
        def tick() -> tuple[TickResult[Tensor], dict[tuple[int, int], bytes]]:
            result = work()
            return result, {(push.block, push.sequence): assembly.encode(push) for push in result.pushes}

        result, self._frames = await asyncio.get_running_loop().run_in_executor(self._executor, tick)
        self.agent.computed(result, time.monotonic())
        self._perform()

    def _on_frame(self, frame: bytes) -> None:
        """File one message. Raises `DecodeError`, which the transport counts by reason.

        A stranger that says where it listens is asked who it is; its later messages are let in if it answers.
        """
        push = assembly.decode(frame)
        now = time.monotonic()
        try:
            self.agent.receive(push, now)
        except DecodeError as error:
            parted = self._parted.get(push.sender)
            waits = parted is not None and now < parted.ask_at
            if error.reason is RejectReason.UNKNOWN_SENDER and push.address and not waits:
                self._ask(push.address)
            raise

    def _ask(self, address: str) -> None:
        """Ask who listens there, in the background; a few at a time, others when they push again."""
        if address in self._asking or len(self._asking) >= ASKED_MAX:
            return
        self._asking[address] = asyncio.create_task(self._ask_and_meet(address))

    async def _ask_and_meet(self, address: str) -> None:
        try:
            fields = await self.transport.fetch_identity(address, ANSWER_S_MAX)
            if fields is not None:
                record = read_record(fields, address)
                if incompatibility(self.record, record) is None:
                    self.meet(record)
        except DecodeError:
            pass  # whoever answers there is none of us
        finally:
            del self._asking[address]

    def _part_from_unreachable(self, now: float) -> None:
        """Only targets that are pushed to all the time can show that they are not there."""
        for peer in self.agent.out_neighbours:
            link = self.transport.per_peer.get(peer)
            since = None if link is None else link.unreachable_since
            if since is not None and now - since > UNREACHABLE_S:
                self.part(peer)

    def _ask_parted(self, now: float) -> None:
        for peer, parted in list(self._parted.items()):
            if peer not in self._met and now >= parted.ask_at:
                self._ask(parted.record.address)
                self._parted[peer] = parted.again(parted.record, now)
