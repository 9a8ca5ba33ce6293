"""Numbers stay finite, and what is learned stays of the size of the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.hunt.checkers.base import Checker
from peer.hunt.fixed_point import UNITS

if TYPE_CHECKING:
    from peer.hunt.trial import Trial

LARGEST = 1e6  # centres and goals are below 5, the condition of the mean is below 4


class Finite(Checker):
    """Arithmetic in whole numbers has no infinities; what diverges is seen by its size."""

    name = "finite"

    def tick(self, trial: Trial) -> None:
        """Every estimate of everybody who runs. Who has heard nobody but a liar may begin with its word."""
        for life in trial.lives:
            if life.is_alive and not trial.lied:
                for stream in life.agent.solver.streams:
                    largest = max(map(abs, stream.estimate.units)) / UNITS
                    if largest >= LARGEST:
                        self.fail(f"an estimate of {life.agent.identity.peer} is {largest:.1e}")
