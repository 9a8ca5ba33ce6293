"""An own model kept near the shared one: the idea of Ditto (Li, Hu, Beirami, Smith, 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.personalization.contract import OwnCopy, Personalization
from peer.personalization.strength import Strength

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from peer.personalization.contract import Ground, Named

PREFIX = "proximal."
INITIAL_STRENGTH = 0.1


class Proximal(Personalization):
    """The own model x + d minimises f(x + d) + strength / 2 |d|^2 and predicts; the shared x minimises f.

    It is kept as its difference d from the shared model: whatever that learns from others the own model has
    at once, also between two ticks of a slow agent. Local variables `proximal.NAME`, zeros; hyperparameter
    `proximal.strength` (`peer.personalization.strength`).
    """

    name = "proximal"

    def bind(self, ground: Ground) -> OwnCopy:
        """d = 0: nothing is changed."""
        return _Proximal(ground)


class _Proximal(OwnCopy):
    def __init__(self, ground: Ground) -> None:
        self._strength = Strength("proximal", INITIAL_STRENGTH, ground.outputs)
        local = {PREFIX + name: torch.zeros_like(tensor) for name, tensor in ground.parameters.items()}
        super().__init__(self._strength.hyperparameters, local)

    def personal(self, parameters: Named, hyperparameters: Named, local: Named) -> Named:
        del hyperparameters
        return {name: tensor + local[PREFIX + name] for name, tensor in parameters.items()}

    def meaning(self, hyperparameters: Named) -> Named:
        return self._strength.meaning(hyperparameters)

    def local_loss(
        self, objective: Callable[[Named], Tensor], parameters: Named, hyperparameters: Named, local: Named
    ) -> Tensor:
        own = self.personal(parameters, hyperparameters, local)
        pairs = ((local[name], initial) for name, initial in self.local.items())
        return objective(own) + self._strength.pull(hyperparameters, pairs)
