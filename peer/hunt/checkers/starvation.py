"""Nobody who is slow is left behind: it ticks at its own speed and is in the epoch of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.hunt.world import TICK_S
from peer.pace import SLOWDOWN_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.hunt.processes import HuntSeat
    from peer.hunt.trial import Trial
    from wire import PeerId

MARGIN = 2.0  # jitter and drift


class NobodyStarves(Checker):
    """Pacing may slow an agent down by SLOWDOWN_MAX, others may not slow it at all."""

    name = "starvation"

    def end(self, trial: Trial, core: Sequence[HuntSeat], ticks_before: Mapping[PeerId, int]) -> None:
        """Since quiet began."""
        elapsed_s = trial.simulation.now - trial.world.quiet_s
        for member in core:
            assert member.agent is not None
            made = member.agent.ticks - ticks_before[member.peer]
            due = elapsed_s * member.speed / TICK_S / SLOWDOWN_MAX / MARGIN - 1
            self.require(made >= due, f"{member.peer} made {made} ticks in {elapsed_s:g} s")
        epochs = {member.peer: member.agent.epoch for member in core if member.agent is not None}
        self.require(len(set(epochs.values())) == 1, f"not all are in one epoch: {epochs}")
