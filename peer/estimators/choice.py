"""Estimators and schedules by the names that people give them.

Other packages bring more (`peer.extensions`): NAME or NAME:TEXT, made with the keywords step_size, momentum,
and text if there is one. What is `standing` there is on the schedule `rounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.errors import SettingError
from peer.estimators.direct import Direct
from peer.estimators.jacobian_push import JacobianPush
from peer.estimators.neumann import Neumann
from peer.estimators.tracking import Tracking
from peer.estimators.training import Continuous, Rounds
from peer.extensions import make, names

if TYPE_CHECKING:
    from peer.estimators.base import HypergradientEstimator
    from peer.estimators.training import Schedule

TRACKING: Final = "tracking"
NUMBERS: Final = {  # after the name, with what they are without: rounds S of push-sum, updates
    TRACKING: (("updates", 10),),
    "neumann": (("rounds", 10), ("updates", 10)),
    "jacobian-push": (("updates", 50),),
    "direct": (),
}
TRAINING_ROUNDS: Final = 10
UPDATES: Final = 10  # of an estimator of others, between two hyper steps on the schedule `rounds`
STANDING: Final = ("neumann", "jacobian-push")


@dataclass(frozen=True, slots=True)
class EstimatorChoice:
    """What `--estimator` and `--schedule` say."""

    name: str = TRACKING  # with its text, if another package brings it
    rounds: int = 1  # S of each update
    updates: int = 1  # between two hyper steps on the schedule `rounds`
    training_rounds: int | None = None  # between two hyper steps; None: schedule `continuous`

    @property
    def is_of_agents(self) -> bool:
        """Whether it is what agents do by themselves, without common rounds."""
        return self.name == TRACKING and self.training_rounds is None

    def schedule(self, hyper_every: int) -> Schedule:
        """That of `peer.estimators.training`."""
        if self.training_rounds is None:
            return Continuous(hyper_every=hyper_every)
        return Rounds(training_rounds=self.training_rounds, updates=self.updates)

    def rounds_per_step(self, hyper_every: int) -> int:
        """Of training, between two hyper steps."""
        return hyper_every if self.training_rounds is None else self.training_rounds

    def make(self, step_size: float, momentum: float) -> HypergradientEstimator[Any]:
        """The estimator; `step_size`: of its series, or of the adjoint."""
        match self.name:
            case "neumann":
                return Neumann(self.rounds, step_size)
            case "jacobian-push":
                return JacobianPush(step_size)
            case "direct":
                return Direct()
            case "tracking":
                return Tracking(step_size, momentum)
        return _brought(self.name, step_size, momentum)


def choose(estimator: str, schedule: str | None) -> EstimatorChoice:
    """From `neumann:S:M`, `jacobian-push:M`, `direct`, `tracking`; and `continuous` or `rounds:N`.

    Without a schedule: that of agents, `continuous`, where it can be. Raises `SettingError`.
    """
    name, *given = estimator.split(":")
    if name not in NUMBERS:
        standing = _brought(estimator, 1.0, 0.0).standing
        training = _training_rounds(schedule, estimator, standing=standing)
        return EstimatorChoice(estimator, updates=UPDATES, training_rounds=training)
    wanted = NUMBERS[name]
    if len(given) > len(wanted) or not all(one.isdecimal() and int(one) >= 1 for one in given):
        form = ":".join([name, *(what for what, _ in wanted)])
        raise SettingError("estimator", estimator, f"give {form}, whole numbers from 1 up")
    numbers = dict(wanted) | dict(zip((what for what, _ in wanted), map(int, given), strict=False))
    training = _training_rounds(schedule, estimator, standing=name in STANDING)
    return EstimatorChoice(
        name, rounds=numbers.get("rounds", 1), updates=numbers.get("updates", 1), training_rounds=training
    )


def _brought(text: str, step_size: float, momentum: float) -> HypergradientEstimator[Any]:
    found: HypergradientEstimator[Any] | None = make(
        "estimator", text, step_size=step_size, momentum=momentum
    )
    if found is None:
        known = ["tracking", "neumann:S:M", "jacobian-push:M", "direct", *names("estimator")]
        raise SettingError("estimator", text, f"give one of {', '.join(known)}")
    return found


def _training_rounds(schedule: str | None, estimator: str, *, standing: bool) -> int | None:
    if schedule is None:
        return TRAINING_ROUNDS if standing else None
    what, _, number = schedule.partition(":")
    if what == "continuous" and not number:
        if standing:
            remedy = f"{estimator} sums up a series at one model; give rounds:N, or tracking or direct"
            raise SettingError("schedule", schedule, remedy)
        return None
    if what == "rounds" and (not number or (number.isdecimal() and int(number) >= 1)):
        return int(number) if number else TRAINING_ROUNDS
    raise SettingError("schedule", schedule, "give continuous, or rounds:N with N rounds of training")
