"""The few operations on vectors that the protocol needs, so that it runs on any kind of number.

The agent calculates with torch tensors in production and with exact fractions in the tests: the same
lines of code, only another `Algebra`. Whatever is not an operator of the vectors themselves is here.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeAlias, TypeVar

Scalar = float
"""What vectors are multiplied by; exact ones take exact fractions, whatever a type checker thinks."""

Span: TypeAlias = "slice[int, int, int | None]"
"""The elements of one block."""


class Vector(Protocol):
    """A one-dimensional array with element-wise arithmetic and slices that are views."""

    def __getitem__(self, span: Span, /) -> Self: ...
    def __setitem__(self, span: Span, value: Self, /) -> None: ...
    def __len__(self) -> int: ...
    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __mul__(self, factor: Scalar, /) -> Self: ...
    def __truediv__(self, divisor: Scalar | Self, /) -> Self: ...


V = TypeVar("V", bound=Vector)


class Algebra(Protocol[V]):
    """Allocation, precision and size of vectors. Two precisions meet in an agent, whatever the model's is.

    * mass (estimates, trackers, sums): at least as fine as the wire's; float64 for tensors;
    * wire: what a message carries.
    """

    def zeros(self, size: int) -> V:
        """A new vector of zeros in the precision of mass."""

    def ones(self, size: int) -> V:
        """A new vector of ones in the precision of mass."""

    def copy(self, vector: V) -> V:
        """A new vector with equal elements in the same precision."""

    def to_mass(self, vector: V) -> V:
        """The same elements in the precision of mass, exactly; may be the vector itself."""

    def to_wire(self, vector: V) -> V:
        """A new vector: the elements rounded to the precision of the wire; later changes do not reach it."""

    def norm(self, vector: V) -> float:
        """Euclidean length."""

    def dot(self, one: V, other: V) -> float:
        """Inner product of two vectors in the precision of mass."""

    def is_finite(self, vector: V) -> bool:
        """Whether no element is infinite or not a number."""

    def spacing(self, vector: V) -> float:
        """Distance of neighbouring wire numbers at the largest element; 0 where arithmetic is exact."""
