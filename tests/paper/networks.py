"""Small neural networks as bilevel problems, float64, with and without local inner variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Named = Mapping[str, Tensor]
    Batch = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

INPUTS, HIDDEN, OUTPUTS, SAMPLES = 3, 4, 2, 8
DECAY = 0.2


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def samples(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Labels of a random linear rule of the agent's own: agents disagree."""
    inputs = normal(generator, SAMPLES, INPUTS)
    return inputs, (inputs @ normal(generator, INPUTS) > 0).long()


def hidden(inputs: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    return torch.tanh(inputs @ weight.T + offset)


def apart(named: Named, others: Named) -> Tensor:
    """Squared distance. Decay towards where a network starts leaves one minimum; towards zero, several."""
    return torch.stack([(tensor - others[name]).square().sum() for name, tensor in named.items()]).sum()


class OneBatch:
    """The same samples in every batch, training and validation together."""

    def __init__(self, generator: torch.Generator) -> None:
        self.data = samples(generator), samples(generator)

    def batches(self) -> Iterator[Batch]:
        while True:
            yield self.data


class PersonalHead(OneBatch):
    """The body is shared, the head is a local inner variable; one training loss for both (joint minimum).

    Hyperparameters: strength of the head's decay, strength of the body's, and a scale on every output.
    """

    def __init__(self, generator: torch.Generator, initial: torch.Generator) -> None:
        super().__init__(generator)
        self.model = {"weight": normal(initial, HIDDEN, INPUTS), "offset": normal(initial, HIDDEN)}
        self.local = {"head": normal(generator, OUTPUTS, HIDDEN)}
        self.hyperparameters = {
            "log_strength": torch.full((1,), -0.7, dtype=torch.float64),
            "log_decay": torch.full((1,), -1.0, dtype=torch.float64),
            "scale": 1.0 + 0.1 * normal(generator, OUTPUTS),
        }

    def _fit(self, model: Named, hyper: Named, local: Named, data: tuple[Tensor, Tensor]) -> Tensor:
        outputs = hidden(data[0], model["weight"], model["offset"]) @ local["head"].T
        return cross_entropy(outputs * hyper["scale"], data[1])

    def inner_loss(self, model: Named, hyper: Named, batch: Batch, local: Named) -> Tensor:
        head, body = apart(local, self.local), apart(model, self.model)
        decay = hyper["log_strength"].exp() * head + hyper["log_decay"].exp() * body
        return self._fit(model, hyper, local, batch[0]) + decay.sum() / 2

    def outer_loss(self, model: Named, hyper: Named, batch: Batch, local: Named) -> Tensor:
        return self._fit(model, hyper, local, batch[1])


class OwnCopy(OneBatch):
    """Ditto's: a shared model that knows nothing of the local ones, and an own model kept near it.

    Hyperparameters: how strongly the own model is pulled, and a bias on both models' outputs.
    """

    def __init__(self, generator: torch.Generator, initial: torch.Generator) -> None:
        super().__init__(generator)
        self.model = {"weight": normal(initial, HIDDEN, INPUTS), "head": normal(initial, OUTPUTS, HIDDEN)}
        self.local = {name: tensor.clone() for name, tensor in self.model.items()}
        self.hyperparameters = {
            "log_pull": torch.full((1,), -0.5, dtype=torch.float64),
            "bias": 0.1 * normal(generator, OUTPUTS),
        }

    def _fit(self, weights: Named, hyper: Named, data: tuple[Tensor, Tensor]) -> Tensor:
        outputs = torch.tanh(data[0] @ weights["weight"].T) @ weights["head"].T
        return cross_entropy(outputs + hyper["bias"], data[1])

    def inner_loss(self, model: Named, hyper: Named, batch: Batch, local: Named) -> Tensor:
        return self._fit(model, hyper, batch[0]) + DECAY / 2 * apart(model, self.model)

    def local_loss(self, model: Named, hyper: Named, batch: Batch, local: Named) -> Tensor:
        pull = hyper["log_pull"].exp() * apart(local, model)
        return self._fit(local, hyper, batch[0]) + pull.sum() / 2

    def outer_loss(self, model: Named, hyper: Named, batch: Batch, local: Named) -> Tensor:
        return self._fit(local, hyper, batch[1])


def biased_module(generator: torch.Generator, initial: torch.Generator) -> peer.ModuleProblem:
    """An ordinary module with a personal bias: no local inner variables."""
    module = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(normal(initial, *parameter.shape))
    return peer.ModuleProblem(
        module,
        samples(generator),
        samples(generator),
        personalization=peer.OutputBias(),
        weight_decay=DECAY,
    )


def make(kind: type[OneBatch] | object, count: int) -> list:
    """`count` agents with data of their own and one initial model."""
    generator = torch.Generator().manual_seed(3)
    return [kind(generator, torch.Generator().manual_seed(4)) for _ in range(count)]
