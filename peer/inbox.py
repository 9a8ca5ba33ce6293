"""What has arrived and waits for the next tick: one slot per (source, block), the newest wins.

Absorbing is done once a tick, off the event loop, whatever the rate of messages; what a newer message
replaces here costs nothing more. Until it is absorbed a message counts as still on its link.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal

from peer.admission import EPOCH_MAX
from peer.algebra import V

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire import PeerId, Push

    Key = tuple[PeerId, int]

Receipt = Literal["new", "stale"]


@dataclass(slots=True)
class InboxCounters:
    """What the receiver can tell of its links."""

    received: int = 0
    stale: int = 0  # not newer than one received before: late, or a duplicate, or of an old epoch
    gaps: int = 0  # sequence numbers jumped over: lost, or late (those are counted stale when they come)
    superseded: int = 0  # replaced in the inbox by a newer one before the tick came


class Inbox(Generic[V]):
    """Newest-wins slots for messages of the current and of higher epochs.

    Invariant: holds at most one message per (known source, block); of one link and block, messages come out
    in strictly rising (epoch, sequence).
    """

    def __init__(self, combine: Callable[[Push[V], Push[V]], Push[V]] | None = None) -> None:
        self._slots: dict[Key, Push[V]] = {}
        self._newest: dict[Key, tuple[int, int]] = {}
        self._lowest = 0  # epoch of which anything is kept
        self._combine = combine
        self.counters = InboxCounters()
        self.links: dict[PeerId, InboxCounters] = {}  # the same, by source

    def put(self, push: Push[V], *, lowest_epoch: int) -> Receipt:
        """File one message; `stale` if it brings nothing new. Messages below `lowest_epoch` never do."""
        link = self.links.get(push.sender)
        if link is None:
            link = self.links[push.sender] = InboxCounters()
        counted = (self.counters, link)
        for counters in counted:
            counters.received += 1
        key = (push.sender, push.block)
        mark = (push.epoch, push.sequence)
        last = self._newest.get(key, (0, 0))
        if push.epoch < lowest_epoch or mark <= last:
            for counters in counted:
                counters.stale += 1
            return "stale"
        expected = last[1] + 1 if push.epoch == last[0] else 1
        for counters in counted:
            counters.gaps += push.sequence - expected
        self._newest[key] = mark
        waiting = self._slots.get(key)
        if waiting is not None:
            for counters in counted:
                counters.superseded += 1
            if self._combine is not None and waiting.epoch == push.epoch:
                push = self._combine(waiting, push)
        self._slots[key] = push
        return "new"

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._slots)

    def highest_epoch(self, believable: int = EPOCH_MAX) -> int:
        """The highest epoch up to `believable` that waits; 0 if nothing does."""
        waiting = (push.epoch for push in self._slots.values())
        return max((epoch for epoch in waiting if epoch <= believable), default=0)

    def senders(self, epoch: int) -> int:
        """How many peers have something of this epoch waiting."""
        return len({push.sender for push in self._slots.values() if push.epoch == epoch})

    def highest_tick(self) -> int:
        """The most ticks that a waiting message's sender has done; 0 if nothing waits."""
        return max((push.tick for push in self._slots.values()), default=0)

    def take(self, epoch: int, *, entered: int = EPOCH_MAX) -> list[Push[V]]:
        """Empty the slots; return the messages of exactly this epoch in a fixed order.

        Others are dropped: of lower epochs, whose mass is abandoned, or of higher ones, which a listener does
        not believe. One who listens to this epoch has not `entered` it, and may fall back to the one that it
        was in: of that it still knows what was the newest.
        """
        lowest = min(epoch, entered)
        if lowest != self._lowest:
            self._lowest = lowest
            self._newest = {key: mark for key, mark in self._newest.items() if mark[0] >= lowest}
        taken = [self._slots[key] for key in sorted(self._slots)]
        self._slots.clear()
        return [push for push in taken if push.epoch == epoch]

    def forget(self, source: PeerId) -> None:
        """Free what belongs to a peer that is gone, or so it seems.

        Not which of its messages was the newest: older ones may still be under way in this epoch.
        """
        self.links.pop(source, None)
        for key in [key for key in self._slots if key[0] == source]:
            del self._slots[key]


def add_shares(older: Push[V], newer: Push[V]) -> Push[V]:
    """Two messages that carry shares both count, where running sums need only the newer."""
    arrays = tuple(old + new for old, new in zip(older.arrays, newer.arrays, strict=True))
    return replace(newer, arrays=arrays)
