"""The paper's estimator: a Neumann series whose every term is averaged by push-sum. arXiv 2210.02129v3.

    u_0 = dF_i/dx                                        v_0 = dF_i/dh
    w   = mean over the agents of u_m, by S rounds of push-sum, weights beginning at 1
    v_(m+1) = v_m - a (d2f_i / dh dx) w                  u_(m+1) = w - a (d2f_i / dx2) w

With exact averages v_M = dF_i/dh - a (d2f_i / dh dx) sum over m < M of (I - a H)^m g: that of DESIGN (2) as M
grows, if a is below 2 / curvature of every agent's loss (with inexact averages) or of the mean one (without).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from peer.errors import SettingError

if TYPE_CHECKING:
    from peer.estimators.base import SwarmProducts
    from peer.lockstep import LockstepNetwork


class NeumannState(NamedTuple):
    """Rows are agents."""

    term: Tensor  # u_m, (n, d)
    adjoint: Tensor  # a times the sum of all averages so far, (n, d): -v_m without dF/dh, before the product
    depth: int  # m


@dataclass(frozen=True, slots=True)
class Neumann:
    """`HypergradientEstimator`; M is how often `update` is called. Raises `SettingError`."""

    rounds: int  # S
    step_size: float = 1.0  # a; the paper's

    standing = True

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError("rounds", self.rounds, "give 1 or more rounds of push-sum per term")
        _check_step_size(self.step_size)

    def init(self, products: SwarmProducts) -> NeumannState:
        """Term 0 is the agent's own outer gradient."""
        return NeumannState(products.outer_gradients(), torch.zeros_like(products.models), 0)

    def update(self, state: NeumannState, products: SwarmProducts, network: LockstepNetwork) -> NeumannState:
        """One more term. The mixed product is linear, so the averages are added up before it."""
        mean = network.push_sum(state.term, self.rounds)
        return NeumannState(
            term=mean - self.step_size * products.hessian_vectors(mean),
            adjoint=state.adjoint + self.step_size * mean,
            depth=state.depth + 1,
        )

    def hypergradients(self, state: NeumannState, products: SwarmProducts) -> tuple[Tensor, ...]:
        """v_m."""
        return products.hypergradients(state.adjoint)


def _check_step_size(value: float) -> None:
    if not 0 < value < float("inf"):
        raise SettingError("step_size", value, "give a number above 0")
