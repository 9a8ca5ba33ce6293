"""One outgoing link without its socket: what to write next, when to wake, when to dial again.

    slot --take--> fault plan --> held until due --> the socket (transport.py)

Pure: `now` is an argument, in seconds of any clock that does not run backwards.
"""

import heapq
import math
import random
from typing import Final

from wire.counters import LinkCounters, TransportCounters
from wire.faults import FaultPlan
from wire.messages import PeerId
from wire.slots import Outbox

RETRY_DELAY_S_MIN: Final = 0.1  # ten dials a second to a peer that restarts, or accepts and closes at once
RETRY_DELAY_S_MAX: Final = (
    5.0  # one dial in five seconds to a dead one: cheap, and soon enough after it returns
)
HELD_FRAMES_MAX: Final = 4_096  # delayed by a fault plan: seconds of delay at a thousand frames a second
HELD_BYTES_MAX: Final = 64 * 2**20  # beside it, since a frame may have a megabyte


class OutgoingLink:
    """From one agent to one target.

    Invariant: a frame leaves the outbox only when the socket asks for one, so that while the socket is busy,
    newer frames replace older ones; what a fault plan delays is bounded by HELD_FRAMES_MAX and
    HELD_BYTES_MAX, and lost beyond.
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "_outbox",
        "_plan",
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
        plan: FaultPlan | None,
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
        self.retry_at = -math.inf  # do not dial before
        self._retry_delay_s = RETRY_DELAY_S_MIN

    def next_frame(self, now: float, elapsed_s: float) -> bytes | None:
        """The frame to write now, if any. `elapsed_s` is the time of the fault plan."""
        while True:
            if self._held and self._held[0][0] <= now:
                _, _, frame = heapq.heappop(self._held)
                self._held_bytes -= len(frame)
                return frame
            taken = self._outbox.take(self.target)
            if taken is None or self._plan is None:
                return taken
            delays = self._plan.deliveries(self._source, self.target, elapsed_s, self._rng)
            if not delays:
                self._totals.lost_by_faults += 1
            for delay_s in delays:
                self._hold(now + delay_s, taken)

    def wake_at(self) -> float | None:
        """When a held frame is due; None if only a new one can bring work."""
        return self._held[0][0] if self._held else None

    def dialled(self, now: float) -> None:
        """A connection is attempted now; another one not before `retry_at`."""
        self.retry_at = now + self._retry_delay_s

    def succeeded(self, frame: bytes) -> None:
        """`frame` was written."""
        self._retry_delay_s = RETRY_DELAY_S_MIN
        self.counters.succeed()
        self._totals.sent += 1
        self._totals.bytes_sent += len(frame)

    def failed(self, now: float, error: str) -> None:
        """A frame could not be written. It is dropped: the next one contains it. Dial later and later."""
        self._retry_delay_s = min(2 * self._retry_delay_s, RETRY_DELAY_S_MAX)
        self.retry_at = now + self._retry_delay_s
        self.counters.fail(now, error)
        self._totals.unsent += 1

    def moved(self) -> None:
        """The target has another address: dial at once."""
        self.retry_at = -math.inf
        self._retry_delay_s = RETRY_DELAY_S_MIN

    def _hold(self, due: float, frame: bytes) -> None:
        if len(self._held) >= HELD_FRAMES_MAX or self._held_bytes + len(frame) > HELD_BYTES_MAX:
            self._totals.lost_by_faults += 1
            return
        self._serial += 1
        heapq.heappush(self._held, (due, self._serial, frame))
        self._held_bytes += len(frame)
