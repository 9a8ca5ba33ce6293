"""What `--trace` asks for, closed at the end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from peer.errors import SettingError
from peer.trace.files import MEGABYTE, Trace, Traces

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wire import PeerId


@contextlib.contextmanager
def one_trace(
    options: argparse.Namespace, origin: Mapping[str, object], say: Callable[[str], None]
) -> Iterator[Trace | None]:
    """Of the one agent of this program; None if nobody wants it."""
    if options.trace is None:
        yield None
        return
    bytes_max = int(options.trace_mb * MEGABYTE)
    with contextlib.closing(
        Trace(options.trace, origin, bytes_max=bytes_max, is_real=True, say=say)
    ) as trace:
        yield trace


@contextlib.contextmanager
def all_traces(
    options: argparse.Namespace,
    origin: Mapping[str, object],
    names: Sequence[PeerId],
    say: Callable[[str], None],
    *,
    is_real: bool,
) -> Iterator[Traces | None]:
    """Of these agents, or of one of them; None if nobody wants them. Raises `SettingError`."""
    if options.trace is None:
        if options.trace_agent is not None:
            raise SettingError("trace_agent", options.trace_agent, "give --trace FOLDER as well")
        yield None
        return
    if options.trace.is_dir() and any(options.trace.iterdir()):
        say(
            f"{options.trace} has files of another run: traces of agents that are in this one too become "
            "NAME.before, those of others stay and are of that run"
        )
    traces = Traces(
        options.trace,
        origin,
        names,
        only=options.trace_agent,
        bytes_max=int(options.trace_mb * MEGABYTE),
        is_real=is_real,
        say=say,
    )
    with contextlib.closing(traces):
        yield traces
