"""How much has been sent to a peer in vain: messages lost in a row are no cut link, however long they took.

Where bytes are few, an agent pushes seldom, and half of what it sends may be lost: silence alone then means
little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from wire import PeerId

IN_VAIN = 20  # messages; where half are lost one run in a million is as long


class Unheard:
    """Messages to each out-neighbour since it last told that it had heard a newer one of ours."""

    def __init__(self, limit: float) -> None:
        self._limit = min(limit, IN_VAIN)
        self._heard: dict[PeerId, int] = {}  # own heartbeats
        self._sent: dict[PeerId, int] = {}

    def only(self, peers: Collection[PeerId]) -> None:
        """Others are not looked at any more."""
        if self._sent.keys() != set(peers):
            self._sent = {peer: self._sent.get(peer, 0) for peer in peers}
            self._heard = {peer: self._heard.get(peer, -1) for peer in peers}

    def sent(self, targets: Iterable[PeerId]) -> None:
        """A message has gone out to these."""
        for peer in targets:
            if peer in self._sent:
                self._sent[peer] += 1

    def heard(self, peer: PeerId, heartbeat: int) -> None:
        """The newest own heartbeat that a peer says it has heard; -1 for none."""
        if heartbeat > self._heard[peer]:
            self._heard[peer], self._sent[peer] = heartbeat, 0

    def is_long(self, peer: PeerId) -> bool:
        """Whether so many messages were lost in a row that the link may be cut."""
        return self._sent[peer] >= self._limit
