"""When a run ends: how far it has come, whether it is there, and how to say so.

    goal             the run ends when
    residual:1e-6    no agent's residual is above it
    accuracy:0.93    the mean test accuracy of the personal models is at least that
    ticks:1000       every agent has done so many
    time:60s         so long after the start; ms, s, m or h

Of several goals the first that is reached ends the run. Residual and accuracy are noisy: they count when they
hold for HELD_LOOKS looks in a row, each at a measurement of its own.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from peer.errors import SettingError
from wire.delays import parse_duration
from wire.errors import FaultPlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

GoalKind = Literal["residual", "accuracy", "ticks", "time"]

HELD_LOOKS: Final = 3  # one lucky minibatch is no success
LOOK_TICKS: Final = 20  # ticks between two measurements of the accuracy, by default
PROGRESS_UNREACHED_MAX: Final = 0.99  # a bar is full only when the end is reached

_FORMS: Final = "give residual:1e-6, accuracy:0.93, ticks:1000 or time:60s"


class Seen(Protocol):
    """What is looked at of one agent; NaN: not measured."""

    @property
    def tick(self) -> int:
        """Ticks done."""

    @property
    def residual(self) -> float:
        """How far from settled."""

    @property
    def personal(self) -> float:
        """Test accuracy of the personal model."""


@dataclass(frozen=True, slots=True)
class Look:
    """The swarm at one moment: its slowest agent's tick, its largest residual, its mean accuracy."""

    tick: int = 0
    elapsed_s: float = 0.0
    residual: float = math.nan
    accuracy: float = math.nan

    @classmethod
    def at(cls, agents: Sequence[Seen], elapsed_s: float) -> Look:
        """Of one agent or more; a number that one of them lacks is NaN."""
        residuals = [agent.residual for agent in agents]
        return cls(
            tick=min(agent.tick for agent in agents),
            elapsed_s=elapsed_s,
            residual=math.nan if any(map(math.isnan, residuals)) else max(residuals),
            accuracy=statistics.fmean(agent.personal for agent in agents),
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """One reason to end; `value` in the unit of its kind, seconds for `time`. See `parse_goal`."""

    kind: GoalKind
    value: float

    @property
    def noisy(self) -> bool:
        """Whether it has to hold for a while."""
        return self.kind in ("residual", "accuracy")

    def met(self, look: Look) -> bool:
        """Whether this look shows it."""
        value = self._value(look)
        return value <= self.value if self.kind == "residual" else value >= self.value

    def progress(self, look: Look) -> float:
        """Share of the way in [0, 1]; of a residual on a logarithmic scale that begins at 1."""
        value = self._value(look)
        if self.met(look):
            return 1.0
        if not 0 < value < 1 and self.noisy:
            return 0.0
        return math.log(value) / math.log(self.value) if self.kind == "residual" else value / self.value

    def describe(self, look: Look) -> str:
        """For a line of status: where it is and where it has to come to."""
        value = self._value(look)
        if math.isnan(value):
            return f"{self.kind} not measured yet, goal {self.value:g}"
        if self.kind == "residual":
            way = f"{self.progress(look):.0%} of the way on a log scale"
            return f"residual {value:.1e}, goal {self.value:g}; {way}"
        if self.kind == "accuracy":
            return f"accuracy {value:.3f}, goal {self.value:g}"
        return f"{value:.0f} of {self.value:.10g} {'ticks' if self.kind == 'ticks' else 's'}"

    def _value(self, look: Look) -> float:
        values: dict[GoalKind, float] = {
            "residual": look.residual,
            "accuracy": look.accuracy,
            "ticks": look.tick,
            "time": look.elapsed_s,
        }
        return values[self.kind]

    def __str__(self) -> str:
        if self.kind == "ticks":
            return f"ticks:{self.value:.0f}"
        return f"{self.kind}:{self.value!r}{'s' if self.kind == 'time' else ''}"


def parse_goal(text: str) -> Goal:
    """Read one goal; `parse_goal(str(goal)) == goal`. Raises `SettingError`."""
    kind, _, amount = text.strip().partition(":")
    if kind == "time":
        return Goal("time", _seconds(amount, text))
    try:
        value = float(amount)
    except ValueError:
        raise SettingError("until", text, _FORMS) from None
    if kind == "residual":
        _require(0 < value < 1, text, "a residual begins near 1: give a number between 0 and 1, such as 1e-6")
        return Goal("residual", value)
    if kind == "accuracy":
        _require(0 < value <= 1, text, "give a share of the test samples above 0, at most 1, such as 0.93")
        return Goal("accuracy", value)
    _require(kind == "ticks", text, _FORMS)
    _require(1 <= value < 2**53 and value == int(value), text, "give a whole number of ticks, 1 or more")
    return Goal("ticks", value)


def _seconds(amount: str, text: str) -> float:
    try:
        seconds = parse_duration(amount)
    except FaultPlanError:
        seconds = 0.0
    _require(seconds > 0, text, "give a time above 0 with its unit, such as time:60s or time:2m")
    return seconds


def _require(holds: bool, text: str, remedy: str) -> None:
    if not holds:
        raise SettingError("until", text, remedy)


class Ending:
    """Follows a run to the first of its goals; without any it goes on until it is stopped.

    `look_ticks`: ticks from one measurement of the accuracy to the next; looks in between show nothing new.
    Once `reached` it stays so; `progress` is 1.0 exactly then.
    """

    def __init__(self, goals: Sequence[Goal] = (), look_ticks: int = LOOK_TICKS) -> None:
        self.goals = tuple(goals)
        self.reached = False
        self._look_ticks = look_ticks
        self._last = Look()
        self._held = [0] * len(self.goals)  # looks in a row that showed the goal
        self._counted_at = [0] * len(self.goals)  # tick of the last of them

    def look(self, agents: Sequence[Seen], elapsed_s: float) -> float:
        """Take in how the agents are doing, `elapsed_s` after the start; returns the progress."""
        self._last = look = Look.at(agents, elapsed_s)
        for index, goal in enumerate(self.goals):
            if not goal.met(look):
                self._held[index] = 0
            elif self._held[index] == 0 or look.tick >= self._counted_at[index] + self._look_ticks:
                self._held[index] += 1
                self._counted_at[index] = look.tick
        self.reached = self.reached or any(
            held >= (HELD_LOOKS if goal.noisy else 1)
            for goal, held in zip(self.goals, self._held, strict=True)
        )
        return self.progress

    @property
    def progress(self) -> float:
        """Share of the way, in [0, 1]; 0 if there is no goal."""
        if self.reached:
            return 1.0
        shares = (goal.progress(self._last) for goal in self.goals)
        return min(PROGRESS_UNREACHED_MAX, max(shares, default=0.0))

    def describe(self) -> str:
        """For a line of status."""
        if not self.goals:
            return "no end was asked for"
        told = []
        for goal, held in zip(self.goals, self._held, strict=True):
            looks = f", held for {held} of {HELD_LOOKS} looks" if goal.noisy and held else ""
            told.append(goal.describe(self._last) + looks)
        return " or ".join(told)
