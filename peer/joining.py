"""How an agent without an epoch of its own comes into one: it listens, then starts from what it heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from peer.algebra import V

if TYPE_CHECKING:
    from peer.settings import AgentSettings
    from wire import PeerId, Push


class Listening(Generic[V]):
    """What a joiner has heard so far, and how long it waits for more.

    `founding_epoch` is the number it would begin with on its own; above 1 it comes back to a swarm that may
    still use that number.
    """

    def __init__(self, settings: AgentSettings, founding_epoch: int, now: float) -> None:
        self.heard: dict[tuple[PeerId, int], Push[V]] = {}
        self._settings = settings
        self._founding_epoch = founding_epoch
        self._since = now
        self._heard_since: float | None = None
        self._swarm_seen_at: float | None = None

    def begin(self, now: float) -> None:
        """Listen (again) from now on."""
        self._since = now
        self.restart()

    def restart(self) -> None:
        """The epoch listened to has changed: what was heard is of no use."""
        self.heard.clear()
        self._heard_since = None

    def swarm_seen(self, now: float) -> None:
        """Somebody has said that it is in an epoch."""
        self._swarm_seen_at = now

    def hear(self, push: Push[V], now: float) -> None:
        """File the newest estimates of one sender and block."""
        self.heard[push.sender, push.block] = push
        if self._heard_since is None:
            self._heard_since = now

    def is_over(self, blocks: int, typical_s: float, epoch_s_min: float, members: int, now: float) -> bool:
        """Whether every block was heard for long enough, or nothing more is to be expected."""
        complete = len({block for _, block in self.heard}) == blocks
        listened_s = now - self._heard_since if self._heard_since is not None else 0.0
        if complete and listened_s >= self._settings.listen_ticks * typical_s:
            return True
        return now - self._since >= self._patience_s(typical_s, epoch_s_min, members, now)

    def _patience_s(self, typical_s: float, epoch_s_min: float, members: int, now: float) -> float:
        """How long to wait for somebody to push.

        Who is among agents that learn already gives them time to begin an epoch with it: its own model is at
        its start, and the number it would found is often the one they are in.
        """
        seen = self._swarm_seen_at
        recently_s = self._settings.expire_ticks * typical_s
        swarm_lives = seen is not None and now - seen <= recently_s
        comes_back = self._founding_epoch > 1 and members > 0
        waits = (swarm_lives or comes_back) and not self.heard
        return self._settings.listen_s_max + (epoch_s_min + recently_s if waits else 0.0)
