"""How strongly a loss bends: at most, along the swarm's way, and along the adjoint.

The first bounds the step. The second is that of the slowest patterns of the swarm's motion, since all others
have died away: it tells the momentum that ends them fastest. The third tells whether the adjoint needs
damping. All three are products of the own Hessian with a direction, at most one in a tick; the swarm's
averages stand for the Hessian of the mean. Differences of gradients would cost nothing, but with minibatches
they are mostly noise, and that noise is in the step, too.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, Generic

from peer.algebra import V
from peer.snapshot import set_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.algebra import Algebra

PROBES_AT_FIRST = 2  # in successive ticks, before an agent steps
PROBES_SOON = 20  # those until then come every second tick,
PROBE_TICKS = 8  # later ones so rarely
MOTION_TICKS = (
    4,
    4,
    4,
    8,
    8,
    16,
    16,
    32,
    32,
    64,
)  # the ways looked back on grow longer, the last again and again
ADJOINT_TICKS = 16
FORGETS = 0.2  # weight of a new largest curvature that is lower than the last; a higher one counts at once
FORGETS_NOISY = 0.03  # the same where products are of minibatches: steps have to suit the steepest of them
FLATTEST_NOISY = 0.7  # of what it was at first: minibatches bend less, then as much again, within a few ticks
MOTION_WEIGHT = 0.5  # of the newest
PROBES_SURE = 8  # after which the largest curvature is known within a factor of two; after one it is not
FLATTEST = 1e-3  # of what it was at first: nothing counts as flatter
NOTHING = 1e-5  # of a product: what rounding leaves of a difference


class LargestCurvature(Generic[V]):
    """By power iteration: the estimate rises to the truth from below; where the point moves, it follows."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._direction: V | None = None
        self._waited = 0
        self.probes = 0  # so far
        self.value = 0.0
        self.at_first = 0.0  # the median of the first products' lengths; 0 before they are known
        self._firsts: list[float] = []

    @property
    def lacks(self) -> float:
        """What must be added to the value for the loss to count as flat as can be, and no flatter.

        A loss that has been learned by heart bends a million times less than it did. Steps as long as that
        allows end with the first sample that was not, and the adjoint's equation has no answer of use.
        Nothing, before the value is known well.
        """
        return max(0.0, FLATTEST * self.at_first - self.value) if self.probes >= PROBES_SURE else 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it has seen enough to step by."""
        return self.probes >= PROBES_AT_FIRST

    def direction(self, first: Callable[[], V]) -> V | None:
        """What the next product is wanted with, of length one; None if none is in this tick.

        `first` gives what to begin with, such as a gradient, which leans to where the loss bends most.
        """
        self._waited += 1
        if self._waited < (1 if not self.is_ready else 2 if self.probes < PROBES_SOON else PROBE_TICKS):
            return None
        if self._direction is None:
            self._direction, _ = _unit(self._algebra, self._algebra.to_mass(first()))
        if self._direction is not None:
            self._waited = 0
        return self._direction

    def bound(self, *, noisy: bool) -> float:
        """What steps are to go by; with minibatches no less than a share of what it was at first.

        Samples that are told apart bend nothing, until a step too far mixes them up again.
        """
        found = self.value + self.lacks
        return max(found, FLATTEST_NOISY * self.at_first) if noisy else found

    def take(self, product: V, *, noisy: bool = False) -> None:
        """The product of the Hessian with the direction, on a minibatch if `noisy`.

        What is not finite, or nothing, is passed over.
        """
        self.probes += 1
        product = self._algebra.to_mass(product)
        direction, length = _unit(self._algebra, product)
        if direction is None:
            return
        self._direction = direction
        falls = length < self.value
        forgets = FORGETS_NOISY if noisy else FORGETS
        self.value += (forgets if falls else 1.0) * (length - self.value)
        if not self.at_first:
            self._firsts.append(length)
            if len(self._firsts) == PROBES_SURE:
                self.at_first = statistics.median(self._firsts)

    def state_dict(self) -> dict[str, Any]:
        """All that was measured, for `load_state_dict`."""
        return {name: value for name, value in vars(self).items() if name != "_algebra"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises SnapshotError."""
        set_state(self, state, without=("_algebra",))


