"""An estimator: hypergradients of an agent that takes its own losses for everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from peer.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from peer.estimators.base import SwarmProducts
    from peer.lockstep import LockstepNetwork


class Adjoints(NamedTuple):
    """One row for each agent."""

    rows: Tensor  # (n, d)


class OwnHessian:
    """Each agent descends towards the adjoint of its own losses, without a message: H_i p_i = dF_i/dx.

    What centralized methods become where nobody speaks; wrong where data differ, which `biased` says.
    `TEXT` is the number of steps in one update.
    """

    standing = False
    biased = True

    def __init__(self, text: str = "5", *, step_size: float, momentum: float) -> None:
        del momentum
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
            raise SettingError("estimator", text, "give 1 to 1000 steps of each update")
        self._steps, self._step_size = int(text), step_size

    def init(self, products: SwarmProducts) -> Adjoints:
        """Nothing is known."""
        return Adjoints(torch.zeros_like(products.models))

    def update(self, state: Adjoints, products: SwarmProducts, network: LockstepNetwork) -> Adjoints:
        """Some steps along the own residual."""
        del network
        rows = state.rows
        for _ in range(self._steps):
            rows = rows - self._step_size * products.adjoint_gradients(rows)
        return Adjoints(rows)

    def hypergradients(self, state: Adjoints, products: SwarmProducts) -> tuple[Tensor, ...]:
        """v_i with the own p_i. DESIGN (2)."""
        return products.hypergradients(state.rows)
