"""How long a message is on its way: four distributions, their text form, one draw each. And durations.

    text                     class                     delay
    20ms                     Constant(0.02)            always 20 ms
    uniform:10ms:90ms        Uniform(0.01, 0.09)       anything from 10 to 90 ms
    exponential:50ms         Exponential(0.05)         mean 50 ms, no memory
    lognormal:50ms:0.5       LogNormal(0.05, 0.5)      median 50 ms; sigma of the logarithm 0.5, a heavy tail

`parse_delay(str(delay)) == delay`. `draw(rng)` takes exactly one `rng.random()`, whatever the class, so that
changing one link's delay shifts no other draw.
"""

import math
import random
import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from wire.errors import FaultPlanError

DELAY_S_MAX: Final = 365 * 86_400.0  # a year: more is a mistaken unit, and draws stay finite
SIGMA_MAX: Final = 10.0  # e**10 is a factor of 22,000 for one standard deviation

_UNIFORM_MIN: Final = 2.0**-54  # random() may be 0, which the inverse of the normal distribution refuses
_NORMAL: Final = NormalDist()
DURATION_FORMS: Final = "write 500ms, 30s, 2m or 1h"

_NUMBER: Final = r"([0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)"
_SECONDS = re.compile(_NUMBER + "(us|ms|s)")
_DURATION = re.compile(_NUMBER + "(us|ms|s|m|h)")
_PER_SECOND: Final = {"us": 1_000_000, "ms": 1_000, "s": 1}
_SECONDS_IN: Final = {"m": 60, "h": 3_600}
DELAY_FORMS: Final = "write 20ms, 0.5s, uniform:10ms:90ms, exponential:50ms or lognormal:50ms:0.5"


def check_number(name: str, value: object, low: float, high: float, remedy: str) -> float:
    """`value` as a float if it is a number from `low` to `high`; NaN and bool are not. Or FaultPlanError."""
    number = _number(value)
    if not low <= number <= high:
        raise FaultPlanError(f"{name} = {value!r}: must be a number from {low:g} to {high:g}; {remedy}")
    return number


def _number(value: object) -> float:
    """NaN for what is no number, or a whole one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _check_delay_s(name: str, value: object) -> None:
    check_number(name, value, 0.0, DELAY_S_MAX, "it is in seconds")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `seconds`."""

    seconds: float

    def __post_init__(self) -> None:
        _check_delay_s("delay seconds", self.seconds)

    @property
    def mean_s(self) -> float:
        """Mean in seconds."""
        return self.seconds

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds; takes its `rng.random()` like the others."""
        rng.random()
        return self.seconds

    def __str__(self) -> str:
        return _text(self.seconds)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything from `low_s` to `high_s`, equally likely."""

    low_s: float
    high_s: float

    def __post_init__(self) -> None:
        _check_delay_s("delay low_s", self.low_s)
        _check_delay_s("delay high_s", self.high_s)
        if self.low_s > self.high_s:
            raise FaultPlanError(
                f"delay low_s = {self.low_s!r}: above high_s = {self.high_s!r}; write the smaller one first"
            )

    @property
    def mean_s(self) -> float:
        """Mean in seconds."""
        return (self.low_s + self.high_s) / 2

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds."""
        return self.low_s + (self.high_s - self.low_s) * rng.random()

    def __str__(self) -> str:
        return f"uniform:{_text(self.low_s)}:{_text(self.high_s)}"


@dataclass(frozen=True, slots=True)
class Exponential:
    """Mean `mean_s`; how long a message has been on its way says nothing about how long it still will be."""

    mean_s: float

    def __post_init__(self) -> None:
        _check_delay_s("delay mean_s", self.mean_s)

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds."""
        return -math.log(1.0 - rng.random()) * self.mean_s

    def __str__(self) -> str:
        return f"exponential:{_text(self.mean_s)}"


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Median `median_s`, `sigma` the standard deviation of the logarithm: what long routes look like."""

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        _check_delay_s("delay median_s", self.median_s)
        check_number(
            "delay sigma", self.sigma, 0.0, SIGMA_MAX, "0.5 is a usual spread, 0 is a constant delay"
        )

    @property
    def mean_s(self) -> float:
        """Mean in seconds."""
        return self.median_s * math.exp(self.sigma**2 / 2)

    def draw(self, rng: random.Random) -> float:
        """One delay in seconds."""
        return self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(max(rng.random(), _UNIFORM_MIN)))

    def __str__(self) -> str:
        return f"lognormal:{_text(self.median_s)}:{float(self.sigma)!r}"


Delay = Constant | Uniform | Exponential | LogNormal


def _text(seconds: float) -> str:
    return f"{float(seconds)!r}s"


def parse_delay(text: str) -> Delay:
    """Read the text form of a delay; raises FaultPlanError naming the text and the remedy.

    >>> from wire import parse_delay
    >>> parse_delay("lognormal:50ms:0.5")
    LogNormal(median_s=0.05, sigma=0.5)
    >>> parse_delay("20")
    Traceback (most recent call last):
        ...
    wire.errors.FaultPlanError: delay = '20': '20' is no time with a unit; write 20ms, 0.5s, ...
    """
    kind, *parts = text.strip().split(":")
    if kind == "uniform" and len(parts) == 2:
        return Uniform(_parse_seconds(parts[0], text), _parse_seconds(parts[1], text))
    if kind == "exponential" and len(parts) == 1:
        return Exponential(_parse_seconds(parts[0], text))
    if kind == "lognormal" and len(parts) == 2:
        return LogNormal(_parse_seconds(parts[0], text), _parse_number(parts[1], text))
    if not parts:
        return Constant(_parse_seconds(kind, text))
    raise FaultPlanError(f"delay = {text[:80]!r}: no such distribution, or not its parameters; {DELAY_FORMS}")


def parse_duration(text: str) -> float:
    """Seconds of a time with a unit, such as 30s or 2m; raises FaultPlanError naming text and remedy.

    >>> from wire import parse_duration
    >>> parse_duration("2m"), parse_duration("500ms")
    (120.0, 0.5)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise FaultPlanError(f"duration = {text[:40]!r}: no time with a unit; {DURATION_FORMS}")
    number, unit = match.groups()
    seconds = float(number) * _SECONDS_IN.get(unit, 1) / _PER_SECOND.get(unit, 1)
    return check_number("duration", seconds, 0.0, DELAY_S_MAX, DURATION_FORMS)


def _parse_seconds(part: str, text: str) -> float:
    match = _SECONDS.fullmatch(part)
    if match is None:
        raise FaultPlanError(f"delay = {text[:80]!r}: {part[:40]!r} is no time with a unit; {DELAY_FORMS}")
    number, unit = match.groups()
    return float(number) / _PER_SECOND[unit]


def _parse_number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise FaultPlanError(f"delay = {text[:80]!r}: {part[:40]!r} is no number; {DELAY_FORMS}") from None
