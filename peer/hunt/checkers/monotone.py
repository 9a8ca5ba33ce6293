"""Epochs and incarnations only rise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.events import EpochEntered
from peer.hunt.checkers.base import Checker

if TYPE_CHECKING:
    from peer.events import Event
    from peer.hunt.trial import Trial
    from wire import PeerId


class Monotone(Checker):
    """An identity's epochs rise over all its lives, and nobody believes in a life that has not begun."""

    name = "monotone"

    def __init__(self) -> None:
        self._epoch: dict[PeerId, int] = {}

    def event(self, trial: Trial, now: float, peer: PeerId, event: Event) -> None:  # noqa: ARG002
        """An epoch entered is higher than all before."""
        if isinstance(event, EpochEntered):
            before = self._epoch.get(peer, 0)
            if event.epoch <= before:
                self.fail(f"{peer} enters epoch {event.epoch} after {before} at {now:g} s")
            self._epoch[peer] = event.epoch

    def tick(self, trial: Trial) -> None:
        """What is believed of incarnations."""
        if trial.lied:
            return
        born: dict[PeerId, int] = {}
        for life in trial.lives:
            born[life.agent.identity.peer] = life.agent.identity.incarnation
        for life in trial.lives:
            if life.is_alive:
                for peer in life.agent.peers.alive():
                    believed = life.agent.peers.incarnation(peer)
                    if believed is None or believed > born.get(peer, -1):
                        self.fail(
                            f"{life.agent.identity.peer} believes in incarnation {believed} of {peer}, "
                            f"the last one born is {born.get(peer)}"
                        )
