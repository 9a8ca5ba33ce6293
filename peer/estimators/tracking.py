"""Gradient tracking over running sums on the adjoint, in lock-step: DESIGN (4)-(8), one stream.

For tests and small comparisons: in earnest the agents do this, over both streams, without common rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from peer.errors import SettingError
from peer.tensor_algebra import TensorAlgebra
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from peer.estimators.base import SwarmProducts
    from peer.lockstep import LockstepNetwork


class TrackingState(NamedTuple):
    """One stream per agent; `update` moves the streams themselves on."""

    streams: tuple[TrackingStream[Tensor], ...]


@dataclass(frozen=True, slots=True)
class Tracking:
    """`HypergradientEstimator`; one message per update and link. Raises `SettingError`."""

    step_size: float  # eta
    momentum: float = 0.0  # beta

    standing = False

    def __post_init__(self) -> None:
        if not 0 < self.step_size < float("inf"):
            raise SettingError("step_size", self.step_size, "give a number above 0")
        if not 0 <= self.momentum < 1:
            raise SettingError("momentum", self.momentum, "give a fraction in [0, 1)")

    def init(self, products: SwarmProducts) -> TrackingState:
        """Adjoints of zero, trackers of the own gradient there."""
        zeros = torch.zeros_like(products.models)
        algebra = TensorAlgebra("float64")
        streams = tuple(TrackingStream(row, algebra) for row in zeros)
        for stream, gradient in zip(streams, products.adjoint_gradients(zeros), strict=True):
            stream.gradient = gradient.clone()
            stream.enter_epoch()
        return TrackingState(streams)

    def update(
        self, state: TrackingState, products: SwarmProducts, network: LockstepNetwork
    ) -> TrackingState:
        """Step, push, hear, average, take in the new gradient.

        Where senders know which links are down, they may still announce to all: sums forgive it, so shares
        are cut for all out-neighbours on both kinds of links.
        """
        span = slice(0, products.models.shape[1])
        delivered, _ = network.deliver(2 * span.stop)
        pushed = [
            stream.push(span, len(targets))
            for stream, targets in zip(state.streams, network.graph.targets, strict=True)
        ]
        for target, stream in enumerate(state.streams):
            for source in delivered[target].nonzero().flatten().tolist():
                stream.absorb(str(source), span, pushed[source])
            stream.mix()
        estimates = torch.stack([stream.estimate for stream in state.streams])
        gradients = products.adjoint_gradients(estimates)
        for stream, gradient in zip(state.streams, gradients, strict=True):
            end = torch.empty_like(stream.estimate)
            stream.descend(stream.estimate, gradient, self.step_size, end)
            stream.learn(end, gradient, self.momentum)
        return state

    def hypergradients(self, state: TrackingState, products: SwarmProducts) -> tuple[Tensor, ...]:
        """At the present adjoints."""
        return products.hypergradients(torch.stack([stream.estimate for stream in state.streams]))
