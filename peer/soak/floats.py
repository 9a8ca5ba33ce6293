"""Vectors of plain floats: the rounding of real agents, as fast as a small problem allows without torch.

Mass in float64, messages in float32, as `peer.tensor_algebra` has them; and the learner of a quadratic.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from peer.algebra import Algebra
from peer.learner import Evaluation, HyperReport
from peer.snapshot import Snapshot
from peer.soak.measures import float32_spacing
from wire import Array, Push, decode_push, encode_push

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.algebra import Span
    from peer.hunt.quadratics import Quadratic


class FloatVector:
    """`peer.algebra.Vector` of float64."""

    __slots__ = ("values",)

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, span: Span) -> FloatVector:
        return FloatVector(self.values[span])

    def __setitem__(self, span: Span, value: FloatVector) -> None:
        self.values[span] = value.values

    def __add__(self, other: FloatVector) -> FloatVector:
        return FloatVector([a + b for a, b in zip(self.values, other.values, strict=True)])

    def __sub__(self, other: FloatVector) -> FloatVector:
        return FloatVector([a - b for a, b in zip(self.values, other.values, strict=True)])

    def __mul__(self, factor: float) -> FloatVector:
        return FloatVector([value * factor for value in self.values])

    def __truediv__(self, divisor: float | FloatVector) -> FloatVector:
        """By a number; element by element is for push-sum, which is not soaked."""
        assert not isinstance(divisor, FloatVector)
        return FloatVector([value / divisor for value in self.values])


class FloatAlgebra(Algebra[FloatVector]):
    """`peer.algebra.Algebra` for FloatVector."""

    def zeros(self, size: int) -> FloatVector:
        """Zeros."""
        return FloatVector([0.0] * size)

    def ones(self, size: int) -> FloatVector:
        """Ones."""
        return FloatVector([1.0] * size)

    def copy(self, vector: FloatVector) -> FloatVector:
        """A copy."""
        return FloatVector(list(vector.values))

    def to_mass(self, vector: FloatVector) -> FloatVector:
        """The vector itself."""
        return vector

    def to_wire(self, vector: FloatVector) -> FloatVector:
        """Rounded to float32."""
        return FloatVector(array("f", vector.values).tolist())

    def norm(self, vector: FloatVector) -> float:
        """Euclidean length."""
        return math.hypot(*vector.values)

    def dot(self, one: FloatVector, other: FloatVector) -> float:
        """Inner product."""
        return math.fsum(a * b for a, b in zip(one.values, other.values, strict=True))

    def is_finite(self, vector: FloatVector) -> bool:
        """Whether no element is infinite or not a number."""
        return all(map(math.isfinite, vector.values))

    def spacing(self, vector: FloatVector) -> float:
        """Distance of float32 numbers at the largest element."""
        return float32_spacing(max(map(abs, vector.values)))


def encode(push: Push[FloatVector]) -> bytes:
    """One frame, as real agents send it."""
    arrays = tuple([Array("<f4", array("f", vector.values).tobytes()) for vector in push.arrays])
    return encode_push(push.with_arrays(arrays))


def decode(frame: bytes) -> Push[FloatVector]:
    """The message of a frame. Raises `wire.DecodeError`."""
    push = decode_push(frame)
    return push.with_arrays(tuple([_read(one) for one in push.arrays]))


def _read(found: Array) -> FloatVector:
    values = array("f")
    values.frombytes(bytes(found.data))
    return FloatVector(values.tolist())


class FloatLearner:
    """`peer.learner.Learner` for a quadratic of `peer.hunt.quadratics`."""

    def __init__(self, task: Quadratic) -> None:
        self._task = task

    @property
    def initial_model(self) -> FloatVector:
        """Zeros."""
        return FloatVector([0.0] * len(self._task.centre))

    def evaluate(
        self,
        model: FloatVector,
        adjoint: FloatVector,
        local_step_size: float,  # noqa: ARG002  (nothing is local)
        probe: FloatVector | None = None,  # noqa: ARG002  (steps are given, not tuned)
    ) -> Evaluation[FloatVector]:
        """The derivatives of its two objectives."""
        task, x, p = self._task, model.values, adjoint.values
        return Evaluation(
            FloatVector([a * (at - c) for a, at, c in zip(task.curvature, x, task.centre, strict=True)]),
            FloatVector(
                [a * q - (at - b) for a, q, at, b in zip(task.curvature, p, x, task.goal, strict=True)]
            ),
            training_loss=0.0,
            validation_loss=0.0,
        )

    def local_step_size(self, at_most: float) -> float:
        """Nothing is local."""
        return at_most

    def finish_tick(
        self,
        hyper_step_size: float,  # noqa: ARG002  (they are held)
        settling_ticks: float | None = None,  # noqa: ARG002
    ) -> HyperReport:
        """Nothing moves."""
        return HyperReport(0.0)

    def metrics(self, model: FloatVector) -> Mapping[str, float]:  # noqa: ARG002  (there are none)
        """None."""
        return {}

    def snapshot(self) -> Snapshot[FloatVector]:
        """Nothing moves."""
        return Snapshot({})

    def restore(self, snapshot: Snapshot[FloatVector]) -> None:
        """Nothing has moved."""
