"""`hyperpush extensions`: which parts of a swarm can be replaced, and those that installed packages bring."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peer.display import make_console
from peer.extensions import POINTS, installed

if TYPE_CHECKING:
    import argparse

WIDTH = 10  # of what stands before each line
TITLE = "What can be replaced. NAME:TEXT also gives the keyword text; without a colon it is left out."


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
    console.print(TITLE, style="bold", soft_wrap=True)
    for point in POINTS:
        brought = [f"{one.name} ({one.package})" for one in found if one.point == point]
        lines = {
            "chosen by": ", ".join(f"{option} NAME" for option in point.options),
            "group": point.group,
            "called": f"({', '.join(filter(None, (point.called_with, 'text=')))})",
            "protocol": point.contract,
            "installed": ", ".join(brought) or "-",
        }
        console.print(f"\n{point.name}", style="bold")
        for what, content in lines.items():
            console.print(f"  {what:<{WIDTH}}{content}", markup=False, highlight=False, soft_wrap=True)
    return 0
