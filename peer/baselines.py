"""What an agent would have without the others: the same model, steps and number of ticks, its own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from peer.data_position import Batch
    from peer.module_problem import ModuleProblem
    from peer.settings import AgentSettings


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
    """Test accuracy after `ticks` ticks of `local_steps` gradient steps with momentum, as agents take them.

    Trains the module from its initial parameters with nothing personal, on the agent's training samples, or
    on these and its validation samples together. `stopped` is asked before every step; None once it says so.
    """
    flat = [tensor.clone() for tensor in problem.parameters.values()]
    velocity = [torch.zeros_like(tensor) for tensor in flat]
    step_size, momentum = float(settings.model_step_size), float(settings.momentum)
    batches = problem.all_batches() if use_validation else problem.batches()
    for _ in range(ticks):
        start = [tensor.clone() for tensor in flat]
        for _ in range(settings.local_steps):
            if stopped():
                return None
            gradients = _gradients(problem, flat, next(batches))
            flat = [tensor - step_size * g for tensor, g in zip(flat, gradients, strict=True)]
        velocity = [momentum * v + (end - begin) for v, end, begin in zip(velocity, flat, start, strict=True)]
        flat = [begin + v for begin, v in zip(start, velocity, strict=True)]
    return problem.plain_accuracy(dict(zip(problem.parameters, flat, strict=True)))


def _gradients(problem: ModuleProblem, flat: list[Tensor], batch: Batch) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in flat]
    loss = problem.plain_loss(dict(zip(problem.parameters, leaves, strict=True)), batch)
    return torch.autograd.grad(loss, leaves)
