"""Logistic regression with personal weight decays: the synthetic set-up of arXiv 2210.02129v3, section 5.1.

inner_i(x, h) = mean of log(1 + exp(-s (a, 1)'x)) over training samples + 1/2 h x'x        s = 2 label - 1
outer_i(x)    = the same mean over validation samples

Samples as in the mixture of the FedEM paper (arXiv 2108.10252, synthetic data): each agent draws from linear
rules that all agents have in common, in proportions of its own.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

from peer.derivatives import Derivatives
from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Named = Mapping[str, Tensor]

RULES = 3  # linear rules in the mixture
CONCENTRATION = 0.4  # of the Dirichlet distribution of each agent's proportions
NOISE = 0.1  # standard deviation of the noise on a rule's value before it is rounded to a label
NEWTON_STEPS_MAX = 50
STEP_RATIO = 1e-11  # of the length of a step to that of the model: Newton's method has converged


class LogisticProblem:
    """`BilevelProblem` with the losses above; all samples in every batch; float64.

    `inputs` (m, d), `labels` (m,) of 0 and 1; the model is `{"weights": (d + 1,)}`, the last one the offset,
    and decays as a whole; `{"decay": (1,)}` is h. Raises `ProblemError` naming what does not fit.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        outer_inputs: Tensor,
        outer_labels: Tensor,
        *,
        decay: float = 0.0,
        initial: Tensor | None = None,
    ) -> None:
        if not 0 <= decay < math.inf:
            raise ProblemError(f"decay = {decay}; give 0 or a number above it")
        self._inner = _with_signs(inputs, labels, "inputs")
        self._outer = _with_signs(outer_inputs, outer_labels, "outer_inputs")
        size = self._inner.shape[1]
        if self._outer.shape[1] != size:
            raise ProblemError(
                f"outer_inputs have {self._outer.shape[1] - 1} columns, inputs {size - 1}; give equally many"
            )
        if initial is not None and tuple(initial.shape) != (size,):
            raise ProblemError(
                f"initial has shape {tuple(initial.shape)}; give ({size},): weights and offset"
            )
        start = torch.zeros(size) if initial is None else initial.detach()
        self.model: Named = {"weights": start.to(torch.float64)}
        self.hyperparameters: Named = {"decay": torch.tensor([decay], dtype=torch.float64)}

    def inner_loss(self, model: Named, hyperparameters: Named, batch: object = None) -> Tensor:
        """The training loss."""
        del batch
        x = model["weights"]
        return softplus(-self._inner @ x).mean() + hyperparameters["decay"].sum() * x.square().sum() / 2

    def outer_loss(self, model: Named, hyperparameters: Named, batch: object = None) -> Tensor:
        """The validation loss."""
        del batch, hyperparameters
        return softplus(-self._outer @ model["weights"]).mean()

    def batches(self) -> Iterator[None]:
        """All samples are in every batch: endless Nones."""
        while True:
            yield None

    def derivatives(self, model: Named, hyperparameters: Named, adjoint: Named) -> Derivatives:
        """Closed-form products; agree with autograd on the losses above."""
        x, h, p = model["weights"], hyperparameters["decay"], adjoint["weights"]
        margins, outer_margins = self._inner @ x, self._outer @ x
        wrong, outer_wrong = torch.sigmoid(-margins), torch.sigmoid(-outer_margins)
        inner_x = h * x - self._inner.T @ wrong / len(wrong)
        outer_x = -self._outer.T @ outer_wrong / len(outer_wrong)
        curved = h * p + self._inner.T @ (wrong * (1 - wrong) * (self._inner @ p)) / len(wrong)
        return Derivatives(
            model_gradient={"weights": inner_x},
            local_gradient={},
            adjoint_gradient={"weights": curved - outer_x},
            local_adjoint_gradient={},
            hypergradient={"decay": -torch.dot(x, p).reshape(1)},
            training_loss=float(softplus(-margins).mean() + h.sum() * x.square().sum() / 2),
            validation_loss=float(softplus(-outer_margins).mean()),
        )

    def hessian(self, weights: Tensor, decay: float) -> Tensor:
        """Of the training loss, (d + 1, d + 1)."""
        wrong = torch.sigmoid(-self._inner @ weights)
        curved = self._inner.T @ (self._inner * (wrong * (1 - wrong)).unsqueeze(1)) / len(wrong)
        return curved + decay * torch.eye(len(weights), dtype=torch.float64)


