"""Personal weights of the classes in the training loss: the paper's DA (arXiv 2210.02129)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.personalization.contract import Personalization, SampleWeighting

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

NAME = "class-weights.log"


class ClassWeights(Personalization):
    """A training sample counts exp(log[its class]), normalised over this agent's training samples.

    Hyperparameter `class-weights.log`, zeros of shape (classes,). Classes without a sample have no effect.
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

    def log_weights(self, hyperparameters: Named) -> Tensor:
        return hyperparameters[NAME][self._targets]
