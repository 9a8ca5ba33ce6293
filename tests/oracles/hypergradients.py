"""What estimators of common rounds come to, from dense matrices; shares no line with what it checks.

All agents are stacked into one vector of n d elements, agent by agent, and every step is one matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class DenseLosses:
    """Second derivatives of all agents' losses at one common model, by autograd."""

    hessians: list[Tensor]  # (d, d)
    mixed: list[Tensor]  # d2f_i / dh dx, (h, d)
    outer: list[Tensor]  # dF_i/dx
    direct: list[Tensor]  # dF_i/dh

    @classmethod
    def of(cls, problems: Sequence[Any], x: Tensor, model: str, hyper: str) -> DenseLosses:
        """`model` and `hyper`: the names of the only tensors there."""
        found: list[list[Tensor]] = [[], [], [], []]
        for problem in problems:
            batch = next(problem.batches())

            def inner(x: Tensor, h: Tensor, problem: Any = problem, batch: Any = batch) -> Tensor:
                return problem.inner_loss({model: x}, {hyper: h}, batch)

            def outer(x: Tensor, h: Tensor, problem: Any = problem, batch: Any = batch) -> Tensor:
                return problem.outer_loss({model: x}, {hyper: h}, batch)

            h = problem.hyperparameters[hyper]
            found[0].append(torch.func.jacrev(torch.func.grad(inner))(x, h))
            found[1].append(torch.func.jacrev(torch.func.grad(inner), argnums=1)(x, h).T)
            found[2].append(torch.func.grad(outer)(x, h))
            found[3].append(torch.func.grad(outer, argnums=1)(x, h))
        return cls(*found)

    def truth(self) -> list[Tensor]:
        """DESIGN (2)."""
        p = torch.linalg.solve(torch.stack(self.hessians).mean(0), torch.stack(self.outer).mean(0))
        return [direct - mixed @ p for direct, mixed in zip(self.direct, self.mixed, strict=True)]

    def truncated_series(self, step_size: float, depth: int) -> list[Tensor]:
        """dF/dh - a (d2f / dh dx) sum over m < M of (I - a H)^m g, each power by itself."""
        hessian, gradient = torch.stack(self.hessians).mean(0), torch.stack(self.outer).mean(0)
        identity = torch.eye(len(hessian), dtype=torch.float64)
        powers = [torch.linalg.matrix_power(identity - step_size * hessian, m) for m in range(depth)]
        p = step_size * torch.stack(powers).sum(0) @ gradient
        return [direct - mixed @ p for direct, mixed in zip(self.direct, self.mixed, strict=True)]

    def backwards_step(
        self, mixing: Tensor, weights: Tensor, step_size: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(A, B, c) of SGP backwards, by transposing the forward step written out for all agents."""
        n, d = len(self.hessians), len(self.outer[0])
        kron = torch.kron(mixing, torch.eye(d, dtype=torch.float64))
        scaled = torch.block_diag(*[h / w for h, w in zip(self.hessians, weights.tolist(), strict=True)])
        to_model = kron @ (torch.eye(n * d, dtype=torch.float64) - step_size * scaled)
        to_hyper = -step_size * kron @ torch.block_diag(*[mixed.T for mixed in self.mixed])
        outer = torch.cat([g / w for g, w in zip(self.outer, weights.tolist(), strict=True)])
        return to_model.T, to_hyper.T, outer

    def backwards_limit(self, mixing: Tensor, weights: Tensor, step_size: float) -> Tensor:
        """All agents' hypergradients, summed over the whole series at once."""
        to_model, to_hyper, outer = self.backwards_step(mixing, weights, step_size)
        identity = torch.eye(len(outer), dtype=torch.float64)
        return torch.cat(self.direct) + to_hyper @ torch.linalg.solve(identity - to_model, outer)


def mean_shares(
    targets: Sequence[Sequence[int]], rates: Sequence[Sequence[Fraction]]
) -> list[list[Fraction]]:
    """E of equal shares among the links that are up, by going through all cases; `rates[target][source]`."""
    n = len(targets)
    mean = [[Fraction(0)] * n for _ in range(n)]
    for source in range(n):
        for case in product((False, True), repeat=len(targets[source])):
            chance = Fraction(1)
            for up, target in zip(case, targets[source], strict=True):
                chance *= rates[target][source] if up else 1 - rates[target][source]
            share = chance / (1 + sum(case))
            mean[source][source] += share
            for up, target in zip(case, targets[source], strict=True):
                mean[target][source] += share if up else 0
    return mean
