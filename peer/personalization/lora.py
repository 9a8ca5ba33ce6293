"""Personal low-rank adapters: LoRA (Hu et al., 2021), the base shared and learned by all."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import torch
from torch import nn

from peer.errors import ProblemError, SettingError
from peer.personalization.contract import Adapter, Personalization
from peer.personalization.strength import Strength

if TYPE_CHECKING:
    from torch import Tensor

    from peer.personalization.contract import Ground, Named

PREFIX = "lora."
INITIAL_STRENGTH = 0.01
ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LowRank(Personalization):
    """A weight W becomes W + U D of rank R: D (R, inputs) drawn, U (outputs, R) zero at first.

    Applies to the shared weights of linear and convolutional layers, seen as matrices (outputs, inputs *
    kernel), whose sides are both above R. D is drawn uniformly within 1 / sqrt(inputs), as usual, from the
    name of the tensor. Local variables `lora.NAME.up` and `lora.NAME.down` minimise the training loss
    together with the shared model and are pulled to their initial values by `lora.strength`
    (`peer.personalization.strength`).
    """

    name = "lora"

    def __init__(self, rank: int) -> None:
        if rank < 1:
            raise SettingError("personalization", f"lora:{rank}", "give lora:R with a rank of 1 or more")
        self._rank = rank

    def bind(self, ground: Ground) -> Adapter:
        """U = 0: nothing is changed. Raises `ProblemError` if no weight is larger than the rank."""
        found = ground.tensors(lambda part: isinstance(part, ADAPTED))
        weights = [name for names in found.values() for name in names if ground.parameters[name].dim() > 1]
        wide = [name for name in weights if min(_matrix(ground.parameters[name]).shape) > self._rank]
        if not wide:
            raise ProblemError(
                f"{self} finds no shared weight of a linear or convolutional layer with both sides above "
                f"{self._rank}; give a lower rank, or a module with such layers"
            )
        return _LowRank(ground, wide, self._rank)

    def __str__(self) -> str:
        return f"{self.name}:{self._rank}"


class _LowRank(Adapter):
    def __init__(self, ground: Ground, names: list[str], rank: int) -> None:
        self._names = names
        self._strength = Strength("lora", INITIAL_STRENGTH, ground.outputs)
        local: dict[str, Tensor] = {}
        for name in names:
            matrix = _matrix(ground.parameters[name])
            outputs, inputs = matrix.shape
            local[f"{PREFIX}{name}.up"] = matrix.new_zeros(outputs, rank)
            local[f"{PREFIX}{name}.down"] = _drawn(name, rank, inputs).to(matrix)
        super().__init__(self._strength.hyperparameters, local)

    def adapt(self, parameters: dict[str, Tensor], local: Named) -> None:
        for name in self._names:
            change = local[f"{PREFIX}{name}.up"] @ local[f"{PREFIX}{name}.down"]
            parameters[name] = parameters[name] + change.reshape(parameters[name].shape)

    def meaning(self, hyperparameters: Named) -> Named:
        return self._strength.meaning(hyperparameters)

    def penalty(self, hyperparameters: Named, local: Named) -> Tensor:
        return self._strength.pull(hyperparameters, ((local[name], at) for name, at in self.local.items()))


def _matrix(weight: Tensor) -> Tensor:
    return weight.reshape(weight.shape[0], -1)


def _drawn(name: str, rank: int, inputs: int) -> Tensor:
    generator = torch.Generator().manual_seed(random.Random(name).getrandbits(63))
    uniform = torch.rand(rank, inputs, generator=generator, dtype=torch.float64)
    return (2 * uniform - 1) / math.sqrt(inputs)
