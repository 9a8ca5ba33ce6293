"""What must hold, one property a file. A checker looks on; it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.hunt.checkers.answer import wrong_answer
from peer.hunt.checkers.base import Checker, Violation
from peer.hunt.checkers.belief import Belief
from peer.hunt.checkers.bounded import Bounded
from peer.hunt.checkers.finite import Finite
from peer.hunt.checkers.identity import OnceInAnEpoch
from peer.hunt.checkers.identity_key import IdentityByKey
from peer.hunt.checkers.loadable import Loadable
from peer.hunt.checkers.mass import Mass
from peer.hunt.checkers.monotone import Monotone
from peer.hunt.checkers.stale import NothingStale
from peer.hunt.checkers.starvation import NobodyStarves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.trial import Life, Trial
    from peer.learner import TickReport
    from wire import PeerId, Push

__all__ = ["Checker", "Onlookers", "Violation", "all_checkers", "wrong_answer"]


def all_checkers() -> list[Checker]:
    """One of each, for one world."""
    return [
        Mass(),
        OnceInAnEpoch(),
        IdentityByKey(),
        Monotone(),
        NothingStale(),
        Belief(),
        Bounded(),
        Finite(),
        NobodyStarves(),
        Loadable(),
    ]


@dataclass(frozen=True, slots=True)
class Onlookers:
    """Checkers, as they look at one solver."""

    trial: Trial
    life: Life
    checkers: Sequence[Checker]

    def ticked(
        self, before: Sequence[FixedVector], pushes: Sequence[Push[FixedVector]], report: TickReport
    ) -> None:
        """To each of them."""
        for checker in self.checkers:
            checker.ticked(self.trial, self.life, before, pushes, report)

    def joined(self, heard: Mapping[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """To each of them."""
        for checker in self.checkers:
            checker.joined(self.trial, self.life, heard)
