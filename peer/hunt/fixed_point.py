"""Vectors of whole numbers of units of 2**-36: sums are exact, and nothing depends on the machine.

`peer.algebra.Algebra` as exact as fractions where mass is concerned (addition, subtraction, multiples), and
as fast as whole numbers. Products and quotients are rounded to a unit. A message carries float64, so what
does not fit its 53 bits is rounded on the way to the wire, and the sender takes note of that as always.
"""

from __future__ import annotations

import math
from array import array
from operator import add, mul, sub
from typing import TYPE_CHECKING, Self

from peer.algebra import Algebra
from wire import Array, Push, decode_push, encode_push

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from peer.algebra import Span

UNITS = 2**36  # in one: answers are compared to 1e-6, and gradients to thousands fit a float64 exactly
LARGEST = 2.0**300  # units; what a message brings beyond it is no number here


class FixedVector:
    """`units` are the elements, in units of 1 / UNITS. `finite` False: came from infinities or NaN."""

    __slots__ = ("finite", "units")

    def __init__(self, units: list[int], *, finite: bool = True) -> None:
        self.units = units
        self.finite = finite

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The nearest vector to these numbers."""
        return cls([round(value * UNITS) for value in values])

    def floats(self) -> list[float]:
        """The elements as floats; units beyond 53 bits are rounded."""
        return [unit / UNITS for unit in self.units]

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, span: Span) -> FixedVector:
        return FixedVector(self.units[span])

    def __setitem__(self, span: Span, value: FixedVector) -> None:
        self.units[span] = value.units

    def __add__(self, other: FixedVector) -> FixedVector:
        assert len(self.units) == len(other.units)
        return FixedVector([*map(add, self.units, other.units)])

    def __sub__(self, other: FixedVector) -> FixedVector:
        assert len(self.units) == len(other.units)
        return FixedVector([*map(sub, self.units, other.units)])

    def __mul__(self, factor: float) -> FixedVector:
        """Exact for whole numbers, else rounded to a unit."""
        return FixedVector([round(unit * factor) for unit in self.units])

    def __truediv__(self, divisor: float | FixedVector) -> FixedVector:
        """By a number, rounded to a unit. Element by element is for push-sum, which is not hunted."""
        assert not isinstance(divisor, FixedVector)
        return FixedVector([round(unit / divisor) for unit in self.units])

    def times(self, factors: Sequence[float]) -> FixedVector:
        """Element by element, rounded to a unit."""
        assert len(self.units) == len(factors)
        return FixedVector([*map(round, map(mul, self.units, factors))])


class FixedAlgebra(Algebra[FixedVector]):
    """`peer.algebra.Algebra` for FixedVector."""

    def zeros(self, size: int) -> FixedVector:
        """Zeros."""
        return FixedVector([0] * size)

    def ones(self, size: int) -> FixedVector:
        """Ones."""
        return FixedVector([UNITS] * size)

    def copy(self, vector: FixedVector) -> FixedVector:
        """A copy."""
        return FixedVector(vector.units.copy(), finite=vector.finite)

    def to_mass(self, vector: FixedVector) -> FixedVector:
        """The vector itself."""
        return vector

    def to_wire(self, vector: FixedVector) -> FixedVector:
        """What 53 bits of each element tell."""
        return FixedVector([*map(int, map(float, vector.units))])

    def norm(self, vector: FixedVector) -> float:
        """Euclidean length, from correctly rounded operations only."""
        floats = list(map(float, vector.units))
        return math.sqrt(sum(map(mul, floats, floats))) / UNITS

    def dot(self, one: FixedVector, other: FixedVector) -> float:
        """Inner product, from correctly rounded operations only."""
        total: float = sum(map(mul, map(float, one.units), map(float, other.units)))
        return total / UNITS / UNITS

    def is_finite(self, vector: FixedVector) -> bool:
        """Whether it came from numbers."""
        return vector.finite

    def spacing(self, vector: FixedVector) -> float:
        """Distance of float64 numbers at the largest element."""
        return max([math.ulp(float(unit)) for unit in vector.units]) / UNITS


def encode(push: Push[FixedVector]) -> bytes:
    """One frame."""
    arrays = tuple([Array("<f8", array("d", vector.floats()).tobytes()) for vector in push.arrays])
    return encode_push(push.with_arrays(arrays))


def decode(frame: bytes) -> Push[FixedVector]:
    """The message of a frame. Raises `wire.DecodeError`."""
    push = decode_push(frame)
    return push.with_arrays(tuple([_read(one) for one in push.arrays]))


def _read(found: Array) -> FixedVector:
    values = array("f" if found.dtype == "<f4" else "d")
    values.frombytes(bytes(found.data))
    units = [value * UNITS for value in values]
    if all(abs(unit) <= LARGEST for unit in units):  # NaN is not
        return FixedVector([round(unit) for unit in units])
    return FixedVector([0] * len(units), finite=False)
