"""What is kept of the reports of ticks."""

from __future__ import annotations

import pytest

from peer.events import HyperRateLowered, NonFiniteStep
from peer.hyper_schedule import COOL_DOWN_STEPS, SMOOTHING_TICKS
from peer.learner import HyperReport, TickReport
from peer.progress import STUCK_TICKS, Progress, StepCount
from peer.settings import WARM_UP_TICKS
from peer.snapshot import Snapshot, SnapshotError
from peer.tuning.rule import Measured, warm_up
from peer.tuning.tuner import Steps, Tuning
from tests.unit.driving import settings


def report(**fields: object) -> TickReport:
    return TickReport(**{"model_residual": (1.0, 2.0), "adjoint_residual": (1.0, 4.0), **fields})  # type: ignore[arg-type]


def settled_progress() -> Progress:
    progress = Progress()
    for tick in range(SMOOTHING_TICKS):
        assert progress.take(report(), tick, running=True) == []
    return progress


def test_the_residual_is_that_of_the_stream_that_is_further_off() -> None:
    assert settled_progress().residual() == pytest.approx(0.5)


def test_the_warm_up_says_nothing_of_the_answer() -> None:
    progress = Progress()
    for tick in range(2 * SMOOTHING_TICKS):
        progress.take(report(), tick, running=False)
    assert progress.residual() == 1.0


def test_epochs_that_do_not_make_sums_finer_may_last_longer() -> None:
    progress, tolerance, shortest_s = Progress(), 1e-3, 10.0
    assert not progress.is_too_coarse(tolerance, 1e6, shortest_s), "nothing was pushed"

    def lasts(spacing: float) -> float:
        """The shortest epoch that ends with sums so coarse; then the next one begins."""
        progress.take(report(sum_spacing=spacing), 64, running=True)
        assert not progress.is_too_coarse(0.0, 1e6, shortest_s), "whoever wants no such epoch"
        found = next(
            (k for k in range(8) if progress.is_too_coarse(tolerance, shortest_s * 2.0**k, shortest_s)), 99
        )
        progress.restart(tolerance)
        return 2.0**found

    assert lasts(1.0) == 1.0, "the first is as short as any"
    assert lasts(0.6) == 1.0, "as all before had sums beyond all measure"
    assert lasts(0.6) == 2.0
    assert lasts(0.4) == 4.0
    assert lasts(0.1) == 8.0
    assert lasts(0.1) == 1.0, "the one before has helped"
    assert [lasts(1.0) for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]
    progress.restart(tolerance)
    assert lasts(1.0) == 32.0, "an epoch that ends for another reason, with sums that were fine, says nothing"


def test_a_new_epoch_starts_anew() -> None:
    progress = settled_progress()
    progress.take(report(sum_spacing=0.5, disagreements={"a": (0.1, 0.2)}), 60, running=True)
    progress.take(report(sum_spacing=0.25, disagreements={"c": (0.3, 0.4)}), 61, running=True)
    assert progress.spacing == 0.5, "the coarsest"
    assert progress.disagreements == {"a": (0.1, 0.2), "c": (0.3, 0.4)}
    progress.hyper_schedule.factor = 0.25
    progress.restart()
    assert (progress.spacing, progress.disagreements, progress.residual()) == (0.0, {}, 1.0)
    assert progress.hyper_step_size(settings(hyper_step_size=0.8)) == 0.2, "but not the rate"


def test_metrics_are_kept_until_the_next() -> None:
    progress = Progress()
    progress.take(report(metrics={"accuracy": 0.5}), 1, running=True)
    progress.take(report(), 2, running=True)
    assert progress.report.metrics == {"accuracy": 0.5}


def test_a_step_that_is_not_finite_is_told_and_counts_for_nothing_else() -> None:
    progress = Progress()
    bad = report(step_is_finite=False, model_residual=(9.0, 1.0), hyper=HyperReport(1.0))
    for tick in range(SMOOTHING_TICKS):
        assert progress.take(bad, tick, running=True) == [NonFiniteStep(tick)]
    assert progress.residual() == 1.0, "nothing was learned of it"
    assert progress.steps == StepCount(0, SMOOTHING_TICKS, SMOOTHING_TICKS)


def test_who_has_not_stepped_for_long_or_never_is_stuck() -> None:
    assert not StepCount().is_stuck, "no tick was asked for"
    steps = StepCount().after(False)
    assert steps.is_stuck
    steps = steps.after(True)
    for _ in range(STUCK_TICKS - 1):
        steps = steps.after(False)
    assert not steps.is_stuck
    assert steps.after(False) == StepCount(1, STUCK_TICKS + 1, STUCK_TICKS)
    assert steps.after(False).is_stuck
    assert not steps.after(False).after(True).is_stuck


def test_hypergradients_that_alternate_lower_the_rate() -> None:
    progress = Progress()
    turning = HyperReport(1.0, alignment=-1.0)
    events = [
        event
        for tick in range(COOL_DOWN_STEPS + 1)
        for event in progress.take(report(hyper=turning), tick, running=True)
    ]
    assert events == [HyperRateLowered(0.5, "hypergradients alternate")]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gradients": [1.0, 2.0]}, "hyper_rate is None"),
        ({"hyper_rate": 0.5}, "gradients is None instead of two lengths"),
        ({"hyper_rate": 0.5, "gradients": [1.0]}, "gradients is [1.0] instead of two lengths"),
    ],
)
def test_what_is_no_progress_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(SnapshotError) as refused:
        Progress().restore(Snapshot({}, values))  # type: ignore[arg-type]
    assert told in str(refused.value)


def test_a_warm_up_is_as_given_or_as_long_as_averaging_takes() -> None:
    progress = settled_progress()
    assert progress.warm_up_ticks(settings(warm_up_ticks=7.0)) == 7.0
    assert progress.warm_up_ticks(settings(warm_up_ticks=None)) == WARM_UP_TICKS  # nothing is known yet
    found = Measured(curvature=1.0, motion_curvature=0.5, gap=0.3, heard=0.7, delay_ticks=2.0)
    progress.take(report(tuning=Tuning(Steps(0.1, 0.1, 0.0), found)), 60, running=True)
    assert progress.warm_up_ticks(settings(warm_up_ticks=None)) == warm_up(0.3, 2.0)
    assert progress.warm_up_ticks(settings(warm_up_ticks=0.0)) == 0.0
