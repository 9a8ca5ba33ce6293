"""Numbers that JSON cannot hold become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from peer.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path


def jsonable(value: object) -> object:
    """The same mappings, lists and numbers; NaN and infinities as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def check_json(path: Path | None, option: str = "json") -> None:
    """Raise `SettingError` before anything is worked out if the folder of this file is not there."""
    if path is not None and not path.absolute().parent.is_dir():
        raise SettingError(option, str(path), "give a file in a folder that exists")


def write_json(path: Path, content: object) -> None:
    """Indented, for people and programs."""
    path.write_text(json.dumps(jsonable(content), indent=2, default=str) + "\n", encoding="utf-8")
