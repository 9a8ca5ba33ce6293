"""Options of the command line and what they turn into. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from peer.errors import SettingError
from peer.settings import AgentSettings
from wire import SWARM_BYTES_MAX, FaultPlan, FaultPlanError, parse_address, parse_delay
from wire.messages import name_problem

if TYPE_CHECKING:
    from peer.settings import SettingKeywords

# Flag, field of AgentSettings, type, help. The task's own value is used unless the flag is given.
SETTING_FLAGS: tuple[tuple[str, str, type, str], ...] = (
    ("--fanout", "fanout", int, "out-neighbours of every agent"),
    ("--solver", "solver", str, "tracking, push-sum or push-sum-shares; only tracking is exact"),
    ("--model-step-size", "model_step_size", float, "step of the model"),
    ("--adjoint-step-size", "adjoint_step_size", float, "step of the adjoint"),
    ("--hyper-step-size", "hyper_step_size", float, "learning rate of the hyperparameters; 0 holds them"),
    ("--hyper-every", "hyper_every", int, "ticks between steps of the hyperparameters"),
    ("--momentum", "momentum", float, "momentum of an agent's own steps"),
    ("--local-steps", "local_steps", int, "gradient steps between two pushes"),
    ("--damping", "damping", float, "added to the curvature in the adjoint's equation"),
    ("--block-fraction", "block_fraction", float, "share of the model pushed in one tick"),
    ("--wire-dtype", "wire_dtype", str, "float32 or float64 in messages"),
    ("--warm-up-ticks", "warm_up_ticks", float, "ticks of averaging only, after an epoch change"),
    ("--evaluate-every", "evaluate_every", int, "ticks between test evaluations; 0 for none"),
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


WHOLE_MAX = 2**63 - 1  # what random generators take as a seed
TASK_NAMES = "digits, synthetic"
PERSONALIZATION_NAMES = "none, bias"


def _whole(least: int) -> Any:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= WHOLE_MAX:
            raise argparse.ArgumentTypeError(f"{value} is not possible; give {least} to {WHOLE_MAX}")
        return value

    read.__name__ = "whole number"
    return read


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not possible; give a number above 0")
    return value


_positive.__name__ = "number"


def _add_learning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("learning")
    group.add_argument("--task", default="digits", metavar="NAME", help=f"one of {TASK_NAMES}")
    group.add_argument(
        "--personalization", default="bias", metavar="NAME", help=f"one of {PERSONALIZATION_NAMES}"
    )
    group.add_argument(
        "--seed", type=_whole(0), default=0, help="of data split, initial model, faults and ticks"
    )
    group.add_argument("--tick-ms", type=_positive, default=50.0, metavar="MS", help="time from tick to tick")
    tuning = parser.add_argument_group("settings of the agents", "The task has values of its own for these.")
    for flag, _, kind, text in SETTING_FLAGS:
        tuning.add_argument(flag, type=kind, default=argparse.SUPPRESS, help=text)


def _add_faults(parser: argparse.ArgumentParser, drop: float, delay_ms: str) -> None:
    group = parser.add_argument_group("faults of the links, made on purpose")
    group.add_argument("--drop", type=float, default=drop, metavar="P", help="share of messages lost")
    group.add_argument(
        "--delay-ms",
        default=delay_ms,
        metavar="MS",
        help="delay of the others: a number, or uniform:LOW:HIGH, exponential:MEAN, lognormal:MEDIAN:SIGMA",
    )
    group.add_argument("--duplicate", type=float, default=0.0, metavar="P", help="share that arrives twice")
    group.add_argument(
        "--reorder", type=float, default=0.0, metavar="P", help="share held back to be overtaken"
    )


def _add_end(parser: argparse.ArgumentParser, ticks: int | None) -> None:
    group = parser.add_argument_group("end")
    group.add_argument("--ticks", type=_whole(1), default=ticks, help="end when every agent has done so many")
    group.add_argument("--duration", type=_positive, metavar="S", help="end after so many seconds")


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep configuration, versions, metrics over time and final state",
    )


def add_swarm_options(parser: argparse.ArgumentParser) -> None:
    """Options of `hyperpush swarm`."""
    parser.add_argument("--agents", type=_whole(1), default=8, help="agents in the swarm")
    _add_learning(parser)
    _add_faults(parser, 0.2, "20")
    _add_end(parser, 800)
    _add_results(parser)


def add_simulate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `hyperpush simulate`: those of `swarm`."""
    add_swarm_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of `hyperpush run`."""
    parser.add_argument(
        "--shard",
        default="1/8",
        metavar="I/N",
        help="this agent holds part I of the task's data, cut for N agents",
    )
    group = parser.add_argument_group("network")
    group.add_argument(
        "--swarm", default="hyperpush", metavar="NAME", help="agents of one name learn together"
    )
    group.add_argument(
        "--listen",
        default="0.0.0.0:0",
        metavar="HOST:PORT",
        help="where to listen; port 0: a free one; 127.0.0.1:0 keeps to this machine",
    )
    group.add_argument(
        "--advertise", metavar="HOST", help="the name or address under which others reach this machine"
    )
    group.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="where another agent listens; repeatable",
    )
    group.add_argument(
        "--no-zeroconf", action="store_true", help="do not announce or look for peers on the network"
    )
    _add_learning(parser)
    _add_faults(parser, 0.0, "0")
    _add_end(parser, None)
    _add_results(parser)


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Options of `hyperpush bench`."""
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    exactness = benches.add_parser(
        "exactness",
        help="errors of model, adjoint and hypergradient on five networks",
        description="Relative error against the closed form: shares sent, push-sum SGP and tracking over "
        "running sums, on five networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    exactness.add_argument("--agents", type=_whole(2), default=10, help="agents in the swarm")
    exactness.add_argument("--ticks", type=_whole(1), default=4000, help="nominal ticks of virtual time")
    exactness.add_argument("--step-size", type=_positive, default=0.2, help="of model and adjoint")
    exactness.add_argument("--seed", type=_whole(0), default=0, help="of problems, faults and ticks")
    exactness.add_argument("--jobs", type=_whole(1), default=2, help="processes")
    exactness.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")


def fault_plan(options: argparse.Namespace) -> FaultPlan:
    """The plan of the fault options. Raises `FaultPlanError` naming what does not fit."""
    kind, *numbers = options.delay_ms.split(":")
    if not numbers:
        spec = f"{kind}ms"
    else:
        in_ms = numbers if kind != "lognormal" else numbers[:1]  # the last number of lognormal has no unit
        spec = ":".join([kind, *(f"{number}ms" for number in in_ms), *numbers[len(in_ms) :]])
    try:
        delay = parse_delay(spec)
    except FaultPlanError:
        remedy = "give milliseconds: a number, uniform:LOW:HIGH, exponential:MEAN or lognormal:MEDIAN:SIGMA"
        raise SettingError("delay-ms", options.delay_ms, remedy) from None
    return FaultPlan(
        drop=options.drop,
        delay_s=delay,
        duplicate=options.duplicate,
        reorder=options.reorder,
    )


def agent_settings(options: argparse.Namespace, task: SettingKeywords) -> AgentSettings:
    """The task's settings, overridden by the flags that were given."""
    given = {
        field: getattr(options, flag.removeprefix("--").replace("-", "_"))
        for flag, field, _, _ in SETTING_FLAGS
        if hasattr(options, flag.removeprefix("--").replace("-", "_"))
    }
    return dataclasses.replace(AgentSettings(**task), tick_s=options.tick_ms / 1000.0, **given)


def listen_address(text: str) -> tuple[str, int]:
    """HOST:PORT where port 0 asks for a free one. Raises `wire.AddressError`."""
    host, colon, port = text.rpartition(":")
    if colon and port == "0":
        return parse_address(f"{host}:1")[0], 0
    return parse_address(text)


def shard(text: str) -> tuple[int, int]:
    """`3/8` as (2, 8): index from 0, and count. Raises `SettingError`."""
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index) - 1, int(count)
    raise SettingError("shard", text, "give I/N with 1 <= I <= N, such as 3/8")


def swarm_name(text: str) -> str:
    """The name, if messages can carry it. Raises `SettingError`."""
    problem = name_problem(text, SWARM_BYTES_MAX)
    if problem is not None:
        raise SettingError("swarm", text, problem)
    return text
