"""A fault plan that people change while messages travel. Pure: the time is an argument.

    the plan it began with --> scenario windows in it --> live changes, in the order in which they came

A live change is a window of the plan that opens now; it takes no draw from a link's random stream, so that
what it leaves alone stays as it was.
"""

import dataclasses
import math
import random
from typing import Final

from wire.errors import FaultPlanError
from wire.faults import FaultPlan, FaultWindow, is_among, is_meant
from wire.link_faults import FaultChange, LinkFaults
from wire.messages import PeerId

LIVE_CHANGES_MAX: Final = 256  # each message asks all of them; whoever needs more writes a scenario


class LiveFaults:
    """What links do now: `faults_on` and `deliveries` as of the FaultPlan in force.

    Invariant: at most LIVE_CHANGES_MAX live changes; those that are over, or that a later one hides for good,
    are forgotten with the next change.
    """

    __slots__ = ("_began_with", "_live", "plan")

    def __init__(self, plan: FaultPlan) -> None:
        plan = plan.begun()
        self._began_with = plan
        self._live: tuple[FaultWindow, ...] = ()
        self.plan = plan  # in force; replaced, never changed

    def faults_on(self, source: PeerId, target: PeerId, elapsed_s: float) -> LinkFaults | None:
        """The faults of one link now; None if it is cut."""
        return self.plan.faults_on(source, target, elapsed_s)

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """As FaultPlan.deliveries, with as many draws."""
        return self.plan.deliveries(source, target, elapsed_s, rng)

    def set(
        self,
        to: PeerId | None,
        faults: LinkFaults | FaultChange | None,
        elapsed_s: float,
        duration_s: float | None = None,
    ) -> None:
        """From now on, for `duration_s` or until cleared: other faults on the links to `to`, or on all.

        A cut (None) stays a cut whatever a FaultChange says later. Raises FaultPlanError.
        """
        end_s = math.inf if duration_s is None else elapsed_s + duration_s
        window = FaultWindow(elapsed_s, end_s, faults, targets=None if to is None else (to,))
        kept = [old for old in self._live if elapsed_s < old.end_s and not _hides(window, old)]
        if len(kept) >= LIVE_CHANGES_MAX:
            raise FaultPlanError(
                f"{LIVE_CHANGES_MAX} changes are in force, the most there may be; clear some of them"
            )
        self._replace((*kept, window))

    def clear(self, to: PeerId | None = None) -> int:
        """Take back the live changes of the links to `to`, or all: as the plan began. Returns how many.

        What was set for all links stays when only `to` is cleared.
        """
        kept = tuple(old for old in self._live if to is not None and not _is_for(old, to))
        cleared = len(self._live) - len(kept)
        self._replace(kept)
        return cleared

    def to_dict(self) -> dict[str, object]:
        """JSON-able: the plan it began with and the live changes, as FaultPlan and FaultWindow write them."""
        return {"plan": self._began_with.to_dict(), "live": [window.to_dict() for window in self._live]}

    def _replace(self, live: tuple[FaultWindow, ...]) -> None:
        self._live = live
        self.plan = dataclasses.replace(self._began_with, windows=(*self._began_with.windows, *live))


def _is_for(window: FaultWindow, to: PeerId) -> bool:
    """Whether it was set for this peer, under either form of its name."""
    return window.targets is not None and any(is_meant(one, to) for one in window.targets)


def _covers(new: tuple[PeerId, ...], old: tuple[PeerId, ...] | None) -> bool:
    """Whether all whom the old names mean are meant by the new ones, too: a name without key is of many."""
    return old is not None and all(is_among(one, new) for one in old)


def _hides(new: FaultWindow, old: FaultWindow) -> bool:
    """True if, from the start of `new` on, `old` has no say any more."""
    if new.end_s < old.end_s or not (new.targets is None or _covers(new.targets, old.targets)):
        return False
    if not isinstance(new.faults, FaultChange):
        return True
    return isinstance(old.faults, FaultChange) and set(old.faults.names) <= set(new.faults.names)
