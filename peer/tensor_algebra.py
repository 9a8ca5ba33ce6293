"""Vectors that agents calculate with: `peer.algebra.Algebra` for torch tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from peer.algebra import Algebra

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from peer.algebra import Span
    from peer.settings import WireDtype

PIECE: Final = 2**15  # elements: several such fit the cache that one core has for itself
HALF: Final = 0.5  # what `frexp` makes of a power of two
_WIRE_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TensorAlgebra(Algebra[Tensor]):
    """`peer.algebra.Algebra` for torch tensors: mass in float64, the wire in float32 or float64.

    In place, one piece after the other: what comes in between never leaves the processor's cache, and nothing
    as long as the model is allocated. Element by element the results are those of the operators. Operands of
    two precisions would make torch allocate; so what is narrower is copied first, into room that is there.
    """

    def __init__(self, wire_dtype: WireDtype = "float32") -> None:
        self.wire_dtype = _WIRE_DTYPES[wire_dtype]

    def zeros(self, size: int) -> Tensor:
        """Float64 zeros."""
        return torch.zeros(size, dtype=torch.float64)

    def zeros_of_wire(self, size: int) -> Tensor:
        """Zeros of the wire's dtype."""
        return torch.zeros(size, dtype=self.wire_dtype)

    def ones(self, size: int) -> Tensor:
        """Float64 ones."""
        return torch.ones(size, dtype=torch.float64)

    def copy(self, vector: Tensor) -> Tensor:
        """A clone."""
        return vector.clone()

    def to_mass(self, vector: Tensor) -> Tensor:
        """Float64; exact."""
        return vector if vector.dtype is torch.float64 else vector.to(torch.float64)

    def holding(self, vector: Tensor, other: Tensor) -> Tensor:
        """Of the dtype that both are promoted to."""
        return vector.to(torch.promote_types(vector.dtype, other.dtype))

    def to_wire(self, vector: Tensor) -> Tensor:
        """Rounded to the wire's dtype; always a copy."""
        return vector.to(self.wire_dtype, copy=True)

    def norm(self, vector: Tensor) -> float:
        """Euclidean length, in float64."""
        if vector.dtype is torch.float64:
            return math.sqrt(float(torch.dot(vector, vector)))
        return math.sqrt(sum(_square(room.copy_(piece)) for room, piece in _pieces(vector, rooms=1)))

    def norm_of_multiple(self, vector: Tensor, factor: float | Tensor) -> float:
        """As in `Algebra`, but for rounding; `factor` may be a vector where settings are compared."""
        if isinstance(factor, Tensor):
            return self.norm(vector * factor)
        return abs(factor) * self.norm(vector)

    def dot(self, one: Tensor, other: Tensor) -> float:
        """Inner product."""
        return float(torch.dot(one, other))

    def is_finite(self, vector: Tensor) -> bool:
        """A finite sum proves finite elements in one pass; only sums that are not are looked at again."""
        return math.isfinite(float(vector.sum())) or bool(torch.isfinite(vector).all())

    def spacing(self, vector: Tensor) -> float:
        """Distance to the next number of the wire's dtype, at the largest magnitude."""
        least, most = torch.aminmax(vector)
        largest = max(-least, most).to(self.wire_dtype).numpy()
        return float(np.spacing(largest))

    # ---- in place

    def assign(self, target: Tensor, vector: Tensor) -> None:
        """As in `Algebra`."""
        target.copy_(vector)

    def add(self, target: Tensor, vector: Tensor, factor: float = 1) -> None:
        """As in `Algebra`."""
        for room, total, piece in _pieces(target, vector, rooms=1):
            total.add_(piece if factor == 1 else room.copy_(piece).mul_(factor))

    def add_to_block(self, target: Tensor, span: Span, vector: Tensor) -> None:
        """As in `Algebra`."""
        target[span].add_(vector)

    def divide(self, target: Tensor, divisor: float) -> None:
        """As in `Algebra`."""
        _divide(target, divisor)

    def exchange(self, target: Tensor, old: Tensor, new: Tensor) -> None:
        """As in `Algebra`."""
        for one, other, total, before, after in _pieces(target, old, new, rooms=2):
            total.add_(one.copy_(after).sub_(_wide(before, other)))
            before.copy_(after)

    def average(
        self,
        estimate: Tensor,
        velocity: Tensor,
        heard: Sequence[tuple[Span, Sequence[Tensor]]],
        *,
        measure: bool,
    ) -> float:
        """As in `Algebra`."""
        square = 0.0
        size = estimate.numel()
        covered = sorted([*heard, (slice(size, size), ())], key=lambda one: one[0].start)
        end = 0
        for span, others in covered:
            for at, told in ((slice(end, span.start), ()), (span, others)):
                if at.stop > at.start:
                    square += _averaged(estimate[at], velocity[at], told, measure=measure)
            end = max(end, span.stop)
        return math.sqrt(square)

    def descend(
        self,
        point: Tensor,
        gradient: Tensor,
        tracker: Tensor,
        put_in: Tensor,
        size: float,
        target: Tensor,
    ) -> None:
        """As in `Algebra`."""
        vectors = target, point, gradient, tracker, put_in
        for one, other, end, start, fresh, held, before in _pieces(*vectors, rooms=2):
            torch.sub(start, _step(fresh, held, before, size, one, other), out=end)

    def accelerate(self, velocity: Tensor, momentum: float, start: Tensor, end: Tensor) -> None:
        """As in `Algebra`."""
        for room, speed, first, last in _pieces(velocity, start, end, rooms=1):
            speed.mul_(momentum).add_(torch.sub(last, first, out=room))

    def step(
        self,
        velocity: Tensor,
        start: Tensor,
        gradient: Tensor,
        tracker: Tensor,
        put_in: Tensor,
        size: float,
        momentum: float,
    ) -> tuple[float, float]:
        """As in `Algebra`."""
        squares = [0.0, 0.0]
        vectors = velocity, start, gradient, tracker, put_in
        for one, other, speed, at, fresh, held, before in _pieces(*vectors, rooms=2):
            step = _step(fresh, held, before, size, one, other)
            speed.mul_(momentum).add_(torch.sub(at, step, out=step).sub_(at))
            new = one.copy_(fresh)
            squares[1] += _square(new)
            held.add_(new.sub_(_wide(before, other)))
            before.copy_(fresh)
            squares[0] += _square(held)
        return math.sqrt(squares[0]), math.sqrt(squares[1])

    def announce_sum(self, one: Tensor, other: Tensor, span: Span) -> Tensor:
        """As in `Algebra`."""
        announced = torch.empty(span.stop - span.start, dtype=self.wire_dtype)
        for room, told, some, more in _pieces(announced, one[span], other[span], rooms=1):
            told.copy_(torch.add(some, more, out=room))
        return announced

    def announce_share(self, held: Tensor, pushed: Tensor, span: Span, copies: int) -> Tensor:
        """As in `Algebra`."""
        announced = torch.empty(span.stop - span.start, dtype=self.wire_dtype)
        for one, other, told, kept, total in _pieces(announced, held[span], pushed[span], rooms=2):
            before = _wide(total, one)
            after = _divide(other.copy_(kept), copies + 1).add_(before)
            told.copy_(after)
            kept.sub_(after.copy_(told).sub_(before).mul_(copies))
            total.copy_(told)
        return announced

    def grown(self, announced: Tensor, before: Tensor | None) -> Tensor:
        """As in `Algebra`."""
        total = announced.to(torch.float64, copy=True)
        if before is not None:
            for room, growth, old in _pieces(total, before, rooms=1):
                growth.sub_(_wide(old, room))
        return total

    def noted(self, announced: Tensor, before: Tensor | None) -> Tensor:
        """As in `Algebra`."""
        if before is None or before.dtype is not announced.dtype:
            return announced.clone()
        return before.copy_(announced)


