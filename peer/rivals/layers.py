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
WEIGHT_STEPS: Final = 10  # minibatches a turn
FIRST_WEIGHT_STEPS: Final = 50


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
        self._shared = SharedModel(crowd, links, crowd.initial[~self._head])

    def turn(self, rows: Tensor) -> None:
        """Local steps; the first half of them of the head and the others of the body, or all of both."""
        models, steps = self._whole(self._shared.of(rows), self._heads[rows]), self._local_steps()
        for step in range(steps):
            gradients = self._crowd.gradients(models, self._crowd.batches(rows))
            if self.setting["training"] == IN_TURN:
                free = self._head if step < steps // 2 else ~self._head
                models += self._descending.step(rows, gradients, free)
            else:
                models += self._descending.step(rows, gradients)
        self._heads[rows] = models[:, self._head]
        self._shared.replace(rows, models[:, ~self._head])
        self._local[rows] = models

    def after_averaging(self) -> Predictors:
        """The averaged body below the own head."""
        return one_each(self._whole(self._shared.estimates, self._heads))

    def _whole(self, bodies: Tensor, heads: Tensor) -> Tensor:
        models = torch.empty(len(bodies), self._crowd.size, device=bodies.device)
        models[:, ~self._head], models[:, self._head] = bodies, heads
        return models


class FedALA(Method):
    """Local models are averaged; each agent begins at a learned mix, by elements, of its own and the average.

    The mix is of the last layer; below, the average is taken. Weights learn WEIGHT_STEPS steps a turn, and
    FIRST_WEIGHT_STEPS when there is something to mix for the first time; the paper takes a pass over most
    samples, and several at first. These steps are not counted.
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
        self._turns = torch.zeros(crowd.agents, dtype=torch.int64)
        self._descending = self._descent()

    def turn(self, rows: Tensor) -> None:
        """Learn the weights, begin at the mix, take local steps."""
        average = self._shared.of(rows)
        self._learn_weights(rows, average)
        models = self._mixed(average, self._models[rows], self._weights[rows])
        for _ in range(self._local_steps()):
            gradients = self._crowd.gradients(models, self._crowd.batches(rows))
            models += self._descending.step(rows, gradients)
        self._models[rows] = models
        self._shared.replace(rows, models)

    def _learn_weights(self, rows: Tensor, average: Tensor) -> None:
        turns = self._turns[rows]
        self._turns[rows] += 1
        wanted = torch.where(turns == 1, FIRST_WEIGHT_STEPS, WEIGHT_STEPS).masked_fill(turns == 0, 0)
        for step in range(int(wanted.max())):
            places = (wanted > step).nonzero().flatten()
            who, there = rows[places], average[places]
            own = self._models[who]
            beginning = self._mixed(there, own, self._weights[who])
            gradients = self._crowd.gradients(beginning, self._crowd.batches(who))
            slope = (gradients * (there - own))[:, self._head]
            self._weights[who] = (self._weights[who] - WEIGHT_STEP * slope).clamp(0.0, 1.0)

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
