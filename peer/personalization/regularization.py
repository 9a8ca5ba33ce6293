"""Personal weight decay, one per named tensor: how simple each layer should be, for everybody's good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.errors import ProblemError
from peer.personalization.contract import DecayFactors, Personalization

if TYPE_CHECKING:
    from peer.personalization.contract import Ground, Named

PREFIX = "regularization."


class Regularization(Personalization):
    """The weight decay of tensor NAME in this agent's training loss is weight_decay * exp(hyperparameter).

    Hyperparameters `regularization.NAME`, zeros of shape ().
    """

    name = "regularization"

    def bind(self, ground: Ground) -> DecayFactors:
        """Zeros: the problem's decay. Raises `ProblemError` if that is 0, which no factor changes."""
        if not ground.weight_decay:
            raise ProblemError(
                "regularization learns factors of weight_decay, which is 0; give a number above it"
            )
        decays = {name: one for name, one in ground.parameters.items() if name not in ground.statistics}
        return _Factors({PREFIX + name: tensor.new_zeros(()) for name, tensor in decays.items()})


class _Factors(DecayFactors):
    def meaning(self, hyperparameters: Named) -> Named:
        return {
            f"weight decay of {name}: factor": factor
            for name, factor in self.factors(hyperparameters).items()
        }

    def factors(self, hyperparameters: Named) -> Named:
        return {name.removeprefix(PREFIX): hyperparameters[name].exp() for name in self.hyperparameters}
