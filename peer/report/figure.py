"""What a figure is, and what all of them share. Pure: a picture is a dict as plotly.js draws it.

Colours are words, `theme:ink`, of which `peer.report.themes` has the meaning in light and in dark.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.report.themes import RUN_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGITS: Final = 4  # of a number in a picture
PLOT_NAME_LENGTH_MAX: Final = 24  # beside an axis; a phone has no room for more
FONTS: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'  # as the page has
SPARKS: Final = "▁▂▃▄▅▆▇█"
SPARKS_MAX: Final = 40

Picture = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Text in cells; `numeric`: columns from this one on are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: int = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, and all that is to be known without seeing it.

    `sentence` says what is seen; `table` has the numbers; `spark` is a line of characters for plain text.
    """

    key: str  # its id on the page: letters, digits, hyphens
    heading: str
    sentence: str
    picture: Picture
    table: Table
    height: int = 340  # pixels
    spark: str = ""


def plot_name(name: str) -> str:
    """A name as plotly may show it: it takes markup in all text, so that none may be left; cut to fit."""
    short = name if len(name) <= PLOT_NAME_LENGTH_MAX else name[: PLOT_NAME_LENGTH_MAX - 1] + "…"
    return html.escape(short)


def plot_text(text: str) -> str:
    """As `plot_name`, of any length."""
    return html.escape(text)


def run_colour(index: int) -> str:
    """Of the run of this number."""
    return f"theme:run{index % RUN_COLOURS}"


def band_colour(index: int) -> str:
    """The same, so pale that lines are seen on it."""
    return f"theme:band{index % RUN_COLOURS}"


def numbers(values: Sequence[float]) -> list[float | None]:
    """As JSON holds them, short; None for what is not known."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def shown(value: float, form: str = ".3f") -> str:
    """A number in a table or sentence."""
    return format(value, form) if math.isfinite(value) else "–"


def percent(value: float) -> str:
    """A share in a table or sentence."""
    return f"{value:.0%}" if math.isfinite(value) else "–"


def megabytes(value: float) -> str:
    """Bytes for people."""
    if not math.isfinite(value):
        return "–"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} bytes"


def seconds(value: float) -> str:
    """A time for people."""
    if not math.isfinite(value):
        return "–"
    if value >= 7200:
        return f"{value / 3600:.3g} h"
    return f"{value / 60:.3g} min" if value >= 120 else f"{value:.3g} s"


def time_unit(end_s: float) -> tuple[str, float]:
    """What a time axis up to there counts in, and how many seconds that is."""
    if end_s >= 4 * 3600:
        return "hours", 3600.0
    return ("minutes", 60.0) if end_s >= 600 else ("seconds", 1.0)


def sparkline(values: Sequence[float]) -> str:
    """From the lowest to the highest, as characters; "" where there is nothing to see."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    step = max(1.0, (len(known) - 1) / (SPARKS_MAX - 1))
    picked = [known[round(index * step)] for index in range(int((len(known) - 1) / step) + 1)]
    low, high = min(picked), max(picked)
    if high == low:
        return SPARKS[0] * len(picked)
    return "".join(SPARKS[round((value - low) / (high - low) * (len(SPARKS) - 1))] for value in picked)


def layout(**more: object) -> Picture:
    """What all pictures have in common: no title, as the page has the heading; the legend above."""
    base: Picture = {
        "margin": {"l": 60, "r": 14, "t": 10, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "theme:ink", "size": 13, "family": FONTS},
        "hoverlabel": {
            "bgcolor": "theme:paper",
            "bordercolor": "theme:grid",
            "font": {"color": "theme:ink"},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hovermode": "closest",
    }
    return base | more


def axis(title: str = "", **more: object) -> Picture:
    """One axis."""
    base: Picture = {
        "title": {"text": title, "font": {"size": 12, "color": "theme:muted"}, "standoff": 8},
        "gridcolor": "theme:grid",
        "linecolor": "theme:grid",
        "zerolinecolor": "theme:grid",
        "tickfont": {"color": "theme:muted", "size": 12},
        "ticks": "",
        "automargin": True,
    }
    return base | more


def bare_axis() -> Picture:
    """An axis of a picture that has none."""
    return {"visible": False, "fixedrange": True}


def colour_bar(**more: object) -> Picture:
    """Beside a heat map; the page's script leaves it out where there is no room."""
    base: Picture = {"thickness": 10, "outlinewidth": 0, "ticks": "", "tickfont": {"size": 11}}
    return base | more


def rows_height(rows: int, row: int = 26, rest: int = 110) -> int:
    """Of a picture with a row for each of so many."""
    return rest + row * max(2, rows)
