"""A weight of every training sample: what harms everybody's validation loss, such as wrong labels, fades."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peer.personalization.contract import Personalization, SampleWeighting

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

NAME = "sample-weights.log"


class SampleWeights(Personalization):
    """Training sample j of n counts exp(sqrt(n) log[j]), normalised over this agent's training samples.

    Hyperparameter `sample-weights.log`, zeros of shape (n,). The influence of one sample on the loss falls
    with 1 / n; the factor sqrt(n) makes up for it, so that plain descent at one rate moves weights equally
    fast whatever n is.
    """

    name = "sample-weights"

    def bind(self, ground: Ground) -> SampleWeighting:
        """Zeros: all samples count 1."""
        return _SampleWeights({NAME: ground.outputs.new_zeros(len(ground.targets))})


class _SampleWeights(SampleWeighting):
    def log_weights(self, hyperparameters: Named) -> Tensor:
        logs = hyperparameters[NAME]
        return math.sqrt(len(logs)) * logs
