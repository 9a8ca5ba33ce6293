"""What the JSON of a run directory may hold: readers take anything, and what does not fit is nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

TEXT_LENGTH_MAX: Final = 200  # of a name or of a word; more is no name, and nobody reads it on a page
NUMBER_MAX: Final = 1e300  # JSON has whole numbers of any length, which no float holds


def parsed(line: str) -> object:
    """The content of one line or file; None if it is no JSON."""
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found


def mapping(value: object) -> Mapping[str, object]:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[object]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def number(value: object) -> float:
    """A finite number, or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) <= NUMBER_MAX else math.nan


def count(value: object) -> int:
    """A whole number from 0 up, or 0."""
    found = number(value)
    return int(found) if math.isfinite(found) and found >= 0 else 0


def text(value: object) -> str:
    """Printable text of bounded length; of a number or a flag how it is written; else ""."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        found = number(value)
        value = "" if math.isnan(found) else f"{value:.6g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        return ""
    short = value if len(value) <= TEXT_LENGTH_MAX else value[: TEXT_LENGTH_MAX - 1] + "…"
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in short)


def texts(value: object) -> tuple[str, ...]:
    """A list of them."""
    return tuple(text(one) for one in items(value))


def written(value: object) -> str:
    """Any value as one short text, as a table of options shows it."""
    if value is None:
        return "–"
    if isinstance(value, str | int | float):
        return text(value)
    return text(json.dumps(value, ensure_ascii=False, default=str))


def sentence(value: object) -> str:
    """Text that may name all agents: printable, and not longer than a screen."""
    if not isinstance(value, str):
        return ""
    return "".join(text(value[start : start + 100]) for start in range(0, min(len(value), 4000), 100))
