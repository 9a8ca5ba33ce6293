"""`hyperpush init`: a small task and its configuration, which run at once and are meant to be changed."""

from __future__ import annotations

import importlib.resources
import shlex
from typing import TYPE_CHECKING, Final

from peer.errors import HyperpushError, SettingError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

TASK: Final = "task.py"
CONFIGURATION: Final = "agent.toml"


def main(options: argparse.Namespace) -> int:
    """Write both, or neither; returns the exit code."""
    folder: Path = options.dir
    templates = importlib.resources.files("peer.templates")
    contents = {
        folder / TASK: templates.joinpath(f"{options.template}.py").read_text(encoding="utf-8"),
        folder / CONFIGURATION: templates.joinpath(CONFIGURATION).read_text(encoding="utf-8"),
    }
    for path in contents:
        if path.exists():
            raise SettingError("dir", str(folder), f"{path.name} is there already; give another directory")
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(content)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise HyperpushError(f"{folder}: {error.strerror}; give a directory that can be written to") from None
    where = "" if folder.resolve() == folder.cwd() else f"cd {shlex.quote(str(folder))} && "
    print(f"written: {folder / TASK}, {folder / CONFIGURATION}")
    print("Next:")
    next_ones = {
        f"hyperpush check {TASK}": "what is wrong with it, and what a tick costs",
        f"hyperpush swarm --task {TASK}": "eight agents on this machine",
        f"hyperpush run --config {CONFIGURATION}": "one agent here, others elsewhere",
    }
    width = max(map(len, next_ones))
    for command, what in next_ones.items():
        print(f"  {where}{command:<{width}}  {what}")
    return 0
