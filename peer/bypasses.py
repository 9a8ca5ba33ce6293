"""Whom an agent pushes to beside its circles: peers that are cut off from those who should push to them.

Every agent leaves out the links that it finds deaf, each for itself. So a peer may be left without anybody
who pushes to it; or some peers push to each other, and nothing of theirs leaves, or nothing comes in, while
everybody hears somebody and nobody notices: their sums and the others' never meet, and the answer is wrong
for ever. What all know of who hears whom says who has to push across.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peer.topology import bridges, bypassed, next_behind
from wire.messages import HEARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.liveness import Liveness
    from wire import PeerId

UNREACHED_FACTOR = 4.0  # a peer is passed over when it was unheard for so many times `expire_ticks`
ALL_ARE_KNOWN = HEARS_MAX  # with up to so many others, all tell all that they live, and whom they hear
LOOK_TICKS = 4  # own ticks from look to look


class Bypasses:
    """Targets beside those of the circles. Pure: time is an argument."""

    def __init__(self, own: PeerId, liveness: Liveness, expire_ticks: float) -> None:
        self.targets: tuple[PeerId, ...] = ()
        self._own = own
        self._liveness = liveness
        self._expire_ticks = expire_ticks

    def look(
        self,
        believed: list[PeerId],
        alive_since: Mapping[PeerId, float],
        silence_s: Callable[[PeerId, PeerId], float],
        typical_s: float,
        now: float,
    ) -> bool:
        """Whether the targets are others now. `believed`: sorted; `silence_s` of a link, source first."""
        if self._liveness.heartbeat % LOOK_TICKS:
            return False
        shortest_s = self._expire_ticks * typical_s

        def reaches(source: PeerId, target: PeerId) -> bool:
            """As far as is known of them; who has come lately is not judged."""
            if target == self._own:
                life = self._liveness.lives.get(source)
                heard_at = None if life is None else life.heard_at
                since = max(alive_since.get(source, now), -math.inf if heard_at is None else heard_at)
                return now - since <= UNREACHED_FACTOR * silence_s(source, target)
            is_bridged = target in self.targets and source != self._own
            factor = 1.0 if is_bridged else UNREACHED_FACTOR  # who may be back has to prove it
            if self._liveness.is_heard_by(source, target, factor * shortest_s):
                return True
            silent_s = silence_s(source, target)
            since = alive_since.get(target, now)
            if source != self._own:
                since = max(since, alive_since.get(source, now))
            if now - since <= UNREACHED_FACTOR * silent_s:
                return True
            return self._liveness.is_heard_by(source, target, factor * silent_s)

        if len(believed) <= ALL_ARE_KNOWN:
            found = bridges(self._own, sorted({*believed, self._own}), reaches)
        else:
            found = bypassed(self._own, next_behind(self._own, believed), reaches)
        changed = found != self.targets
        self.targets = found
        return changed
