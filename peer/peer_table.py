"""Who is believed to be alive. Membership decides only who the neighbours are; no answer rests on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire import PEERS_KNOWN_MAX

if TYPE_CHECKING:
    from wire import PeerId


class PeerTable:
    """Peers with their incarnations, fed by `seen` and `gone` from discovery or from a scenario.

    Invariant: a peer's incarnation falls only by `correct`; a gone peer comes back only by being seen again.
    """

    def __init__(self) -> None:
        self._alive: dict[PeerId, int] = {}
        self._gone: dict[PeerId, int] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def alive(self) -> list[PeerId]:
        """Known live peers in sorted order."""
        return sorted(self._alive)

    def incarnation(self, peer: PeerId) -> int | None:
        """The newest incarnation of a live peer; None for others."""
        return self._alive.get(peer)

    def seen(self, peer: PeerId, incarnation: int) -> bool:
        """Note a sign of life; whether it changed anything. An older incarnation or a full table: no."""
        known = self._alive.get(peer, self._gone.get(peer, -1))
        if incarnation < known or self._alive.get(peer) == incarnation:
            return False
        if peer not in self._alive and len(self._alive) >= PEERS_KNOWN_MAX:
            return False
        self._gone.pop(peer, None)
        self._alive[peer] = incarnation
        return True

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
        self._gone[peer] = known if incarnation is None else incarnation
        while len(self._gone) > PEERS_KNOWN_MAX:
            del self._gone[next(iter(self._gone))]
        return True
