"""Finds parts that other packages bring, by the names of their entry points; loads none that nobody names.

In a program a part is given by `register`, or as an object where there is an argument for one.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from peer.errors import HyperpushError, SettingError
from peer.extensions.points import POINTS, Point, point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GIVEN: dict[tuple[str, str], Callable[..., Any]] = {}  # of this process, by point and name


class Installed(NamedTuple):
    """One entry point, not loaded."""

    point: Point
    name: str
    package: str  # which brings it
    where: str  # module:object


def installed() -> list[Installed]:
    """All that there are, in the order of points and names."""
    found = []
    for one in POINTS:
        for entry in sorted(importlib.metadata.entry_points(group=one.group), key=lambda entry: entry.name):
            package = entry.dist.name if entry.dist is not None else "?"
            found.append(Installed(one, entry.name, package, entry.value))
    return found


@contextlib.contextmanager
def register(where: str, name: str, maker: Callable[..., Any]) -> Iterator[None]:
    """For a while, in this process, as if a package had brought it; before any that does.

    Names of ours stay ours. Raises `SettingError` for a point that there is not.
    """
    key = (point(where).name, name)
    before = _GIVEN.get(key)
    _GIVEN[key] = maker
    try:
        yield
    finally:
        del _GIVEN[key]
        if before is not None:
            _GIVEN[key] = before


def names(where: str) -> list[str]:
    """Those of one point."""
    wanted = point(where)
    brought = {entry.name for entry in importlib.metadata.entry_points(group=wanted.group)}
    return sorted(brought | {name for known, name in _GIVEN if known == wanted.name})


def find(where: str, name: str) -> Callable[..., Any] | None:
    """What is to be called for the part of this name; None if nobody brings one.

    Raises `SettingError` if two packages bring one, or if it cannot be loaded.
    """
    known = point(where)
    if (known.name, name) in _GIVEN:
        return _GIVEN[known.name, name]
    entries = [*importlib.metadata.entry_points(group=known.group, name=name)]
    if not entries:
        return None
    if len({entry.value for entry in entries}) > 1:
        told = " and ".join(sorted(entry.value for entry in entries))
        raise SettingError(where, name, f"two packages bring one, {told}; uninstall one of them")
    entry = entries[0]
    try:
        found = entry.load()
    except Exception as error:  # whatever is wrong there, it is not ours
        told = f"{type(error).__name__}: {error}"
        raise SettingError(where, name, f"{entry.value} cannot be loaded: {told}") from error
    if not callable(found):
        remedy = f"{entry.value} is no function or class; let the entry point name one that gives the part"
        raise SettingError(where, name, remedy)
    made: Callable[..., Any] = found
    return made


def make(where: str, text: str, *arguments: Any, **options: Any) -> Any | None:
    """The part `NAME` or `NAME:TEXT`, made with these and maybe `text=TEXT`; None if nobody brings one.

    Raises `SettingError` if it refuses, takes no text, cannot be made, or lacks what every part here has.
    """
    name, colon, given = text.partition(":")
    maker = find(where, name)
    if maker is None:
        return None
    if colon:
        check_takes_text(where, text, maker)
        options["text"] = given
    try:
        part = maker(*arguments, **options)
    except SettingError as error:
        raise SettingError(where, text, error.remedy) from error
    except (HyperpushError, ValueError) as error:
        raise SettingError(where, text, str(error)) from error
    except Exception as error:  # whatever is wrong there, it is not ours
        taken = f"as {name}:TEXT" if colon else f"as {name}"
        told = f"it cannot be made {taken}: {type(error).__name__}: {error}"
        raise SettingError(where, text, told) from error
    return checked(where, text, part)


def takes_text(maker: Callable[..., Any]) -> bool:
    """Whether it can be called with the keyword `text`; so it is said of what has no signature, too."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # of some that are written in C
        return True
    return any(
        one.kind is one.VAR_KEYWORD or (one.name == "text" and one.kind is not one.POSITIONAL_ONLY)
        for one in parameters
    )


def check_takes_text(field: str, text: str, maker: Callable[..., Any]) -> None:
    """Raises `SettingError` if `NAME:TEXT` cannot be made because it takes no text."""
    if not takes_text(maker):
        name = text.partition(":")[0]
        raise SettingError(field, text, f"{name} takes no text: give {name}, or let it take the keyword text")


def checked(where: str, text: str, part: Any) -> Any:
    """The part, if it has what is asked for at this point. Raises `SettingError`."""
    known = point(where)
    lacking = [name for name in known.needs if not hasattr(part, name)]
    if lacking:
        remedy = f"{type(part).__name__} has no {', '.join(lacking)}; see {known.contract}"
        raise SettingError(where, text, remedy)
    return part
