"""What a campaign keeps: one line that says by what code the worlds were judged, then a line per verdict.

Verdicts of other code say nothing about this code, so a record is gone on with by the same code only.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError
from peer.hunt.trial import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "hyperpush hunt"
FORMAT: Final = 1
_BEGINNING: Final = f'{{"record": "{NAME}"'


def header(code: str) -> str:
    """The first line of a record of what this code has judged."""
    return json.dumps({"record": NAME, "format": FORMAT, "code": code}) + "\n"


def line_of(verdict: Verdict) -> str:
    """A line that says so."""
    return json.dumps(asdict(verdict)) + "\n"


def read(content: bytes, code: str) -> tuple[dict[int, Verdict], int]:
    """The verdicts in a record, by seed, and how many bytes of it are whole: a last line may be cut short.

    A world that is there more than once counts once; if its verdicts differ, that is a violation. Raises
    HyperpushError for what is no record, and for what other code has judged; its text is the remedy, too.
    """
    whole = content.rfind(b"\n") + 1
    try:
        first, *lines = content[:whole].decode().splitlines() if whole else [""]
    except ValueError:
        raise HyperpushError("is not text; give another file") from None
    if not whole:
        if not _BEGINNING.encode().startswith(content[: len(_BEGINNING)]):
            raise HyperpushError("is no record of a hunt; give another file")
        return {}, 0
    _check_header(first, code)
    verdicts: dict[int, Verdict] = {}
    for number, line in enumerate(lines, start=2):
        found = _verdict(line)
        if found is None:
            raise HyperpushError(f"has no verdict in line {number}; give another file")
        if verdicts.setdefault(found.seed, found) != found:
            verdicts[found.seed] = Verdict(
                found.seed, found.digest, "two verdicts in the record differ", "determinism"
            )
    return verdicts, whole


def _check_header(line: str, code: str) -> None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("record") != NAME:
        raise HyperpushError("is no record of a hunt; give another file")
    if found.get("format") != FORMAT:
        raise HyperpushError(f"has format {found.get('format')!r}, not {FORMAT}; give another file")
    if found.get("code") != code:
        raise HyperpushError(
            f"was judged by other code ({found.get('code')}, this is {code}), so it says nothing about this; "
            "give another file"
        )


def _verdict(line: str) -> Verdict | None:
    """None for what is none, or has fields of other types."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return Verdict(**found) if isinstance(found, dict) and _is_sound(found) else None


def _is_sound(found: Mapping[str, Any]) -> bool:
    marks, settled_s = found.get("marks"), found.get("settled_s")
    return (
        set(found) == set(Verdict.__dataclass_fields__)
        and all(type(found[name]) is str for name in ("digest", "violation", "checker"))
        and all(_is_count(found[name]) for name in ("seed", "agent_ticks"))
        and (settled_s is None or _is_time(settled_s))
        and _is_time(found["at_s"])
        and isinstance(marks, dict)
        and all(map(_is_count, marks.values()))
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and math.isfinite(value)
