"""The paper's first estimator: Jacobians of push-sum SGP, pushed backwards. arXiv 2210.02129v1.

A step of SGP is x_i <- sum over j of P_ij (x_j - a df_j/dx at x_j / y_j), y <- P y. Its stationary point
moves with the hyperparameters; the derivative of the mean outer loss along it needs the transposed step,

    A u = (I - a d2f_j/dx2 / y_j) sum over i of P_ij u_i      B u = -a (d2f_j / dh dx) sum over i of P_ij u_i

for which agent j would have to hear those it sends to. It hears others: what comes over a link from i is
taken with E[P_ij] / E[link from i is up], which is right on average, if links go both ways. y is E[P]'s
stationary weight, sum n.

    c = dF_j/dx / y_j, u = c, s = c, v = dF_j/dh         with averaging weights alpha and beta:
    v <- alpha (v + B u) + (1 - alpha) (dF_j/dh + B s)
    u <- A u;   s <- beta (A s + c) + (1 - beta) (s + u)

alpha = 1 sums the series of u in v; alpha = 0, beta = 1 sums it in s, which forgets old noise. Where this
settles differs from DESIGN (2) in the order of a: agents of SGP agree only so far.
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


class JacobianPushState(NamedTuple):
    """Rows are agents."""

    power: Tensor  # u, (n, d)
    series: Tensor  # s, (n, d)
    adjoint: Tensor  # v without dF/dh, before the product with the mixed derivatives, (n, d)
    outer: Tensor  # c, (n, d)
    weights: Tensor  # y, (n, 1)
    shares: Tensor  # what a message from [source] counts at [target]; the diagonal: what the agent keeps


@dataclass(frozen=True, slots=True)
class JacobianPush:
    """`HypergradientEstimator`; one push per update. Raises `SettingError`, also for one-way links."""

    step_size: float  # a
    alpha: float = 0.9  # the paper's
    beta: float = 0.1  # the paper's

    standing = True

    def __post_init__(self) -> None:
        if not 0 < self.step_size < float("inf"):
            raise SettingError("step_size", self.step_size, "give a number above 0")
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(name, getattr(self, name), "give a weight in [0, 1]")

    def init(self, products: SwarmProducts) -> JacobianPushState:
        """Without the network's rates yet: the first update reads them."""
        outer = products.outer_gradients()
        unknown = torch.zeros(0, 0, dtype=torch.float64)
        return JacobianPushState(outer, outer, torch.zeros_like(outer), outer, unknown, unknown)

    def update(
        self, state: JacobianPushState, products: SwarmProducts, network: LockstepNetwork
    ) -> JacobianPushState:
        """One round; a message carries u and s."""
        if not state.weights.numel():
            state = _with_rates(state, network)
        delivered, _ = network.deliver(2 * state.power.shape[1])
        heard = state.shares * delivered.to(torch.float64).fill_diagonal_(1.0)
        power, series = heard @ state.power, heard @ state.series
        step = self.step_size / state.weights
        mixed = self.alpha * (state.adjoint + self.step_size * power)
        moved = power - step * products.hessian_vectors(power)
        summed = series - step * products.hessian_vectors(series) + state.outer
        return state._replace(
            power=moved,
            series=self.beta * summed + (1 - self.beta) * (state.series + moved),
            adjoint=mixed + (1 - self.alpha) * self.step_size * series,
        )

    def hypergradients(self, state: JacobianPushState, products: SwarmProducts) -> tuple[Tensor, ...]:
        """v."""
        return products.hypergradients(state.adjoint)


def _with_rates(state: JacobianPushState, network: LockstepNetwork) -> JacobianPushState:
    links = network.graph.rates > 0
    one_way = (links & ~links.T).nonzero().tolist()
    if one_way:
        target, source = one_way[0]
        remedy = "give links both ways: an agent has to hear whom it sends to"
        raise SettingError("graph", f"a link from {source} to {target} and none back", remedy)
    expected = network.expected_mixing()
    shares = torch.where(network.graph.rates > 0, expected.T / network.graph.rates, 0.0)
    weights = stationary_weights(expected).unsqueeze(1)
    outer = state.outer / weights
    return state._replace(power=outer, series=outer, outer=outer, weights=weights, shares=shares)


def stationary_weights(mixing: Tensor) -> Tensor:
    """y > 0 with y in proportion to `mixing` y and sum n: what push-sum's weights are on average, (n,)."""
    values, vectors = torch.linalg.eig(mixing)
    vector = vectors[:, int(values.real.argmax())].real
    weights: Tensor = vector / vector.sum() * len(vector)
    return weights
