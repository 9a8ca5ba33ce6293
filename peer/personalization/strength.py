"""The learned strength of a pull on local variables: positive, and never so strong that steps diverge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from peer.personalization.contract import Named

STRENGTH_MAX = 4.0  # steps of size 0.2 stay stable beside a training loss of curvature 6


class Strength:
    """`STRENGTH_MAX * sigmoid(hyperparameter)`: as good as exp(hyperparameter + log 4) while it is small.

    An exponential has no bound, but the step of the local variables is fixed: where validation asks for ever
    more, they would begin to oscillate instead of standing still.
    """

    def __init__(self, owner: str, initial: float, like: Tensor) -> None:
        self.name = f"{owner}.strength"
        logit = math.log(initial / (STRENGTH_MAX - initial))
        self.hyperparameters: Named = {self.name: like.new_full((), logit)}

    def value(self, hyperparameters: Named) -> Tensor:
        """The strength, shape ()."""
        return STRENGTH_MAX * torch.sigmoid(hyperparameters[self.name])

    def meaning(self, hyperparameters: Named) -> Named:
        """`peer.personalization.contract.Part.meaning`."""
        return {self.name: self.value(hyperparameters)}

    def pull(self, hyperparameters: Named, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Strength / 2 times the squared distance of all pairs together."""
        squares = torch.stack([(one - other).square().sum() for one, other in pairs]).sum()
        return self.value(hyperparameters) / 2 * squares
