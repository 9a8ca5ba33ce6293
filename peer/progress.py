"""How far one agent has come: its last report, smoothed residuals, and the rate of its hyper steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.events import Event, HyperRateLowered, NonFiniteStep
from peer.hyper_schedule import HyperSchedule, Residual
from peer.learner import TickReport
from peer.snapshot import Snapshot, SnapshotError
from peer.tuning.rule import warm_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.algebra import V
    from peer.settings import AgentSettings
    from peer.snapshot import Plain
    from wire import PeerId

STUCK_TICKS: Final = 100  # without a step: what was not finite for so long does not become so by itself


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many ticks could step, and how many could not, as a gradient was not finite."""

    taken: int = 0
    refused: int = 0
    in_a_row: int = 0  # of those refused, the last ones

    def after(self, finite: bool) -> StepCount:
        """With one tick more."""
        if finite:
            return StepCount(self.taken + 1, self.refused, 0)
        return StepCount(self.taken, self.refused + 1, self.in_a_row + 1)

    @property
    def is_stuck(self) -> bool:
        """Whether none was possible, or none has been for long."""
        return self.in_a_row >= STUCK_TICKS or (self.refused > 0 and self.taken == 0)


PATIENCE_MAX: Final = 32.0
FINER: Final = 0.5  # of the spacing that sums came to in the epoch before


class Progress:
    """Takes in the report of every tick; read by people, and for the size of the next hyper step."""

    def __init__(self) -> None:
        self.report = TickReport()
        self.steps = StepCount()
        self.hyper_schedule = HyperSchedule()
        self.spacing = 0.0  # the coarsest change of mass on the wire in this epoch
        self._patience, self._spacing_before = 1.0, math.inf
        self.hyper_rate = 0.0  # of the last step of the hyperparameters
        self.disagreements: dict[PeerId, tuple[float, float]] = {}  # the last known, by in-neighbour
        self._residuals = (Residual(), Residual())  # model, adjoint

    def is_too_coarse(self, tolerance: float, lasts_s: float, shortest_s: float) -> bool:
        """Whether rounding in messages asks for this epoch to end, which has lasted so long.

        The shortest has to let the slowest step, but an agent knows only the pace of those it hears. Where
        one epoch after the other ends without sums that are finer for it, each may last twice as long as the
        one before: trackers have to shrink in it, or sums will be as coarse again.
        """
        if not 0.0 < tolerance < self.spacing:
            return False
        return self._patience == 1.0 or lasts_s >= self._patience * shortest_s

    def restart(self, tolerance: float = 0.0) -> None:
        """A new epoch shakes residuals and hypergradients by itself."""
        if 0.0 < tolerance < self.spacing:
            is_finer = self.spacing <= FINER * self._spacing_before
            self._patience = 1.0 if is_finer else min(PATIENCE_MAX, 2.0 * self._patience)
            self._spacing_before = self.spacing
        model, adjoint = self._residuals
        self._residuals = (Residual(model.largest), Residual(adjoint.largest))
        self.hyper_schedule.restart()
        self.spacing = 0.0
        self.disagreements.clear()

    def take(self, report: TickReport, tick: int, *, running: bool) -> list[Event]:
        """Take in one report; in the warm-up trackers wait, and say nothing of the answer."""
        self.spacing = max(self.spacing, report.sum_spacing)
        self._merge(report.disagreements)
        if not report.metrics:
            report.metrics = self.report.metrics
        self.report = report
        self.steps = self.steps.after(report.step_is_finite)
        if not report.step_is_finite:
            return [NonFiniteStep(tick)]
        if running:
            self._residuals[0].add(report.model_residual)
            self._residuals[1].add(report.adjoint_residual)
        if report.hyper is not None:
            self.hyper_rate = report.hyper.rate
            reason = self.hyper_schedule.update(report.hyper, self.residual())
            if reason is not None:
                return [HyperRateLowered(self.hyper_schedule.factor, reason)]
        return []

    def snapshot(self) -> Snapshot[V]:
        """What a later life should know: how far the rate was lowered, and how large gradients were."""
        gradients: list[Plain] = [residual.largest for residual in self._residuals]
        return Snapshot({}, {"hyper_rate": self.hyper_schedule.factor, "gradients": gradients})

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there. Raises `SnapshotError`."""
        factor = snapshot.values.get("hyper_rate")
        if not isinstance(factor, float) or not 0 < factor <= 1:
            raise SnapshotError(f"hyper_rate is {factor!r} instead of a share of the rate")
        match snapshot.values.get("gradients"):
            case [int() | float() as model, int() | float() as adjoint]:
                self._residuals = (Residual(model), Residual(adjoint))
            case other:
                raise SnapshotError(f"gradients is {other!r} instead of two lengths")
        self.hyper_schedule.factor = factor

    def hyper_step_size(self, settings: AgentSettings) -> float:
        """The rate of the next hyper step, or a share of the one chosen; lowered if the last went too far."""
        given = settings.hyper_step_size
        return (1.0 if given is None else given) * self.hyper_schedule.factor

    def warm_up_ticks(self, settings: AgentSettings) -> float:
        """As given, or as long as the swarm takes to average, as far as the agent knows."""
        measured = None if self.report.tuning is None else self.report.tuning.measured
        if settings.warm_up_ticks is not None or measured is None:
            return settings.warm_up_at_first
        return warm_up(measured.gap, measured.delay_ticks, measured.pushed)

    def residual(self) -> float:
        """How far from settled: smoothed |tracker| to |own gradient|, the larger ratio of the two streams."""
        return max(residual.ratio() for residual in self._residuals)

    def _merge(self, disagreements: Mapping[PeerId, tuple[float, float]]) -> None:
        """Whoever pushes in this epoch is known by few entries: the inbox lets in no strangers."""
        self.disagreements.update(disagreements)
