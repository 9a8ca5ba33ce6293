"""The scenario file that `swarm`, `simulate` and `run` were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.errors import SettingError
from peer.scenario import Scenario
from peer.scenario_file import parse_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOBODY = 1  # exit code: stopped while no agent was there, so there are no results
STUCK = 1  # exit code: there are results, of agents that could not learn


def read_scenario(path: Path | None, members: Sequence[str] | None = None) -> Scenario:
    """The scenario in this file, of these members if they are known; nothing happens if there is no file.

    Raises `SettingError`.
    """
    if path is None:
        return Scenario()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingError("scenario", str(path), f"{reason}; give a file of TOML") from None
    scenario = parse_scenario(text, str(path), members)
    if members is not None and not scenario.stays(members):
        raise SettingError("scenario", str(path), "let at least one agent be there at the end")
    return scenario


def cut_short(scenario: Scenario, ended_s: float) -> str | None:
    """What is to be said if the run ended before all had happened."""
    if ended_s >= scenario.last_s:
        return None
    return f"the run ended at {ended_s:.1f} s; {scenario.file} goes on until {scenario.last_s:g} s"


def not_scored(absent: Sequence[str]) -> str | None:
    """Who is missing in the results."""
    return f"not there at the end, so not scored: {', '.join(absent)}" if absent else None
