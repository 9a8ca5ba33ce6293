"""No second-order term: dF/dh at the present model, as if the model did not depend on hyperparameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from peer.estimators.base import SwarmProducts
    from peer.lockstep import LockstepNetwork


class DirectState(NamedTuple):
    """There is nothing to keep."""


class Direct:
    """`HypergradientEstimator` without messages; exact where the outer loss alone depends on h."""

    standing = False
    biased = True  # without the second-order term

    def init(self, products: SwarmProducts) -> DirectState:
        """Nothing."""
        del products
        return DirectState()

    def update(self, state: DirectState, products: SwarmProducts, network: LockstepNetwork) -> DirectState:
        """Nothing."""
        del products, network
        return state

    def hypergradients(self, state: DirectState, products: SwarmProducts) -> tuple[Tensor, ...]:
        """dF_i/dh."""
        del state
        return products.hypergradients(torch.zeros_like(products.models))
