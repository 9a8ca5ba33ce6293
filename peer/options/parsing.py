"""From the table of options to a parser, and from a command line to the values in force.

argparse only splits the command line; what flags, environment and file say is read in one place,
`peer.options.sources`, so that the same mistake gets the same answer everywhere.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from peer.errors import HyperpushError
from peer.options.benches import BENCH_OPTIONS
from peer.options.chaos import CHAOS_OPTIONS
from peer.options.data import DATA_OPTIONS
from peer.options.engine import ENGINE_OPTIONS
from peer.options.estimators import ESTIMATOR_OPTIONS, FLAGS, REAL
from peer.options.export import EXPORT_OPTIONS
from peer.options.faults import FAULT_SETTING_OPTIONS
from peer.options.influence import INFLUENCE_OPTIONS
from peer.options.names import CONFIGURED
from peer.options.own_tasks import OWN_TASK_OPTIONS
from peer.options.readers import as_toml
from peer.options.sources import Values, defaults, from_environment, from_file, from_flags, nearest
from peer.options.table import LEARNING_OPTIONS
from peer.options.tools import TOOL_OPTIONS
from peer.options.tracing import TRACE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.options.option import Option

OPTIONS: Final = (
    *(*LEARNING_OPTIONS, *ESTIMATOR_OPTIONS, *DATA_OPTIONS, *INFLUENCE_OPTIONS),
    *(*EXPORT_OPTIONS, *ENGINE_OPTIONS, *OWN_TASK_OPTIONS),
    *(*TOOL_OPTIONS, *FAULT_SETTING_OPTIONS, *BENCH_OPTIONS, *TRACE_OPTIONS, *CHAOS_OPTIONS),
)

COMMANDS: Final = {
    "swarm": "start a swarm on this machine: real agents, real sockets, links that fail on purpose",
    "run": "start one agent here; it finds the others of its swarm and learns with them",
    "simulate": "the same swarm under a virtual clock: reproducible bit for bit",
    "init": "begin a project of your own: a task and a configuration that run at once",
    "check": "what is wrong with a task of your own, and what a tick of it costs",
    "extensions": "which parts can be replaced by yours, and those that are installed",
    "partition": "who has which data: how a task's samples are shared out, as a table and a picture",
    "influence": "which training samples help or hurt the swarm, such as those with wrong labels",
    "export": "the personal model of an agent's newest checkpoint, as a file that needs no hyperpush",
    "predict": "ask the personal model of a running agent what it says of samples in a file",
    "report": "one page about a run, or about several beside each other: curves, links, agents, faults",
    "status": "how a running agent is doing: peers, losses, how far from settled",
    "top": "a live table of running agents, wherever they are",
    "doctor": "why peers are not found or not heard, and what to do about it",
    "config": "the options in force for `run`, and where each comes from",
    "keys": "make and look at the keys of a swarm and of an agent",
    "state": "what a state directory holds, whether it is whole, and its model as a file",
    "faults": "make the links of a running agent worse, or well again",
    "bench": "measure: how exact the answers are, on which network, at what cost",
    "chaos": "kill, stop, starve and cut off real agents, and say whether anything was lost",
    "hunt": "look for faults of the protocol in random worlds under a virtual clock",
    "replay": "give an agent the inputs of a trace once more, and tell what happened to whom",
    "soak": "run the same agents for a long time, and see whether anything grows or slows down",
}
SUBCOMMANDS: Final = {  # command: where the parser puts the name, and the names
    "keys": (
        "keys_command",
        {
            "new-swarm": "print a new swarm key; every agent of the swarm needs it in a file",
            "show": "which keys a file holds, by their public ids",
            "identity": "the fingerprint by which others know an agent",
        },
    ),
    "state": (
        "state_command",
        {
            "show": "identity, numbers, checkpoints and what the newest one holds",
            "verify": "read all of it and say what is damaged",
            "export": "write model, adjoint and what is the agent's own as a safetensors file",
        },
    ),
    "faults": (
        "faults_command",
        {
            "show": "the faults that are made on purpose now",
            "set": "make faults on the links to one peer or to all",
            "clear": "end the faults that were set",
        },
    ),
    "bench": (
        "bench",
        {
            "exactness": "errors of model, adjoint and hypergradient on five networks",
            "hypergradient": "errors of every estimator against messages and bytes, on six networks",
            "memory": "bytes that an agent holds, by purpose, beside what the method implies",
            "personalization": "accuracy of our agents and of other methods, on five networks",
            "time-to-accuracy": "seconds from starting a swarm until it has learned",
            "tick": "time of one tick of an agent, beside the bare calls of torch in it",
            "tuning": "ticks to the answer with steps that tune themselves, beside the best of a grid",
            "wire": "messages and bytes a second from agent to agent, beside bare aiohttp and asyncio",
        },
    ),
}
GROUPS: Final = {  # as in `Option.group`: title and explanation
    "options": (None, None),
    "learning": ("learning", None),
    "settings": (
        "settings of the agents",
        "Defaults; a task may set others: `hyperpush config` shows what is in force.",
    ),
    "network": ("network", None),
    "identity": ("identity and keys", None),
    "admin": ("status and control", None),
    "faults": ("faults of the links, made on purpose", None),
    "end": ("end", None),
    "results": ("results", None),
    "processes": ("where it runs", None),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def options_of(command: str) -> tuple[Option, ...]:
    """Those of one command, such as `run` or `bench wire`, in the order of its help."""
    return tuple(option for option in OPTIONS if command in option.commands)


def make_parser() -> Parser:
    """The whole command line. Loads nothing heavy, so that `--help` answers at once."""
    parser = Parser(
        prog="hyperpush",
        description="Agents that learn a shared model and their own hyperparameters together, without a "
        "server, over links that lose messages.",
        epilog="Start with: hyperpush swarm",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("hyperpush")
    parser.add_argument("--version", action="version", version=f"hyperpush {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = _add_command(commands, name, text)
        if name not in SUBCOMMANDS:
            _add_options(command, name)
            continue
        dest, inner = SUBCOMMANDS[name]
        parts = command.add_subparsers(dest=dest, metavar="WHAT", required=True)
        for part, part_text in inner.items():
            _add_options(_add_command(parts, part, part_text), f"{name} {part}")
    return parser


def split(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Split a command line without looking at values: `command`, and what was given.

    Exits with code 2 and one line if it cannot be split.
    """
    parser = make_parser()
    given, rest = parser.parse_known_args(arguments)
    if rest:
        flag, command = rest[0].partition("=")[0], _path(given)
        hint = _instead(flag, command)
        parser.exit(2, f"hyperpush {command}: {flag} is no option of this command; {hint}\n")
    return given


