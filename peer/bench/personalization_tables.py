"""The rows as tables for people, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.table import Table

from peer.bench.personalization_networks import ABOUT
from peer.bench.personalization_runs import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.bench.personalization_rows import Row

HEADINGS: Final = ("method", "setting", "mean", "bottom decile", "before", "after", "MB", "s")
CAPTION: Final = """\
mean, bottom decile  test accuracy of the agents in percent, before or after averaging: what was better on
                     validation samples with seed 0; of several seeds the mean ± half of largest minus
                     smallest
before, after        averaging: where local work has ended, and after one more exchange; of agents of ours the
                     model after their last step, and the average from which they took it
MB                   sent by all agents together; agents of ours send model and adjoint, to three others
s                    of one run, in one thread: methods in one batch, agents of ours one after the other"""
COLUMNS: Final = (
    *("section", "network", "method", "setting", "seeds", "mean", "spread"),
    *("bottom_decile", "before", "after", "megabytes", "wall_s"),
)


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """Of one network."""
    table = Table(title=title, header_style="bold")
    for heading in HEADINGS:
        is_text = heading in HEADINGS[:2]
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "setting")
    best = max(row.mean for row in rows)
    for row in rows:
        style = "bold" if row.mean == best else ("cyan" if row.method == OURS else None)
        table.add_row(*cells(row), style=style)
    return table


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """One for each section and network."""
    found = []
    for (section, network), own in groupby(rows, key=lambda row: (row.section, row.network)):
        found.append(table_of(f"{section}: {network} ({ABOUT[network]})", list(own)))
    return found


def cells(row: Row) -> list[str]:
    """As people read them."""
    spread = f" ± {row.spread / 2:.1f}" if len(row.means) > 1 else ""
    return [
        row.method,
        row.setting,
        f"{row.mean:.1f}{spread}",
        f"{row.bottom_decile:.1f}",
        _number(row.before),
        _number(row.after),
        f"{row.megabytes:,.0f}",
        f"{row.wall_s:.0f}",
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table for each section and network."""
    parts = []
    for (section, network), own in groupby(rows, key=lambda row: (row.section, row.network)):
        lines = [f"### {section}: {network}", "", f"{ABOUT[network][0].upper()}{ABOUT[network][1:]}.", ""]
        lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|" + "---:|" * (len(HEADINGS) - 2)]
        lines += [f"| {' | '.join(cells(row))} |" for row in own]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def comma_separated(rows: Sequence[Row]) -> str:
    """All rows, with all digits."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            len(value) if isinstance(value, tuple) else value
            for value in (getattr(row, name) for name in COLUMNS)
        )
    return file.getvalue()


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
