"""The command line: `hyperpush COMMAND`, one of `peer.options.parsing.COMMANDS`.

Exit codes: 0 done (also after Ctrl-C while learning, with the results so far), 1 a run that failed, 2 a
request that makes no sense, 130 interrupted before there were results.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from peer.errors import HyperpushError, SettingError
from peer.options import complete, relabelled, split
from wire import FaultPlanError, TransportError
from wire.errors import AddressError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

USER_ERROR = 2
INTERRUPTED = 130  # as shells say it


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = split(arguments)
    try:
        options = complete(options, os.environ)
        command = importlib.import_module(f"peer.commands.{options.command}")
        code = command.main(options)
    except (HyperpushError, FaultPlanError, AddressError) as error:
        print(f"hyperpush {options.command}: {_by_its_source(error, options)}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"hyperpush {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (TransportError, OSError) as error:
        print(f"hyperpush {options.command}: {error}", file=sys.stderr)
        return 1
    assert isinstance(code, int)
    return code


def _by_its_source(error: Exception, options: argparse.Namespace) -> Exception:
    """The error under the name by which the user gave the value: a flag, a variable, a key of a file."""
    if not isinstance(error, SettingError) or error.field not in getattr(options, "found", {}):
        return error
    return relabelled(error, options.found[error.field].label)


if __name__ == "__main__":
    sys.exit(main())
