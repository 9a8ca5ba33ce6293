"""The parts of one agent, composed: from shared, personal and local tensors to outputs and losses.

The order is that of the stages (`peer.personalization.contract`), not the one in which parts are named.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from peer.errors import ProblemError, SettingError
from peer.personalization.contract import (
    Adapter,
    DecayFactors,
    Ensemble,
    OutputChange,
    OwnCopy,
    Part,
    SampleWeighting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from peer.personalization.contract import Ground, Named, Personalization

    Forward = Callable[[Named], Tensor]  # parameters of one learner, by the module's names -> its outputs

P = TypeVar("P", bound=Part)
STATISTICS = "statistics."  # before the names of local variables that are some


class Composition:
    """Everything personal about one agent, bound to its module and data.

    `model`, `hyperparameters`, `local`: initial values; the model is what is shared. "Parameters" are what
    the module computes with, of all learners.
    """

    def __init__(self, chosen: Personalization, ground: Ground) -> None:
        parts: list[Part] = []
        self._change_names: list[str] = []  # of what changes outputs
        ground = replace(ground, taken=ground.statistics)
        for one in sorted(chosen.chosen, key=lambda one: one.precedence):
            part = one.bind(ground)
            parts.append(part)
            if isinstance(part, OutputChange):
                self._change_names.append(str(one))
            if isinstance(part, Ensemble):
                ground = replace(ground, parameters=part.shared, learners=part.learners)
            if isinstance(part, Adapter):
                ground = replace(ground, taken=ground.taken.union(part.taken))
        self._learners = ground.learners
        self._names = tuple(ground.parameters)
        self._adapters = [part for part in parts if isinstance(part, Adapter)]
        self._changes = [part for part in parts if isinstance(part, OutputChange)]
        self._weightings = [part for part in parts if isinstance(part, SampleWeighting)]
        self._ensemble = _only([part for part in parts if isinstance(part, Ensemble)], chosen)
        self._own = _only([part for part in parts if isinstance(part, OwnCopy)], chosen)
        self._decay = _only([part for part in parts if isinstance(part, DecayFactors)], chosen)
        self._statistics = [name for name in ground.parameters if name in ground.statistics]
        if ground.statistics and (self._adapters or self._own or self._ensemble):
            remedy = "freeze these with eval(), or use GroupNorm"
            raise ProblemError(f"{chosen} does not go together with layers that learn statistics; {remedy}")
        self.model: Named = {
            name: tensor for name, tensor in ground.parameters.items() if name not in ground.taken
        }
        self.hyperparameters: Named = {k: v for part in parts for k, v in part.hyperparameters.items()}
        self.local: Named = {
            **{STATISTICS + name: ground.parameters[name] for name in self._statistics},
            **{name: tensor for part in parts for name, tensor in part.local.items()},
        }
        self._parts = parts

    def meaning(self, hyperparameters: Named) -> Named:
        """What people are shown of all hyperparameters."""
        return {name: found for part in self._parts for name, found in part.meaning(hyperparameters).items()}

    # ---- parameters

    @property
    def has_own_copy(self) -> bool:
        """Whether local variables minimise a loss that is not the one of the shared model."""
        return self._own is not None

    @property
    def is_complete(self) -> bool:
        """Whether the shared model predicts without anything personal but statistics."""
        return len(self.model) + len(self._statistics) == len(self._names)

    def shared(self, model: Named, local: Named) -> Named:
        """The parameters that the shared model is fitted with."""
        parameters = dict(model) | {name: local[STATISTICS + name] for name in self._statistics}
        for adapter in self._adapters:
            adapter.adapt(parameters, local)
        in_order = self._adapters or self._statistics
        return {name: parameters[name] for name in self._names} if in_order else parameters

    def personal(self, model: Named, hyperparameters: Named, local: Named) -> Named:
        """The parameters that predict."""
        parameters = self.shared(model, local)
        return parameters if self._own is None else self._own.personal(parameters, hyperparameters, local)

    # ---- outputs

    def outputs(self, forward: Forward, parameters: Named, hyperparameters: Named) -> Tensor:
        """With what is personal about ensembles and outputs."""
        return self.finished([forward(own) for own in self.by_learner(parameters)], hyperparameters)

    def plain_outputs(self, forward: Forward, model: Named, local: Named) -> Tensor:
        """Those of the shared model as it is, with statistics; it must be complete."""
        known = dict(model) | {name: local[STATISTICS + name] for name in self._statistics}
        return self._combined([forward(own) for own in self.by_learner(known)], None)

    def by_learner(self, parameters: Named) -> list[Named]:
        """The parameters of each learner by the module's names; one learner where there is no ensemble."""
        return [
            {name.removeprefix(one): tensor for name, tensor in parameters.items() if name.startswith(one)}
            for one in self._learners
        ]

    def finished(self, outputs: Sequence[Tensor], hyperparameters: Named) -> Tensor:
        """What the outputs of each learner become: one that is personal. Raises `ProblemError` for shapes."""
        found = self._combined(outputs, hyperparameters)
        for change, name in zip(self._changes, self._change_names, strict=True):
            before, found = found, change.apply(found, hyperparameters)
            if found.shape != before.shape:
                shapes = f"{tuple(before.shape)} to {tuple(found.shape)}"
                raise ProblemError(f"{name} changes the shape of outputs from {shapes}; it must stay")
        return found

    @property
    def finishing(self) -> list[Ensemble | OutputChange]:
        """The parts that `finished` goes through, in order; all of their hyperparameters count there."""
        return [*([] if self._ensemble is None else [self._ensemble]), *self._changes]

    def _combined(self, outputs: Sequence[Tensor], hyperparameters: Named | None) -> Tensor:
        return outputs[0] if self._ensemble is None else self._ensemble.combine(outputs, hyperparameters)

    # ---- losses

    @property
    def weighs(self) -> bool:
        """Whether training samples count differently."""
        return bool(self._weightings)

    def weights(self, hyperparameters: Named) -> Tensor:
        """Of all training samples: positive, with mean 1 over all of them, shape (training samples,).

        Over all of them and not over a batch: the mean over batches is then the loss of the whole set, and
        a weight means the same in every batch. With any other mean, weights would also decide how fast the
        shared model moves and how much this agent counts in the swarm.
        """
        logs = torch.stack([part.log_weights(hyperparameters) for part in self._weightings]).sum(0)
        return torch.softmax(logs, dim=0) * len(logs)

    def decay(self, parameters: Named, hyperparameters: Named) -> Tensor:
        """Squared length of all parameters, each times its factor."""
        squares = {
            name: tensor.square().sum() for name, tensor in parameters.items() if name not in self._statistics
        }
        if self._decay is not None:
            factors = self._decay.factors(hyperparameters)
            squares = {name: factors[name] * square for name, square in squares.items()}
        return torch.stack(list(squares.values())).sum()

    def inner_loss(
        self, objective: Callable[[Named], Tensor], model: Named, hyperparameters: Named, local: Named
    ) -> Tensor:
        """What the shared model minimises, and with it the local variables of adapters."""
        loss = objective(self.shared(model, local))
        for adapter in self._adapters:
            loss = loss + adapter.penalty(hyperparameters, local)
        return loss

    def local_loss(
        self, objective: Callable[[Named], Tensor], model: Named, hyperparameters: Named, local: Named
    ) -> Tensor:
        """What the own copy minimises; there must be one."""
        assert self._own is not None
        return self._own.local_loss(objective, self.shared(model, local), hyperparameters, local)


def _only(found: list[P], chosen: Personalization) -> P | None:
    """Those of our own never clash here: `combine` has refused them."""
    if len(found) > 1:
        kind = type(found[0]).__mro__[1].__name__
        raise SettingError("personalization", str(chosen), f"give one that is a {kind}, not {len(found)}")
    return found[0] if found else None
