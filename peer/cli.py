"""The command line: `hyperpush swarm|run|simulate|bench`.

Exit codes: 0 done (also after Ctrl-C while learning, with the results so far), 1 a run that failed, 2 a
request that makes no sense, 130 interrupted before there were results.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING

from peer.errors import HyperpushError
from peer.options import Parser, add_bench_options, add_run_options, add_simulate_options, add_swarm_options
from wire import FaultPlanError, TransportError
from wire.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

USER_ERROR = 2
INTERRUPTED = 130  # as shells say it

COMMANDS = {
    "swarm": "start a swarm on this machine: real agents, real sockets, links that fail on purpose",
    "run": "start one agent here; it finds the others of its swarm and learns with them",
    "simulate": "the same swarm under a virtual clock: reproducible bit for bit",
    "bench": "measure: how exact the answers are, on which network, at what cost",
}


def make_parser() -> Parser:
    """The whole command line. Loads nothing heavy, so that `--help` answers at once."""
    parser = Parser(
        prog="hyperpush",
        description="Agents that learn a shared model and their own hyperparameters together, without a "
        "server, over links that lose messages.",
        epilog="Start with: hyperpush swarm",
    )
    version = importlib.metadata.version("hyperpush")
    parser.add_argument("--version", action="version", version=f"hyperpush {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add_options in (
        ("swarm", add_swarm_options),
        ("run", add_run_options),
        ("simulate", add_simulate_options),
        ("bench", add_bench_options),
    ):
        command = commands.add_parser(
            name,
            help=COMMANDS[name],
            description=COMMANDS[name].capitalize() + ".",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        add_options(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = make_parser().parse_args(arguments)
    try:
        command = importlib.import_module(f"peer.commands.{options.command}")
        code = command.main(options)
    except (HyperpushError, FaultPlanError, AddressError) as error:
        print(f"hyperpush {options.command}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"hyperpush {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (TransportError, OSError) as error:
        print(f"hyperpush {options.command}: {error}", file=sys.stderr)
        return 1
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    sys.exit(main())
