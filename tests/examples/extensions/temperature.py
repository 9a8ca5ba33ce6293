"""A personalization: how sure an agent's outputs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import OutputChange, Personalization

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named


class Temperature(Personalization):
    """Outputs times a positive number, which validation samples choose (Guo et al. 2017, "On Calibration").

    Accuracies stay what they are; losses do not. Hyperparameter `temperature`, the logarithm, 0 at first.
    """

    name = "temperature"

    def bind(self, ground: Ground) -> OutputChange:
        """One number, in the dtype of the outputs."""
        return _Scaled({"temperature": ground.outputs.new_zeros(())})


class _Scaled(OutputChange):
    formula = "y = y exp(temperature)"

    def meaning(self, hyperparameters: Named) -> Named:
        return {"outputs are multiplied by": torch.exp(hyperparameters["temperature"])}

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        return outputs * torch.exp(hyperparameters["temperature"])
