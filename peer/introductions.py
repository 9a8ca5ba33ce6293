"""Peers that discovery has found and nobody here has heard: told to others, whose messages may reach them.

Who comes knows whom it may contact, but a link that is cut one way keeps that to itself: A knows of B and
cannot reach it, C could and knows nothing of B, and B hears nobody who knows A. So who was found and never
heard is told of, without a heartbeat, ever more rarely; whoever has not known of it sends it a sign of life,
and tells of it as well.

Any member may tell names of nobody. They take few places, of which each member has a share, for a while; who
is told again is not told of for longer, so such a name goes round once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wire import PEERS_KNOWN_MAX, Heartbeat

if TYPE_CHECKING:
    from peer.liveness import Liveness
    from wire import PeerId

HEARSAY_MAX = 64  # peers at a time that others have told of,
HEARSAY_OF_ONE_MAX = 16  # and any one of them
HEARSAY_TICKS = 1000  # own ticks that they are told of, and keep their place
SELDOMER_TICKS = 100  # own ticks, after which somebody is told of in every second one, then every third,
SELDOM = 20  # and at last in one of so many


def is_introduction(told: Heartbeat) -> bool:
    """Whether this is no sign of life, only a name and where it is said to listen."""
    return told.heartbeat == 0 and not told.left and told.hears is None


@dataclass(slots=True)
class Introduced:
    """One who is told of."""

    address: str  # "" if nobody says where
    teller: PeerId  # "": own discovery
    since: int  # own tick

    def is_due(self, tick: int) -> bool:
        """Whether it is told of in this own tick, in every message."""
        return tick % min(1 + (tick - self.since) // SELDOMER_TICKS, SELDOM) == 0


class Introductions:
    """Who was found by the own discovery, and whom others have told of. Pure: own ticks are arguments."""

    def __init__(self) -> None:
        self._known: dict[PeerId, Introduced] = {}

    def found(self, peer: PeerId, address: str, tick: int) -> None:
        """The own discovery has; again, if it was known. The oldest makes room."""
        self._known.pop(peer, None)
        self._known[peer] = Introduced(address, "", tick)
        while len(self._known) > PEERS_KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def told(self, introduction: Heartbeat, teller: PeerId, tick: int) -> bool:
        """A member has told of somebody who is not known here; whether there is room."""
        peer = introduction.peer
        tellers = [one.teller for one in self._known.values() if one.teller]
        if peer in self._known or len(tellers) >= HEARSAY_MAX or tellers.count(teller) >= HEARSAY_OF_ONE_MAX:
            return False
        self._known[peer] = Introduced(introduction.address, teller, tick)
        return True

    def next_told(self, liveness: Liveness) -> tuple[Heartbeat, ...]:
        """One of those whose turn it is, if there is any. Who is believed or was heard is forgotten."""
        tick = liveness.heartbeat
        for peer, one in list(self._known.items()):
            life = liveness.lives.get(peer)
            is_there = life is not None and (life.is_believed or life.heard_at is not None)
            if is_there or (one.teller and tick - one.since > HEARSAY_TICKS):
                del self._known[peer]
            elif one.is_due(tick):
                self._known[peer] = self._known.pop(peer)  # behind all others
                return (Heartbeat(peer, 0, 0, one.address),)
        return ()
