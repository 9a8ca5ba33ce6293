"""K shared learners with personal mixture weights: the paper's MTL (arXiv 2210.02129), a soft clustering."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch

from peer.errors import SettingError
from peer.personalization.contract import Ensemble, Personalization

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from peer.personalization.contract import Ground, Named

NAME = "mixture.weights"
LEARNERS_MAX = 64  # each is a whole model that is sent and stored


class Mixture(Personalization):
    """The outputs are the log of the mixture of the learners' predicted probabilities.

    Hyperparameter `mixture.weights`, zeros of shape (K,); the learners' shares are its softmax. The shared
    model is `mixture.0.NAME` to `mixture.K-1.NAME`. Learner 0 begins as the module; the others with every
    tensor's elements in another order, drawn from the number of the learner and the tensor's name alone:
    equal at all agents, and as likely an initialisation as the module's own where elements are drawn alike.
    """

    name = "mixture"
    precedence = 0
    changes_at_first = True

    def __init__(self, learners: int) -> None:
        if not 2 <= learners <= LEARNERS_MAX:
            remedy = f"give mixture:K with K from 2 to {LEARNERS_MAX} learners"
            raise SettingError("personalization", f"mixture:{learners}", remedy)
        self._count = learners

    def bind(self, ground: Ground) -> Ensemble:
        """Equal shares. Raises `ProblemError` unless the task is one of classes."""
        ground.classes(self.name)
        return _Mixture(ground, self._count)

    def __str__(self) -> str:
        return f"{self.name}:{self._count}"


class _Mixture(Ensemble):
    formula = "y = logsumexp over k of (log_softmax(y_k) + log_softmax(mixture.weights)[k])"

    def __init__(self, ground: Ground, count: int) -> None:
        super().__init__({NAME: ground.outputs.new_zeros(count)})
        self.learners = tuple(f"mixture.{number}." for number in range(count))
        self.shared = {
            prefix + name: tensor.clone() if number == 0 else reordered(tensor, f"{number}/{name}")
            for number, prefix in enumerate(self.learners)
            for name, tensor in ground.parameters.items()
        }

    def meaning(self, hyperparameters: Named) -> Named:
        return {"mixture: shares of the learners": torch.softmax(hyperparameters[NAME], dim=0)}

    def combine(self, outputs: Sequence[Tensor], hyperparameters: Named | None) -> Tensor:
        logs = torch.stack([torch.log_softmax(output, dim=1) for output in outputs])
        weights = (self.hyperparameters if hyperparameters is None else hyperparameters)[NAME]
        return torch.logsumexp(logs + torch.log_softmax(weights, dim=0)[:, None, None], dim=0)


def reordered(tensor: Tensor, stream: str) -> Tensor:
    """Its elements in an order drawn from `stream` alone: another beginning, as likely as this one."""
    seed = random.Random(stream).getrandbits(63)
    order = torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(seed))
    return tensor.reshape(-1)[order.to(tensor.device)].reshape(tensor.shape)
