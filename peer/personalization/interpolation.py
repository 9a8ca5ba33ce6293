"""A learned mix of an own and the shared model: the idea of APFL (Deng, Kamani, Mahdavi, 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import OwnCopy, Personalization
from peer.personalization.strength import Strength

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from peer.personalization.contract import Ground, Named

PREFIX = "interpolation.own."
WEIGHT = "interpolation.weight"
INITIAL_STRENGTH = 0.01


class Interpolation(Personalization):
    """The mix a z + (1 - a) x of own z and shared x predicts; a = sigmoid(interpolation.weight).

    z minimises the training loss at the mix, plus strength / 2 times its squared distance from the initial
    model; x minimises the training loss as if there were no z. Without that pull a free z would bring the
    mix to the agent's own minimum whatever a is: a would have no influence and no gradient. Local variables
    `interpolation.own.NAME`; hyperparameters `interpolation.weight` of shape () and
    `interpolation.strength` (`peer.personalization.strength`).
    """

    name = "interpolation"

    def bind(self, ground: Ground) -> OwnCopy:
        """z = x: nothing is changed."""
        return _Interpolation(ground)


class _Interpolation(OwnCopy):
    def __init__(self, ground: Ground) -> None:
        self._strength = Strength("interpolation", INITIAL_STRENGTH, ground.outputs)
        hyperparameters = {WEIGHT: ground.outputs.new_zeros(()), **self._strength.hyperparameters}
        local = {PREFIX + name: tensor.clone() for name, tensor in ground.parameters.items()}
        super().__init__(hyperparameters, local)

    def personal(self, parameters: Named, hyperparameters: Named, local: Named) -> Named:
        share = torch.sigmoid(hyperparameters[WEIGHT])
        return {name: x + share.to(x.dtype) * (local[PREFIX + name] - x) for name, x in parameters.items()}

    def meaning(self, hyperparameters: Named) -> Named:
        share = {"interpolation: share of the own model": torch.sigmoid(hyperparameters[WEIGHT])}
        return {**share, **self._strength.meaning(hyperparameters)}

    def local_loss(
        self, objective: Callable[[Named], Tensor], parameters: Named, hyperparameters: Named, local: Named
    ) -> Tensor:
        mixed = self.personal(parameters, hyperparameters, local)
        pairs = ((local[name], initial) for name, initial in self.local.items())
        return objective(mixed) + self._strength.pull(hyperparameters, pairs)
