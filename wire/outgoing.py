"""One outgoing link without its socket: what to write next, when to wake, when to dial again.

    slot --take--> bandwidth, fault plan --> held until due --> the socket (sender.py)

Pure: `now` is an argument, in seconds of any clock that does not run backwards.
"""

import heapq
import math
import random
from typing import Final, Protocol

from wire.bandwidth import BandwidthGate
from wire.counters import LinkCounters, Route, TransportCounters
from wire.faults import LinkFaults
from wire.messages import PeerId
from wire.slots import Outbox

RETRY_DELAY_S_MIN: Final = 0.1  # ten dials a second to a peer that restarts, or accepts and closes at once
RETRY_DELAY_S_MAX: Final = (
    5.0  # one dial in five seconds to a dead one: cheap, and soon enough after it returns
)
REDIAL_S: Final = 60.0  # while the target's own websocket works, which any stranger may pretend without keys
LOOK_AGAIN_S: Final = 1.0  # at the bandwidth of a link: a plan may change while a frame takes its time
HELD_FRAMES_MAX: Final = 4_096  # delayed by a fault plan: seconds of delay at a thousand frames a second
HELD_BYTES_MAX: Final = 64 * 2**20  # beside it, since a frame may have a megabyte


class FaultModel(Protocol):
    """What links do, now: a FaultPlan, or one that is changed while messages travel."""

    def faults_on(self, source: PeerId, target: PeerId, elapsed_s: float) -> LinkFaults | None:
        """The faults of one link now; None if it is cut."""

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """Delay in seconds of every copy of a message sent now that arrives; () if it is lost."""


class OutgoingLink:
    """From one agent to one target.

    Invariant: a frame leaves the outbox only when the socket asks for one and the bandwidth of the faults
    allows it, so that while either is busy, newer frames replace older ones; what a fault plan delays is
    bounded by HELD_FRAMES_MAX and HELD_BYTES_MAX, and lost beyond.
    """

    __slots__ = (
        "_dialled_at",
        "_gate",
        "_held",
        "_held_bytes",
        "_outbox",
        "_plan",
        "_ready_at",
        "_retry_delay_s",
        "_rng",
        "_serial",
        "_source",
        "_totals",
        "counters",
        "retry_at",
        "target",
    )

    def __init__(
        self,
        source: PeerId,
        target: PeerId,
        *,
        outbox: Outbox,
        plan: FaultModel | None,
        rng: random.Random,
        counters: LinkCounters,
        totals: TransportCounters,
    ) -> None:
        self._source = source
        self.target = target
        self._outbox = outbox
        self._plan = plan
        self._rng = rng
        self.counters = counters
        self._totals = totals
        self._held: list[tuple[float, int, bytes]] = []  # a heap of (due, serial, frame)
        self._held_bytes = 0
        self._serial = 0
        self._gate = BandwidthGate()
        self._ready_at = -math.inf  # when the bandwidth allows the next frame, as of the last look
        self._dialled_at = -math.inf
        self.retry_at = -math.inf  # do not dial before
        self._retry_delay_s = RETRY_DELAY_S_MIN

    def next_frame(self, now: float, elapsed_s: float) -> bytes | None:
        """The frame to write now, if any. `elapsed_s` is the time of the fault plan."""
        while True:
            if self._held and self._held[0][0] <= now:
                _, _, frame = heapq.heappop(self._held)
                self._held_bytes -= len(frame)
                return frame
            if self._plan is None:
                return self._outbox.take(self.target)
            faults = self._plan.faults_on(self._source, self.target, elapsed_s)
            self._ready_at = self._gate.ready_at(None if faults is None else faults.bandwidth_bits_per_s)
            taken = self._outbox.take(self.target) if self._ready_at <= now else None
            if taken is None:
                return None
            self._gate.took(len(taken), now)
            delays = self._plan.deliveries(self._source, self.target, elapsed_s, self._rng)
            if not delays:
                self._totals.lost_by_faults += 1
            for delay_s in delays:
                self._hold(now + delay_s, taken)

    def wake_at(self, now: float) -> float | None:
        """When to ask again, if next_frame gave none; None if only a new frame can bring work."""
        due = self._held[0][0] if self._held else None
        if not self._outbox.waiting(self.target):
            return due
        ready_at = min(self._ready_at, now + LOOK_AGAIN_S)
        return ready_at if due is None else min(due, ready_at)

    def dial_at(self, *, beside_reverse: bool) -> float:
        """Not to be dialled before; rarely, while the target has a websocket open to here that works."""
        return max(self.retry_at, self._dialled_at + REDIAL_S) if beside_reverse else self.retry_at

    def dialled(self, now: float) -> None:
        """A connection is attempted now; another one not before `retry_at`."""
        self._dialled_at = now
        self.retry_at = now + self._retry_delay_s

    def succeeded(self, frame: bytes, route: Route) -> None:
        """`frame` was written."""
        self._retry_delay_s = RETRY_DELAY_S_MIN
        self.counters.succeed(route)
        self._totals.sent += 1
        self._totals.bytes_sent += len(frame)
        self.counters.bytes_sent += len(frame)

    def failed(self, now: float, error: str, *, other_way: bool = False) -> None:
        """A frame could not be written. It is dropped: the next one contains it. Dial later and later.

        With `other_way` the target is not unreachable: the next frame goes there.
        """
        self._retry_delay_s = min(2 * self._retry_delay_s, RETRY_DELAY_S_MAX)
        self.retry_at = now + self._retry_delay_s
        self.counters.fail(now, error, other_way=other_way)
        self._totals.unsent += 1

    def stranded(self, now: float) -> None:
        """There is no way to the target. What waits goes on waiting, and being replaced."""
        if self._held or self._outbox.waiting(self.target):
            self.counters.fail(now, "it cannot be dialled and has opened no websocket to here", frames=0)

    def moved(self) -> None:
        """The target has another address: dial at once."""
        self.retry_at = self._dialled_at = -math.inf
        self._retry_delay_s = RETRY_DELAY_S_MIN

    def _hold(self, due: float, frame: bytes) -> None:
        if len(self._held) >= HELD_FRAMES_MAX or self._held_bytes + len(frame) > HELD_BYTES_MAX:
            self._totals.lost_by_faults += 1
            return
        self._serial += 1
        heapq.heappush(self._held, (due, self._serial, frame))
        self._held_bytes += len(frame)
