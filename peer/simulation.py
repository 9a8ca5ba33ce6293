"""The swarm under a virtual clock: the same agents, the same fault plan, one thread, one order of events.

Nothing here draws time or randomness from outside: equal arguments give an equal trace, and its digest says
so. Messages pass through the codec, so what is simulated is what real links would carry, byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.events import Checkpoint, Compute, Persist, Send
from peer.outlet import Outlet, has_happened, sayable
from peer.storage import ProcessEndedError, Storage
from wire import BandwidthGate, DecodeError, FaultPlan, Outbox, PeerId, Push, link_rng
from wire.outgoing import LOOK_AGAIN_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from typing import Protocol

    from peer.agent import Agent
    from peer.events import Effect, Event, TickResult

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
    replaced: int = 0  # by a newer one, while waiting for a link
    bytes_sent: int = 0
    lost: int = 0  # by the fault plan
    undeliverable: int = 0  # the target was not running when the message came
    delivered: int = 0  # to this agent
    rejected: dict[str, int] = field(default_factory=dict)  # by this agent, by reason


@dataclass(slots=True)
class Link:
    """From one agent to another, whatever lives they lead."""

    source: PeerId
    target: PeerId
    rng: random.Random
    gate: BandwidthGate = field(default_factory=BandwidthGate)


@dataclass(slots=True)
class Clock:
    """What an agent reads: as every monotonic clock it never goes back, but may drift, and jump ahead."""

    rate: float = 1.0
    ahead_s: float = 0.0
    latest: float = 0.0  # reading

    def read(self, now: float, at_least: float = 0.0) -> float:
        """The reading at this virtual time; `at_least` is what rounding must not fall short of."""
        self.latest = max(self.latest, self.rate * now + self.ahead_s, at_least)
        return self.latest

    def when(self, reading: float) -> float:
        """The virtual time at which it reads so, to rounding."""
        return (reading - self.ahead_s) / self.rate


@dataclass(slots=True)
class Node(Generic[V]):
    """One running agent, what it has to do and what is counted about it.

    Invariant: for each target for which something waits in `outbox`, one look at the link is scheduled.
    """

    agent: Agent[V]
    counters: MessageCounters
    clock: Clock
    compute_s: float = 0.0  # for each computation
    timer_at: float | None = None  # by the agent's clock
    paused_until: float = 0.0
    result: TickResult[V] | None = None  # of a computation that is under way
    durable_epoch: int = 0
    is_leaving: bool = False
    outlet: Outlet = field(default_factory=Outlet)
    outbox: Outbox = field(default_factory=Outbox)
    effects: deque[Effect[V]] = field(default_factory=deque)  # not carried out yet


class Simulation(Generic[V]):
    """Runs agents until a virtual time. Time in seconds from 0.

    Invariant: events happen in the order of (time, order of being scheduled). `storage` holds what a crash
    would leave on each agent's disk. While a link with a bandwidth is busy, messages wait in the agent, the
    newest of each block.
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
        self.storage: Storage[V] = Storage()
        self.on_death: Callable[[PeerId], None] | None = None  # of a process that its disk has ended
        # What an agent makes of what has come; may raise DecodeError.
        self.on_arrival: Callable[[PeerId, Push[V]], Push[V]] | None = None
        self._faults = faults.begun()
        self._seed = seed
        self._codec = codec
        self._on_event = on_event
        self._record = record
        self._digest = hashlib.sha256()
        self._links: dict[tuple[PeerId, PeerId], Link] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call `action` when virtual time reaches `time` (or now, if that has passed)."""
        self._scheduled += 1
        heapq.heappush(self._heap, (max(time, self.now), self._scheduled, action))

    def start(self, agent: Agent[V], clock: Clock | None = None, compute_s: float = 0.0) -> None:
        """Let an agent run from now on, by a clock that is right if none is given.

        Each of its computations takes so long, during which it is given whatever comes; by default no time.
        """
        peer = agent.identity.peer
        assert peer not in self.nodes, f"{peer} is running already"
        counters = self.counters.setdefault(peer, MessageCounters())
        node = Node(agent, counters, clock or Clock(), compute_s)
        self.nodes[peer] = node
        self._note(b"start", peer, b"")
        self._perform(node)

    def kill(self, peer: PeerId) -> Agent[V]:
        """Stop an agent between two events, without a word to anybody."""
        self._note(b"kill", peer, b"")
        node = self.nodes.pop(peer)
        node.outbox = Outbox()
        return node.agent

    def leave(self, peer: PeerId) -> None:
        """Let an agent say goodbye and stop; what waits for its links still goes out.

        A computation is ended first. An epoch that its disk has refused so far is given up.
        """
        self._note(b"leave", peer, b"")
        node = self.nodes[peer]
        node.is_leaving = True
        self._finish(node)
        self._perform(node)
        if self.nodes.get(peer) is node:  # what it keeps on its disk may end it
            node.agent.leave(node.clock.read(self.now))
            self._perform(node)
        self.nodes.pop(peer, None)

    def pause(self, peer: PeerId, duration_s: float) -> None:
        """Stop an agent's process for a while: it looks at nothing until it wakes, and then at all that came.

        What is on its links goes on; what waits for them waits.
        """
        self._note(b"pause", peer, struct.pack("<d", duration_s))
        self.nodes[peer].paused_until = self.now + duration_s

    def jump(self, peer: PeerId, seconds: float) -> None:
        """Let an agent's clock jump ahead: its machine slept, or somebody stopped it and hid that."""
        self._note(b"jump", peer, struct.pack("<d", seconds))
        node = self.nodes[peer]
        node.clock.ahead_s += seconds
        node.timer_at = None
        self._give(node, lambda: None)  # what was to come later may be due

    def inject(self, target: PeerId, push: Push[V]) -> None:
        """Deliver a message that no agent here has sent."""
        node = self.nodes.get(target)
        if node is not None:
            self._note(b"inject", target, self._codec.encode(push))
            self._give(node, lambda: self._receive(node, push))

    def tell_seen(self, observer: PeerId, peer: PeerId, incarnation: int) -> None:
        """Let `observer` see `peer`, if it runs."""
        node = self.nodes.get(observer)
        if node is not None:
            self._give(node, lambda: node.agent.peer_seen(peer, incarnation, node.clock.read(self.now)))

    def tell_gone(self, observer: PeerId, peer: PeerId, incarnation: int) -> None:
        """Let `observer` believe that this incarnation of `peer` is gone, if `observer` runs."""
        node = self.nodes.get(observer)
        if node is not None:
            self._give(node, lambda: node.agent.peer_gone(peer, node.clock.read(self.now), incarnation))

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

    def _give(self, node: Node[V], act: Callable[[], None]) -> None:
        """An input: the agent sees to it and to what follows from it, as soon as it is awake, if it runs."""
        if self.nodes.get(node.agent.identity.peer) is not node:
            return
        if self.now < node.paused_until:
            self.at(node.paused_until, lambda: self._give(node, act))
            return
        act()
        self._perform(node)

    def _timer(self, node: Node[V], reading: float) -> None:
        if node.timer_at == reading:
            node.timer_at = None
        # Does nothing if another deadline has replaced this one.
        node.agent.handle_timer(node.clock.read(self.now, at_least=reading))

    def _perform(self, node: Node[V]) -> None:
        """Carry out the effects in order; `Compute` gives more, at once or later, and disks take time."""
        agent = node.agent
        peer = agent.identity.peer
        try:
            if not self._carry_out(node):
                return
        except ProcessEndedError:
            self.kill(peer)
            if self.on_death is not None:
                self.on_death(peer)
            return
        for event in agent.take_events():
            if not has_happened(event, node.durable_epoch):
                continue
            self._note(b"event", peer, repr(event).encode())
            if self._on_event is not None:
                self._on_event(self.now, peer, event)
        deadline = agent.next_deadline()
        if deadline is not None and deadline != node.timer_at:
            node.timer_at = deadline
            self.at(node.clock.when(deadline), lambda: self._give(node, lambda: self._timer(node, deadline)))

    def _carry_out(self, node: Node[V]) -> bool:
        """Whether all effects are carried out; if not, the rest are when the disk lets the agent go on."""
        agent, peer = node.agent, node.agent.identity.peer
        node.effects.extend(agent.take_effects())
        while node.effects:
            effect = node.effects.popleft()
            match effect:
                case Persist(epoch):
                    is_kept, seconds = self.storage.keep_epoch(peer, epoch)
                    if is_kept:
                        node.durable_epoch = epoch
                    if node.is_leaving:
                        continue  # it waits for nothing, and gives up what is not kept
                    if not is_kept:
                        node.effects.appendleft(effect)
                    if seconds > 0:
                        self.pause(peer, seconds)
                        self.at(node.paused_until, lambda: self._give(node, lambda: None))
                        return False
                case Compute(work):
                    self._compute(node, work)
                case Send(targets, push):
                    self._send(node, targets, push)
                case Checkpoint(snapshot):
                    self.storage.keep_snapshot(peer, snapshot)
                case _:
                    pass  # Reach: every address leads somewhere here
        return True

    def _compute(self, node: Node[V], work: Callable[[], TickResult[V]]) -> None:
        """With what the agent has now; it is given the result when that is there."""
        node.result = work()
        if node.compute_s and not node.is_leaving:
            self.at(self.now + node.compute_s, lambda: self._give(node, lambda: self._finish(node)))
        else:
            self._finish(node)
            node.effects.extend(node.agent.take_effects())

    def _finish(self, node: Node[V]) -> None:
        """A computation has ended, if one was under way."""
        result, node.result = node.result, None
        if result is not None:
            node.agent.computed(result, node.clock.read(self.now))

    def _send(self, node: Node[V], targets: tuple[PeerId, ...], push: Push[V]) -> None:
        said = sayable(push, node.durable_epoch)
        if said is None:
            return
        frame = self._codec.encode(said)
        self._note(b"send", said.sender, frame)
        arrived = self._codec.decode(frame)
        place = node.outlet.place(said)
        source = node.agent.identity.peer
        for target in targets:
            link = self._link(source, target)
            waits = node.outbox.waiting(target) > 0
            if not waits and self._ready_at(link) <= self.now:
                self._transmit(node, link, arrived, len(frame))
                continue
            node.counters.replaced += node.outbox.put(target, place, frame)
            if not waits:
                self._look_later(node, link)

    def _link(self, source: PeerId, target: PeerId) -> Link:
        link = self._links.get((source, target))
        if link is None:
            rng = link_rng(self._seed, source, target)
            link = self._links[source, target] = Link(source, target, rng)
        return link

    def _ready_at(self, link: Link) -> float:
        """When the bandwidth, as it is now, lets the next message on the link."""
        faults = self._faults.faults_on(link.source, link.target, self.now)
        return link.gate.ready_at(None if faults is None else faults.bandwidth_bits_per_s)

    def _look_later(self, node: Node[V], link: Link) -> None:
        ready_at = min(self._ready_at(link), self.now + LOOK_AGAIN_S)
        self.at(max(ready_at, node.paused_until), lambda: self._look(node, link))

    def _look(self, node: Node[V], link: Link) -> None:
        """Put what waits for a link there, as far as it is free."""
        target, awake = link.target, self.now >= node.paused_until
        while awake and node.outbox.waiting(target) and self._ready_at(link) <= self.now:
            frame = node.outbox.take(target)
            assert frame is not None
            self._transmit(node, link, self._codec.decode(frame), len(frame))
        if node.outbox.waiting(target):
            self._look_later(node, link)

    def _transmit(self, node: Node[V], link: Link, push: Push[V], frame_bytes: int) -> None:
        link.gate.took(frame_bytes, self.now)
        node.counters.sent += 1
        node.counters.bytes_sent += frame_bytes
        delays = self._faults.deliveries(push.sender, link.target, self.now, link.rng)
        node.counters.lost += not delays
        for delay_s in delays:
            self._schedule_delivery(node, link.target, push, self.now + delay_s)

    def _schedule_delivery(self, sender: Node[V], target: PeerId, push: Push[V], time: float) -> None:
        def deliver() -> None:
            node = self.nodes.get(target)
            if node is None:
                sender.counters.undeliverable += 1
            else:
                self._give(node, lambda: self._receive(node, push))

        self.at(time, deliver)

    def _receive(self, node: Node[V], push: Push[V]) -> None:
        node.counters.delivered += 1
        try:
            if self.on_arrival is not None:
                push = self.on_arrival(node.agent.identity.peer, push)
            node.agent.receive(push, node.clock.read(self.now))
        except DecodeError as error:
            reason = str(error.reason)
            node.counters.rejected[reason] = node.counters.rejected.get(reason, 0) + 1
