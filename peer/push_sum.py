"""Stochastic gradient push: the usual decentralized SGD over directed links, beside tracking for comparison.

Every agent holds a value and a weight; both are pushed, and value / weight is the estimate. With a constant
step it keeps a bias that grows with the difference between agents, and fast agents count more than slow ones:
measured by `hyperpush bench exactness`. Over `RunningSum` it survives loss; over `SentShares`, as usually
published, it does not.

Source: Assran, Loizou, Ballas, Rabbat, "Stochastic gradient push for distributed deep learning" (2019),
algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from peer.algebra import Algebra, V

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peer.algebra import Scalar, Span
    from peer.running_sum import Ledger
    from wire import PeerId


class PushSum(Generic[V]):
    """`Stream` by stochastic gradient push.

    Invariant: while no step is taken, the sum over the swarm of values (and of weights) held and on the links
    is constant, so every estimate tends to the average. `weight` has one element per block.
    """

    biased = True  # a step along the own gradient is not where the swarm wants to go

    def __init__(
        self,
        initial: V,
        spans: Sequence[Span],
        algebra: Algebra[V],
        make_ledger: Callable[[V, Algebra[V]], Ledger[V]],
    ) -> None:
        self._algebra = algebra
        self._spans = list(spans)
        self._weight_span = {span.start: slice(block, block + 1) for block, span in enumerate(self._spans)}
        self.estimate = algebra.copy(algebra.to_mass(initial))
        self.gradient = algebra.zeros(len(initial))
        self.value = make_ledger(self.estimate, algebra)
        self.weight = make_ledger(algebra.ones(len(self._spans)), algebra)

    def enter_epoch(self) -> None:
        """Weight one on the present estimate."""
        self.value.reset(self.estimate)
        self.weight.reset(self._algebra.ones(len(self._spans)))

    def replace_estimate(self, span: Span, estimate: V) -> None:
        """Overwrite one block of the estimate; takes effect on entering the next epoch."""
        self.estimate[span] = estimate

    def absorb(self, source: PeerId, span: Span, arrays: Sequence[V]) -> None:
        """Add value and weight."""
        value, weight = arrays
        self.value.absorb(source, span, value)
        self.weight.absorb(source, self._weight_span[span.start], weight)

    def brought(self, source: PeerId, span: Span, arrays: Sequence[V]) -> tuple[float, float]:  # noqa: ARG002
        """Not judged: values of push-sum grow with the ticks, by whatever the weights allow."""
        return 0.0, 0.0

    def mix(self, *, measure: bool = False) -> float:
        """The estimate is value / weight."""
        before = self._algebra.copy(self.estimate) if measure else None
        for span in self._spans:
            self.estimate[span] = self.value.held[span] / self.weight.held[self._weight_span[span.start]]
        return 0.0 if before is None else self._algebra.norm(self.estimate - before)

    def direction(self) -> V:
        """The own gradient: the others' are not known."""
        return self.gradient

    def descend(self, point: V, gradient: V, size: Scalar, target: V) -> None:
        """Along the own gradient."""
        self._algebra.assign(target, point - self._algebra.to_mass(gradient) * size)

    def learn(self, end: V, gradient: V, momentum: Scalar) -> None:  # noqa: ARG002  (none is used)
        """Move the value by the local steps."""
        self._algebra.assign(self.gradient, gradient)
        self.value.held = self.value.held + (end - self.estimate)

    def rest(self) -> None:
        """The value is the average already."""

    def push(self, span: Span, copies: int) -> tuple[V, ...]:
        """Value and weight of one block."""
        return self.value.push(span, copies), self.weight.push(self._weight_span[span.start], copies)

    def announced_estimate(self, arrays: Sequence[V]) -> V:
        """The ratio of what was announced."""
        return arrays[0] / arrays[1]

    def array_lengths(self, span: Span) -> tuple[int, ...]:
        """A value per element, a weight per block."""
        return span.stop - span.start, 1

    def residual(self) -> tuple[float, float]:
        """There is no tracker: the own gradient stands for both, and the ratio says nothing."""
        norm = self._algebra.norm(self.gradient)
        return norm, norm

    def spacing(self) -> float:
        """Running sums of values grow with the ticks here, but the estimate only feels their growth."""
        return 0.0
