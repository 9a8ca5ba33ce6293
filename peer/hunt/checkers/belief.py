"""Where nobody lies, nobody is taken for a liar: who is disbelieved is left alone for thousands of ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.events import PeerQuarantined
from peer.hunt.checkers.base import Checker

if TYPE_CHECKING:
    from peer.events import Event
    from peer.hunt.trial import Trial
    from wire import PeerId


class Belief(Checker):
    """What a liar has said may go on from mouth to mouth; until there is one, all is true."""

    name = "belief"

    def event(self, trial: Trial, now: float, peer: PeerId, event: Event) -> None:  # noqa: ARG002
        """Somebody has doubts."""
        if isinstance(event, PeerQuarantined) and not trial.lied:
            self.fail(f"{peer} does not believe {event.peer}: {event.reason}")
