"""Personal scale and bias of the outputs: the paper's PL (arXiv 2210.02129, v3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import OutputChange, Personalization

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named


class Logits(Personalization):
    """Outputs become exp(log_scale) * outputs + bias, element by element.

    Hyperparameters `logits.log_scale` and `logits.bias`, zeros in the shape of one sample's outputs. The
    exponential keeps every scale positive: no output changes its meaning.
    """

    name = "logits"

    def bind(self, ground: Ground) -> OutputChange:
        """Zeros: nothing is changed."""
        zeros = torch.zeros_like(ground.outputs[0])
        return _Logits({"logits.log_scale": zeros, "logits.bias": zeros.clone()})


class _Logits(OutputChange):
    formula = "y = exp(logits.log_scale) * y + logits.bias"

    def meaning(self, hyperparameters: Named) -> Named:
        scale = hyperparameters["logits.log_scale"].exp()
        return {"scale of the outputs": scale, "bias of the outputs": hyperparameters["logits.bias"]}

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        return hyperparameters["logits.log_scale"].exp() * outputs + hyperparameters["logits.bias"]
