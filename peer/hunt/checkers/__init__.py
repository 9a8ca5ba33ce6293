"""What must hold, one property a file. A checker looks on; it changes nothing."""

from peer.hunt.checkers.answer import wrong_answer
from peer.hunt.checkers.base import Checker, Violation
from peer.hunt.checkers.bounded import Bounded
from peer.hunt.checkers.finite import Finite
from peer.hunt.checkers.identity import OnceInAnEpoch
from peer.hunt.checkers.loadable import Loadable
from peer.hunt.checkers.mass import Mass
from peer.hunt.checkers.monotone import Monotone
from peer.hunt.checkers.stale import NothingStale
from peer.hunt.checkers.starvation import NobodyStarves

__all__ = ["Checker", "Violation", "all_checkers", "wrong_answer"]


def all_checkers() -> list[Checker]:
    """One of each, for one world."""
    return [
        Mass(),
        OnceInAnEpoch(),
        Monotone(),
        NothingStale(),
        Bounded(),
        Finite(),
        NobodyStarves(),
        Loadable(),
    ]
