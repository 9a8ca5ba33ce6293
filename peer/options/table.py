"""Options of the commands in which agents learn, and of `doctor`, which looks at the network of one."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from peer.options import readers
from peer.options.names import PERSONALIZATION_NAMES
from peer.options.option import Option
from peer.settings import OPTIONAL, AgentSettings
from wire import Constant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.options.readers import Reader


AGENTS: Final = ("run", "config")  # one real agent
SWARMS: Final = ("swarm", "simulate")
LEARNING: Final = (*AGENTS, *SWARMS)
NETWORKED: Final = (*AGENTS, "doctor")
CONFIGURED: Final = (*LEARNING, "doctor")  # these read files and the environment

TASK_NAMES: Final = "digits, synthetic, fashion-mnist, mnist, emnist, fedem-synthetic, folder"

SETTING_HELP: Final[Mapping[str, str]] = {
    "tick_jitter": "each interval is drawn within this fraction of --tick-ms",
    "fanout": "out-neighbours of every agent",
    "solver": "tracking, push-sum or push-sum-shares; only tracking is exact",
    "model_step_size": "step of the model, instead of what the agent chooses",
    "adjoint_step_size": "the same for the adjoint",
    "local_step_size": "the same for local inner variables and their adjoint",
    "momentum": "momentum of an agent's own steps, instead of what it chooses",
    "local_steps": "gradient steps between two pushes",
    "damping": "added to the curvature in the adjoint's equation, instead of what the agent chooses",
    "hyper_step_size": "learning rate of the hyperparameters; 0 holds them",
    "hyper_every": "ticks between steps of the hyperparameters",
    "block_fraction": "share of the model pushed in one tick",
    "block_bytes_max": "longer models are pushed in more blocks",
    "wire_dtype": "float32 or float64 in messages",
    "precision_tolerance": "a new epoch begins when rounding in messages comes to this",
    "warm_up_ticks": "ticks of averaging only, after an epoch change, instead of what the agent chooses",
    "epoch_warm_ups_min": "no new epoch within so many warm-ups of the slowest peer",
    "listen_ticks": "a joiner listens for so many ticks before it pushes",
    "listen_s_max": "a joiner that hears nothing for so long begins a swarm of its own",
    "expire_ticks": "a peer silent for so many ticks, and for long by its own measure, is gone",
    "ticks_per_delay": "more ticks than this in a typical link's delay are not made; 0: no limit",
    "bytes_per_second": "never send more; accepts 100k, 2M; 0: no limit",
    "evaluate_every": "ticks between test evaluations; 0 for none",
    "checkpoint_s": "what was learned is kept, for a restart, every so many seconds; 0: not by time",
    "checkpoint_ticks": "the same every so many ticks; 0: not by ticks",
}

SETTING_NAMES: Final = tuple(setting.name for setting in fields(AgentSettings) if setting.name != "tick_s")
_WORDS: Final = ("SolverName", "WireDtype")  # types of settings that are words


def _setting(name: str, kind: str) -> Option:
    """The option of one setting of an agent; `AgentSettings` checks its range, and its task may set it."""
    known: dict[str, tuple[Reader, str]] = {"int": (readers.integer, "N")}
    known |= dict.fromkeys(_WORDS, (readers.text, "NAME")) | {"bytes": (readers.byte_count, "N")}
    read, metavar = known.get("bytes" if name == "bytes_per_second" else kind, (readers.number, "X"))
    unset = "that of the model" if name == "local_step_size" else "chosen" if name in OPTIONAL else ""
    return Option(
        name=name,
        read=read,
        help=SETTING_HELP.get(name, ""),
        commands=CONFIGURED,
        group="settings",
        metavar=metavar,
        unset=unset,
    )


_SETTINGS: Final = tuple(
    _setting(setting.name, str(setting.type))
    for setting in fields(AgentSettings)
    if setting.name in SETTING_NAMES
)

_LEARNING: Final = (
    Option(
        name="config",
        read=readers.path,
        help="take options from this TOML file; flags and environment override it",
        commands=CONFIGURED,
        metavar="FILE",
        configurable=False,
    ),
    Option(
        name="toml",
        read=readers.switch,
        help="print a file for --config instead of a table",
        commands=("config",),
        form="switch",
        configurable=False,
    ),
    Option(name="agents", read=readers.whole(1), help="agents in the swarm", commands=SWARMS, default=8),
    Option(
        name="shard",
        read=readers.shard,
        help="this agent holds part I of the task's data, cut for N agents",
        commands=NETWORKED,
        group="learning",
        metavar="I/N",
        default="1/8",
    ),
    Option(
        name="task",
        read=readers.task,
        help=f"one of {TASK_NAMES}; or a file of Python, which is executed, that makes the problems",
        commands=(*CONFIGURED, "influence"),
        group="learning",
        metavar="NAME|FILE",
        default="digits",
    ),
    Option(
        name="personalization",
        read=readers.text,
        help=f"what every agent has of its own: {', '.join(PERSONALIZATION_NAMES)}; NAME+NAME is both",
        commands=(*CONFIGURED, "influence"),
        group="learning",
        metavar="NAME[+NAME...]",
        default="bias",
        defaults={"influence": "sample-weights"},
    ),
    Option(
        name="seed",
        read=readers.whole(0),
        help="of data split, initial model, faults and ticks",
        commands=(*CONFIGURED, "influence"),
        group="learning",
        default=0,
    ),
    Option(
        name="tick_ms",
        read=readers.positive,
        help="time from tick to tick",
        commands=CONFIGURED,
        group="learning",
        metavar="MS",
        default=50.0,
    ),
    *_SETTINGS,
)

_NETWORK: Final = (
    Option(
        name="swarm",
        read=readers.swarm,
        help="agents of one name learn together",
        commands=NETWORKED,
        group="network",
        metavar="NAME",
        default="hyperpush",
    ),
    Option(
        name="name",
        read=readers.agent_name,
        help="what people read of this agent's name",
        commands=AGENTS,
        group="network",
        unset="host name",
    ),
    Option(
        name="listen",
        read=readers.listening,
        help="where to listen; port 0: a free one; 127.0.0.1:0 keeps to this machine",
        commands=NETWORKED,
        group="network",
        metavar="HOST:PORT",
        default="0.0.0.0:0",
    ),
    Option(
        name="advertise",
        read=readers.advertised,
        help="name or address, HOST or HOST:PORT, under which others reach this machine",
        commands=NETWORKED,
        group="network",
        metavar="HOST",
        unset="found out",
    ),
    Option(
        name="peer",
        read=readers.peer_address,
        help="where another agent listens; repeatable",
        commands=NETWORKED,
        group="network",
        form="list",
        metavar="HOST:PORT",
    ),
    Option(
        name="dns",
        read=readers.dns_name,
        help="a name, asked again and again, behind whose addresses agents listen; repeatable; port: that "
        f"of --listen if it is fixed, else {readers.DNS_PORT}",
        commands=NETWORKED,
        group="network",
        form="list",
        metavar="NAME[:PORT]",
    ),
    Option(
        name="no_zeroconf",
        read=readers.switch,
        help="do not announce or look for peers on the network",
        commands=NETWORKED,
        group="network",
        form="switch",
    ),
    Option(
        name="key",
        read=readers.path,
        help="the swarm's key: messages are encrypted and signed",
        commands=NETWORKED,
        group="identity",
        metavar="FILE",
        unset="none",
    ),
    Option(
        name="allow",
        read=readers.path,
        help="fingerprints of the only identities to listen to",
        commands=AGENTS,
        group="identity",
        metavar="FILE",
        unset="everybody who has the key",
    ),
    Option(
        name="insecure",
        read=readers.switch,
        help="listen beyond this machine without a key",
        commands=AGENTS,
        group="identity",
        form="switch",
    ),
    Option(
        name="state",
        read=readers.path,
        help="keeps identity, epoch and what was learned: a restarted agent is the same one and goes on",
        commands=AGENTS,
        group="identity",
        metavar="DIR",
        unset="a new identity each time",
    ),
    Option(
        name="checkpoints",
        read=readers.whole(1),
        help="how many of the last checkpoints stay in --state",
        commands=AGENTS,
        group="identity",
        default=3,
    ),
    Option(
        name="admin",
        read=readers.admin,
        help="where `status` and `faults` reach this agent, HOST:PORT or URL (by default, another port "
        f"if it is taken); HOST:0: a free port; {readers.NO_ADMIN}: nowhere",
        commands=AGENTS,
        group="admin",
        metavar="HOST:PORT",
        default="127.0.0.1:7701",
    ),
    Option(
        name="admin_token",
        read=readers.path,
        help="what `status` and `faults` have to show",
        commands=AGENTS,
        group="admin",
        metavar="FILE",
        unset="nothing, on loopback only",
    ),
    Option(
        name="admin_cert",
        read=readers.path,
        help="certificate: speak TLS",
        commands=AGENTS,
        group="admin",
        metavar="FILE",
        unset="plain HTTP",
    ),
    Option(
        name="admin_key",
        read=readers.path,
        help="private key of --admin-cert",
        commands=AGENTS,
        group="admin",
        metavar="FILE",
        unset="none",
    ),
)

_MADE_WORSE: Final = {"swarm": 0.2, "simulate": 0.2}
_SLOWED: Final = {"swarm": Constant(0.02), "simulate": Constant(0.02)}

_FAULTS: Final = (
    Option(
        name="drop",
        read=readers.share,
        help="share of messages lost",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
        defaults=_MADE_WORSE,
    ),
    Option(
        name="delay",
        read=readers.delay,
        help="delay of the others: 20ms, uniform:LOW:HIGH, exponential:MEAN, lognormal:MEDIAN:SIGMA",
        commands=LEARNING,
        group="faults",
        metavar="SPEC",
        default=Constant(0.0),
        defaults=_SLOWED,
    ),
    Option(
        name="duplicate",
        read=readers.share,
        help="share that arrives twice",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
    ),
    Option(
        name="reorder",
        read=readers.share,
        help="share held back to be overtaken",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
    ),
    Option(
        name="bandwidth",
        read=readers.bandwidth,
        help="what each link carries a second: 256kbit, 1.5mbit, 64kbyte",
        commands=LEARNING,
        group="faults",
        metavar="RATE",
        unset="unlimited",
    ),
    Option(
        name="scenario",
        read=readers.path,
        help="what goes wrong when: cuts, losses, agents that come and go",
        commands=LEARNING,
        group="faults",
        metavar="FILE",
        unset="nothing does",
    ),
)

_END: Final = (
    Option(
        name="ticks",
        read=readers.whole(1),
        help="end when every agent has done so many",
        commands=LEARNING,
        group="end",
        defaults={"swarm": 800, "simulate": 800},
    ),
    Option(
        name="duration",
        read=readers.positive,
        help="end after so many seconds",
        commands=LEARNING,
        group="end",
        metavar="S",
    ),
    Option(
        name="until",
        read=readers.goal,
        help="end at residual:1e-6, accuracy:0.93, ticks:1000 or time:60s; repeatable, the first one ends it",
        commands=LEARNING,
        group="end",
        form="list",
        metavar="GOAL",
    ),
    Option(
        name="json",
        read=readers.path,
        help="write the results as JSON",
        commands=LEARNING,
        group="results",
        metavar="FILE",
    ),
    Option(
        name="out",
        read=readers.path,
        help="keep configuration, versions, metrics over time and final state",
        commands=LEARNING,
        group="results",
        metavar="DIR",
    ),
)

LEARNING_OPTIONS: Final = (*_LEARNING, *_NETWORK, *_FAULTS, *_END)