def complete(given: argparse.Namespace, environment: Mapping[str, str]) -> argparse.Namespace:
    """All options of the command with their values in force, and `found`: where each comes from.

    Raises `HyperpushError`.
    """
    command = _path(given)
    own = options_of(command)
    found: Values = {
        **defaults(own, command),
        **_configured(own, command, given, environment),
        **from_flags(own, vars(given)),
    }
    return argparse.Namespace(
        **{**vars(given), **{name: value.value for name, value in found.items()}}, found=found
    )


def read_file(path: Path, label: str) -> Mapping[str, object]:
    """The content of a TOML file. Raises `HyperpushError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HyperpushError(
            f"{label}: {str(path)!r} cannot be read: {error.strerror}; give a file"
        ) from None
    except (ValueError, RecursionError) as error:  # of TOML, or of UTF-8
        raise HyperpushError(f'{path.name}: no TOML: {error}; write lines such as swarm = "NAME"') from None


def _configured(
    own: Sequence[Option], command: str, given: argparse.Namespace, environment: Mapping[str, str]
) -> Values:
    """What environment and file say; only some commands ask them.

    One file serves them all: it may hold every option of `run`, whichever of them this command has.
    """
    if command not in CONFIGURED:
        return {}
    wanted = {option.name for option in own if option.configurable or option.name == "config"}
    allowed = {option.name: option for option in (*options_of("run"), *own) if option.configurable}
    config = next(option for option in own if option.name == "config")
    of_environment = from_environment([*allowed.values(), config], environment)
    where = from_flags([config], vars(given)).get("config") or of_environment.get("config")
    of_file: Values = {}
    if where is not None:
        assert isinstance(where.value, Path)
        content = read_file(where.value, where.label)
        of_file = from_file(list(allowed.values()), content, where.value.name, where.value.parent)
    return {name: value for name, value in {**of_file, **of_environment}.items() if name in wanted}


def _instead(flag: str, command: str) -> str:
    """What to write for a flag that this command does not have."""
    own = options_of(command)
    faults = [option.flag for option in own if option.group == "faults"]
    if faults and flag in ("--fault", "--faults"):
        return f"faults are given by {' '.join(faults)}"
    if flag in FLAGS and command in ("run", "swarm"):
        return REAL
    meant = nearest(flag, [option.flag for option in own])
    return f"did you mean {meant}?" if meant else f"see hyperpush {command} --help"


def _path(given: argparse.Namespace) -> str:
    """`bench wire` for its namespace."""
    inner = SUBCOMMANDS.get(given.command)
    return f"{given.command} {getattr(given, inner[0])}" if inner else str(given.command)


def _add_command(commands: argparse._SubParsersAction[Parser], name: str, text: str) -> Parser:
    usage = f"hyperpush {name} [OPTION ...]" if name in CONFIGURED else None  # they have too many to list
    description = f"{text[0].upper()}{text[1:]}."
    return commands.add_parser(name, help=text, description=description, usage=usage, allow_abbrev=False)


def _add_options(parser: Parser, command: str) -> None:
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in options_of(command):
        title, text = GROUPS[option.group]
        if title is not None and option.group not in groups:
            groups[option.group] = parser.add_argument_group(title, text)
        _add_option(groups.get(option.group, parser), option, _help(option, command))


def _add_option(group: argparse._ActionsContainer, option: Option, text: str) -> None:
    """argparse takes every value as text and puts it there only if it was given."""
    metavar = option.metavar or option.name.upper()
    match option.form:
        case "positional":
            nargs = None if option.required else "?"
            group.add_argument(
                option.name, nargs=nargs, default=argparse.SUPPRESS, metavar=metavar, help=text
            )
        case "positionals":
            several = "+" if option.required else "*"
            group.add_argument(
                option.name, nargs=several, default=argparse.SUPPRESS, metavar=metavar, help=text
            )
        case "switch":
            group.add_argument(
                option.flag, dest=option.name, action="store_true", default=argparse.SUPPRESS, help=text
            )
        case _:
            group.add_argument(
                option.flag,
                dest=option.name,
                action="append" if option.form == "list" else "store",
                nargs="?" if option.form == "optional" else None,
                const="" if option.form == "optional" else None,
                required=option.required,
                default=argparse.SUPPRESS,
                metavar=metavar,
                help=text,
            )


def _help(option: Option, command: str) -> str:
    default = option.default_of(command)
    told = option.unset if default is None else _told(default)
    text = f"{option.help} (default: {told})" if told else option.help
    return text.replace("%", "%%")


def _told(value: object) -> str:
    shown = as_toml(value)
    if isinstance(shown, bool):
        return ""
    return ",".join(map(str, shown)) if isinstance(shown, list) else str(shown)
