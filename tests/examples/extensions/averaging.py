"""An inner solver: average with the neighbours, then step along the own gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from peer.algebra import Algebra, Scalar, Span
    from wire import PeerId


class Averaging:
    """Decentralized gradient descent (Nedic and Ozdaglar 2009), the simplest there is.

    Off the exact answer by about the step size where data differ, which `biased` says; nothing has to be
    repaired after a loss, as there are no sums. The second array of a message is empty.
    """

    biased = True

    def __init__(self, initial: Tensor, algebra: Algebra[Tensor], spans: Sequence[Span]) -> None:
        del spans
        self._algebra = algebra
        self.estimate = algebra.copy(algebra.to_mass(initial))
        self.gradient = algebra.zeros(len(initial))
        self._stepped = algebra.copy(self.estimate)
        self._heard: dict[tuple[int, int], list[Tensor]] = {}

    def enter_epoch(self) -> None:
        """What was heard was of another one."""
        self._heard.clear()

    def replace_estimate(self, span: Span, estimate: Tensor) -> None:
        """For one who joins."""
        self.estimate[span] = estimate
        self._stepped[span] = estimate

    def absorb(self, source: PeerId, span: Span, arrays: Sequence[Tensor]) -> None:
        """Keep it until the next average."""
        del source
        self._heard.setdefault((span.start, span.stop), []).append(self._algebra.to_mass(arrays[0]))

    def brought(self, source: PeerId, span: Span, arrays: Sequence[Tensor]) -> tuple[float, float]:
        """No sum grows; the estimate is as long as it is."""
        del source, span
        return 0.0, self._algebra.norm(arrays[0])

    def mix(self, *, measure: bool = False) -> float:
        """The mean of the own and of all that came."""
        before = self.estimate.clone()
        self.estimate = self._stepped.clone()
        for (start, stop), others in self._heard.items():
            self.estimate[start:stop] = torch.stack([self._stepped[start:stop], *others]).mean(0)
        self._heard.clear()
        self._stepped = self.estimate.clone()
        return self._algebra.norm(self.estimate - before) if measure else 0.0

    def direction(self) -> Tensor:
        """The own gradient is all that is known."""
        return self.gradient

    def descend(self, point: Tensor, gradient: Tensor, size: Scalar, target: Tensor) -> None:
        """One step."""
        self._algebra.assign(target, point - self._algebra.to_mass(gradient) * size)

    def learn(self, end: Tensor, gradient: Tensor, momentum: Scalar) -> None:
        """Where the steps have led is told from now on."""
        del momentum
        self._algebra.assign(self.gradient, gradient)
        self._stepped = end.clone()

    def rest(self) -> None:
        """The average is what is told."""
        self._stepped = self.estimate.clone()

    def push(self, span: Span, copies: int) -> tuple[Tensor, ...]:
        """The stepped estimate, and nothing."""
        del copies
        return self._algebra.to_wire(self._stepped[span]), self._algebra.to_wire(self._stepped[:0])

    def announced_estimate(self, arrays: Sequence[Tensor]) -> Tensor:
        """The first."""
        return arrays[0]

    def array_lengths(self, span: Span) -> tuple[int, ...]:
        """Of a block and of nothing."""
        return span.stop - span.start, 0

    def residual(self) -> tuple[float, float]:
        """There is no tracker: the own gradient stands for both."""
        norm = self._algebra.norm(self.gradient)
        return norm, norm

    def spacing(self) -> float:
        """There are no sums whose numbers could become too coarse."""
        return 0.0
