"""The scenario file that `swarm`, `simulate` and `run` were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.errors import SettingError
from peer.scenario import Scenario
from peer.scenario_file import parse_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_scenario(path: Path | None, members: Sequence[str] | None = None) -> Scenario:
    """The scenario in this file, of these members if they are known; nothing happens if there is no file.

    Raises `SettingError`.
    """
    if path is None:
        return Scenario()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise SettingError("scenario", str(path), f"give a file of text: {error}") from None
    return parse_scenario(text, str(path), members)
