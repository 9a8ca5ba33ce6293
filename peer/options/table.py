"""Options of the commands in which agents learn, and of `doctor`, which looks at the network of one."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.faults import FAULT_OPTIONS
from peer.options.names import (
    AGENTS,
    CONFIGURED,
    LEARNING,
    NETWORKED,
    PERSONALIZATION_NAMES,
    SWARMS,
    TASK_NAMES,
    WATCHED,
)
from peer.options.option import Option
from peer.options.settings import SETTING_OPTIONS

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
        help="this agent holds part I of the task's data, cut for N agents; give every agent another I",
        commands=NETWORKED,
        group="learning",
        metavar="I/N",
        default="1/8",
    ),
    Option(
        name="task",
        read=readers.task,
        help=f"one of {TASK_NAMES}; or a file of Python, which is executed, that makes the problems",
        commands=(*CONFIGURED, "influence", "export"),
        group="learning",
        metavar="NAME|FILE",
        default="digits",
    ),
    Option(
        name="personalization",
        read=readers.text,
        help=f"what every agent has of its own: {', '.join(PERSONALIZATION_NAMES)}; NAME+NAME is both",
        commands=(*CONFIGURED, "influence", "export", "check"),
        group="learning",
        metavar="NAME[+NAME...]",
        default="bias",
        defaults={"influence": "sample-weights"},
    ),
    Option(
        name="seed",
        read=readers.whole(0),
        help="random seed of the data split, the initial model, the faults and the times of ticks",
        commands=(*CONFIGURED, "influence", "export", "check"),
        group="learning",
        default=0,
    ),
    Option(
        name="tick_ms",
        read=readers.positive,
        help="milliseconds from tick to tick",
        commands=CONFIGURED,
        group="learning",
        metavar="MS",
        default=50.0,
    ),
    *SETTING_OPTIONS,
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
        help="first part of this agent's name, for people",
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
        name="discovery",
        read=readers.discovery,
        help="another way of finding agents, that another package brings (hyperpush extensions); repeatable",
        commands=AGENTS,
        group="network",
        form="list",
        metavar="NAME[:TEXT]",
    ),
    Option(
        name="transport",
        read=readers.transport,
        help="other links than websockets, that another package brings; all agents of a swarm need the same",
        commands=AGENTS,
        group="network",
        metavar="NAME[:TEXT]",
        unset="websockets",
    ),
    Option(
        name="key",
        read=readers.path,
        help="file with the swarm's key (`hyperpush keys new-swarm`): messages are encrypted and signed",
        commands=NETWORKED,
        group="identity",
        metavar="FILE",
        unset="none",
    ),
    Option(
        name="allow",
        read=readers.path,
        help="file of fingerprints, one a line: only these agents are heard",
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
        help="folder for identity, epoch and what was learned: a restarted agent is the same one and goes on",
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
        help="where the page, `status` and `faults` find the agents, HOST:PORT or URL (by default, "
        f"another port if it is taken); HOST:0: a free port; {readers.NO_ADMIN}: nowhere",
        commands=WATCHED,
        group="admin",
        metavar="HOST:PORT",
        default="127.0.0.1:7701",
    ),
    Option(
        name="admin_token",
        read=readers.path,
        help="file with the secret that `status` and `faults` have to send (their --token)",
        commands=WATCHED,
        group="admin",
        metavar="FILE",
        unset="nothing, on loopback only",
    ),
    Option(
        name="admin_cert",
        read=readers.path,
        help="certificate: speak TLS",
        commands=WATCHED,
        group="admin",
        metavar="FILE",
        unset="plain HTTP",
    ),
    Option(
        name="admin_key",
        read=readers.path,
        help="private key of --admin-cert",
        commands=WATCHED,
        group="admin",
        metavar="FILE",
        unset="none",
    ),
)

_END: Final = (
    Option(
        name="ticks",
        read=readers.whole(1),
        help="end when every agent has done so many since it was started; those of a --state do not count",
        commands=LEARNING,
        group="end",
        defaults={"swarm": 800, "simulate": 800},  # give way to any other goal
    ),
    Option(
        name="duration",
        read=readers.positive,
        help="end after so many seconds (in simulate, of virtual time)",
        commands=LEARNING,
        group="end",
        metavar="S",
    ),
    Option(
        name="until",
        read=readers.goal,
        help="end at residual:1e-6, accuracy:0.93, ticks:1000 (as --ticks counts) or time:60s; repeatable, "
        "the first one ends it "
        "(which may be never, without ticks or time among them)",
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
        help="keep configuration, versions, metrics over time and final state in a new folder; an agent with "
        "--state that is started again goes on in its own",
        commands=LEARNING,
        group="results",
        metavar="DIR",
    ),
    Option(
        name="tensorboard",
        read=readers.path,
        help="write the metrics as event files of TensorBoard, too; needs it (hyperpush[tensorboard])",
        commands=LEARNING,
        group="results",
        metavar="DIR",
    ),
    Option(
        name="mlflow",
        read=readers.text,
        help="log the metrics to this tracking server or store of MLflow, too; needs it (hyperpush[mlflow])",
        commands=LEARNING,
        group="results",
        metavar="URI",
    ),
)

_LOGS: Final = (
    Option(
        name="log_format",
        read=readers.log_format,
        help="text, or json: a line of JSON for everything that happens, and for the outcome",
        commands=LEARNING,
        group="results",
        metavar="FORMAT",
        default="text",
    ),
)

LEARNING_OPTIONS: Final = (*_LEARNING, *_NETWORK, *FAULT_OPTIONS, *_END, *_LOGS)
