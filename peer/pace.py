"""How fast agents tick, measured and told. Epochs, warm-ups and listening are counted in it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire import PeerId

SLOWNESS_MAX = 100.0  # nobody makes the swarm wait for peers more than so many times slower than asked for
TOLD_MAX = 2.0  # times the interval that its heartbeats show, nobody is believed to be slower
SLOWDOWN_MAX = 20.0  # however slow the links
PAUSE_MAX = 10.0  # intervals: what is longer was a sleep, or is the first of many and soon learned
SMOOTHING = 0.1  # weight of the newest tick in the own interval


class Pace:
    """Seconds from tick to tick: this agent's, measured, and what living in-neighbours say of theirs."""

    def __init__(self, nominal_s: float) -> None:
        self.own_s = nominal_s
        self._nominal_s = nominal_s
        self._others: dict[PeerId, float] = {}
        self._typical_s: float | None = nominal_s  # None: to be found again
        self._ticked_at: float | None = None

    def ticked(self, now: float) -> None:
        """Note that an own tick begins."""
        if self._ticked_at is not None:
            interval_s = min(now - self._ticked_at, PAUSE_MAX * self.own_s)
            self.own_s += SMOOTHING * (interval_s - self.own_s)
            self._typical_s = None
        self._ticked_at = now

    def heard(self, peer: PeerId, interval_s: float, shown_s: float | None) -> None:
        """Note what a peer says of itself, as far as its heartbeats, `shown_s` apart, bear it out.

        Nothing is noted before two of them were heard: else one message could make a whole swarm wait.
        """
        if shown_s is not None:
            self._others[peer] = min(interval_s, TOLD_MAX * shown_s, SLOWNESS_MAX * self._nominal_s)
            self._typical_s = None

    def told_s(self, peer: PeerId) -> float | None:
        """What a peer last said of itself; None if nothing."""
        return self._others.get(peer)

    def forget(self, peer: PeerId) -> None:
        """Nobody waits for a peer that is gone."""
        self._others.pop(peer, None)
        self._typical_s = None

    def typical_s(self) -> float:
        """The median: the slow must not step later than the others, nor the fast sooner."""
        if self._typical_s is None:
            self._typical_s = statistics.median([self.own_s, *self._others.values()])
        return self._typical_s

    def slowest_s(self) -> float:
        """The largest: the slowest must have warmed up and stepped in every epoch."""
        return max([self.own_s, *self._others.values()])

    def interval_s(self, delay_s: float, ticks_per_delay: float) -> float:
        """From one own tick to the next: as asked for, or longer where links are slow. DESIGN (Pacing).

        More than `ticks_per_delay` ticks while a message is on its way buy nothing but heat; 0: no limit.
        """
        wanted_s = delay_s / ticks_per_delay if ticks_per_delay else 0.0
        return max(self._nominal_s, min(wanted_s, SLOWDOWN_MAX * self._nominal_s))
