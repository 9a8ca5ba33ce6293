"""What a checker is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.events import Event
    from peer.hunt.fixed_point import FixedVector
    from peer.hunt.processes import HuntSeat
    from peer.hunt.storage import CameBack
    from peer.hunt.trial import Life, Trial
    from peer.learner import TickReport
    from wire import PeerId, Push


class Violation(Exception):  # noqa: N818  (it is what the hunt is after)
    """A property does not hold. The text says which agents and numbers show it."""

    def __init__(self, checker: str, what: str) -> None:
        super().__init__(what)
        self.checker = checker


class Checker:
    """One property of one world; holds what it has to remember. Every method raises Violation."""

    name = ""

    def event(self, trial: Trial, now: float, peer: PeerId, event: Event) -> None:
        """An agent tells what happened."""

    def came_back(self, trial: Trial, member: HuntSeat, found: CameBack) -> None:
        """A process has started, for the first time or again, and goes on from what its disk has."""

    def ticked(
        self,
        trial: Trial,
        life: Life,
        before: Sequence[FixedVector],
        pushes: Sequence[Push[FixedVector]],
        report: TickReport,
    ) -> None:
        """An agent has computed; `before` are its stepped estimates, by stream, when that began."""

    def joined(self, trial: Trial, life: Life, heard: Mapping[tuple[PeerId, int], Push[FixedVector]]) -> None:
        """An agent that listened is about to begin with the mean of these."""

    def opened(self, trial: Trial, target: PeerId, sender: PeerId, author: PeerId) -> None:
        """An agent has opened a message of `sender`, that `author` has sealed in truth."""

    def tick(self, trial: Trial) -> None:
        """A nominal tick has passed."""

    def end(self, trial: Trial, core: Sequence[HuntSeat], ticks_before: Mapping[PeerId, int]) -> None:
        """Everybody has found the answer; `ticks_before` are the core's ticks when quiet began."""

    def require(self, holds: bool, what: str) -> None:
        """Raise unless it holds."""
        if not holds:
            self.fail(what)

    def fail(self, what: str) -> NoReturn:
        """It does not hold. Where much is looked at, only what is wrong should be put into words."""
        raise Violation(self.name, what)
