"""The command line: `hyperpush COMMAND`, one of `peer.options.parsing.COMMANDS`.

Exit codes: 0 done (also after Ctrl-C while learning, with the results so far), 1 a run that failed, 2 a
request that makes no sense, 130 interrupted before there were results, 141 nobody reads standard output on
(`... | head -1`) and nothing was left to do but to print: as shells say it of `cat`, and without a word. What
learns goes on without printing, and has its own code: its results are still to be written.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
from typing import TYPE_CHECKING

from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED, READER_GONE, USER_ERROR
from peer.options import complete, relabelled, split
from wire import FaultPlanError, TransportError
from wire.errors import AddressError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code. Raises SystemExit as argparse does: for --help, or to refuse."""
    try:
        code = _main(arguments)
    except BrokenPipeError:
        code = READER_GONE
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # else a console of rich ends so
            _flush()
            raise
        code = READER_GONE
    error = _flush()
    if code or error is None:
        return code
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    print(f"hyperpush: standard output: {error}", file=sys.stderr)
    return 1


def _main(arguments: Sequence[str] | None) -> int:
    """The command. Raises BrokenPipeError if it is that of standard output."""
    options = split(arguments)
    try:
        options = complete(options, os.environ)
        command = importlib.import_module(f"peer.commands.{options.command}")
        code = command.main(options)
    except (HyperpushError, FaultPlanError, AddressError) as error:
        from peer.faulty_parts import place_of_part

        told = f"{_by_its_source(error, options)}{place_of_part(error, options)}"
        print(f"hyperpush {options.command}: {told}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"hyperpush {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (TransportError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _is_gone():
            raise
        print(f"hyperpush {options.command}: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # a bug of ours, which is raised, unless a part of the user's has failed
        from peer.faulty_parts import told_of_part

        failed = told_of_part(error, options)
        if failed is None:
            raise
        print(f"hyperpush {options.command}: {failed}", file=sys.stderr)
        return 1
    assert isinstance(code, int)
    return code


def _is_gone() -> bool:
    """Whether nobody reads standard output on. It is asked itself: sockets have broken pipes as well."""
    try:
        poll = select.poll()
        poll.register(sys.stdout, 0)
        return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # a system without it; no file
        return False


def _flush() -> OSError | None:
    """Write what is left, now, or why not: Python would have its own words as it ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return error
    return None


def _by_its_source(error: Exception, options: argparse.Namespace) -> Exception:
    """The error under the name by which the user gave the value: a flag, a variable, a key of a file."""
    if not isinstance(error, SettingError) or error.field not in getattr(options, "found", {}):
        return error
    return relabelled(error, options.found[error.field].label)


if __name__ == "__main__":
    sys.exit(main())
