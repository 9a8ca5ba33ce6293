"""The swarm under a virtual clock: the same agents, the same fault plan, one thread, one order of events.

Nothing here draws time or randomness from outside: equal arguments give an equal trace, and its digest says
so. Messages pass through the codec, so what is simulated is what real links would carry, byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.events import Compute, Persist, Reach, Send
from wire import DecodeError, FaultPlan, PeerId, Push, link_rng

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from typing import Protocol

    from peer.agent import Agent
    from peer.events import Event

    class Codec(Protocol[V]):
        """Messages as bytes and back."""

        def encode(self, push: Push[V]) -> bytes:
            """One frame."""

        def decode(self, frame: bytes) -> Push[V]:
            """The message of a frame. Raises `wire.DecodeError`."""


@dataclass(slots=True)
class MessageCounters:
    """What became of one agent's messages; the simulator sees what agents cannot."""

    sent: int = 0  # put on a link
    bytes_sent: int = 0
    lost: int = 0  # by the fault plan
    undeliverable: int = 0  # the target was not running when the message came
    delivered: int = 0  # to this agent
    rejected: dict[str, int] = field(default_factory=dict)  # by this agent, by reason


@dataclass(slots=True)
class Node(Generic[V]):
    """One running agent and what is counted about it."""

    agent: Agent[V]
    counters: MessageCounters
    timer_at: float | None = None


class Simulation(Generic[V]):
    """Runs agents until a virtual time. Time in seconds from 0.

    Invariant: events happen in the order of (time, order of being scheduled); an agent's computation takes no
    virtual time. `durable` holds what a crash would leave on each agent's disk.
    """

    def __init__(
        self,
        *,
        faults: FaultPlan,
        seed: int,
        codec: Codec[V],
        record: Callable[[bytes], None] | None = None,
        on_event: Callable[[float, PeerId, Event], None] | None = None,
    ) -> None:
        self.now = 0.0
        self.nodes: dict[PeerId, Node[V]] = {}
        self.counters: dict[PeerId, MessageCounters] = {}
        self.durable: dict[PeerId, int] = {}
        self._faults = faults
        self._seed = seed
        self._codec = codec
        self._on_event = on_event
        self._record = record
        self._digest = hashlib.sha256()
        self._links: dict[tuple[PeerId, PeerId], random.Random] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call `action` when virtual time reaches `time` (or now, if that has passed)."""
        self._scheduled += 1
        heapq.heappush(self._heap, (max(time, self.now), self._scheduled, action))

    def start(self, agent: Agent[V]) -> None:
        """Let an agent run from now on."""
        peer = agent.identity.peer
        assert peer not in self.nodes, f"{peer} is running already"
        node = Node(agent, self.counters.setdefault(peer, MessageCounters()))
        self.nodes[peer] = node
        self._note(b"start", peer, b"")
        self._perform(node)

    def kill(self, peer: PeerId) -> Agent[V]:
        """Stop an agent between two events, without a word to anybody."""
        self._note(b"kill", peer, b"")
        return self.nodes.pop(peer).agent

    def tell_seen(self, observer: PeerId, peer: PeerId, incarnation: int) -> None:
        """Let `observer` see `peer`, if it runs."""
        node = self.nodes.get(observer)
        if node is not None:
            node.agent.peer_seen(peer, incarnation, self.now)
            self._perform(node)

    def tell_gone(self, observer: PeerId, peer: PeerId, incarnation: int) -> None:
        """Let `observer` believe that this incarnation of `peer` is gone, if `observer` runs."""
        node = self.nodes.get(observer)
        if node is not None:
            node.agent.peer_gone(peer, self.now, incarnation)
            self._perform(node)

    def run_until(self, time: float) -> None:
        """Process all events up to and including this time."""
        while self._heap and self._heap[0][0] <= time:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = time

    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that has happened so far, every byte sent included."""
        return self._digest.hexdigest()

    def _note(self, kind: bytes, peer: PeerId, content: bytes) -> None:
        record = b"|".join((struct.pack("<d", self.now), kind, peer.encode(), content))
        self._digest.update(record)
        if self._record is not None:
            self._record(record)

    def _timer(self, node: Node[V], due: float) -> None:
        if node.timer_at != due or self.nodes.get(node.agent.identity.peer) is not node:
            return  # another deadline has replaced this one, or the agent is dead
        node.timer_at = None
        node.agent.handle_timer(self.now)
        self._perform(node)

    def _perform(self, node: Node[V]) -> None:
        """Carry out the effects in order; `Compute` gives more at once."""
        agent = node.agent
        peer = agent.identity.peer
        while effects := agent.take_effects():
            for effect in effects:
                match effect:
                    case Persist(epoch):
                        assert epoch > self.durable.get(peer, 0), f"{peer} enters epoch {epoch} twice"
                        self.durable[peer] = epoch
                    case Compute(work):
                        agent.computed(work(), self.now)
                    case Send(targets, push):
                        self._send(node, targets, push)
                    case Reach():
                        pass  # every address leads somewhere here
        for event in agent.take_events():
            self._note(b"event", peer, repr(event).encode())
            if self._on_event is not None:
                self._on_event(self.now, peer, event)
        deadline = agent.next_deadline()
        if deadline is not None and deadline != node.timer_at:
            node.timer_at = deadline
            self.at(deadline, lambda: self._timer(node, deadline))

    def _send(self, node: Node[V], targets: tuple[PeerId, ...], push: Push[V]) -> None:
        source = push.sender
        frame = self._codec.encode(push)
        self._note(b"send", source, frame)
        arrived = self._codec.decode(frame)
        for target in targets:
            node.counters.sent += 1
            node.counters.bytes_sent += len(frame)
            rng = self._links.get((source, target))
            if rng is None:
                rng = self._links[source, target] = link_rng(self._seed, source, target)
            delays = self._faults.deliveries(source, target, self.now, rng)
            node.counters.lost += not delays
            for delay_s in delays:
                self._schedule_delivery(node, target, arrived, self.now + delay_s)

    def _schedule_delivery(self, sender: Node[V], target: PeerId, push: Push[V], time: float) -> None:
        def deliver() -> None:
            node = self.nodes.get(target)
            if node is None:
                sender.counters.undeliverable += 1
                return
            node.counters.delivered += 1
            try:
                node.agent.receive(push, self.now)
            except DecodeError as error:
                reason = str(error.reason)
                node.counters.rejected[reason] = node.counters.rejected.get(reason, 0) + 1
            self._perform(node)

        self.at(time, deliver)
