"""Quadratic bilevel problems: their answers have closed forms, so exactness can be measured in seconds.

inner_i(x, h) = 1/2 x'A x - x'(b + B h)            outer_i(x, h) = 1/2 x'C x - x'c + 1/2 h'D h - h'e
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from peer.derivatives import Derivatives
from peer.errors import ProblemError

if TYPE_CHECKING:
    from typing import Self

Named = Mapping[str, Tensor]


class QuadraticProblem:
    """`BilevelProblem` with the losses above; model `{"x": (d,)}`, hyperparameters `{"h": (m,)}`, float64.

    `inner_hessian` A and `outer_hessian` C have shape (d, d), symmetric; A positive definite. `coupling` B is
    (d, m), `regularization` D is (m, m), symmetric. Raises `ProblemError` naming the argument that does not
    fit.
    """

    def __init__(
        self,
        inner_hessian: Tensor,
        inner_linear: Tensor,
        coupling: Tensor,
        outer_hessian: Tensor,
        outer_linear: Tensor,
        regularization: Tensor | None = None,
        outer_hyper_linear: Tensor | None = None,
        *,
        hyperparameters: Tensor | None = None,
    ) -> None:
        dimension, count = coupling.shape if coupling.dim() == 2 else (-1, -1)
        zeros = torch.zeros(max(count, 0), dtype=torch.float64)
        self.inner_hessian = _checked(inner_hessian, (dimension, dimension), "inner_hessian")
        self.inner_linear = _checked(inner_linear, (dimension,), "inner_linear")
        self.coupling = _checked(coupling, (dimension, count), "coupling")
        self.outer_hessian = _checked(outer_hessian, (dimension, dimension), "outer_hessian")
        self.outer_linear = _checked(outer_linear, (dimension,), "outer_linear")
        self.regularization = _checked(
            torch.diag(zeros) if regularization is None else regularization, (count, count), "regularization"
        )
        self.outer_hyper_linear = _checked(
            zeros if outer_hyper_linear is None else outer_hyper_linear, (count,), "outer_hyper_linear"
        )
        initial = _checked(zeros if hyperparameters is None else hyperparameters, (count,), "hyperparameters")
        self.model: Named = {"x": torch.zeros(dimension, dtype=torch.float64)}
        self.hyperparameters: Named = {"h": initial}

    @classmethod
    def random(
        cls,
        generator: torch.Generator,
        *,
        dimension: int = 20,
        hyper_dimension: int = 3,
        condition: float = 20.0,
    ) -> Self:
        """Eigenvalues of A from 1 / condition to 1, and every draw its own minimiser: unlike agents."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        basis, _ = torch.linalg.qr(normal(dimension, dimension))
        eigenvalues = torch.logspace(0, -1, dimension, base=condition, dtype=torch.float64)
        hessian = basis @ torch.diag(eigenvalues) @ basis.T
        basis, _ = torch.linalg.qr(normal(dimension, dimension))
        eigenvalues = 0.5 + torch.rand(dimension, generator=generator, dtype=torch.float64)
        outer = basis @ torch.diag(eigenvalues) @ basis.T
        return cls(
            inner_hessian=(hessian + hessian.T) / 2,
            inner_linear=hessian @ normal(dimension),
            coupling=normal(dimension, hyper_dimension) / dimension**0.5,
            outer_hessian=(outer + outer.T) / 2,
            outer_linear=outer @ normal(dimension),
            regularization=torch.eye(hyper_dimension, dtype=torch.float64),
            outer_hyper_linear=normal(hyper_dimension),
            hyperparameters=normal(hyper_dimension),
        )

    def inner_loss(self, model: Named, hyperparameters: Named, batch: object = None) -> Tensor:
        """The training loss; there are no batches."""
        del batch
        x, h = model["x"], hyperparameters["h"]
        return x @ self.inner_hessian @ x / 2 - x @ (self.inner_linear + self.coupling @ h)

    def outer_loss(self, model: Named, hyperparameters: Named, batch: object = None) -> Tensor:
        """The validation loss."""
        del batch
        x, h = model["x"], hyperparameters["h"]
        in_x = x @ self.outer_hessian @ x / 2 - x @ self.outer_linear
        return in_x + h @ self.regularization @ h / 2 - h @ self.outer_hyper_linear

    def batches(self) -> Iterator[None]:
        """There is no data: endless Nones."""
        while True:
            yield None

    def derivatives(self, model: Named, hyperparameters: Named, adjoint: Named) -> Derivatives:
        """Closed-form products; agree with autograd on the losses above."""
        x, h, p = model["x"], hyperparameters["h"], adjoint["x"]
        linear = torch.addmv(self.inner_linear, self.coupling, h)
        inner_x = _minus(self.inner_hessian, x, linear)
        outer_x = _minus(self.outer_hessian, x, self.outer_linear)
        outer_h = _minus(self.regularization, h, self.outer_hyper_linear)
        return Derivatives(
            model_gradient={"x": inner_x},
            local_gradient={},
            adjoint_gradient={"x": _minus(self.inner_hessian, p, outer_x)},
            local_adjoint_gradient={},
            hypergradient={"h": torch.addmv(outer_h, self.coupling.T, p)},
            training_loss=float(x @ (inner_x - linear)) / 2,
            validation_loss=float(x @ (outer_x - self.outer_linear) + h @ (outer_h - self.outer_hyper_linear))
            / 2,
        )


