"""`hyperpush extensions`: which parts of a swarm can be replaced, and those that installed packages bring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table

from peer.display import make_console
from peer.extensions import POINTS, installed

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Print them; nothing is loaded. Returns the exit code."""
    found = installed()
    if options.json:
        told = [
            {"point": one.point.name, "name": one.name, "package": one.package, "object": one.where}
            for one in found
        ]
        print(json.dumps(told, indent=2))
        return 0
    console = make_console()
    table = Table(title="what can be replaced", header_style="bold")
    for column in ("part", "chosen by", "group of entry points", "installed"):
        table.add_column(column, overflow="fold")
    for point in POINTS:
        names = [f"{one.name} ({one.package})" for one in found if one.point == point]
        table.add_row(point.name.replace("_", " "), point.option, point.group, ", ".join(names) or "-")
    console.print(table)
    return 0
