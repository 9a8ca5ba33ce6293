"""Whether an agent goes on, judged by what changes whenever it does."""

from __future__ import annotations

import math


class Pulse:
    """For how long nothing has changed, as far as whoever looks has seen. Looks may be rare."""

    __slots__ = ("_changed_at", "_mark")

    def __init__(self) -> None:
        self._mark: object = None
        self._changed_at = math.nan  # not looked at yet

    def still_s(self, mark: object, now: float) -> float:
        """Seconds since `mark` was first seen as it is; 0 at the first look, and when it is another one."""
        if math.isnan(self._changed_at) or mark != self._mark:
            self._mark, self._changed_at = mark, now
        return now - self._changed_at
