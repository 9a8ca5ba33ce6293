"""`hyperpush config`: what `hyperpush run` would work with, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from peer.options import OPTIONS, agent_settings, as_toml, data_choice, ending, shard_of
from peer.options.option import FILE_TABLES
from peer.options.sources import Found
from peer.tasks import make_task

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from peer.options.option import Option
    from peer.options.readers import TomlValue


def main(options: argparse.Namespace) -> int:
    """Print it; returns the exit code. Of keys and tokens only the paths are known here."""
    found = effective(options)
    shown = [option for option in OPTIONS if "run" in option.commands and option.configurable]
    if options.toml:
        print("\n".join(toml_lines(shown, found)))
        return 0
    for option in shown:
        value, origin, _ = found[option.name]
        text = option.unset or "not set" if value is None else toml_text(as_toml(value))
        print(f"{option.key:<30}{text:<30}  {origin}")
    return 0


def effective(options: argparse.Namespace) -> dict[str, Found]:
    """Every option with the value that `run` works with: settings that nobody gave come from the task.

    Raises `HyperpushError` if `run` would refuse them.
    """
    index, count = shard_of(options.shard)
    task = make_task(
        options.task,
        count,
        options.seed,
        options.personalization,
        shard=index,
        choice=data_choice(options),
    )
    settings = agent_settings(options, task.settings)
    ending(options, task.columns, settings)
    found: dict[str, Found] = dict(options.found)
    for name, value in settings.to_dict().items():
        if name in found and found[name].value is None:
            origin = f"task {task.name}" if name in task.settings else found[name].origin
            found[name] = Found(value, origin, found[name].label)
    return found


def toml_lines(options: Iterable[Option], found: dict[str, Found]) -> list[str]:
    """A file for `--config`: each value that is set, with its origin.

    Paths are absolute, so that it can lie anywhere.
    """
    tables: dict[str, list[str]] = {"": [], **{name: ["", f"[{name}]"] for name in FILE_TABLES}}
    for option in options:
        value, origin, _ = found[option.name]
        if value is None:
            continue
        written = toml_text(as_toml(value.absolute() if isinstance(value, Path) else value))
        lines = tables[option.group if option.group in FILE_TABLES else ""]
        lines.append(f"{option.name} = {written}  # {origin}")
    return [line for lines in tables.values() for line in lines]


def toml_text(value: TomlValue) -> str:
    """One value in TOML, which for printable strings, finite numbers, truth values and lists is JSON."""
    return json.dumps(value, ensure_ascii=False)
