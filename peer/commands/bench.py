"""`hyperpush bench`: measurements that anybody can repeat."""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.progress import Progress
from rich.table import Table

from peer.bench.exactness import FANOUT, Cell, Scale, in_order, measure_all
from peer.display import make_console
from peer.jsonable import check_json, write_json
from peer.recorder import versions

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Run the benchmark that was asked for; returns the exit code."""
    if options.bench == "exactness":
        return exactness(options)
    code = importlib.import_module(f"peer.bench.{options.bench}").main(options)
    assert isinstance(code, int)
    return code


def exactness(options: argparse.Namespace) -> int:
    """Print the table, and write it with `--json`."""
    check_json(options.json)
    scale = Scale(options.agents, options.ticks, options.step_size, options.seed)
    console = make_console()
    cells: list[Cell] = []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=15)
        for cell in measure_all(scale, options.jobs):
            cells.append(cell)
            progress.update(bar, advance=1, description=f"{cell.network}, {cell.method}")
    cells = in_order(cells)
    title = f"{scale.agents} agents, fanout {FANOUT}, {scale.ticks} ticks, step {scale.step_size}, "
    title += f"seed {scale.seed}"
    table = Table(title=title, header_style="bold")
    table.add_column("network", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for heading in ("model", "adjoint", "hypergradient", "messages", "MB"):
        table.add_column(heading, justify="right")
    for index, cell in enumerate(cells):
        first = index == 0 or cells[index - 1].network != cell.network
        if first and index:
            table.add_section()
        table.add_row(
            cell.network if first else "",
            cell.method,
            *(_error(e) for e in (cell.model_error, cell.adjoint_error, cell.hypergradient_error)),
            f"{cell.messages:,}",
            f"{cell.bytes / 1e6:.1f}",
        )
    console.print(table)
    console.print("Largest error of any agent, relative to the closed form. NaN: broken down.")
    if options.json is not None:
        content = {
            "scale": {name: getattr(scale, name) for name in ("agents", "ticks", "step_size", "seed")},
            "versions": versions(),
            "cells": [asdict(cell) for cell in cells],
        }
        write_json(options.json, content)
    return 0


def _error(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.1e}"
