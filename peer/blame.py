"""Whose code has failed: the innermost line that is of the user, and what went wrong there, in one line."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    Place = tuple[FrameType, int]

TOLD_MAX: Final = 400  # characters of what an error says
NOTE: Final = "in the user's code: "  # before the place, where another process has lost the traceback
LIBRARIES: Final = {"torch", "numpy", "scipy", "sklearn", "pluggy", "_pytest", "pytest", "xdist", "rich"}
OURS: Final = tuple(Path(file).parent for file in (__file__, wire.__file__))
INSTALLED: Final = tuple({Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")})


def cause(error: BaseException) -> str:
    """Kind and words, on one line: `IndexError: Target 1 is out of bounds.`"""
    words = " ".join(str(error).split())
    words = words if len(words) <= TOLD_MAX else f"{words[:TOLD_MAX]}..."
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def users_line(error: BaseException) -> str | None:
    """`FILE:LINE, in FUNCTION`, the innermost that is neither ours nor of a library, or of what led to it.

    A file that is installed counts only if no other does. None if there is no such line.
    """
    there = [place for one in _chain(error) for place in traceback.walk_tb(one.__traceback__)]
    theirs = [place for place in there if not _is_of_others(place[0])]
    if not theirs:
        notes = [note for one in _chain(error) for note in getattr(one, "__notes__", ())]
        return next((str(note)[len(NOTE) :] for note in notes if str(note).startswith(NOTE)), None)
    own = [place for place in theirs if not _is_in(Path(place[0].f_code.co_filename), INSTALLED)]
    return _told((own or theirs)[-1])


def remember_users_line(error: BaseException) -> None:
    """So that `users_line` knows it in another process, too."""
    place = users_line(error)
    if place is not None:
        error.add_note(NOTE + place)


def last_line(error: BaseException) -> str:
    """Likewise where it was raised, whosever that is."""
    *_, place = traceback.walk_tb(error.__traceback__)
    return _told(place)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What led to it last."""
    yield error
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _is_of_others(frame: FrameType) -> bool:
    """Of us, of Python, of a library that everybody has; or no file at all."""
    file = frame.f_code.co_filename
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return (
        file.startswith("<")
        or package in LIBRARIES
        or (package in sys.stdlib_module_names and package != "__main__")
        or _is_in(Path(file), OURS)
    )


def _is_in(file: Path, folders: tuple[Path, ...]) -> bool:
    return any(file.is_relative_to(folder) for folder in folders)


def _told(place: Place) -> str:
    frame, line = place
    file = Path(frame.f_code.co_filename)
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return f"{file}:{line}, in {frame.f_code.co_name}"
