"""What an agent would have without the others: the same model, steps and number of ticks, its own data."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final

import torch

from peer.optimizers import model_steps
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import FlatLayout
from peer.tuning.tuner import ALONE, Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from peer.algebra import Scalar
    from peer.data_position import Batch
    from peer.module_problem import ModuleProblem
    from peer.optimizers import ModelSteps
    from peer.settings import AgentSettings


BEGINS: Final = 3  # losses at the beginning, of which the largest is compared with
ENDS: Final = 20  # the last ones, in the median; fewer where training is short


def never() -> bool:
    """For what nobody stops."""
    return False


def train_alone(
    problem: ModuleProblem,
    settings: AgentSettings,
    ticks: int,
    *,
    use_validation: bool,
    stopped: Callable[[], bool] = never,
) -> float | None:
    """Test accuracy after `ticks` ticks of `local_steps` gradient steps, as agents take them.

    Trains the module from its initial parameters with nothing personal, on the agent's training samples, or
    on these and its validation samples together. Steps that the settings leave open are tuned by what agents
    tune them by, and an optimizer of theirs takes these as well. `stopped` is asked before every step; None
    once it says so. NaN if training has come to nothing, its losses being higher in the end than at first:
    whoever is compared with that has gained nothing.
    """
    layout = FlatLayout(problem.parameters, "parameters")
    optimizer, settings = model_steps(settings, layout.shapes)
    tuner: Tuner[Tensor] = Tuner(settings, TensorAlgebra("float64"))
    model = layout.flatten(problem.parameters).to(torch.float64)
    velocity, gradient, nothing = (torch.zeros_like(model) for _ in range(3))
    batches = problem.all_batches() if use_validation else problem.batches()
    losses: list[float] = []
    for _ in range(ticks):
        sizes, start = tuner.begin((), ALONE), model
        moving = tuner.is_ready
        way = float(torch.linalg.vector_norm(velocity))
        probe = tuner.direction(model, nothing, lambda last=gradient: last, way, moving=moving)  # type: ignore[misc]
        for step in range(settings.local_steps if moving else 1):
            if stopped():
                return None
            wanted = probe if step == 0 else None
            loss, gradient, product = _derivatives(problem, layout, model, next(batches), wanted)
            losses.append(loss)
            if product is not None:
                tuner.product(product, nothing)
            if step == 0:
                tuner.felt(model, gradient, loss, moving=moving)
            if moving:
                gradient = gradient / tuner.divisor(gradient)
                model = _stepped(model, gradient, sizes.model, optimizer)
        velocity = velocity * (sizes.momentum if optimizer is None else 0) + (model - start)
        model = start + velocity
    return math.nan if _is_in_vain(losses) else problem.plain_accuracy(layout.unflatten(model))


def _is_in_vain(losses: Sequence[float]) -> bool:
    """Whether losses end above where they began, or are no numbers."""
    some = min(ENDS, len(losses) // 2)
    if not some:
        return False
    return not statistics.median(losses[-some:]) <= max(losses[:BEGINS])


def _stepped(model: Tensor, gradient: Tensor, size: Scalar, optimizer: ModelSteps | None) -> Tensor:
    if optimizer is None:
        return model - gradient * size
    torch.neg(gradient, out=optimizer.direction)
    reached = torch.empty_like(model)
    optimizer.step(model, float(size), reached)
    return reached


def _derivatives(
    problem: ModuleProblem, layout: FlatLayout, model: Tensor, batch: Batch, probe: Tensor | None
) -> tuple[float, Tensor, Tensor | None]:
    """Loss and gradient on this batch, and the product of the Hessian with the probe, if there is one."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in layout.unflatten(model).items()}
    loss = problem.plain_loss(leaves, batch)
    wanted = list(leaves.values())
    found = torch.autograd.grad(loss, wanted, create_graph=probe is not None)
    gradient = layout.flatten(dict(zip(leaves, found, strict=True))).to(torch.float64)
    if probe is None:
        return float(loss.detach()), gradient, None
    along = torch.stack([(g * u).sum() for g, u in zip(found, layout.unflatten(probe).values(), strict=True)])
    product = torch.autograd.grad(along.sum(), wanted, materialize_grads=True)
    flat = layout.flatten(dict(zip(leaves, product, strict=True))).to(torch.float64)
    return float(loss.detach()), gradient.detach(), flat