class _CurvatureAlong(Generic[V]):
    """<u, H u> for unit directions that come one after the other."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self._direction: V | None = None
        self._waited = 0
        self.known = 0  # so many times
        self.value = 0.0

    def take(self, product: V) -> None:
        """The product of the Hessian with the direction; what is not finite is passed over."""
        direction, self._direction = self._direction, None  # as long as the model, and rarely needed
        assert direction is not None
        found = self._algebra.dot(direction, self._algebra.to_mass(product))
        if math.isfinite(found):
            self.value += (MOTION_WEIGHT if self.known else 1.0) * (found - self.value)
            self.known += 1


class MotionCurvature(_CurvatureAlong[V]):
    """Along the way that the agent has come in the last ticks."""

    def __init__(self, algebra: Algebra[V]) -> None:
        super().__init__(algebra)
        self._from: V | None = None
        self._begins = True

    def forget(self) -> None:
        """The next point is reached by no step."""
        self._begins = True

    def direction(self, point: V) -> V | None:
        """The way to this point, at length one; now and then."""
        self._waited += 1
        if self._begins or self._from is None:
            self._begin(point)
            return None
        if self._waited < MOTION_TICKS[min(self.known, len(MOTION_TICKS) - 1)]:
            return None
        self._direction, _ = _unit(self._algebra, point - self._from)
        self._begin(point)
        return self._direction

    def _begin(self, point: V) -> None:
        if self._from is None:
            self._from = self._algebra.copy(point)
        else:
            self._algebra.assign(self._from, point)
        self._begins, self._waited = False, 0

    def within(self, at_most: float, at_least: float) -> float:
        """It, within these bounds; the geometric mean of both where nothing is known."""
        if not self.known:
            return math.sqrt(at_most * at_least)
        return min(max(self.value, at_least), at_most)


class AdjointCurvature(_CurvatureAlong[V]):
    """Below zero where the adjoint runs away along a direction that the loss bends down in.

    There the equation of the adjoint has no stable answer, and damping is wanted; where losses are convex it
    is never below zero.
    """

    def __init__(self, algebra: Algebra[V]) -> None:
        super().__init__(algebra)
        self.outer = 0.0  # length of the gradient of the outer loss, as measured last
        self._length = 0.0

    def direction(self, adjoint: V) -> V | None:
        """The adjoint at length one, now and then."""
        self._waited += 1
        if self._waited < ADJOINT_TICKS:
            return None
        self._direction, self._length = _unit(self._algebra, adjoint)
        self._waited = 0
        return self._direction

    def strain(self, product: V, gradient: V, swarm: float) -> float:
        """How long the gradient of the adjoint is, in lengths of that of the outer loss, on one batch.

        By the product that was asked for: H p - F without damping, and H p / |p|. `swarm` is the mean length
        of F over the swarm: where the own one is shorter, that counts. 0 where both are nothing.
        """
        gradient, product = self._algebra.to_mass(gradient), self._algebra.to_mass(product) * self._length
        length, outer = self._algebra.norm(gradient), self._algebra.norm(product - gradient)
        if not (math.isfinite(length) and math.isfinite(outer)):
            return math.nan
        self.outer = outer if outer > NOTHING * self._algebra.norm(product) else 0.0
        longest = max(swarm, self.outer)
        return length / longest if longest > 0.0 else 0.0


def _unit(algebra: Algebra[V], vector: V) -> tuple[V | None, float]:
    """At length one, None if it has no length; and its length."""
    length = algebra.norm(vector)
    return (vector / length if 0.0 < length < math.inf else None), length
