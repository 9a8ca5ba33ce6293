"""How many entries every table of some objects holds, found by walking through all that they refer to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

OURS: Final = ("peer.", "wire.")  # modules whose objects are looked into


def tables(roots: list[object]) -> Counter[str]:
    """Entries by `Class.attribute`, over all objects of our classes that can be reached.

    Functions and objects of other libraries are not looked into. May be called while other threads work.
    """
    found: Counter[str] = Counter()
    known: set[int] = set()
    todo: list[tuple[object, str]] = [(root, "") for root in roots]
    while todo:
        here, name = todo.pop()
        inside: list[object]
        if isinstance(here, Mapping):
            inside = list(here.values())
        elif isinstance(here, list | set | frozenset | deque | tuple):
            inside = list(here)
        elif type(here).__module__.startswith(OURS) and not isinstance(here, type):
            if id(here) not in known:
                known.add(id(here))
                todo += [(value, f"{type(here).__name__}.{at}") for at, value in _attributes(here)]
            continue
        else:
            continue
        if id(here) in known:
            continue
        known.add(id(here))
        if not isinstance(here, tuple):
            found[name] += len(inside)
        todo += [(one, name) for one in inside if not isinstance(one, str | bytes | int | float)]
    return found


def _attributes(here: object) -> list[tuple[str, object]]:
    found = list(getattr(here, "__dict__", {}).items())
    for base in type(here).__mro__:
        for name in base.__dict__.get("__slots__", ()):
            value = getattr(here, name, None)
            if value is not None:
                found.append((name, value))
    return found