def _minus(matrix: Tensor, vector: Tensor, offset: Tensor) -> Tensor:
    """matrix @ vector - offset, in one call: what is called 100,000 times in a test should be quick."""
    return torch.addmv(offset, matrix, vector, beta=-1)


def _checked(tensor: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise ProblemError(f"{name} has shape {tuple(tensor.shape)}; coupling (d, m) asks for {shape}")
    return tensor.detach().to(torch.float64)


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The truth for a swarm of quadratics with held hyperparameters. DESIGN (1), (2)."""

    model: Tensor  # x*, shape (d,)
    adjoint: Tensor  # p, shape (d,)
    hypergradients: tuple[Tensor, ...]  # v_i = n dJ/dh_i, shape (m,) each
    objective: float  # J


def closed_form(
    problems: Sequence[QuadraticProblem],
    hyperparameters: Sequence[Tensor] | None = None,
    damping: float = 0.0,
) -> ClosedForm:
    """Solve the linear systems; `hyperparameters` default to the problems' initial ones."""
    values = [p.hyperparameters["h"] for p in problems] if hyperparameters is None else hyperparameters
    pairs = list(zip(problems, values, strict=True))
    hessian = torch.stack([p.inner_hessian for p in problems]).mean(0)
    linear = torch.stack([p.inner_linear + p.coupling @ h for p, h in pairs]).mean(0)
    model = torch.linalg.solve(hessian, linear)
    outer = torch.stack([p.outer_hessian @ model - p.outer_linear for p in problems]).mean(0)
    adjoint = torch.linalg.solve(hessian + damping * torch.eye(len(model), dtype=torch.float64), outer)
    return ClosedForm(
        model=model,
        adjoint=adjoint,
        hypergradients=tuple(
            p.regularization @ h - p.outer_hyper_linear + p.coupling.T @ adjoint for p, h in pairs
        ),
        objective=sum(float(p.outer_loss({"x": model}, {"h": h})) for p, h in pairs) / len(pairs),
    )


def bilevel_solution(problems: Sequence[QuadraticProblem]) -> tuple[Tensor, ...]:
    """The hyperparameters at which every hypergradient vanishes, one tensor of shape (m,) per agent.

    The hypergradients are affine in all hyperparameters together: their matrix is read off column by column.
    """
    sizes = [len(problem.hyperparameters["h"]) for problem in problems]

    def hypergradients(stacked: Tensor) -> Tensor:
        return torch.cat(closed_form(problems, torch.split(stacked, sizes)).hypergradients)

    origin = hypergradients(torch.zeros(sum(sizes), dtype=torch.float64))
    columns = [hypergradients(unit) - origin for unit in torch.eye(sum(sizes), dtype=torch.float64)]
    solution: Tensor = torch.linalg.solve(torch.stack(columns, dim=1), -origin)
    return torch.split(solution, sizes)