def _pieces(*vectors: Tensor, rooms: int) -> Iterable[tuple[Tensor, ...]]:
    """For each piece of vectors of equal length: so many float64 tensors to write to, and the views."""
    size = vectors[0].numel()
    spare = [torch.empty(min(size, PIECE), dtype=torch.float64) for _ in range(rooms)]
    if size <= PIECE:
        return ((*spare, *vectors),)
    last = [room[: size % PIECE or PIECE] for room in spare]
    views = list(zip(*(torch.split(vector, PIECE) for vector in vectors), strict=True))
    return [*((*spare, *each) for each in views[:-1]), (*last, *views[-1])]


def _wide(piece: Tensor, room: Tensor) -> Tensor:
    """In float64: as it is, or copied."""
    return piece if piece.dtype is torch.float64 else room.copy_(piece)


def _step(fresh: Tensor, held: Tensor, before: Tensor, size: float, one: Tensor, other: Tensor) -> Tensor:
    """`(fresh + (held - before)) * size`, in `other`; `one` is room."""
    step = torch.sub(held, _wide(before, other), out=other)
    return step.add_(_wide(fresh, one)).mul_(size)


def _divide(target: Tensor, divisor: float) -> Tensor:
    """In place; a power of two by its inverse, which is exact, too, and three times as fast."""
    is_power = math.frexp(divisor)[0] == HALF
    return target.mul_(1.0 / divisor) if is_power else target.div_(divisor)


def _square(vector: Tensor) -> float:
    """Of its length."""
    return float(torch.dot(vector, vector))


def _averaged(estimate: Tensor, velocity: Tensor, heard: Sequence[Tensor], *, measure: bool) -> float:
    """`TensorAlgebra.average` of one span; the square of the way, if it is measured."""
    square = 0.0
    for one, other, at, speed, *others in _pieces(estimate, velocity, *heard, rooms=2):
        if measure:
            one.copy_(at)
        at.add_(speed)
        for told in others:
            at.add_(_wide(told, other))
        if others:
            _divide(at, len(others) + 1)
        if measure:
            square += _square(one.sub_(at))
    return square
