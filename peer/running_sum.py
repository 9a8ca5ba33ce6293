"""Mass that survives links which lose messages and tell nobody (DESIGN, section 2).

A classical push-sum agent halves what it holds and sends one half: a lost message is lost mass. Here an agent
announces how much it has pushed on a link *in total*; the receiver adds what the total has grown by since the
last announcement that arrived. A later message repairs every earlier loss.

Sources: Hadjicostis, Vaidya, Dominguez-Garcia, "Robust distributed average consensus via exchange of running
sums" (2016); Spiridonoff, Olshevsky, Paschalidis, "Robust asynchronous stochastic gradient-push" (2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol

from peer.algebra import Algebra, V

if TYPE_CHECKING:
    from peer.algebra import Span
    from wire import PeerId


class Ledger(Protocol[V]):
    """Mass held by one agent and what of it crosses its links; one vector, pushed block by block."""

    held: V  # shape (size,), precision of mass

    def reset(self, held: V) -> None:
        """Begin an epoch holding exactly this; everything about links is forgotten."""

    def push(self, span: Span, copies: int) -> V:
        """Split the block into `copies + 1` equal parts, keep one; return what the targets are told."""

    def absorb(self, source: PeerId, span: Span, announced: V) -> None:
        """Add the mass that it brings. The caller has checked that it is newer than the last."""


class RunningSum(Generic[V]):
    """The ledger that forgives loss: announcements are totals of the epoch.

    Invariant (9), at every instant and for every block: the sum over agents of `held`, plus the sum over
    links of (`pushed` at the source - `received` at the target), equals the sum of what was put in by `reset`
    and by changes to `held`. Exact for exact numbers; for tensors up to the rounding of `held` alone, because
    `held` loses exactly what the rounded total gained.

    Idempotent and independent of order as long as older announcements are not absorbed after newer ones.
    """

    def __init__(self, held: V, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self.reset(held)

    def reset(self, held: V) -> None:
        """Begin an epoch holding exactly this; everything about links is forgotten."""
        self.held = self._algebra.copy(self._algebra.to_mass(held))
        self.pushed = self._algebra.zeros_of_wire(len(held))  # sigma in DESIGN (7)
        self.received: dict[tuple[PeerId, int], V] = {}  # rho in DESIGN (8), by source and start of block
        self._grown: tuple[PeerId, int, V, V] | None = None  # what was asked for last, and the answer

    def push(self, span: Span, copies: int) -> V:
        """Announce the total pushed to each of `copies` targets so far. DESIGN (7)."""
        return self._algebra.announce_share(self.held, self.pushed, span, copies)

    def growth(self, source: PeerId, span: Span, announced: V) -> V:
        """What the source's total has grown by since its last announcement that arrived. DESIGN (8)."""
        growth = self._algebra.grown(announced, self.received.get((source, span.start)))
        self._grown = (source, span.start, announced, growth)
        return growth

    def absorb(self, source: PeerId, span: Span, announced: V) -> None:
        """Add `growth`, which has often been asked for just before."""
        place = source, span.start
        match self._grown:
            case (of, start, which, growth) if which is announced and (of, start) == place:
                pass
            case _:
                growth = self.growth(source, span, announced)
        self._grown = None
        self._algebra.add_to_block(self.held, span, growth)
        self.received[place] = self._algebra.noted(announced, self.received.get(place))


class SentShares(Generic[V]):
    """The classical ledger, for comparison: a message carries its share, and a lost message is lost mass."""

    def __init__(self, held: V, algebra: Algebra[V]) -> None:
        self._algebra = algebra
        self.reset(held)

    def reset(self, held: V) -> None:
        """Begin an epoch holding exactly this."""
        self.held = self._algebra.copy(self._algebra.to_mass(held))

    def push(self, span: Span, copies: int) -> V:
        """Send one share to each of `copies` targets."""
        share = self._algebra.to_wire(self.held[span] / (copies + 1))
        self.held[span] = self.held[span] - self._algebra.to_mass(share) * copies
        return share

    def absorb(self, source: PeerId, span: Span, announced: V) -> None:  # noqa: ARG002  (one signature)
        """Add the share."""
        self.held[span] = self.held[span] + self._algebra.to_mass(announced)
