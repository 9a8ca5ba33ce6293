"""Exact sums, what a wire of 53 bits makes of large numbers, and the closed form of the tasks."""

from __future__ import annotations

import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.hunt.fixed_point import UNITS, FixedAlgebra, FixedVector, decode, encode
from peer.hunt.quadratics import Quadratic, QuadraticLearner, closed_form
from peer.running_sum import RunningSum
from tests.unit.driving import push
from wire import Array, encode_push

units = st.lists(st.integers(-(2**80), 2**80), min_size=2, max_size=2)
WHOLE = slice(0, 2)


@given(units, st.lists(st.tuples(st.integers(1, 5), units), max_size=8))
def test_a_running_sum_loses_no_unit_however_large_it_is(start: list[int], steps: list[Any]) -> None:
    """DESIGN (9) for one source: what is held and what was pushed add up to what was put in."""
    total = RunningSum(FixedVector(start), FixedAlgebra())
    put_in, pushed = list(start), [0, 0]
    for copies, more in steps:
        before = list(total.pushed.units)
        total.held = total.held + FixedVector(more)
        put_in = [a + b for a, b in zip(put_in, more, strict=True)]
        total.push(WHOLE, copies)
        grown = [a - b for a, b in zip(total.pushed.units, before, strict=True)]
        pushed = [a + copies * b for a, b in zip(pushed, grown, strict=True)]
    assert [a + b for a, b in zip(total.held.units, pushed, strict=True)] == put_in


@given(st.lists(st.integers(-(2**200), 2**200), min_size=4, max_size=4))
def test_what_was_rounded_for_the_wire_crosses_it_unchanged(numbers: list[int]) -> None:
    rounded = FixedAlgebra().to_wire(FixedVector(numbers))
    arrived = decode(encode(push("a", arrays=(rounded,), targets=(b"12345678",))))
    assert arrived.arrays[0].units == rounded.units
    assert all(abs(a - b) <= abs(a) >> 52 for a, b in zip(numbers, rounded.units, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_no_number_is_not_finite(bad: float) -> None:
    arrays = (Array("<f8", array("d", [1.0, bad]).tobytes()),)
    found = decode(encode_push(push("a", arrays=arrays, targets=(b"12345678",)))).arrays[0]
    assert not FixedAlgebra().is_finite(found)
    assert found.units == [0, 0]


def test_a_narrow_wire_is_read_too() -> None:
    arrays = (Array("<f4", array("f", [1.5, -0.25]).tobytes()),)
    found = decode(encode_push(push("a", arrays=arrays, targets=(b"12345678",)))).arrays[0]
    assert FixedAlgebra().is_finite(found)
    assert found.floats() == [1.5, -0.25]


def test_the_algebra() -> None:
    algebra = FixedAlgebra()
    one = FixedVector.of([3.0, -4.0])
    assert algebra.norm(one) == 5.0
    assert (one * 0.5).floats() == [1.5, -2.0]
    assert (one / 3).units == [UNITS, round(-4 * UNITS / 3)]
    assert algebra.ones(2).floats() == [1.0, 1.0]
    copy = algebra.copy(one)
    copy[slice(1, 2)] = algebra.zeros(1)
    assert (one.floats(), copy.floats(), len(copy)) == ([3.0, -4.0], [3.0, 0.0], 2)
    assert algebra.to_mass(one) is one
    assert algebra.spacing(one) == math.ulp(4.0 * UNITS) / UNITS


def test_the_closed_form_is_where_the_mean_derivatives_vanish() -> None:
    tasks = [Quadratic((1.0, 0.5), (2.0, -1.0), (0.0, 3.0)), Quadratic((0.5, 1.5), (-4.0, 1.0), (1.0, 1.0))]
    answer = closed_form(tasks)
    learners = [QuadraticLearner(task) for task in tasks]
    model, adjoint = FixedVector.of(answer.model), FixedVector.of(answer.adjoint)
    found = [learner.evaluate(model, adjoint, 0.0) for learner in learners]
    for one in ("model_gradient", "adjoint_gradient"):
        assert (getattr(found[0], one) + getattr(found[1], one)).floats() == pytest.approx(
            [0.0, 0.0], abs=1e-9
        )
    for learner, hypergradient in zip(learners, answer.hypergradients, strict=True):
        assert learner.hypergradient.floats() == pytest.approx(hypergradient, abs=1e-9)
        assert learner.initial_model.floats() == [0.0, 0.0]
        assert learner.metrics(model) == {}
        assert learner.finish_tick(1.0).norm == 0.0
