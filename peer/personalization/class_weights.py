"""Personal weights of the classes in the training loss: the paper's DA (arXiv 2210.02129)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import Personalization, SampleWeighting

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

NAME = "class-weights.score"
LOG_MAX = math.log(10)


class ClassWeights(Personalization):
    """A training sample counts c^tanh(score[its class] / log c), c = 10, normalised over all of them.

    Hyperparameter `class-weights.score`, zeros of shape (classes,): about the log of a weight, which stays
    from 1/10 to 10 so that no class takes everything. Those without a training sample have no effect.
    """

    name = "class-weights"

    def bind(self, ground: Ground) -> SampleWeighting:
        """Zeros: all samples count 1. Raises `ProblemError` unless the task is one of classes."""
        classes = ground.classes(self.name)
        return _ClassWeights({NAME: ground.outputs.new_zeros(classes)}, ground.targets)


class _ClassWeights(SampleWeighting):
    def __init__(self, hyperparameters: Named, targets: Tensor) -> None:
        super().__init__(hyperparameters)
        self._targets = targets

    def meaning(self, hyperparameters: Named) -> Named:
        return {"class weights": (LOG_MAX * torch.tanh(hyperparameters[NAME] / LOG_MAX)).exp()}

    def log_weights(self, hyperparameters: Named) -> Tensor:
        return LOG_MAX * torch.tanh(hyperparameters[NAME] / LOG_MAX)[self._targets]
