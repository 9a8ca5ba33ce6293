"""The swarm's averages of a few numbers, known to every agent: push-sum over running sums.

Every agent puts in its own numbers, and a weight of one. Values and weights are pushed, spread and summed up
like trackers; the ratio of both tends to the average over all agents, and follows where numbers change. The
sums travel with the messages that are sent anyway. They are plain floats: what is decided by them, such as
the length of a step, must not depend on the last bit.

Sources: Kempe, Dobra, Gehrke, "Gossip-based computation of aggregate information" (2003); running sums as in
`peer.running_sum`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire import PeerId

LARGEST = 1e100  # of an honest running sum, by far
LARGEST_OWN = 1e50  # of an own number: those of many agents together are no running sum beyond the largest
LEAST_WEIGHT = 1e-6  # less is left of one that hears nobody, or whose neighbours give nothing back


class Averages:
    """One agent's share of the sums.

    Invariant, up to rounding: over all agents of the highest epoch, held weights plus those on the links add
    up to the number of agents, and so do the values to the sum of `own`. Weights are never negative.
    """

    def __init__(self, count: int) -> None:
        self.own = (0.0,) * count
        self.zeros = (0.0,) * (count + 1)
        self.received: dict[PeerId, tuple[int, tuple[float, ...]]] = {}  # tick of the sender, and its sums
        self._restart()

    def _restart(self) -> None:
        self.held = [1.0, *self.own]  # the weight first: later releases may have more numbers
        self.pushed = self.zeros
        self._may_move = True

    def enter_epoch(self) -> None:
        """Begin with nothing but the own numbers."""
        self.received.clear()
        self._restart()

    def put(self, own: Sequence[float]) -> None:
        """Change the own numbers to these; an agent that holds little weight does so little by little.

        So what it takes for the average moves by the change at most; and only once until it hears something
        that pulls it back. Pushing without hearing, it would move by the whole change in every tick.
        Numbers beyond what can be told are told as the largest that can.
        """
        share = min(1.0, max(0.0, self.held[0]))
        if share < 1.0 and not self._may_move:
            return
        self._may_move = share == 1.0
        told = [min(max(number, -LARGEST_OWN), LARGEST_OWN) for number in own]
        changed = [old + share * (new - old) for new, old in zip(told, self.own, strict=True)]
        for index, (new, old) in enumerate(zip(changed, self.own, strict=True), start=1):
            self.held[index] += new - old
        self.own = tuple(changed)

    def objection(self, source: PeerId, tick: int, announced: tuple[float, ...]) -> str | None:
        """Why no honest agent can have pushed this up to this tick of its own; None if one can."""
        last, before = self.received.get(source, (-1, self.zeros))
        if not announced or tick <= last:
            return None
        if announced[0] < before[0]:
            return f"averages: the weight pushed falls from {before[0]:.6g} to {announced[0]:.6g}"
        largest = max(map(abs, announced))
        return f"averages: a sum of {largest:.3g} is beyond all bounds" if largest > LARGEST else None

    def absorb(self, source: PeerId, tick: int, announced: tuple[float, ...]) -> None:
        """Take in what a source has pushed up to a tick of its own, to which there is no objection.

        What is older than the newest brings nothing; nor does what is missing, as from older releases. What
        later ones have more is left out.
        """
        last, before = self.received.get(source, (-1, self.zeros))
        if announced and tick > last:
            self._may_move = True
            announced = (*announced, *self.zeros)[: len(self.zeros)]
            self.received[source] = (tick, announced)
            for index, (now, then) in enumerate(zip(announced, before, strict=True)):
                self.held[index] += now - then

    def push(self, copies: int) -> tuple[float, ...]:
        """Split all in `copies + 1` parts, keep one; return the totals that the targets are told."""
        if self.held[0] <= 0.0:  # rounded away
            return self.pushed
        share = 1.0 / (copies + 1)
        totals = tuple([total + held * share for total, held in zip(self.pushed, self.held, strict=True)])
        for index, (total, before) in enumerate(zip(totals, self.pushed, strict=True)):
            self.held[index] -= (total - before) * copies
        self.pushed = totals
        return totals

    def mean(self) -> tuple[float, ...]:
        """What is known of the averages; the own numbers, where nothing is."""
        weight = self.held[0]
        if weight < LEAST_WEIGHT:
            return self.own
        return tuple([value / weight for value in self.held[1:]])
