"""How an agent without an epoch of its own comes into one: it listens, then starts from what it heard."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Generic

from peer.admission import EPOCH_JUMP_MAX, EPOCH_MAX
from peer.algebra import V
from wire import PEERS_KNOWN_MAX

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
        self._said: dict[PeerId, int] = {}  # the epoch of each that was heard; 0: it listens as well

    def begin(self, now: float) -> None:
        """Listen (again) from now on."""
        self._since = now
        self._said.clear()
        self.restart()

    def restart(self) -> None:
        """The epoch listened to has changed: what was heard is of no use."""
        self.heard.clear()
        self._heard_since = None

    def swarm_seen(self, now: float) -> None:
        """Somebody has said that it is in an epoch."""
        self._swarm_seen_at = now

    def told(self, peer: PeerId, epoch: int) -> None:
        """A member has said in which epoch it is, 0 if in none."""
        self._said.pop(peer, None)
        self._said[peer] = epoch
        if len(self._said) > PEERS_KNOWN_MAX:
            del self._said[next(iter(self._said))]

    def believable(self) -> int:
        """The highest epoch that is not out of all proportion, a whole leap, to what most have said.

        One that tells an absurd number must not take a joiner, who knows none, where nobody follows.
        """
        said = [epoch for epoch in self._said.values() if epoch]
        return statistics.median_low(said) + EPOCH_JUMP_MAX - 1 if said else EPOCH_MAX

    def hear(self, push: Push[V], now: float) -> None:
        """File the newest estimates of one sender and block."""
        self.heard[push.sender, push.block] = push
        if self._heard_since is None:
            self._heard_since = now

    def is_over(self, blocks: int, typical_s: float, epoch_s_min: float, members: int, now: float) -> bool:
        """Whether every block was heard for long enough, or nothing more is to be expected.

        Where several take part it is not ended by the word of one, with which nothing could be compared.
        """
        complete = len({block for _, block in self.heard}) == blocks
        listened_s = now - self._heard_since if self._heard_since is not None else 0.0
        alone = len({peer for peer, _ in self.heard}) == 1 and sum(map(bool, self._said.values())) > 1
        if complete and not alone and listened_s >= self._settings.listen_ticks * typical_s:
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
        listeners = sum(not epoch for epoch in self._said.values())
        comes_back = self._founding_epoch > 1 and members > listeners
        waits = (swarm_lives or comes_back) and not self.heard
        return self._settings.listen_s_max + (epoch_s_min + recently_s if waits else 0.0)
