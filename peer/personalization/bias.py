"""A personal bias on every output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import OutputChange, Personalization

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named


class OutputBias(Personalization):
    """Learns what is common here and rare elsewhere.

    Hyperparameter `bias`, zeros in the shape of one sample's outputs.
    """

    name = "bias"

    def bind(self, ground: Ground) -> OutputChange:
        """Zeros: nothing is changed."""
        return _Bias({"bias": torch.zeros_like(ground.outputs[0])})


class _Bias(OutputChange):
    formula = "y = y + bias"

    def meaning(self, hyperparameters: Named) -> Named:
        return {"bias of the outputs": hyperparameters["bias"]}

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        return outputs + hyperparameters["bias"]
