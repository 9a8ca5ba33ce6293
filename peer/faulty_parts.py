"""What is said when a part of the user's own fails while a swarm learns: one line, instead of a traceback."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.blame import cause, last_line, users_line
from peer.errors import ProblemError
from peer.extensions import POINTS, names

if TYPE_CHECKING:
    import argparse

COMMANDS: Final = ("simulate", "swarm")
FILE: Final = "traceback.txt"  # in the folder of --out


def told_of_part(error: Exception, options: argparse.Namespace) -> str | None:
    """Which part of the user's has failed, how and where; None if it may as well be a bug of ours.

    It is theirs if a line of theirs led to it, or if a part of theirs was in use and we asserted nothing
    about it. With `--out DIR` the traceback is kept there.
    """
    if options.command not in COMMANDS:
        return None
    parts = _parts_in_use(options)
    place = users_line(error)
    if place is None:
        if not parts or isinstance(error, AssertionError):
            return None
        place = f"{last_line(error)}; no line of that part led there"
    elif isinstance(options.task, Path):
        parts.append(f"--task {options.task}")
    kept = _keep(error, options.out)
    more = "--out DIR keeps the traceback" if kept is None else f"the traceback is in {kept}"
    return f"{', '.join(parts) or 'code of yours'} fails: {cause(error)} ({place}; {more})"


def place_of_part(error: Exception, options: argparse.Namespace) -> str:
    """For the end of a line about what somebody can mend: the part and its line; "" if none led to it."""
    if options.command not in COMMANDS or not isinstance(error, ProblemError):
        return ""
    parts, place = _parts_in_use(options), users_line(error)
    return f" ({', '.join(parts)}: {place})" if parts and place else ""


def _parts_in_use(options: argparse.Namespace) -> list[str]:
    """As they were chosen: those that packages bring, or a program has registered."""
    found = []
    for point in POINTS:
        brought = names(point.name)
        for option in point.options:
            chosen = getattr(options, option.removeprefix("--").replace("-", "_"), None)
            for text in chosen if isinstance(chosen, list) else [chosen]:
                pieces = [piece.partition(":")[0] for piece in str(text).split("+")]
                if text is not None and not set(pieces).isdisjoint(brought):
                    found.append(f"{option} {text}")
    return found


def _keep(error: Exception, out: Path | None) -> Path | None:
    """The file with the traceback; None if there is no folder for it, or it is not of this run."""
    if out is None or (out.exists() and not (out / "config.json").exists()):
        return None
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / FILE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return None
    return out / FILE
