"""Random networks and tasks on which steps that tune themselves are compared with the best of a grid.

Nothing that the network does depends on steps, so one simulated swarm carries many settings at once: its
model has a row for each, and steps and momentum are vectors.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from peer.derivatives import Derivatives
from wire import Exponential, FaultPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Named = Mapping[str, Tensor]

TICK_S = 1.0
NEWTON_STEPS = 60
SAMPLES = 60  # of each agent's logistic regression


class Quadratic:
    """x' A x / 2 - x' b for training, x' C x / 2 - x' c for validation."""

    def __init__(self, hessian: Tensor, linear: Tensor, outer_hessian: Tensor, outer_linear: Tensor) -> None:
        self._hessian, self._linear = hessian, linear
        self._outer_hessian, self._outer_linear = outer_hessian, outer_linear

    def gradient(self, x: Tensor) -> Tensor:
        """Of training, at each row of x."""
        return x @ self._hessian - self._linear

    def product(self, x: Tensor, p: Tensor) -> Tensor:  # noqa: ARG002  (the same everywhere)
        """Of the Hessian of training at each row of x with that of p."""
        return p @ self._hessian

    def outer_gradient(self, x: Tensor) -> Tensor:
        """Of validation."""
        return x @ self._outer_hessian - self._outer_linear


class Logistic:
    """Logistic regression of `labels`, -1 or 1, on `features`, with a little weight decay."""

    def __init__(self, features: Tensor, labels: Tensor, decay: float, outer: Tensor) -> None:
        self._signed, self._decay, self._outer = features * labels[:, None], decay, outer

    def gradient(self, x: Tensor) -> Tensor:
        """Of training, at each row of x."""
        missed = torch.sigmoid(-x @ self._signed.T)
        return -missed @ self._signed / len(self._signed) + self._decay * x

    def product(self, x: Tensor, p: Tensor) -> Tensor:
        """Of the Hessian of training at each row of x with that of p."""
        missed = torch.sigmoid(-x @ self._signed.T)
        bent = missed * (1 - missed) * (p @ self._signed.T)
        return bent @ self._signed / len(self._signed) + self._decay * p

    def outer_gradient(self, x: Tensor) -> Tensor:
        """Of validation: the distance to a goal."""
        return x - self._outer


Loss = Quadratic | Logistic


class Rows:
    """`BilevelProblem` with closed-form derivatives; model `{"x": (rows, d)}`, each row by itself."""

    def __init__(self, loss: Loss, rows: int, dimension: int) -> None:
        self._loss = loss
        self.model: Named = {"x": torch.zeros(rows, dimension, dtype=torch.float64)}
        self.hyperparameters: Named = {}

    def inner_loss(self, model: Named, hyperparameters: Named, batch: object = None) -> Tensor:
        """Not asked for: there are derivatives."""
        raise NotImplementedError

    outer_loss = inner_loss

    def batches(self) -> Iterator[None]:
        """There is no data: endless Nones."""
        while True:
            yield None

    def derivatives(self, model: Named, hyperparameters: Named, adjoint: Named) -> Derivatives:
        """Row by row; there are no hyperparameters."""
        del hyperparameters
        x, p = model["x"], adjoint["x"]
        descent = self._loss.product(x, p) - self._loss.outer_gradient(x)
        return Derivatives({"x": self._loss.gradient(x)}, {}, {"x": descent}, {}, {}, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class World:
    """One network and the tasks on it."""

    seed: int
    losses: tuple[Loss, ...]
    dimension: int
    fanout: int
    local_steps: int
    block_fraction: float
    faults: FaultPlan
    speeds: tuple[float, ...]
    about: str  # in words
    model: Tensor  # the answer, shape (d,)
    adjoint: Tensor  # shape (d,)
    largest: float  # curvature of the mean training loss at the answer

    def problems(self, rows: int) -> list[Rows]:
        """One for each agent, with so many rows."""
        return [Rows(loss, rows, self.dimension) for loss in self.losses]


def draw_world(seed: int) -> World:
    """The world of this seed."""
    rng = random.Random(f"tuning/{seed}")
    generator = torch.Generator().manual_seed(seed)
    agents = rng.choice((2, 4, 6, 8, 10, 12, 16, 24))
    fanout = rng.choice((2, 2, 3, 3, 4)) if agents > 6 else rng.choice((1, 2, 2, 3))
    drop = rng.choice((0.0, 0.1, 0.3, 0.3, 0.5, 0.6))
    delay = rng.choice((0.0, 0.0, 0.5, 1.0, 2.0, 5.0))
    ratio = rng.choice((1.0, 1.0, 3.0, 10.0))
    local_steps = rng.choice((1, 1, 1, 3, 5))
    block_fraction = rng.choice((1.0, 1.0, 1.0, 0.5))
    condition = 10.0 ** rng.uniform(0.3, 2.2)
    unlike = rng.choice((1.0, 1.0, 3.0, 10.0))
    scale = 10.0 ** rng.uniform(-1.5, 1.5)
    dimension = rng.choice((4, 8, 16))
    kind = rng.choice(("quadratic", "quadratic", "logistic"))
    factors = [scale * unlike ** rng.uniform(-0.5, 0.5) for _ in range(agents)]
    losses: tuple[Loss, ...] = tuple(
        _quadratic(generator, dimension, condition, factor)
        if kind == "quadratic"
        else _logistic(generator, dimension, condition, factor)
        for factor in factors
    )
    model, hessian = _minimum(losses, dimension)
    goal = torch.stack([loss.outer_gradient(model[None])[0] for loss in losses]).mean(0)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    true_condition = float(eigenvalues[-1] / eigenvalues[0])
    return World(
        seed=seed,
        losses=losses,
        dimension=dimension,
        fanout=fanout,
        local_steps=local_steps,
        block_fraction=block_fraction,
        faults=FaultPlan(drop=drop, delay_s=Exponential(delay * TICK_S) if delay else 0.0),
        speeds=tuple(ratio ** (i / max(1, agents - 1)) / math.sqrt(ratio) for i in range(agents)),
        about=(
            f"{agents} agents, fanout {fanout}, {kind}, condition {true_condition:.0f}, unlike {unlike:g}, "
            f"loss {drop:g}, delay {delay:g}, speeds {ratio:g}, K {local_steps}, blocks {block_fraction:g}"
        ),
        model=model,
        adjoint=torch.linalg.solve(hessian, goal),
        largest=float(eigenvalues[-1]),
    )


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _quadratic(generator: torch.Generator, dimension: int, condition: float, factor: float) -> Quadratic:
    basis, _ = torch.linalg.qr(_normal(generator, dimension, dimension))
    eigenvalues = factor * torch.logspace(0, -1, dimension, base=condition, dtype=torch.float64)
    hessian = basis @ torch.diag(eigenvalues) @ basis.T
    hessian = (hessian + hessian.T) / 2
    outer = torch.eye(dimension, dtype=torch.float64)
    return Quadratic(hessian, hessian @ _normal(generator, dimension), outer, _normal(generator, dimension))


def _logistic(generator: torch.Generator, dimension: int, condition: float, factor: float) -> Logistic:
    scales = torch.logspace(0, -0.5, dimension, base=condition, dtype=torch.float64)
    features = _normal(generator, SAMPLES, dimension) * scales * math.sqrt(factor)
    truth = _normal(generator, dimension) / math.sqrt(factor)
    labels = torch.where(features @ truth + _normal(generator, SAMPLES) > 0, 1.0, -1.0).to(torch.float64)
    return Logistic(features, labels, 0.2 * factor / condition, _normal(generator, dimension))


def _minimum(losses: Sequence[Loss], dimension: int) -> tuple[Tensor, Tensor]:
    """Of the mean training loss, by Newton steps that are halved until gradients shrink; Hessian there."""
    unit = torch.eye(dimension, dtype=torch.float64)
    x = torch.zeros(dimension, dtype=torch.float64)

    def gradient(at: Tensor) -> Tensor:
        return torch.stack([loss.gradient(at[None])[0] for loss in losses]).mean(0)

    def hessian(at: Tensor) -> Tensor:
        rows = at.expand(dimension, dimension)
        return torch.stack([loss.product(rows, unit) for loss in losses]).mean(0)

    for _ in range(NEWTON_STEPS):
        here = gradient(x)
        step = torch.linalg.solve(hessian(x), here)
        length = 1.0
        while float(gradient(x - length * step).norm()) > float(here.norm()) and length > 1e-9:
            length /= 2
        x = x - length * step
    return x, hessian(x)
