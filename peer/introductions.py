"""Peers that discovery has found and nobody here has heard: told to others, whose messages may reach them.

Who comes knows whom it may contact, but a link that is cut one way keeps that to itself: A knows of B and
cannot reach it, C could and knows nothing of B, and B hears nobody who knows A. So who was found and never
heard is told of, without a heartbeat, in every message for a while; whoever has not known of it sends it a
sign of life, and tells of it for as long.

Any member may tell names of nobody. They take places that are bounded and cost a beacon now and then; who is
told again is not told of for longer, so such a name goes round once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wire import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.lives import Life
    from wire import PeerId

INTRODUCED_MAX = 64  # at a time
INTRODUCED_TICKS = 1000.0  # of a typical peer; a dead peer is told some ten times meanwhile that we live


def is_introduction(told: Heartbeat) -> bool:
    """Whether this is no sign of life, only a name and where it is said to listen."""
    return told.heartbeat == 0 and not told.left and told.hears is None


class Introduced(NamedTuple):
    """One who was found."""

    address: str  # "" if nobody says where
    since: float


class Introductions:
    """At most INTRODUCED_MAX peers. Pure: time is an argument."""

    def __init__(self) -> None:
        self._known: dict[PeerId, Introduced] = {}  # the one told longest ago first

    def note(self, peer: PeerId, address: str, now: float) -> bool:
        """This peer can be contacted; whether there was room to remember it."""
        if peer not in self._known and len(self._known) >= INTRODUCED_MAX:
            return False
        self._known[peer] = Introduced(address, now)
        return True

    def tick(self, lives: Mapping[PeerId, Life], typical_s: float, now: float) -> None:
        """Who was heard of meanwhile, or told of for long enough, is forgotten."""
        for peer, found in list(self._known.items()):
            life = lives.get(peer)
            if (life is not None and life.heartbeat >= 0) or now - found.since > INTRODUCED_TICKS * typical_s:
                del self._known[peer]

    def next_told(self) -> tuple[Heartbeat, ...]:
        """One of them, by turns; nothing if there are none."""
        if not self._known:
            return ()
        peer = next(iter(self._known))
        found = self._known[peer] = self._known.pop(peer)  # behind all others
        return (Heartbeat(peer, 0, 0, found.address),)
