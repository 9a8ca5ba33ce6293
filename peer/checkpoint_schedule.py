"""When an agent keeps what it has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.settings import AgentSettings


class CheckpointSchedule:
    """By time or by own ticks, whichever comes first; never, if neither is asked for."""

    def __init__(self, settings: AgentSettings, now: float) -> None:
        self._every_s, self._every_ticks = settings.checkpoint_s, settings.checkpoint_ticks
        self._kept_at, self._kept_on = now, 0

    @property
    def is_used(self) -> bool:
        """Whether checkpoints are wanted at all."""
        return self._every_s > 0 or self._every_ticks > 0

    def is_due(self, ticks: int, now: float) -> bool:
        """Whether this tick is to be kept; then the next one is counted from here."""
        due = 0 < self._every_s <= now - self._kept_at or 0 < self._every_ticks <= ticks - self._kept_on
        if due:
            self._kept_at, self._kept_on = now, ticks
        return due