def _with_signs(inputs: Tensor, labels: Tensor, name: str) -> Tensor:
    """Rows s (a, 1): a loss then depends on their products with x alone."""
    if inputs.dim() != 2 or tuple(labels.shape) != (len(inputs),) or not len(inputs):
        raise ProblemError(
            f"{name} {tuple(inputs.shape)}, labels {tuple(labels.shape)}; give (m, d) and (m,), m at least 1"
        )
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ProblemError(f"{name}: labels other than 0 and 1; give those two")
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    signs = 2 * labels.to(torch.float64) - 1
    return torch.cat([inputs.to(torch.float64), ones], dim=1) * signs.unsqueeze(1)


def mixture(
    agents: int, seed: int, *, dimension: int = 5, samples: int = 100, decay: float = 0.0
) -> list[LogisticProblem]:
    """One problem per agent, `samples` to train on and as many to validate with; equal seeds, equal bits.

    Inputs uniform in [-1, 1], rules likewise; a label is the rounded sigmoid of its rule's value plus noise.
    """
    rng = random.Random(f"{seed}/proportions")
    proportions = [_dirichlet(rng) for _ in range(agents)]
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1

    rules = uniform(RULES, dimension)

    def draw(weights: list[float]) -> tuple[Tensor, Tensor]:
        inputs = uniform(samples, dimension)
        chosen = rng.choices(range(RULES), weights, k=samples)
        noise = torch.randn(samples, generator=generator, dtype=torch.float64)
        values = (inputs * rules[chosen]).sum(1) + NOISE * noise
        return inputs, (values > 0).to(torch.float64)

    return [LogisticProblem(*draw(own), *draw(own), decay=decay) for own in proportions]


def _dirichlet(rng: random.Random) -> list[float]:
    drawn = [rng.gammavariate(CONCENTRATION, 1.0) for _ in range(RULES)]
    return [one / sum(drawn) for one in drawn]


@dataclass(frozen=True, slots=True)
class LogisticSolution:
    """The truth at held hyperparameters, by Newton's method and one dense solve. DESIGN (1), (2)."""

    model: Tensor  # x*, shape (d + 1,)
    adjoint: Tensor  # p
    hypergradients: tuple[Tensor, ...]  # v_i = n dJ/dh_i, shape (1,) each
    hessian: Tensor  # H, of the mean training loss at x*
    curvature: tuple[float, float]  # smallest and largest eigenvalue of H


def solve(problems: Sequence[LogisticProblem]) -> LogisticSolution:
    """At the problems' initial hyperparameters. Raises `ProblemError` if the mean loss has no minimum."""
    decays = [float(problem.hyperparameters["decay"]) for problem in problems]
    x = torch.zeros_like(problems[0].model["weights"])
    hessian = _mean_hessian(problems, decays, x)
    for _ in range(NEWTON_STEPS_MAX):
        step, failed = torch.linalg.solve_ex(hessian, _mean(problems, "model_gradient", x, x * 0))[:2]
        x = x - step
        hessian = _mean_hessian(problems, decays, x)
        # Of the step, not of the gradient: that vanishes also where a model grows without bound.
        if not int(failed) and float(step.norm()) < STEP_RATIO * (1 + float(x.norm())):
            break
    else:
        raise ProblemError("the rules separate all samples and nothing decays; no finite model is best")
    adjoint = torch.linalg.solve(hessian, -_mean(problems, "adjoint_gradient", x, x * 0))
    eigenvalues = torch.linalg.eigvalsh(hessian)
    return LogisticSolution(
        model=x,
        adjoint=adjoint,
        hypergradients=tuple(
            p.derivatives({"weights": x}, p.hyperparameters, {"weights": adjoint}).hypergradient["decay"]
            for p in problems
        ),
        hessian=hessian,
        curvature=(float(eigenvalues[0]), float(eigenvalues[-1])),
    )


def _mean(problems: Sequence[LogisticProblem], name: str, x: Tensor, p: Tensor) -> Tensor:
    found = [
        problem.derivatives({"weights": x}, problem.hyperparameters, {"weights": p}) for problem in problems
    ]
    return torch.stack([getattr(one, name)["weights"] for one in found]).mean(0)


def _mean_hessian(problems: Sequence[LogisticProblem], decays: list[float], x: Tensor) -> Tensor:
    return torch.stack([p.hessian(x, decay) for p, decay in zip(problems, decays, strict=True)]).mean(0)
