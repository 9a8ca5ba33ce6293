"""Dense answers for small bilevel problems, in float64; shares no line with what it checks.

All inner variables of all agents are stacked, w = (x, z_1 .. z_n), with one stationarity condition for each,

    R(w, h) = (mean_i r_i, s_1 .. s_n) = 0,      J(w, h) = mean_i F_i,

which is solved by Newton's method. The implicit function theorem and one linear solve give dJ/dh; central
differences of the fully solved problem give it again without any second derivative of a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DESCENT_STEPS = 100  # into the basin of a minimum, before Newton's method
NEWTON_STEPS_MAX = 50
STATIONARY = 1e-14


def pack(named: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0, dtype=torch.float64), *[t.reshape(-1).double() for t in named.values()]])


def unpack(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = torch.split(vector, [tensor.numel() for tensor in like.values()])
    return {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}


@dataclass(frozen=True)
class Adjoint:
    """p and q of DESIGN (3), from one dense solve."""

    shared: Tensor
    local: list[Tensor]


class DenseNetwork:
    """Problems that use all their samples in every batch, as one system of equations."""

    def __init__(self, problems: Sequence[Any]) -> None:
        self.problems = list(problems)
        self.hypers = [pack(problem.hyperparameters) for problem in problems]
        self._locals = [getattr(problem, "local", {}) for problem in problems]
        self._batches = [next(problem.batches()) for problem in problems]
        self._outer_batches = [
            next(problem.outer_batches()) if hasattr(problem, "outer_batches") else batch
            for problem, batch in zip(problems, self._batches, strict=True)
        ]
        self._sizes = [len(pack(problems[0].model)), *[len(pack(local)) for local in self._locals]]

    def split(self, w: Tensor) -> tuple[Tensor, ...]:
        """(x, z_1 .. z_n)."""
        return torch.split(w, self._sizes)

    def _call(self, loss: Any, i: int, x: Tensor, h: Tensor, z: Tensor, batch: Any) -> Tensor:
        problem = self.problems[i]
        keywords = {"local": unpack(z, self._locals[i])} if self._locals[i] else {}
        return loss(unpack(x, problem.model), unpack(h, problem.hyperparameters), batch, **keywords)

    def _inner(self, x: Tensor, z: Tensor, h: Tensor, i: int) -> Tensor:
        return self._call(self.problems[i].inner_loss, i, x, h, z, self._batches[i])

    def _local(self, z: Tensor, x: Tensor, h: Tensor, i: int) -> Tensor:
        loss = getattr(self.problems[i], "local_loss", self.problems[i].inner_loss)
        return self._call(loss, i, x, h, z, self._batches[i])

    def residual(self, w: Tensor, hypers: Sequence[Tensor]) -> Tensor:
        """R(w, h)."""
        x, *zs = self.split(w)
        agents = range(len(self.problems))
        shared = [torch.func.grad(self._inner)(x, zs[i], hypers[i], i) for i in agents]
        local = [torch.func.grad(self._local)(zs[i], x, hypers[i], i) for i in agents]
        return torch.cat([torch.stack(shared).mean(0), *local])

    def objective(self, w: Tensor, hypers: Sequence[Tensor]) -> Tensor:
        """J(w, h)."""
        x, *zs = self.split(w)
        losses = [
            self._call(problem.outer_loss, i, x, hypers[i], zs[i], self._outer_batches[i])
            for i, problem in enumerate(self.problems)
        ]
        return torch.stack(losses).mean()

    def solve(self, hypers: Sequence[Tensor], start: Tensor | None = None) -> Tensor:
        """w with R(w, h) = 0; from the problems' initial values by descent first, unless `start` is given."""
        w = start
        if w is None:
            w = torch.cat([pack(self.problems[0].model), *[pack(local) for local in self._locals]])
            for _ in range(DESCENT_STEPS):
                w = w - 0.3 * self.residual(w, hypers)
        for _ in range(NEWTON_STEPS_MAX):
            residual = self.residual(w, hypers)
            if float(residual.norm()) < STATIONARY:
                break
            w = w - torch.linalg.solve(self.jacobian(w, hypers), residual)
        assert float(self.residual(w, hypers).norm()) < 1e-12, "Newton's method has not converged"
        return w

    def jacobian(self, w: Tensor, hypers: Sequence[Tensor]) -> Tensor:
        """dR/dw. Descent is stable where its eigenvalues have positive real parts."""
        return torch.func.jacrev(self.residual)(w, hypers)

    def multipliers(self, w: Tensor, hypers: Sequence[Tensor]) -> Tensor:
        """lambda with (dR/dw)' lambda = dJ/dw."""
        return torch.linalg.solve(self.jacobian(w, hypers).T, torch.func.grad(self.objective)(w, hypers))

    def adjoint(self, w: Tensor, hypers: Sequence[Tensor]) -> Adjoint:
        """DESIGN (3): p belongs to the mean over the agents, q_i to the agent itself."""
        shared, *local = self.split(self.multipliers(w, hypers))
        return Adjoint(shared, [z * len(self.problems) for z in local])

    def hypergradients(self, w: Tensor, hypers: Sequence[Tensor]) -> list[Tensor]:
        """n dJ/dh_i along the solution w(h), by the implicit function theorem."""
        multipliers = self.multipliers(w, hypers)
        direct = torch.func.grad(self.objective, argnums=1)(w, list(hypers))
        moved = torch.func.jacrev(self.residual, argnums=1)(w, list(hypers))
        n = len(self.problems)
        return [n * (d - m.T @ multipliers) for d, m in zip(direct, moved, strict=True)]

    def central_differences(self, w: Tensor, hypers: Sequence[Tensor], step: float = 2e-5) -> list[Tensor]:
        """n dJ/dh_i from fully solving the inner problem at h + step and at h - step, element by element."""
        found = []
        for i, h in enumerate(hypers):
            slopes = []
            for unit in torch.eye(len(h), dtype=torch.float64):
                values = []
                for sign in (1.0, -1.0):
                    moved = [*hypers[:i], h + sign * step * unit, *hypers[i + 1 :]]
                    values.append(self.objective(self.solve(moved, start=w), moved))
                slopes.append(len(self.problems) * (values[0] - values[1]) / (2 * step))
            found.append(torch.stack(slopes))
        return found
