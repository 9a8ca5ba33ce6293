"""An option for every setting of an agent."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from peer.options import readers
from peer.options.names import CONFIGURED
from peer.options.option import Option
from peer.settings import OPTIONAL, AgentSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.options.readers import Reader

SETTING_HELP: Final[Mapping[str, str]] = {
    "tick_jitter": "each interval is drawn within this fraction of --tick-ms",
    "fanout": "out-neighbours of every agent",
    "solver": "tracking, push-sum, push-sum-shares, or one that another package brings",
    "model_step_size": "step of the model, instead of what the agent chooses",
    "adjoint_step_size": "step of the adjoint, instead of what the agent chooses",
    "local_step_size": "step of local inner variables and their adjoint, instead of what the agent chooses",
    "momentum": "momentum of an agent's own steps, instead of what it chooses",
    "local_steps": "gradient steps between two pushes",
    "damping": "added to the curvature in the adjoint's equation, instead of what the agent chooses",
    "hyper_step_size": "learning rate of the hyperparameters; 0 holds them, as a task file does by itself",
    "hyper_every": "ticks between steps of the hyperparameters",
    "hyper_optimizer": "what steps the hyperparameters: descent, a class of torch.optim such as adam or "
    "rmsprop:alpha=0.9, or one that another package brings",
    "optimizer": "what steps the model: descent, a class of torch.optim such as adam, or one that another "
    "package brings; --model-step-size is its learning rate, 0.001 unless given",
    "block_fraction": "share of the model pushed in one tick",
    "block_bytes_max": "largest message, in bytes; a longer model is pushed in more blocks",
    "wire_dtype": "float32 or float64 in messages",
    "precision_tolerance": "a new epoch begins when rounding in messages comes to this",
    "warm_up_ticks": "ticks of averaging only, after an epoch change, instead of what the agent chooses",
    "epoch_warm_ups_min": "no new epoch within so many warm-ups of the slowest peer",
    "listen_ticks": "a joiner listens for so many ticks before it pushes",
    "listen_s_max": "seconds after which a joiner that hears nothing begins a swarm of its own",
    "expire_ticks": "a peer silent for so many ticks, and for six of its longest gaps, counts as gone",
    "ticks_per_delay": "more ticks than this in a typical link's delay are not made; 0: no limit",
    "bytes_per_second": "send no more than this; accepts 100k, 2M; 0: no limit",
    "evaluate_every": "ticks between test evaluations; 0 for none",
    "checkpoint_s": "seconds between checkpoints in --state; 0: none by time",
    "checkpoint_ticks": "ticks between checkpoints in --state; 0: none by ticks",
}

SETTING_NAMES: Final = tuple(setting.name for setting in fields(AgentSettings) if setting.name != "tick_s")
_DEFAULTS: Final = AgentSettings()
_WORDS: Final = ("str", "WireDtype")  # types of settings that are words


def _setting(name: str, kind: str) -> Option:
    """The option of one setting of an agent; `AgentSettings` checks its range, and its task may set it."""
    known: dict[str, tuple[Reader, str]] = {"int": (readers.integer, "N")}
    known |= dict.fromkeys(_WORDS, (readers.text, "NAME")) | {"bytes": (readers.byte_count, "N")}
    read, metavar = known.get("bytes" if name == "bytes_per_second" else kind, (readers.number, "X"))
    if name in ("optimizer", "hyper_optimizer"):
        read = readers.optimizer
    default = getattr(_DEFAULTS, name)
    unset = "chosen" if name in OPTIONAL else str(default)
    return Option(
        name=name,
        read=read,
        help=SETTING_HELP.get(name, ""),
        commands=CONFIGURED,
        group="settings",
        metavar=metavar,
        unset=unset,
    )


SETTING_OPTIONS: Final = tuple(
    _setting(setting.name, str(setting.type))
    for setting in fields(AgentSettings)
    if setting.name in SETTING_NAMES
)
