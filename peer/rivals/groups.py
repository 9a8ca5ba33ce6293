"""Several shared models: hard clusters, and a mixture by expectation and maximisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from peer.personalization.mixture import reordered
from peer.rivals.method import Method, Predictors, SharedModel, one_each, settings_of

if TYPE_CHECKING:
    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links
    from peer.rivals.method import Setting

MEMORY: Final = 0.9  # of mixture weights and of cluster losses, from turn to turn


class _Several(Method):
    """K shared models, which begin different and are pushed together. What is theirs has shape (n, K, P)."""

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._count = int(setting["models"])
        named = crowd.layout.unflatten(crowd.initial.cpu())
        others = [
            {name: reordered(tensor, f"{number}/{name}") for name, tensor in named.items()}
            for number in range(1, self._count)
        ]
        initial = [crowd.initial, *(crowd.layout.flatten(one).to(crowd.device) for one in others)]
        self._shared = SharedModel(crowd, links, torch.cat([*initial, self._beside()]))
        self._local = self._by_model(crowd.repeated(torch.cat(initial)))
        self._descents = [self._descent() for _ in range(self._count)]

    def average(self, rows: Tensor) -> None:
        """All of them."""
        self._shared.average(rows)

    def _beside(self) -> Tensor:
        """What is averaged beside the models, as it is at first."""
        return self._crowd.initial[:0]

    def _by_model(self, flat: Tensor) -> Tensor:
        return flat[:, : self._count * self._crowd.size].reshape(len(flat), self._count, self._crowd.size)


class Clustered(_Several):
    """Every agent moves and uses the one model whose loss on its own data is smallest.

    What members of a cluster have learned is averaged over them: agents also average how many are in each.
    """

    name = "clustered (IFCA)"
    after = "Ghosh et al. (2020), averages of gradients"
    grid = settings_of(models=(2, 3))

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._losses = torch.zeros(crowd.agents, self._count, device=crowd.device)

    def turn(self, rows: Tensor) -> None:
        """One step of the chosen model."""
        known = self._shared.of(rows)
        start = self._by_model(known)
        stack = self._crowd.batches(rows)
        found = self._crowd.sample_losses(start.flatten(0, 1), stack.repeated(self._count))
        losses = (found.view(len(rows), self._count, -1) * stack.weights[:, None]).sum(2)
        self._losses[rows] = MEMORY * self._losses[rows] + (1 - MEMORY) * losses
        chosen = self._losses[rows].argmin(1)
        places = torch.arange(len(rows))
        gradients = self._crowd.gradients(start[places, chosen], stack)
        models = start.clone()
        for model, descent in enumerate(self._descents):
            own = (chosen == model).nonzero().flatten()
            if len(own):
                models[own, model] += descent.step(rows[own.cpu()], gradients[own])
        members = torch.nn.functional.one_hot(chosen, self._count)
        parts = known[:, -self._count :]  # of the agents that are in each cluster
        part = parts.gather(1, chosen[:, None]).clamp(1 / self._crowd.agents, 1.0)
        moved = start + (models - start) / part[:, :, None]
        parts = MEMORY * parts + (1 - MEMORY) * members
        self._shared.replace(rows, torch.cat([moved.flatten(1), parts], dim=1))
        self._local[rows] = models

    def _beside(self) -> Tensor:
        """How many agents are in each cluster: shares of all."""
        return torch.full((self._count,), 1 / self._count, device=self._crowd.device)

    def before_averaging(self) -> Predictors:
        """The chosen one after its step."""
        return self._chosen(self._local)

    def after_averaging(self) -> Predictors:
        """The estimate of the best one."""
        return self._chosen(self._by_model(self._shared.estimates))

    def _chosen(self, models: Tensor) -> Predictors:
        best = self._crowd.training_losses(models).argmin(1)
        return one_each(models[torch.arange(len(models)), best])


class FedEM(_Several):
    """Every agent's data are a mixture: samples count for the models in proportion to what explains them."""

    name = "FedEM"
    after = "Marfoq et al. (2021)"
    grid = settings_of(models=(2, 3))

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._shares = torch.full((crowd.agents, self._count), 1 / self._count, device=crowd.device)

    def turn(self, rows: Tensor) -> None:
        """Responsibilities of the models for a batch, the shares that follow, and one step of each model."""
        start = self._by_model(self._shared.of(rows))
        stack = self._crowd.batches(rows)
        several = stack.repeated(self._count)
        losses = self._crowd.sample_losses(start.flatten(0, 1), several).view(len(rows), self._count, -1)
        responsible = torch.softmax(self._shares[rows].log()[:, :, None] - losses, dim=1)
        share = (responsible * stack.weights[:, None]).sum(2)
        self._shares[rows] = MEMORY * self._shares[rows] + (1 - MEMORY) * share
        several = several._replace(weights=several.weights * responsible.flatten(0, 1))
        gradients = self._by_model(self._crowd.gradients(start.flatten(0, 1), several).view(len(rows), -1))
        models = start.clone()
        for model, descent in enumerate(self._descents):
            models[:, model] += descent.step(rows, gradients[:, model])
        # Times K: responsibilities for a sample add up to 1, so that each model would get 1 / K of a step.
        self._shared.replace(rows, (start + self._count * (models - start)).flatten(1))
        self._local[rows] = models

    def before_averaging(self) -> Predictors:
        """The mixture of the models after their steps."""
        return Predictors(self._local, self._shares)

    def after_averaging(self) -> Predictors:
        """The mixture of the estimates."""
        return Predictors(self._by_model(self._shared.estimates), self._shares)
