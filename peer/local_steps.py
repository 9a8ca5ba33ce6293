"""Where the local steps of one tick lead, and what both streams learn of them. DESIGN (4) and (6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from peer.algebra import Algebra, V
from peer.tracking import StepsInPlace

if TYPE_CHECKING:
    from peer.algebra import Scalar
    from peer.inner_optimizer import InnerOptimizer
    from peer.tracking import Stream
    from peer.tuning.tuner import Steps


class LocalSteps(Generic[V]):
    """`begin`, `take` once for each local step, then `finish`; or nothing more if a step was not finite.

    A single step of plain descent is taken in one go, where streams can do that, and needs no room. For
    anything else there are vectors as long as the model: two for where steps end, two for sums of gradients.
    """

    def __init__(
        self,
        model: Stream[V],
        adjoint: Stream[V],
        algebra: Algebra[V],
        optimizer: InnerOptimizer[V] | None,
    ) -> None:
        """`optimizer` is of the model; None: plain descent."""
        self._streams = model, adjoint
        self._algebra = algebra
        self._optimizer = optimizer
        self._in_place = [stream for stream in self._streams if isinstance(stream, StepsInPlace)]
        self._ends: tuple[V, V] | None = None
        self._sums: tuple[V, V] | None = None
        self._steps = 1
        self._taken = 0
        self._moving = False
        self._point = model.estimate, adjoint.estimate
        self._last: tuple[tuple[V, V], Steps] | None = None  # gradients, and how far to go along them

    def begin(self, steps: int, *, moving: bool) -> None:
        """At the estimates; so many steps, of which none leads anywhere unless `moving`."""
        self._steps, self._taken, self._moving = steps, 0, moving
        model, adjoint = self._streams
        self._point = model.estimate, adjoint.estimate

    @property
    def point(self) -> tuple[V, V]:
        """Where the next gradients are wanted: of the model, and of the adjoint."""
        return self._point

    @property
    def _at_once(self) -> bool:
        plain = self._steps == 1 and self._optimizer is None
        return self._moving and plain and len(self._in_place) == len(self._streams)

    def take(self, gradients: tuple[V, V], sizes: Steps, *, holds: bool) -> bool:
        """One step along these from `point`; whether it ends at finite elements, or is about to.

        `holds`: all else that belongs to it is finite. The gradients must not change before the next call.
        """
        self._taken += 1
        if self._at_once:
            self._last = gradients, sizes
            return holds and all(map(self._algebra.is_finite, gradients))
        self._last = self._add_up(gradients), sizes
        reached = gradients
        if self._moving:
            reached = self._point = self._descend(gradients, sizes, holds=holds)
        return holds and all(map(self._algebra.is_finite, reached))

    def finish(self) -> None:
        """Both streams take in where the steps have led, and the mean of the gradients along them."""
        assert self._last is not None
        (gradients, sizes), self._last = self._last, None
        if self._at_once:
            ways = zip(self._in_place, gradients, (sizes.model, sizes.adjoint), strict=True)
            for stepping, gradient, size in ways:
                stepping.step(gradient, size, sizes.momentum)
            return
        momenta = sizes.momentum if self._optimizer is None else 0, sizes.momentum
        for stream, end, mean, momentum in zip(self._streams, self._point, gradients, momenta, strict=True):
            stream.learn(end, mean, momentum)

    def _descend(self, gradients: tuple[V, V], sizes: Steps, *, holds: bool) -> tuple[V, V]:
        """From `point`; where that ends."""
        model, adjoint = self._streams
        if self._ends is None:
            self._ends = self._algebra.copy(model.estimate), self._algebra.copy(adjoint.estimate)
        adjoint.descend(self._point[1], gradients[1], sizes.adjoint, self._ends[1])
        self._descend_model(gradients[0], sizes.model, self._ends, holds=holds)
        return self._ends

    def _descend_model(self, gradient: V, size: Scalar, ends: tuple[V, V], *, holds: bool) -> None:
        """DESIGN (4), or as an optimizer has it, which must see nothing of a tick that does not count."""
        optimizer, algebra, model, (end, other) = self._optimizer, self._algebra, self._streams[0], ends
        if optimizer is None:
            model.descend(self._point[0], gradient, size, end)
            return
        model.descend(optimizer.origin, gradient, 1, optimizer.direction)
        if holds and algebra.is_finite(optimizer.direction) and algebra.is_finite(other):
            optimizer.step(self._point[0], size, end)
        else:
            algebra.assign(end, optimizer.direction)

    def _add_up(self, gradients: tuple[V, V]) -> tuple[V, V]:
        """Their sum over the local steps so far; after the last the mean."""
        if self._steps == 1:
            return gradients
        algebra = self._algebra
        if self._sums is None:
            size = len(gradients[0])
            self._sums = algebra.zeros(size), algebra.zeros(size)
        for total, gradient in zip(self._sums, gradients, strict=True):
            (algebra.add if self._taken > 1 else algebra.assign)(total, gradient)
            if self._taken == self._steps:
                algebra.divide(total, self._steps)
        return self._sums
