"""Every setting of an agent in one place: frozen, validated when made, documented with unit and reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from peer.errors import SettingError
from peer.streams import is_solver, known_solvers
from wire import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from peer.algebra import Scalar

WireDtype = Literal["float32", "float64"]

WARM_UP_TICKS = 50.0  # enough for a typical swarm: 8 agents, of whose messages a third is lost
FANOUT_MAX = 64  # cost per tick grows with it; a swarm of any size needs a handful
LOCAL_STEPS_MAX = 10_000  # one tick must stay short against an epoch
BLOCK_BYTES_MIN = 2**14  # less might be all envelope

OPTIONAL = (
    "model_step_size",
    "adjoint_step_size",
    "local_step_size",
    "momentum",
    "damping",
    "hyper_step_size",
    "warm_up_ticks",
)  # may be None
_CHOICES = {"wire_dtype": get_args(WireDtype)}
_OPTIMIZERS = ("optimizer", "hyper_optimizer")
_WHOLE = ("fanout", "local_steps", "hyper_every", "block_bytes_max", "evaluate_every", "checkpoint_ticks")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How one agent takes part. Defaults are those of `hyperpush swarm`; symbols are those of DESIGN.md.

    >>> from peer import AgentSettings
    >>> AgentSettings(fanout=0)
    Traceback (most recent call last):
        ...
    peer.errors.SettingError: fanout: 0 is not possible; give a whole number from 1 to 64
    """

    tick_s: float = 0.05
    """Seconds from one tick to the next, if the machine can keep up."""
    tick_jitter: float = 0.1
    """Each interval is drawn within this fraction of `tick_s`, so that agents do not march in step."""
    fanout: int = 3
    """Out-neighbours per agent: the ring successor and `fanout - 1` more."""
    solver: str = "tracking"
    """`tracking` is exact; `push-sum` and `push-sum-shares` are there to be compared with. Other packages
    bring more (`peer.extensions`)."""
    model_step_size: Scalar | None = None
    """eta of the model; None: chosen by the agent. Stable below about 1 / curvature of the training loss."""
    adjoint_step_size: Scalar | None = None
    """eta of the adjoint; None: chosen by the agent. The same curvature counts."""
    local_step_size: Scalar | None = None
    """Step of the local inner variables and of their adjoint; None: chosen by the agent from its own
    curvature, or that of the model where that is given."""
    momentum: Scalar | None = None
    """beta, on the agent's own steps, for both streams. None: chosen with the steps, 0 if those are given.
    Same fixed point."""
    local_steps: int = 1
    """K gradients between two pushes. Same fixed point, fewer messages."""
    damping: Scalar | None = None
    """delta: the adjoint solves with H + delta I, which biases the hypergradient unless it is 0. None: chosen
    by the agent, and 0 unless the adjoint runs away."""
    hyper_step_size: float | None = 0.0
    """Learning rate of the hyperparameters; 0 holds them, None: chosen by the agent."""
    hyper_every: int = 1
    """Ticks from one step of the hyperparameters to the next."""
    hyper_optimizer: str = "descent"
    """What steps the hyperparameters: plain descent, or a class of `torch.optim` (`peer.optimizers`)."""
    optimizer: str = "descent"
    """What steps the model, likewise; `model_step_size` is its learning rate then, 0.001 if that is None, and
    `momentum` is the adjoint's."""
    block_fraction: float = 1.0
    """Share of the model's blocks pushed in one tick."""
    block_bytes_max: int = 2**20
    """No message is longer than this: larger models are pushed in more blocks."""
    wire_dtype: WireDtype = "float32"
    """Numbers in messages. Mass is exact with either; float32 has a floor near 1e-7."""
    precision_tolerance: float = 1e-4
    """A new epoch begins when wire numbers at the largest running sum are further apart than this."""
    warm_up_ticks: float | None = None
    """After an epoch change an agent only averages for this many ticks of a typical peer. None: chosen by
    the agent, and `WARM_UP_TICKS` until it knows its network."""
    epoch_warm_ups_min: float = 6.0
    """An agent begins no new epoch within this many warm-ups of the slowest peer."""
    listen_ticks: float = 10.0
    """A joiner averages what it hears for this many ticks before it pushes."""
    listen_s_max: float = 3.0
    """A joiner that hears nothing for so long begins a swarm of its own (which may merge later)."""
    expire_ticks: float = 60.0
    """A peer silent for so many ticks of a typical peer, and for several of its own longest gaps, is gone."""
    ticks_per_delay: float = 5.0
    """Ticks within the delay of a typical link beyond which an agent slows down: more buy nothing. 0: no."""
    bytes_per_second: float = 0.0
    """What the agent may send; blocks wait for their turn. 0: no cap."""
    evaluate_every: int = 20
    """Ticks between two evaluations of the test metrics; 0: never."""
    checkpoint_s: float = 30.0
    """What was learned is kept after so many seconds, for a later life; 0: not by time."""
    checkpoint_ticks: int = 0
    """The same after so many own ticks; 0: not by ticks."""

    def __post_init__(self) -> None:
        """Raise `SettingError` naming field, value and remedy."""
        for name, known in _CHOICES.items():
            self._require(name, getattr(self, name) in known, f"give one of {', '.join(known)}")
        if not is_solver(self.solver):
            raise SettingError("solver", self.solver, f"give one of {', '.join(known_solvers())}")
        for name in _OPTIMIZERS:
            given: object = getattr(self, name)
            is_word = isinstance(given, str) and given.isprintable() and given.strip() != ""
            self._require(name, is_word, "give descent, or a class of torch.optim such as adam")
        for name in sorted({field.name for field in fields(self)} - {"solver", *_CHOICES, *_OPTIMIZERS}):
            optional = name in OPTIONAL and getattr(self, name) is None
            or_none = ", or None (leave it open): each agent chooses" if name in OPTIONAL else ""
            self._require(name, optional or _is_finite(getattr(self, name)), f"give a finite number{or_none}")
        for name in _WHOLE:
            self._require(name, isinstance(getattr(self, name), Integral), "give a whole number")
        positive = (
            *("tick_s", "listen_s_max", "expire_ticks"),
            *("model_step_size", "adjoint_step_size", "local_step_size"),
        )
        for name in positive:
            value = getattr(self, name)
            self._require(name, value is None or value > 0, "give a number above 0")
        at_least_zero = (
            *("precision_tolerance", "warm_up_ticks", "epoch_warm_ups_min"),
            *("listen_ticks", "evaluate_every", "ticks_per_delay", "bytes_per_second"),
            *("checkpoint_s", "checkpoint_ticks"),
        )
        for name in at_least_zero:
            self._require(name, (getattr(self, name) or 0) >= 0, "give 0 or a number above it")
        self._require("tick_jitter", 0 <= self.tick_jitter < 1, "give 0 or more, and below 1")
        self._require("hyper_step_size", (self.hyper_step_size or 0) >= 0, "give 0 or a number above it")
        self._require("damping", (self.damping or 0) >= 0, "give 0 or a number above it")
        self._require("momentum", 0 <= (self.momentum or 0) < 1, "give 0 or more, and below 1")
        self._require("block_fraction", 0 < self.block_fraction <= 1, "give a number above 0, at most 1")
        self._require("fanout", 1 <= self.fanout <= FANOUT_MAX, f"give a whole number from 1 to {FANOUT_MAX}")
        self._require(
            "local_steps", 1 <= self.local_steps <= LOCAL_STEPS_MAX, f"give 1 to {LOCAL_STEPS_MAX} steps"
        )
        self._require("hyper_every", self.hyper_every >= 1, "give a whole number of ticks, 1 or more")
        self._require(
            "block_bytes_max",
            BLOCK_BYTES_MIN <= self.block_bytes_max <= MESSAGE_BYTES_MAX,
            f"give {BLOCK_BYTES_MIN} to {MESSAGE_BYTES_MAX} bytes",
        )

    def _require(self, name: str, holds: bool, remedy: str) -> None:
        if not holds:
            raise SettingError(name, getattr(self, name), remedy)

    @property
    def warm_up_at_first(self) -> float:
        """Ticks, where nothing is known of the network."""
        return WARM_UP_TICKS if self.warm_up_ticks is None else self.warm_up_ticks

    def to_dict(self) -> dict[str, str | int | float | None]:
        """All fields as JSON-able values (exact fractions as floats)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: float(v) if isinstance(v, Fraction) else v for name, v in values.items()}


def _is_finite(value: object) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


class SettingKeywords(TypedDict, total=False):
    """The fields of `AgentSettings` as keyword arguments."""

    tick_s: float
    tick_jitter: float
    fanout: int
    solver: str
    model_step_size: Scalar | None
    adjoint_step_size: Scalar | None
    local_step_size: Scalar | None
    momentum: Scalar | None
    local_steps: int
    damping: Scalar | None
    hyper_step_size: float | None
    hyper_every: int
    hyper_optimizer: str
    optimizer: str
    block_fraction: float
    block_bytes_max: int
    wire_dtype: WireDtype
    precision_tolerance: float
    warm_up_ticks: float | None
    epoch_warm_ups_min: float
    listen_ticks: float
    listen_s_max: float
    expire_ticks: float
    ticks_per_delay: float
    bytes_per_second: float
    evaluate_every: int
    checkpoint_s: float
    checkpoint_ticks: int
