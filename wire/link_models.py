"""What else links do to messages, beside what a FaultPlan says: models of one's own.

    message --> FaultPlan (lost? delayed? doubled?) --each copy--> LinkModel (lost? delayed more?) --> arrives

A model may remember, as a radio link does that is bad for a while; a FaultPlan does not.
"""

import random
from dataclasses import dataclass
from typing import NoReturn, Protocol, runtime_checkable

from wire.messages import PeerId


@runtime_checkable
class LinkModel(Protocol):
    """What becomes of each copy of a message.

    * Equal calls with equal streams give equal answers: it draws from `rng` alone, and knows no clock.
    * Links are independent: what it answers about one depends on what was asked about that one only.
    * `elapsed_s`, seconds since the start, does not run backwards on a link.
    * It can be pickled and copied before it is asked anything: every run and process has one of its own.
    * `str` gives the text by which people chose it.
    """

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """Seconds, 0 or more, by which each copy that arrives is late; () if it is lost."""


@dataclass(frozen=True, slots=True)
class ShownModel:
    """Of a plan that was written somewhere else: it can be shown, not asked."""

    text: str

    def deliveries(self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random) -> NoReturn:
        """Nobody knows here."""
        del source, target, elapsed_s, rng
        raise RuntimeError(f"{self.text} was read from a record: it can only be shown")

    def __str__(self) -> str:
        return self.text
