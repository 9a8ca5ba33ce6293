"""Which training samples of an agent help or hurt the swarm: what they do to everybody's validation loss.

Let agent i's training loss be the mean of w_k l_k over its n_i samples, all w_k at 1. By DESIGN (2) and (3),
with the adjoints p (of the swarm) and q (of the agent's local variables),

    n dJ/dw_k = -(1 / n_i) [dl_k/dx' p + dl_k/dz' q]                 (n: agents, n_i: training samples)

which is the directional derivative of the vector of losses: no Hessian, no retraining, nothing sent.
With one agent it is the influence function of Koh and Liang (2017), their equation (2) with p for H^-1 g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from peer.module_problem import ModuleProblem

    Named = Mapping[str, Tensor]

CHUNK = 1024  # samples that are differentiated at once


def harms(
    problem: ModuleProblem,
    model: Named,
    adjoint: Named,
    hyperparameters: Named,
    local: Named,
    local_adjoint: Named,
) -> Tensor:
    """How much more of each training sample would raise the validation loss: shape (n_i,), float64.

    The derivative of the sum of all agents' validation losses with respect to the weight of the sample,
    which is 1 (times what a personalization has made of it). Above 0: the sample hurts. Leaving it out would
    change the sum by about the negative of it.
    """
    found = []
    for start in range(0, problem.training_samples, CHUNK):
        rows = torch.arange(start, min(start + CHUNK, problem.training_samples))
        x, z = _leaves(model), _leaves(local)
        shared, own = problem.sample_losses(x, hyperparameters, z, rows)
        along = _along(shared, x, adjoint)
        found.append((along + _along(own, z, local_adjoint) if z else along).cpu())
    return -torch.cat(found) / problem.training_samples


def _along(losses: Tensor, variables: Named, direction: Named) -> Tensor:
    """The derivative of each loss along the direction: shape (losses,), float64.

    By two backward passes, the second through the first with respect to the weights of the losses; forward
    mode would do it in one, but not every layer has it.
    """
    weights = torch.ones_like(losses, requires_grad=True)
    leaves = list(variables.values())
    gradients = torch.autograd.grad(
        (weights * losses).sum(), leaves, create_graph=True, materialize_grads=True, retain_graph=True
    )
    products = [torch.sum(slope * direction[name]) for name, slope in zip(variables, gradients, strict=True)]
    whole = torch.stack(products).sum()
    (found,) = torch.autograd.grad(whole, [weights], materialize_grads=True, retain_graph=True)
    return found.to(torch.float64)


def _leaves(named: Named) -> dict[str, Tensor]:
    return {name: tensor.detach().requires_grad_() for name, tensor in named.items()}
