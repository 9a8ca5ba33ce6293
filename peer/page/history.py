"""Numbers of one agent over time, bounded: what a page draws as curves. Pure."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POINTS_MAX: Final = 600  # as many as a screen shows: 10 minutes at full rate, 20 at half of it, ...
CURVES_MAX: Final = 256  # of one agent; 8 bytes a number: 1.2 MB when all are full
NO_NUMBER: Final = math.nan


class History:
    """Curves over the same times. When full, every second point goes, and new ones come half as often.

    Invariant: times rise; at most POINTS_MAX of them, at most CURVES_MAX curves, all as long as the times.
    """

    def __init__(self, every_s: float = 1.0, points_max: int = POINTS_MAX) -> None:
        self._every_s = every_s
        self._points_max = points_max
        self._at_s = array("d")
        self._curves: dict[str, array[float]] = {}

    def add(self, at_s: float, values: Mapping[str, float]) -> bool:
        """Take these numbers if it is time for them; whether it was. A curve may begin or pause anywhere."""
        if not self.is_due(at_s):
            return False
        if len(self._at_s) >= self._points_max:
            self._thin()
        before = len(self._at_s)
        self._at_s.append(at_s)
        for name in values:
            if name not in self._curves and len(self._curves) < CURVES_MAX:
                self._curves[name] = array("d", [NO_NUMBER]) * before
        for name, curve in self._curves.items():
            curve.append(values.get(name, NO_NUMBER))
        return True

    def is_due(self, at_s: float) -> bool:
        """Whether numbers of this time would be taken."""
        return not self._at_s or at_s >= self._at_s[-1] + self._every_s

    def since(self, after_s: float = -math.inf) -> dict[str, object]:
        """All points later than that: {"at_s": [...], "curves": {name: [...]}}; NaN where there is none."""
        first = sum(1 for at_s in self._at_s if at_s <= after_s)
        return {
            "at_s": self._at_s[first:].tolist(),
            "curves": {name: curve[first:].tolist() for name, curve in self._curves.items()},
        }

    def _thin(self) -> None:
        """The newest of each pair stays, so that the last point never goes."""
        self._at_s = self._every_second(self._at_s)
        self._curves = {name: self._every_second(curve) for name, curve in self._curves.items()}
        self._every_s *= 2

    @staticmethod
    def _every_second(numbers: Iterable[float]) -> array[float]:
        kept = array("d", numbers)
        return kept[(len(kept) - 1) % 2 :: 2]
