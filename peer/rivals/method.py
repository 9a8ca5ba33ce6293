"""What a method is: work of some agents until they send, an exchange, and what predicts before and after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from peer.rivals.crowd import Crowd
    from peer.rivals.links import Links

Setting = Mapping[str, float | str]

# Step size and momentum of the gradient steps, from which most methods' grids are made.
STEPS: Final[tuple[tuple[float, float], ...]] = ((0.03, 0.9), (0.1, 0.9), (0.2, 0.0))


class Predictors(NamedTuple):
    """What every agent predicts with: K models (n, K, P), and their shares (n, K) unless K is 1."""

    models: Tensor
    shares: Tensor | None = None


class Descent:
    """Gradient steps with heavy-ball momentum on models of (n, P); each agent has its own velocity."""

    def __init__(self, agents: int, size: int, setting: Setting, device: torch.device) -> None:
        self._step_size, self._momentum = float(setting["step"]), float(setting["momentum"])
        self._velocity = torch.zeros(agents, size, device=device)

    def step(self, rows: Tensor, gradients: Tensor, free: Tensor | None = None) -> Tensor:
        """What to add to the models of these agents; only where `free` (P,), the rest keeps its velocity."""
        before = self._velocity[rows]
        velocity = self._momentum * before + gradients
        self._velocity[rows] = velocity if free is None else torch.where(free, velocity, before)
        return -self._step_size * (velocity if free is None else velocity.masked_fill(~free, 0.0))


class SharedModel:
    """Estimates of push-sum: value / weight, of vectors of D numbers, which all begin as `initial`."""

    def __init__(self, crowd: Crowd, links: Links, initial: Tensor) -> None:
        ones = torch.ones(crowd.agents, 1, device=crowd.device)
        self._held = torch.cat([crowd.repeated(initial), ones], dim=1)
        self._links = links

    def of(self, rows: Tensor) -> Tensor:
        """Estimates of these agents, a copy."""
        held = self._held[rows]
        return held[:, :-1] / held[:, -1:]

    @property
    def estimates(self) -> Tensor:
        """Of all."""
        return self._held[:, :-1] / self._held[:, -1:]

    def replace(self, rows: Tensor, models: Tensor) -> None:
        """Average these next. In common rounds all changes count alike, as in stochastic gradient push.

        Over silent links, where speeds differ, a change counts by its agent's weight. Weights are the
        smaller, the more often an agent sends, so that fast agents do not win; changes that count alike would
        also be steps that are too long there (digits, 8 agents, speeds 10x apart, 30 % loss: 0.41 to 0.88 by
        the setting, so 0.83 to 0.90).
        """
        held = self._held[rows]
        numerators, weights = held[:, :-1], held[:, -1:]
        counts = weights if self._links.weighs_changes else 1.0
        self._held[rows, :-1] = numerators + counts * (models - numerators / weights)

    def average(self, rows: Tensor) -> None:
        """One exchange, in which these agents send."""
        self._held = self._links.exchange(self._held, rows)


class Method(ABC):
    """One way to learn. `turn` may be called with any agents, in any order."""

    name: ClassVar[str]
    after: ClassVar[str]  # the paper
    grid: ClassVar[tuple[Setting, ...]]  # equally many for every method
    local_steps: ClassVar[int] = 1  # of a turn, unless the setting has `local_steps`
    has_links: ClassVar[bool] = True
    is_scored_after: ClassVar[bool] = True  # whether one more exchange makes another model that predicts

    def __init__(self, crowd: Crowd, links: Links, setting: Setting, steps: int) -> None:
        self._crowd, self._links, self.setting, self._steps = crowd, links, setting, steps

    @classmethod
    def steps_a_turn(cls, setting: Setting) -> int:
        """Gradient steps of an agent from one message to the next."""
        return int(setting.get("local_steps", cls.local_steps))

    @classmethod
    def last_steps(cls, setting: Setting, steps: int) -> int:
        """Gradient steps, of so many, that are left for `finish`."""
        del setting, steps
        return 0

    @abstractmethod
    def turn(self, rows: Tensor) -> None:
        """The local work of these agents."""

    def average(self, rows: Tensor) -> None:
        """They send. Nothing, where nothing is shared."""
        del rows

    def finish(self) -> None:
        """The last local work, when nothing is sent any more."""
        return

    @abstractmethod
    def before_averaging(self) -> Predictors:
        """What predicts after local work."""

    @abstractmethod
    def after_averaging(self) -> Predictors:
        """What predicts after an exchange."""

    # ---- for them

    def _descent(self) -> Descent:
        return Descent(self._crowd.agents, self._crowd.size, self.setting, self._crowd.device)

    def _local_steps(self) -> int:
        return self.steps_a_turn(self.setting)


def one_each(models: Tensor) -> Predictors:
    """Of (n, P)."""
    return Predictors(models[:, None])


def settings_of(**choices: tuple[float | str, ...]) -> tuple[Setting, ...]:
    """`STEPS` with each of these choices of one more parameter."""
    ((name, values),) = choices.items()
    return tuple(
        {"step": step, "momentum": momentum, name: value} for value in values for step, momentum in STEPS
    )


class Ended(NamedTuple):
    """What predicts where a method has ended."""

    before: Predictors  # after local work
    after: Predictors | None  # after one more exchange


def run(method: Method, links: Links, steps: int) -> Ended:
    """So many gradient steps of a typical agent, those that `finish` takes among them."""
    turns = max(1, (steps - method.last_steps(method.setting, steps)) // method.steps_a_turn(method.setting))
    rows = torch.empty(0, dtype=torch.int64)
    for number in range(links.rounds(turns)):
        if number:
            method.average(rows)
        rows = links.acting()
        method.turn(rows)
    method.finish()
    before = method.before_averaging()
    if not method.is_scored_after:
        return Ended(before, None)
    method.average(rows)
    return Ended(before, method.after_averaging())
