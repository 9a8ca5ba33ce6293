"""What a run directory holds of an earlier life of the same agent. An edge: it opens files.

An agent with a state directory that is started again goes on in its run directory, too: lines are added to
the files that are there, and times go on after the last one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.report.values import mapping, number, parsed, text, texts

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_BYTES_MAX: Final = 2**24
TAIL_BYTES: Final = 2**16  # of a file of lines: the last one is in it
LINES: Final = ("metrics", "events", "links", "hyperparameters")
RESULT: Final = "result.json"
BEFORE: Final = ".before"  # after the name of what the earlier life has left


@dataclass(frozen=True, slots=True)
class EarlierLife:
    """How far it came."""

    began: tuple[str, ...]  # when each start was, by the machine's clock
    passed_s: float  # of all lives together, without the time between them


def earlier_life(out: Path, agent: str | None) -> EarlierLife | None:
    """What this agent has left here; None if the folder is new or empty.

    Raises `SettingError` if something else is in it, OSError if it cannot be read.
    """
    if not out.exists():
        return None
    if out.is_dir() and not any(out.iterdir()):
        return None
    config = _config(out / "config.json")
    whose = text(config.get("id"))
    if agent is None or whose != agent:
        remedy = "give a folder that is new or empty"
        if agent is not None and whose:
            remedy += f": this one is of {whose}, and only {whose} itself, with its --state, goes on in it"
        raise SettingError("out", str(out), remedy)
    began = (*texts(config.get("began_before")), text(config.get("began_at")))
    return EarlierLife(began, max(_last_s(out / f"{name}.jsonl") for name in ("metrics", "events")))


def make_room(out: Path) -> None:
    """What is added begins on a line of its own; results of the earlier life are no results of this one."""
    for name in LINES:
        _end_line(out / f"{name}.jsonl")
    if (out / RESULT).exists():
        os.replace(out / RESULT, out / (RESULT + BEFORE))


def _config(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return dict(mapping(parsed(file.read(CONFIG_BYTES_MAX).decode(errors="replace"))))


def _last_s(path: Path) -> float:
    """The time of the last whole line; 0 if there is none."""
    if not path.is_file():
        return 0.0
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        at_s = number(mapping(parsed(line.decode(errors="replace"))).get("at_s"))
        if at_s >= 0:
            return at_s
    return 0.0


def _end_line(path: Path) -> None:
    """A process that was killed may have left half a line."""
    if path.is_file() and path.stat().st_size:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
