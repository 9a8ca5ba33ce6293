"""A weight of every training sample: what harms everybody's validation loss, such as wrong labels, fades."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import Personalization, SampleWeighting

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

NAME = "sample-weights.score"


class SampleWeights(Personalization):
    """Training sample j of n counts 2 sigmoid(2 sqrt(n) score[j]), normalised over the training samples.

    Hyperparameter `sample-weights.score`, zeros of shape (n,). A sigmoid, because a sample can then fade, but
    none can outgrow all others: with exp(score) a few of them did, as long as validation gained by it. The
    influence of one sample falls with 1 / n; the factor sqrt(n) makes up for it, so that plain descent at one
    rate moves weights equally fast whatever n is.
    """

    name = "sample-weights"

    def bind(self, ground: Ground) -> SampleWeighting:
        """Zeros: all samples count 1."""
        return _SampleWeights({NAME: ground.outputs.new_zeros(len(ground.targets))})


class _SampleWeights(SampleWeighting):
    def meaning(self, hyperparameters: Named) -> Named:
        return {
            "sample weights": torch.softmax(self.log_weights(hyperparameters), dim=0)
            * len(hyperparameters[NAME])
        }

    def log_weights(self, hyperparameters: Named) -> Tensor:
        scores = hyperparameters[NAME]
        return torch.nn.functional.logsigmoid(2 * math.sqrt(len(scores)) * scores)
