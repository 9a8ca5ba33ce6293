"""What tensors do in place is, bit for bit, what the operators say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from peer.algebra import Algebra, whole
from peer.tensor_algebra import PIECE, TensorAlgebra

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.settings import WireDtype

SIZES = [1, 7, PIECE, PIECE + 1, 3 * PIECE - 5]


class Written(TensorAlgebra):
    """As `peer.algebra` writes them."""


for _name in (
    *("assign", "add", "divide", "exchange", "average", "descend", "accelerate"),
    *("announce_sum", "announce_share", "grown", "noted", "norm_of_multiple", "add_to_block", "step"),
):
    setattr(Written, _name, vars(Algebra)[_name])


class Both:
    """The same vectors twice: one algebra works on these, the other on those."""

    def __init__(self, size: int, wire: WireDtype = "float32") -> None:
        self.size, self._seed = size, 0
        self.written, self.ours = Written(wire), TensorAlgebra(wire)

    def vector(self, dtype: torch.dtype = torch.float64, size: int | None = None) -> Tensor:
        self._seed += 1
        generator = torch.Generator().manual_seed(self._seed)
        return torch.randn(self.size if size is None else size, generator=generator, dtype=dtype)

    def agree(self, work: Callable[[Algebra[Any], list[Tensor]], Any], *vectors: Tensor) -> list[Tensor]:
        """Both do the same to vectors and return the same; the vectors as they are then."""
        mine, theirs = ([vector.clone() for vector in vectors] for _ in range(2))
        told, expected = work(self.ours, mine), work(self.written, theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one, other)
        if isinstance(told, tuple):
            assert told == pytest.approx(expected, rel=1e-12)
        elif isinstance(told, Tensor):
            assert told.dtype == expected.dtype
            assert torch.equal(told, expected)
        elif expected is not None:
            assert told == pytest.approx(expected, rel=1e-12)
        return mine


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_differences(size: int, dtype: torch.dtype) -> None:
    both = Both(size)
    one, other, gradient = both.vector(), both.vector(), both.vector(dtype)
    both.agree(lambda does, v: does.assign(v[0], v[1]), one, gradient)
    both.agree(lambda does, v: does.add(v[0], v[1]), one, gradient)
    both.agree(lambda does, v: does.add(v[0], v[1], 0.3), one, gradient)
    both.agree(lambda does, v: does.divide(v[0], 3), one)
    both.agree(lambda does, v: does.norm_of_multiple(v[0], -0.3), one)
    both.agree(lambda does, v: does.norm_of_multiple(v[0], v[1]), one, other)
    block = slice(size // 3, size)
    both.agree(lambda does, v: does.exchange(*v), one, other, gradient)
    both.agree(lambda does, v: does.exchange(*v), one, gradient, both.vector(dtype))
    both.agree(lambda does, v: does.accelerate(v[0], 0.7, v[1], v[2]), one, other, both.vector())
    both.agree(lambda does, v: does.norm(v[0]), gradient)
    both.agree(lambda does, v: does.add_to_block(v[0], block, v[1][block]), one, other)
    both.agree(lambda does, v: does.grown(v[0], None), gradient)
    for before in (torch.float32, torch.float64):
        both.agree(lambda does, v: does.grown(v[0], v[1]), gradient, both.vector(before))


def test_what_came_before_is_written_over_and_what_comes_is_not() -> None:
    does, told = TensorAlgebra(), torch.ones(3)
    before = does.noted(told, None)
    assert before.data_ptr() != told.data_ptr()
    assert does.noted(told * 5, before) is before
    assert before.tolist() == [5.0] * 3
    assert told.tolist() == [1.0] * 3
    finer = does.noted(told.double() * 0.1, before)
    assert finer.tolist() == [0.1] * 3, "whatever a link has brought before, nothing is rounded"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_in_one_go(size: int, dtype: torch.dtype) -> None:
    both = Both(size)
    velocity, start, tracker = both.vector(), both.vector(), both.vector()
    vectors = [velocity, start, both.vector(dtype), tracker, both.vector(dtype)]
    both.agree(lambda does, v: does.step(*v, 0.1, 0.7), *vectors)
    both.agree(lambda does, v: does.step(*v, 0.1, 0), *vectors)
    narrow, wide = vectors[2].float(), vectors[2].double()
    assert both.ours.holding(narrow, wide).dtype is torch.float64
    assert both.ours.holding(narrow, narrow) is narrow
    assert both.ours.holding(wide, narrow) is wide


@pytest.mark.parametrize("size", SIZES)
def test_a_step_may_end_where_it_began(size: int) -> None:
    both = Both(size)
    vectors = [both.vector(), both.vector(torch.float32), both.vector(), both.vector(), both.vector()]
    elsewhere = both.agree(lambda does, v: does.descend(*v[:4], 0.1, v[4]), *vectors)
    there = both.agree(lambda does, v: does.descend(*v[:4], 0.1, v[0]), *vectors)
    assert torch.equal(elsewhere[4], there[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("measure", [True, False])
def test_averages_are_of_whatever_was_heard_of_each_block(size: int, *, measure: bool) -> None:
    both = Both(size)
    first, second = slice(size // 4, size // 2), slice(size // 2, size - size // 5)
    told = [both.vector(torch.float32, span.stop - span.start) for span in (first, second, second)]
    heard = [(second, told[1:]), (first, told[:1])]

    def average(does: Algebra[Any], v: list[Tensor]) -> float:
        return does.average(*v, heard, measure=measure)

    estimate, velocity = both.vector(), both.vector()
    at, _ = both.agree(average, estimate, velocity)
    assert torch.equal(at[: first.start], (estimate + velocity)[: first.start])
    nothing = both.agree(lambda does, v: does.average(*v, [], measure=measure), estimate, velocity)
    assert torch.equal(nothing[0], estimate + velocity)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wire", ["float32", "float64"])
def test_what_is_announced_is_what_the_sender_has_lost(size: int, wire: WireDtype) -> None:
    both = Both(size, wire)
    span = slice(size // 3, size)
    one, other = both.vector(), both.vector()
    both.agree(lambda does, v: does.announce_sum(*v, span), one, other)
    held, pushed = both.agree(lambda does, v: does.announce_share(*v, span, 3), one, other)
    assert torch.equal(held[: span.start], one[: span.start])
    assert torch.equal(pushed[: span.start], other[: span.start])
    share = pushed - other.to(torch.float64)
    assert torch.allclose(held + 3 * share, one, rtol=0.0, atol=1e-12)


def test_the_largest_element_tells_how_fine_the_wire_is() -> None:
    does = TensorAlgebra()
    assert does.spacing(torch.tensor([1.0, -8.0], dtype=torch.float64)) == 8 * 2.0**-23
    assert does.spacing(torch.tensor([9.0, -8.0], dtype=torch.float64)) == 8 * 2.0**-23
    assert math.isclose(does.spacing(torch.tensor([1e4], dtype=torch.float64)), 2.0**-10)
    assert whole(torch.zeros(3)) == slice(0, 3)
