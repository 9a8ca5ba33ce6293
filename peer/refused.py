"""The agents that are never spoken to, with the reason, as long as discovery shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peer.findings import listed
from wire import RejectReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wire import PeerId, PeerRecord

REFUSED_MAX: Final = 512  # listed at a time; anybody on the network can announce names
FORGOTTEN_S: Final = 180.0  # since discovery last showed it; it may come back meanwhile


def why_apart(reason: RejectReason, own: PeerRecord, other: PeerRecord) -> tuple[str, str]:
    """What keeps two agents apart, as said of the other, and what to do.

    Of models and tasks only fingerprints are told, so that what differs is not known.
    """
    if reason is RejectReason.WRONG_SWARM:
        return f"is of swarm {other.swarm!r}, not {own.swarm!r}", "give both the same --swarm"
    if reason is RejectReason.FUTURE_VERSION:
        read = f"reads protocol {other.oldest} to {other.protocol}, this one {own.oldest} to {own.protocol}"
        return read, "install the same release of hyperpush on both"
    if reason is RejectReason.WRONG_FINGERPRINT:
        models = f"has another model or task: fingerprint {other.fingerprint}, here {own.fingerprint}"
        return models, "give both the same --task, N of --shard, --seed, --personalization and settings"
    if not own.keys:
        return f"wants key {listed(other.keys)}, here is none", "give this agent the swarm's key: --key FILE"
    if not other.keys:
        return f"has no key, here is {listed(own.keys)}", "start it with the swarm's key: --key FILE"
    keys = f"has key {listed(other.keys)}, here is {listed(own.keys)}"
    return keys, "give both the same key file; `hyperpush keys show FILE` prints these ids"


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
