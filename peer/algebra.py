"""The few operations on vectors that the protocol needs, so that it runs on any kind of number.

The agent calculates with torch tensors in production and with exact fractions in the tests: the same
lines of code, only another `Algebra`. Whatever is not an operator of the vectors themselves is here.

What an agent does with whole vectors in every tick is here as well, and works in place. Written with
operators, as below, each of these makes several vectors as long as the model; tensors do the same in one
pass through memory (`peer.tensor_algebra`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def whole(vector: Vector) -> Span:
    """All its elements."""
    return slice(0, len(vector))


class Algebra(Protocol[V]):
    """Allocation, precision and size of vectors. Two precisions meet in an agent, whatever the model's is.

    * mass (estimates, trackers, sums): at least as fine as the wire's; float64 for tensors;
    * wire: what a message carries.

    What works in place changes its first argument, or the one named `target`, and no other. Arguments are of
    equal length and of the precision of mass, but gradients and what crosses the wire, which may be of any.
    The result is that of the operators, element by element and in the order written here.
    """

    def zeros(self, size: int) -> V:
        """A new vector of zeros in the precision of mass."""

    def zeros_of_wire(self, size: int) -> V:
        """A new vector of zeros in the precision of the wire, or a finer one."""
        return self.zeros(size)

    def ones(self, size: int) -> V:
        """A new vector of ones in the precision of mass."""

    def copy(self, vector: V) -> V:
        """A new vector with equal elements in the same precision."""

    def to_mass(self, vector: V) -> V:
        """The same elements in the precision of mass, exactly; may be the vector itself."""

    def holding(self, vector: V, other: V) -> V:
        """The vector in a precision that holds the elements of both exactly; may be the vector itself."""
        del other
        return vector

    def to_wire(self, vector: V) -> V:
        """A new vector: the elements rounded to the precision of the wire; later changes do not reach it."""

    def norm(self, vector: V) -> float:
        """Euclidean length."""

    def dot(self, one: V, other: V) -> float:
        """Inner product of two vectors in the precision of mass."""

    def is_finite(self, vector: V) -> bool:
        """Whether no element is infinite or not a number."""

    def norm_of_multiple(self, vector: V, factor: Scalar) -> float:
        """`norm(vector * factor)`."""
        return self.norm(vector * factor)

    def spacing(self, vector: V) -> float:
        """Distance of neighbouring wire numbers at the largest element; 0 where arithmetic is exact."""

    # ---- in place

    def assign(self, target: V, vector: V) -> None:
        """`target = vector`, of any precision."""
        target[whole(target)] = self.to_mass(vector)

    def add(self, target: V, vector: V, factor: Scalar = 1) -> None:
        """`target += vector * factor`."""
        more = self.to_mass(vector)
        target[whole(target)] = target + (more if factor == 1 else more * factor)

    def add_to_block(self, target: V, span: Span, vector: V) -> None:
        """`target[span] += vector`, which is of the precision of mass."""
        target[span] = target[span] + vector

    def divide(self, target: V, divisor: Scalar) -> None:
        """`target /= divisor`."""
        target[whole(target)] = target / divisor

    def exchange(self, target: V, old: V, new: V) -> None:
        """`target += new - old`, then `old = new`, which `old` must hold exactly (`holding`)."""
        new = self.to_mass(new)
        target[whole(target)] = target + (new - self.to_mass(old))
        old[whole(old)] = new

    def average(
        self, estimate: V, velocity: V, heard: Sequence[tuple[Span, Sequence[V]]], *, measure: bool
    ) -> float:
        """`estimate += velocity`, then in each of these spans the mean of it and of what was heard there.

        Spans do not overlap. Returns the length of the way that the estimate has gone if `measure`, else 0.
        """
        stepped = estimate + velocity
        for span, others in heard:
            stepped[span] = sum(others, start=stepped[span]) / (len(others) + 1)
        way = self.norm(stepped - estimate) if measure else 0.0
        estimate[whole(estimate)] = stepped
        return way

    def descend(self, point: V, gradient: V, tracker: V, put_in: V, size: Scalar, target: V) -> None:
        """`target = point - (gradient + (tracker - put_in)) * size`; `target` may be `point`."""
        step = self.to_mass(gradient) + (tracker - self.to_mass(put_in))
        target[whole(target)] = point - step * size

    def accelerate(self, velocity: V, momentum: Scalar, start: V, end: V) -> None:
        """`velocity = velocity * momentum + (end - start)`."""
        velocity[whole(velocity)] = velocity * momentum + (end - start)

    def step(
        self, velocity: V, start: V, gradient: V, tracker: V, put_in: V, size: Scalar, momentum: Scalar
    ) -> tuple[float, float]:
        """`descend` from `start` to an end, `accelerate` towards it, `exchange` gradients in the tracker.

        Returns the lengths of tracker and gradient.
        """
        end = self.copy(start)
        self.descend(start, gradient, tracker, put_in, size, end)
        self.accelerate(velocity, momentum, start, end)
        self.exchange(tracker, put_in, gradient)
        return self.norm(tracker), self.norm(put_in)

    def announce_sum(self, one: V, other: V, span: Span) -> V:
        """A new vector for the wire: `one + other`, rounded."""
        return self.to_wire(one[span] + other[span])

    def announce_share(self, held: V, pushed: V, span: Span, copies: int) -> V:
        """A new vector for the wire: what has been pushed to each of `copies` targets, with one more share.

        `pushed += held / (copies + 1)`, rounded to the wire, of which it may be; `held` loses exactly what
        all targets gained.
        """
        before, rest = self.to_mass(pushed[span]), held[span]
        announced = self.to_wire(before + rest / (copies + 1))
        after = self.to_mass(announced)
        held[span] = rest - (after - before) * copies
        pushed[span] = after
        return announced

    def grown(self, announced: V, before: V | None) -> V:
        """A new vector, of mass: what a total has grown by since it was `before`; None: since nothing."""
        total = self.to_mass(announced)
        return self.copy(total) if before is None else total - self.to_mass(before)

    def noted(self, announced: V, before: V | None) -> V:
        """What is `before` next time: the elements announced, in a vector that nobody else has.

        `before` may be written over.
        """
        del before
        return self.copy(announced)
