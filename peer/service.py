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
from typing import TYPE_CHECKING, Any

from peer import assembly
from peer.events import Compute, Persist, Send
from wire import DecodeError, PeerRecord, RejectReason, WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from torch import Tensor

    from peer.events import Event, TickResult
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.torch_learner import MakeOptimizer
    from wire import FaultPlan, PeerId, Push

UNREACHABLE_S = 10.0  # a target that cannot be dialled for so long is taken for gone
HOLD_OFF_S = 30.0  # a late message of a peer just gone must not bring it back
HELD_OFF_MAX = 512  # peers remembered as gone


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
    ) -> None:
        self.agent, self.learner = assembly.make_agent(
            problem,
            settings,
            peer=peer,
            swarm=swarm,
            seed=seed,
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
        self._held_off: dict[PeerId, tuple[float, int]] = {}  # until when, and which incarnation

    async def start(self) -> None:
        """Listen. Raises `wire.TransportError` if the port cannot be had."""
        await self.transport.start()
        self.record = dataclasses.replace(self.record, address=self.transport.address)
        self.agent.identity = dataclasses.replace(self.agent.identity, address=self.transport.address)

    def meet(self, record: PeerRecord) -> None:
        """A compatible peer lives at this address."""
        if record.peer == self.record.peer:
            return
        self._held_off.pop(record.peer, None)
        self.transport.connect(record.peer, record.address)
        self.agent.peer_seen(record.peer, record.incarnation, time.monotonic())
        self._wake.set()

    def part(self, peer: PeerId) -> None:
        """A peer is gone; only a newer incarnation, discovery, or patience bring it back."""
        incarnation = self.agent.peers.incarnation(peer)
        if incarnation is None:
            return
        now = time.monotonic()
        self._held_off[peer] = (now + HOLD_OFF_S, incarnation)
        if len(self._held_off) > HELD_OFF_MAX:
            del self._held_off[next(iter(self._held_off))]
        self.transport.disconnect(peer)
        self.agent.peer_gone(peer, now)
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
                case Send(targets, push):
                    self.transport.send(targets, push.block, self._frames.pop((push.block, push.sequence)))
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
        """File one message. Raises `DecodeError`, which the transport counts by reason."""
        push = assembly.decode(frame)
        now = time.monotonic()
        try:
            self.agent.receive(push, now)
        except DecodeError as error:
            if error.reason is not RejectReason.UNKNOWN_SENDER or not self._may_introduce_itself(push, now):
                raise
            own = self.record
            self.meet(PeerRecord(push.sender, push.incarnation, push.address, own.swarm, own.fingerprint))
            self.agent.receive(push, now)

    def _may_introduce_itself(self, push: Push[Tensor], now: float) -> bool:
        """A message of a stranger that says where it listens is as good as an announcement."""
        if not push.address or push.incarnation < (self.agent.peers.incarnation(push.sender) or 0):
            return False
        until, incarnation = self._held_off.get(push.sender, (now, -1))
        return now >= until or push.incarnation > incarnation

    def _part_from_unreachable(self, now: float) -> None:
        for peer, link in list(self.transport.per_peer.items()):
            if link.unreachable_since is not None and now - link.unreachable_since > UNREACHABLE_S:
                self.part(peer)
