"""When the rate of hyper steps is lowered, and when not. DESIGN (Hyper step)."""

from __future__ import annotations

import pytest

from peer.hyper_schedule import (
    COOL_DOWN_STEPS,
    LEAST_GRADIENT,
    RATE_FLOOR,
    REVERSALS_ALLOWED,
    SMOOTHING_TICKS,
    HyperSchedule,
    Residual,
    Smoothed,
)
from peer.learner import HyperReport

CALM = HyperReport(1.0, alignment=0.9)
ALTERNATING = HyperReport(1.0, alignment=-0.9)
REVERSED = HyperReport(1.0, alignment=0.9, reversed=True)


def test_a_smoothed_mean_is_not_biased_to_zero_at_the_start() -> None:
    smoothed = Smoothed()
    assert smoothed.mean() == 0.0
    for _ in range(3):
        smoothed.add(7.0)
        assert smoothed.mean() == pytest.approx(7.0)


def test_a_residual_is_one_until_there_is_enough_to_tell() -> None:
    residual = Residual()
    for _ in range(SMOOTHING_TICKS - 1):
        residual.add((1.0, 4.0))
        assert residual.ratio() == 1.0
    residual.add((1.0, 4.0))
    assert residual.ratio() == pytest.approx(0.25)


def test_a_gradient_that_vanishes_with_the_tracker_is_settled() -> None:
    """Found with an agent alone, whose residual was 1 for ever."""
    residual = Residual()
    residual.add((5.0, 5.0))
    for _ in range(40 * SMOOTHING_TICKS):
        residual.add((1e-9, 1e-9))
    assert residual.ratio() == pytest.approx(1e-9 / (LEAST_GRADIENT * 5.0), rel=1e-2)
    assert residual.largest == 5.0
    assert Residual(2.0).largest == 2.0


def test_a_residual_without_gradients_is_none() -> None:
    residual = Residual()
    for _ in range(SMOOTHING_TICKS):
        residual.add((0.0, 0.0))
    assert residual.ratio() == 0.0


def test_calm_hyper_steps_keep_the_rate() -> None:
    schedule = HyperSchedule()
    assert [schedule.update(CALM, 0.5) for _ in range(200)] == [None] * 200
    assert schedule.factor == 1.0


def test_alternation_halves_the_rate_and_is_watched_again_after_a_while() -> None:
    schedule = HyperSchedule()
    reasons = [schedule.update(ALTERNATING, 0.5) for _ in range(2 * (COOL_DOWN_STEPS + 1))]
    assert [index for index, reason in enumerate(reasons) if reason] == [
        COOL_DOWN_STEPS,
        2 * COOL_DOWN_STEPS + 1,
    ]
    assert set(reasons) == {None, "hypergradients alternate"}
    assert schedule.factor == 0.25


def test_a_few_reversals_are_forgiven() -> None:
    schedule = HyperSchedule()
    for _ in range(COOL_DOWN_STEPS):
        schedule.update(CALM, 0.5)
    for _ in range(REVERSALS_ALLOWED):
        assert schedule.update(REVERSED, 0.5) is None
    assert schedule.update(REVERSED, 0.5) == "hypergradients alternate"


def test_a_residual_that_rises_far_above_its_best_halves_the_rate() -> None:
    schedule = HyperSchedule()
    for _ in range(COOL_DOWN_STEPS):
        schedule.update(CALM, 0.2)
    assert schedule.update(CALM, 0.79) is None
    assert schedule.update(CALM, 0.81) == "residual rises"
    for _ in range(COOL_DOWN_STEPS):
        assert schedule.update(CALM, 0.81) is None
    assert schedule.update(CALM, 0.81) is None, "it has risen no further"
    assert schedule.factor == 0.5


def test_a_small_residual_may_rise() -> None:
    schedule = HyperSchedule()
    for _ in range(COOL_DOWN_STEPS + 1):
        schedule.update(CALM, 1e-6)
    assert schedule.update(CALM, 0.09) is None
    assert schedule.update(CALM, 0.11) == "residual rises"


def test_a_new_epoch_keeps_the_rate_and_forgets_what_was_seen() -> None:
    schedule = HyperSchedule()
    for _ in range(COOL_DOWN_STEPS + 1):
        schedule.update(ALTERNATING, 0.001)
    assert schedule.factor == 0.5
    for _ in range(COOL_DOWN_STEPS):
        schedule.update(REVERSED, 0.001)
    schedule.restart()
    assert schedule.factor == 0.5
    for _ in range(COOL_DOWN_STEPS + 1):
        assert schedule.update(CALM, 0.9) is None, "the best residual of before does not count"


def test_the_rate_is_never_lowered_to_nothing() -> None:
    schedule = HyperSchedule()
    for _ in range(3000):
        schedule.update(ALTERNATING, 0.5)
    assert schedule.factor == RATE_FLOOR
