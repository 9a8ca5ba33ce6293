"""No identity is twice in one epoch, whatever it lost when it crashed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.events import EpochEntered
from peer.hunt.checkers.base import Checker

if TYPE_CHECKING:
    from peer.events import Event
    from peer.hunt.trial import Trial
    from wire import PeerId


class OnceInAnEpoch(Checker):
    """DESIGN (Epochs)."""

    name = "identity"

    def __init__(self) -> None:
        self._entered: set[tuple[PeerId, int]] = set()

    def event(self, trial: Trial, now: float, peer: PeerId, event: Event) -> None:
        """Every entry is a new one, and durable."""
        if isinstance(event, EpochEntered):
            entry = (peer, event.epoch)
            self.require(entry not in self._entered, f"{peer} enters epoch {event.epoch} again at {now:g} s")
            self._entered.add(entry)
            durable = trial.simulation.storage.epoch(peer)
            self.require(
                durable >= event.epoch, f"{peer} is in epoch {event.epoch}, on its disk is {durable}"
            )
