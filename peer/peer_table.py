"""Who is believed to be alive. Membership decides only who the neighbours are; no answer rests on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wire import PEERS_KNOWN_MAX

if TYPE_CHECKING:
    from wire import PeerId


class PeerTable:
    """Peers with their incarnations, fed by `seen` and `gone`.

    Invariant: at most PEERS_KNOWN_MAX. A peer's incarnation falls only by `correct`; a gone peer comes back
    only by being seen again.
    """

    def __init__(self) -> None:
        self._tellers: dict[PeerId, PeerId] = {}  # of peers alive by hearsay alone: who spoke of them first
        self._alive: dict[PeerId, int] = {}
        self._sorted: list[PeerId] | None = None  # those alive; None: to be sorted again
        self._gone: dict[PeerId, int] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def alive(self) -> list[PeerId]:
        """Known live peers in sorted order, not to be changed. The same list until somebody comes or goes."""
        if self._sorted is None:
            self._sorted = sorted(self._alive)
        return self._sorted

    def incarnation(self, peer: PeerId) -> int | None:
        """The newest incarnation of a live peer; None for others."""
        return self._alive.get(peer)

    def seen(self, peer: PeerId, incarnation: int, teller: PeerId = "") -> bool:
        """Note a sign of life; whether it changed anything. An older incarnation or a full table: no.

        `teller` is who passed it on, "" if it came from the peer itself.
        """
        known = self._alive.get(peer, self._gone.get(peer, -1))
        if incarnation < known:
            return False
        if not teller:
            self._tellers.pop(peer, None)
        if self._alive.get(peer) == incarnation:
            return False
        if peer not in self._alive:
            if self.is_full():
                return False
            if teller:
                self._tellers[peer] = teller
            self._sorted = None
        self._gone.pop(peer, None)
        self._alive[peer] = incarnation
        return True

    def is_full(self) -> bool:
        """Whether somebody has to leave before somebody new comes."""
        return len(self._alive) >= PEERS_KNOWN_MAX

    def who_makes_room(self, teller: PeerId) -> PeerId | None:
        """Who should leave a full table for one of whom `teller` speaks, "" for one that is heard itself.

        The newest of those by hearsay alone whose teller told most; nobody, if `teller` itself tells as many.
        So whoever is heard has a place, and the others are shared evenly by those who tell.
        """
        told = Counter(self._tellers.values())
        if not told:
            return None
        most = max(told, key=lambda one: (told[one], one))
        if teller and told[most] <= told[teller] + 1:
            return None
        return next(peer for peer in reversed(self._tellers) if self._tellers[peer] == most)

    def correct(self, peer: PeerId, incarnation: int) -> None:
        """A gone peer was never beyond this incarnation, whatever was believed."""
        if self._gone.get(peer, -1) > incarnation:
            self._gone[peer] = incarnation

    def gone(self, peer: PeerId, incarnation: int | None = None) -> bool:
        """Note a departure; whether the peer had been alive.

        With an incarnation, only that one or older ones leave: late news does not remove who came back.
        """
        known = self._alive.get(peer)
        if known is None or (incarnation is not None and incarnation < known):
            return False
        del self._alive[peer]
        self._sorted = None
        self._tellers.pop(peer, None)
        self._gone[peer] = known if incarnation is None else incarnation
        while len(self._gone) > PEERS_KNOWN_MAX:
            del self._gone[next(iter(self._gone))]
        return True
