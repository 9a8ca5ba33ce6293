"""The agents that are never spoken to, with the reason, as long as discovery shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wire import PeerId, PeerRecord, RejectReason

REFUSED_MAX: Final = 512  # listed at a time; anybody on the network can announce names
FORGOTTEN_S: Final = 180.0  # since discovery last showed it; it may come back meanwhile


class Refusals:
    """The newest REFUSED_MAX agents that do not fit.

    Invariant: whoever no discovery has shown for FORGOTTEN_S before `look` is not listed after it.
    """

    __slots__ = ("_listed", "_shown_at")

    def __init__(self) -> None:
        self._listed: dict[PeerId, tuple[PeerRecord, RejectReason]] = {}
        self._shown_at: dict[PeerId, float] = {}

    @property
    def listed(self) -> Mapping[PeerId, tuple[PeerRecord, RejectReason]]:
        """Who does not fit, and why."""
        return self._listed

    def note(self, record: PeerRecord, reason: RejectReason, now: float) -> bool:
        """Discovery shows an agent that does not fit. True if that is to be told.

        What is told is bounded as the list is: where there is no room but by forgetting others, nothing is.
        """
        peer = record.peer
        known = self._listed.pop(peer, None)
        is_full = len(self._listed) >= REFUSED_MAX
        if is_full:
            self.fits(min(self._shown_at, key=self._shown_at.__getitem__))
        self._listed[peer] = (record, reason)
        self._shown_at[peer] = now
        return not is_full and (known is None or known[1] is not reason)

    def fits(self, peer: PeerId) -> None:
        """This agent is spoken to from now on, or is no more."""
        self._listed.pop(peer, None)
        self._shown_at.pop(peer, None)

    def look(self, shown: Collection[PeerId], now: float) -> None:
        """Discovery shows these at this moment: the others are forgotten after a while."""
        for peer in list(self._listed):
            if peer in shown:
                self._shown_at[peer] = now
            elif now - self._shown_at[peer] >= FORGOTTEN_S:
                self.fits(peer)
