"""One model for everybody: stochastic gradient push, and federated averaging with a proximal term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.rivals.method import Method, SharedModel, one_each, settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links
    from peer.rivals.method import Predictors, Setting


class PushSumSGP(Method):
    """Gradient steps at the estimate, which enter what is pushed next; momentum is each agent's own."""

    name = "shared: push-sum SGP"
    after = "Assran et al. (2019)"
    grid = settings_of(local_steps=(1, 5))

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._shared = SharedModel(crowd, links, crowd.initial)
        self._local = crowd.repeated(crowd.initial)  # after the last local steps
        self._descending = self._descent()

    def turn(self, rows: Tensor) -> None:
        """Local steps from the estimate."""
        start = self._shared.of(rows)
        models = start.clone()
        for _ in range(self._local_steps()):
            gradients = self._crowd.gradients(models, self._crowd.batches(rows)) + self._pull(models, start)
            models += self._descending.step(rows, gradients)
        self._shared.replace(rows, models)
        self._local[rows] = models

    def average(self, rows: Tensor) -> None:
        """Push-sum."""
        self._shared.average(rows)

    def before_averaging(self) -> Predictors:
        """The estimate after local steps."""
        return one_each(self._local)

    def after_averaging(self) -> Predictors:
        """The estimate."""
        return one_each(self._shared.estimates)

    def _pull(self, models: Tensor, start: Tensor) -> Tensor | float:
        """What is added to gradients on the way."""
        del models, start
        return 0.0


class FedProx(PushSumSGP):
    """Local steps that are pulled back to the estimate where they began."""

    name = "FedProx"
    after = "Li et al. (2020)"
    grid = settings_of(strength=(0.01, 0.3))
    local_steps = 5

    def _pull(self, models: Tensor, start: Tensor) -> Tensor:
        return float(self.setting["strength"]) * (models - start)
