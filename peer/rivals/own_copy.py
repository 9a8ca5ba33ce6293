"""Every agent has a model of its own beside the shared one: APFL and Ditto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from peer.rivals.method import one_each, settings_of
from peer.rivals.shared import PushSumSGP

if TYPE_CHECKING:
    from torch import Tensor

    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links
    from peer.rivals.method import Predictors, Setting

ADAPTIVE: Final = "adaptive"
FIRST_SHARE: Final = 0.5  # of the own model, where shares adapt


class APFL(PushSumSGP):
    """A mix of both predicts; the own model follows the gradient at the mix, and, if told, its share too.

    The own model's steps are not scaled by its share, as the paper's are: with the step sizes tried here it
    would never move as far as one that is trained alone.
    """

    name = "APFL"
    after = "Deng, Kamani, Mahdavi (2020)"
    grid = settings_of(own_share=(0.5, ADAPTIVE))

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        given = setting["own_share"]
        self._adapts = given == ADAPTIVE
        share = FIRST_SHARE if self._adapts else float(given)
        self._share = torch.full((crowd.agents, 1), share, device=crowd.device)
        self._own = crowd.repeated(crowd.initial)
        self._owns_descent = self._descent()

    def turn(self, rows: Tensor) -> None:
        """The shared model first, then the own one at the mix with it."""
        super().turn(rows)
        shared, own, share = self._local[rows], self._own[rows], self._share[rows]
        mix = share * own + (1 - share) * shared
        gradients = self._crowd.gradients(mix, self._crowd.batches(rows))
        if self._adapts:
            slope = (gradients * (own - shared)).sum(1, keepdim=True)
            self._share[rows] = (share - float(self.setting["step"]) * slope).clamp(0.0, 1.0)
        self._own[rows] += self._owns_descent.step(rows, gradients)

    def before_averaging(self) -> Predictors:
        """With the estimate after local steps."""
        return self._mixed(self._local)

    def after_averaging(self) -> Predictors:
        """With the estimate."""
        return self._mixed(self._shared.estimates)

    def _mixed(self, shared: Tensor) -> Predictors:
        return one_each(self._share * self._own + (1 - self._share) * shared)


class Ditto(PushSumSGP):
    """The own model predicts; it is pulled to the shared one, which knows nothing of it."""

    name = "Ditto"
    after = "Li et al. (2021)"
    grid = settings_of(strength=(0.1, 1.0))
    is_scored_after = False

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._own = crowd.repeated(crowd.initial)
        self._owns_descent = self._descent()

    def turn(self, rows: Tensor) -> None:
        """A step of the shared model, and one of the own, pulled to where that was."""
        goal = self._shared.of(rows)
        super().turn(rows)
        own = self._own[rows]
        gradients = self._crowd.gradients(own, self._crowd.batches(rows))
        gradients = gradients + float(self.setting["strength"]) * (own - goal)
        self._own[rows] += self._owns_descent.step(rows, gradients)

    def before_averaging(self) -> Predictors:
        """The own model."""
        return one_each(self._own)
