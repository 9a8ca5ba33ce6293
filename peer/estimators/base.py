"""What every estimator is given, and what it gives: the protocol `HypergradientEstimator`.

Rows are agents: row i of `models`, of vectors and of what comes back belongs to agent i, who alone computes
it from its own data. Whatever crosses between rows goes through the network.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from peer.derivatives import Losses, derivatives
from peer.errors import ProblemError
from peer.problem import HasDerivatives, HasLocal, HasOuterBatches
from peer.tensors import FlatLayout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from peer.derivatives import Derivatives
    from peer.lockstep import LockstepNetwork
    from peer.problem import BilevelProblem

    Named = Mapping[str, Tensor]

StateT = TypeVar("StateT")


class HypergradientEstimator(Protocol[StateT]):
    """`(init, update)` with a frozen state. One update is what happens between two moments at which all wait.

    * `standing`: whether the models must stay where they are from `init` to the last update, because what
      the state sums up belongs to them; else they may move meanwhile (schedule `continuous`).
    """

    @property
    def standing(self) -> bool: ...  # noqa: D102  (see above)

    def init(self, products: SwarmProducts) -> StateT:
        """The state before any message."""

    def update(self, state: StateT, products: SwarmProducts, network: LockstepNetwork) -> StateT:
        """Exchange messages and improve; the old state is not to be used any more."""

    def hypergradients(self, state: StateT, products: SwarmProducts) -> tuple[Tensor, ...]:
        """v_i of DESIGN (2) as every agent estimates it, flat, shape (h_i,) each; no messages."""


class SwarmProducts:
    """First and second derivatives of all agents' losses, each at its own model.

    `models` (n, d) is set by whoever trains. Derivatives are those of the next batch, so that two calls see
    independent samples if batches are. Raises `ProblemError` for adjoints or vectors of another shape, and
    for local inner variables: only tracking over the agents has an adjoint for them (DESIGN (3)).
    """

    def __init__(self, problems: Sequence[BilevelProblem[Any]]) -> None:
        for number, problem in enumerate(problems):
            if isinstance(problem, HasLocal) and problem.local:
                raise ProblemError(
                    f"problems[{number}] has local inner variables ({', '.join(problem.local)}), for which "
                    "no estimator of common rounds has an adjoint; use peer.simulate, or leave them out"
                )
        self.problems = tuple(problems)
        self._layout = FlatLayout(problems[0].model, "model")
        self._hyper = [FlatLayout(problem.hyperparameters, "hyperparameters") for problem in problems]
        self._batches: list[Iterator[Any]] = [iter(problem.batches()) for problem in problems]
        self._outer_batches: list[Iterator[Any] | None] = [
            iter(problem.outer_batches()) if isinstance(problem, HasOuterBatches) else None
            for problem in problems
        ]
        self.losses = [(math.nan, math.nan)] * len(problems)  # of training and validation, as computed last
        self.models = torch.stack([self._layout.flatten(problem.model).double() for problem in problems])
        self.hyperparameters = [
            layout.flatten(problem.hyperparameters).double()
            for layout, problem in zip(self._hyper, problems, strict=True)
        ]

    def model_gradients(self) -> Tensor:
        """df_i/dx, (n, d)."""
        return self._rows("model_gradient", torch.zeros_like(self.models))

    def outer_gradients(self) -> Tensor:
        """dF_i/dx, (n, d)."""
        return -self._rows("adjoint_gradient", torch.zeros_like(self.models))

    def adjoint_gradients(self, adjoints: Tensor) -> Tensor:
        """(d2f_i/dx2) p_i - dF_i/dx, (n, d)."""
        self._check_rows("adjoints", adjoints)
        return self._rows("adjoint_gradient", adjoints)

    def hessian_vectors(self, vectors: Tensor) -> Tensor:
        """(d2f_i/dx2) u_i, (n, d)."""
        self._check_rows("vectors", vectors)
        pairs = [self._derivatives(i, vector, torch.zeros_like(vector)) for i, vector in enumerate(vectors)]
        flat = [[self._flat(one.adjoint_gradient) for one in pair] for pair in pairs]
        return torch.stack([at_vector - at_zero for at_vector, at_zero in flat])

    def hypergradients(self, adjoints: Tensor) -> tuple[Tensor, ...]:
        """dF_i/dh - (d2f_i / dh dx) p_i, (h_i,) each. DESIGN (2); linear in p beside a constant."""
        self._check_rows("adjoints", adjoints)
        found = [self._derivatives(i, adjoint)[0] for i, adjoint in enumerate(adjoints)]
        return tuple(
            layout.flatten(one.hypergradient).double() for layout, one in zip(self._hyper, found, strict=True)
        )

    def _check_rows(self, what: str, given: Tensor) -> None:
        if given.shape != self.models.shape:
            wanted = f"wanted {tuple(self.models.shape)}, a row of its own for each agent"
            raise ProblemError(f"{what} have the shape {tuple(given.shape)}, {wanted}")

    def _rows(self, name: str, adjoints: Tensor) -> Tensor:
        found = [getattr(self._derivatives(i, adjoint)[0], name) for i, adjoint in enumerate(adjoints)]
        return torch.stack([self._flat(one) for one in found])

    def _flat(self, named: Named) -> Tensor:
        return self._layout.flatten(named).double()

    def _derivatives(self, agent: int, *adjoints: Tensor) -> list[Derivatives]:
        """At each of these adjoints, all on one batch."""
        problem = self.problems[agent]
        model = self._layout.unflatten(self.models[agent])
        hyper = self._hyper[agent].unflatten(self.hyperparameters[agent])
        named = [self._layout.unflatten(adjoint) for adjoint in adjoints]
        if isinstance(problem, HasDerivatives):
            return self._seen(agent, [problem.derivatives(model, hyper, adjoint) for adjoint in named])
        batch = next(self._batches[agent])
        outer = self._outer_batches[agent]
        outer_batch = batch if outer is None else next(outer)
        losses = Losses(
            inner=lambda x, h, _: problem.inner_loss(x, h, batch),
            outer=lambda x, h, _: problem.outer_loss(x, h, outer_batch),
        )
        return self._seen(agent, [derivatives(losses, model, hyper, {}, adjoint, {}) for adjoint in named])

    def _seen(self, agent: int, found: list[Derivatives]) -> list[Derivatives]:
        self.losses[agent] = found[0].training_loss, found[0].validation_loss
        return found
