"""Personal scale and shift of normalization layers, close to FedBN (Li, Jiang, et al., 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from peer.errors import ProblemError
from peer.personalization.contract import Adapter, Personalization
from peer.personalization.strength import Strength

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

PREFIX = "features."
INITIAL_STRENGTH = 0.01
NORMALIZATIONS = (
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
    nn.modules.batchnorm._NormBase,  # noqa: SLF001  (the common base of batch and instance norms has no public name)
)


class Features(Personalization):
    """What every feature is multiplied by and shifted by is the shared value plus a personal one.

    Local variables `features.NAME` of all learned tensors of normalization layers, zeros at first; they
    minimise the training loss together with the shared model and are pulled to zero by `features.strength`
    (`peer.personalization.strength`), which also says what is shared and what is personal of a sum.
    """

    name = "features"

    def bind(self, ground: Ground) -> Adapter:
        """Zeros: nothing is changed. Raises `ProblemError` if there is no such layer."""
        found = ground.tensors(lambda part: isinstance(part, NORMALIZATIONS))
        if not found:
            raise ProblemError(
                f"features needs normalization layers with a learned scale and shift, and "
                f"{type(ground.module).__name__} has none; add nn.LayerNorm or nn.GroupNorm, or take lora:R"
            )
        return _Features(ground, [name for names in found.values() for name in names])


class _Features(Adapter):
    def __init__(self, ground: Ground, names: list[str]) -> None:
        self._names = names
        self._strength = Strength("features", INITIAL_STRENGTH, ground.outputs)
        local = {PREFIX + name: torch.zeros_like(ground.parameters[name]) for name in names}
        super().__init__(self._strength.hyperparameters, local)

    def adapt(self, parameters: dict[str, Tensor], local: Named) -> None:
        parameters |= {name: parameters[name] + local[PREFIX + name] for name in self._names}

    def meaning(self, hyperparameters: Named) -> Named:
        return self._strength.meaning(hyperparameters)

    def penalty(self, hyperparameters: Named, local: Named) -> Tensor:
        return self._strength.pull(hyperparameters, ((local[name], at) for name, at in self.local.items()))
