"""Tensors that leave the shared model and become this agent's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.personalization.contract import Adapter
from peer.personalization.strength import Strength

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from peer.personalization.contract import Ground, Named

INITIAL_STRENGTH = 0.01


class Leaving(Adapter):
    """Local variables `OWNER.NAME` that stand for what is `taken`, pulled to their initial values.

    `OWNER.strength` is the learned strength of the pull (`peer.personalization.strength`).
    """

    def __init__(self, owner: str, ground: Ground, taken: Sequence[str]) -> None:
        self._prefix = f"{owner}."
        self._strength = Strength(owner, INITIAL_STRENGTH, ground.outputs)
        local = {self._prefix + name: ground.parameters[name].clone() for name in taken}
        super().__init__(self._strength.hyperparameters, local)
        self.taken = taken

    def adapt(self, parameters: dict[str, Tensor], local: Named) -> None:
        """As in `Adapter`."""
        parameters |= {name: local[self._prefix + name] for name in self.taken}

    def meaning(self, hyperparameters: Named) -> Named:
        """The strength."""
        return self._strength.meaning(hyperparameters)

    def penalty(self, hyperparameters: Named, local: Named) -> Tensor:
        """The pull."""
        return self._strength.pull(hyperparameters, ((local[name], at) for name, at in self.local.items()))
