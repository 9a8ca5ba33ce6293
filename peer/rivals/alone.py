"""What learns from its own data alone, at the end or all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peer.rivals.method import Method, one_each, settings_of
from peer.rivals.shared import PushSumSGP

if TYPE_CHECKING:
    from torch import Tensor

    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links
    from peer.rivals.method import Predictors, Setting

LAST: Final = "last_share"


class Local(Method):
    """Every agent by itself."""

    name = "local only"
    after = "no messages"
    grid = (
        *({"step": step, "momentum": 0.9} for step in (0.02, 0.05, 0.1)),
        *({"step": step, "momentum": 0.0} for step in (0.1, 0.3, 0.5)),
    )
    has_links = is_scored_after = False

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        super().__init__(crowd, links, setting, steps)
        self._models = crowd.repeated(crowd.initial)
        self._own = self._descent()

    def turn(self, rows: Tensor) -> None:
        """One gradient step."""
        gradients = self._crowd.gradients(self._models[rows], self._crowd.batches(rows))
        self._models[rows] += self._own.step(rows, gradients)

    def before_averaging(self) -> Predictors:
        """The own model."""
        return one_each(self._models)

    after_averaging = before_averaging  # nothing is averaged


class FineTuned(PushSumSGP):
    """A shared model, on which every agent takes the last steps alone."""

    name = "shared + fine-tuning"
    after = "McMahan et al. (2017), then local steps"
    grid = settings_of(**{LAST: (0.1, 0.4)})
    is_scored_after = False

    @classmethod
    def last_steps(cls, setting: Setting, steps: int) -> int:
        """A share of all."""
        return round(float(setting[LAST]) * steps)

    def finish(self) -> None:
        """Local steps from the shared estimate, at each agent's speed."""
        models, own = self._shared.estimates, self._descent()
        for _ in range(self._links.rounds(self.last_steps(self.setting, self._steps))):
            rows = self._links.acting()
            models[rows] += own.step(rows, self._crowd.gradients(models[rows], self._crowd.batches(rows)))
        self._local = models
