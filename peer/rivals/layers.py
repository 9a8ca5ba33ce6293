"""Personal layers on a shared body: FedPer, FedRep, and FedALA's own mix of the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from peer.rivals.method import Method, SharedModel, one_each, settings_of
from peer.rivals.shared import PushSumSGP

if TYPE_CHECKING:
    from torch import Tensor

    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links
    from peer.rivals.method import Predictors, Setting

TOGETHER: Final = "together"  # FedPer
IN_TURN: Final = "in turn"  # FedRep
WEIGHT_STEP: Final = 1.0  # of FedALA's weights, as in the paper


def last_layer(crowd: Crowd) -> Tensor:
    """Which of the P numbers belong to the last layer with parameters: boolean."""
    layer = crowd.layout.names[-1].rpartition(".")[0]
    parts = [
        torch.full((count,), name.rpartition(".")[0] == layer)
        for name, count in zip(crowd.layout.names, crowd.layout.counts, strict=True)
    ]
    return torch.cat(parts).to(crowd.device)


class PersonalHead(PushSumSGP):
    """The last layer never leaves an agent: trained together with the body, or before it."""

    name = "personal head"
    after = "FedPer (Arivazhagan et al., 2019), FedRep (Collins et al., 2021)"
    grid = settings_of(training=(TOGETHER, IN_TURN))
    local_steps = 4

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._head = last_layer(crowd)
        self._heads = crowd.repeated(crowd.initial[self._head])

    def turn(self, rows: Tensor) -> None:
        """Local steps; the first half of them of the head alone, or all of both."""
        start = self._shared.of(rows)
        start[:, self._head] = self._heads[rows]
        models, steps = start.clone(), self._local_steps()
        for step in range(steps):
            gradients = self._crowd.gradients(models, self._crowd.batches(rows))
            if self.setting["training"] == IN_TURN:
                held = self._head if step >= steps // 2 else ~self._head
                gradients = gradients.masked_fill(held, 0.0)
                models += self._descending.step(rows, gradients).masked_fill(held, 0.0)
            else:
                models += self._descending.step(rows, gradients)
        self._heads[rows] = models[:, self._head]
        self._shared.replace(rows, models)  # estimates of heads are of no one
        self._local[rows] = models

    def after_averaging(self) -> Predictors:
        """The averaged body below the own head."""
        models = self._shared.estimates
        models[:, self._head] = self._heads
        return one_each(models)


class FedALA(Method):
    """Local models are averaged; each agent begins at a learned mix, by elements, of its own and the average.

    The mix is of the last layer; below, the average is taken. Weights learn one gradient step a turn.
    """

    name = "FedALA"
    after = "Zhang et al. (2023)"
    grid = settings_of(local_steps=(5, 20))

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._shared = SharedModel(crowd, links, crowd.initial)
        self._models = crowd.repeated(crowd.initial)
        self._head = last_layer(crowd)
        self._weights = torch.ones(crowd.agents, int(self._head.sum()), device=crowd.device)

    def turn(self, rows: Tensor) -> None:
        """Learn the weights, begin at the mix, take local steps with a fresh momentum."""
        average, own = self._shared.of(rows), self._models[rows]
        beginning = self._mixed(average, own, self._weights[rows])
        gradients = self._crowd.gradients(beginning, self._crowd.batches(rows))
        slope = (gradients * (average - own))[:, self._head]
        self._weights[rows] = (self._weights[rows] - WEIGHT_STEP * slope).clamp(0.0, 1.0)
        models, descent = self._mixed(average, own, self._weights[rows]), self._descent()
        for _ in range(self._local_steps()):
            models += descent.step(rows, self._crowd.gradients(models, self._crowd.batches(rows)))
        self._models[rows] = models
        self._shared.replace(rows, models)

    def average(self, rows: Tensor) -> None:
        """Local models."""
        self._shared.average(rows)

    def before_averaging(self) -> Predictors:
        """The local model."""
        return one_each(self._models)

    def after_averaging(self) -> Predictors:
        """Where local steps would begin."""
        return one_each(self._mixed(self._shared.estimates, self._models, self._weights))

    def _mixed(self, average: Tensor, own: Tensor, weights: Tensor) -> Tensor:
        mixed = average.clone()
        mixed[:, self._head] = own[:, self._head] + weights * (average - own)[:, self._head]
        return mixed
