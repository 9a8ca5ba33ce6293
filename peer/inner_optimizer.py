"""What takes an agent's steps of the model in the place of plain descent: the protocol `InnerOptimizer`.

Neither the equations nor the messages know of it. At the exact answer the direction is zero; what is exact is
plain descent. An optimizer that divides by the size of gradients comes as near as that lets it, and with a
constant rate may leave it again when gradients have become small (measured, quadratics, 30 % loss: Adam at a
rate of 0.01 6e-16 after 3,000 ticks; with betas of 0.9 and 0.99 3e-11 after 1,200 and 4e-7 after 3,000;
RMSprop never below 4e-4). A rate that a hyper step goes by (`hyper_step_size`) should be given with it: how
fast the model settles is known of descent alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from peer.algebra import V

if TYPE_CHECKING:
    from peer.algebra import Scalar
    from peer.snapshot import Snapshot


@runtime_checkable
class InnerOptimizer(Protocol[V]):
    """Of one agent; `origin` and `direction` have the shape of the model, (d,)."""

    origin: V
    """Zeros, which nobody changes."""
    direction: V
    """Where minus the direction of descent is put before each step."""

    def step(self, point: V, size: Scalar, target: V) -> None:
        """Write into `target`, which may be `point`, where a step from `point` leads; `size` is the rate."""

    def snapshot(self) -> Snapshot[V]:
        """All that it remembers."""

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there. Raises `SnapshotError`."""
