"""The picture of `hyperpush bench personalization`: accuracies of every method on every network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from peer.bench.personalization_runs import OURS, TRACKING
from peer.figure_file import save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.bench.personalization_rows import Row

OURS_COLOUR: Final = "#0072B2"  # of Okabe and Ito's colours, as the others
TRACKING_COLOUR: Final = "#56B4E9"
OTHERS_COLOUR: Final = "#999999"


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each section and network: means as bars, seeds as lines, bottom deciles as marks."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row.section, row.network) for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    figure: Any = Figure(
        figsize=(3.4 * len(panels) + 2.2, 0.34 * len(methods) + 1.8), layout="constrained", dpi=130
    )
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for panel, (section, network) in zip(drawn, panels, strict=True):
        own = {row.method: row for row in rows if (row.section, row.network) == (section, network)}
        lowest = min(row.bottom_decile for row in own.values())
        for place, method in enumerate(methods):
            row = own.get(method)
            if row is None:
                continue
            colour = {OURS: OURS_COLOUR, TRACKING: TRACKING_COLOUR}.get(method, OTHERS_COLOUR)
            panel.barh(place, row.mean, color=colour, height=0.7)
            panel.plot([min(row.means), max(row.means)], [place, place], color="black", lw=1.5)
            panel.plot(row.bottom_decile, place, marker="|", color="black", ms=9)
            panel.text(row.mean + 0.3, place, f"{row.mean:.1f}", va="center", fontsize=8)
        panel.set_xlim(max(0.0, lowest - 4), 100)
        panel.set_title(f"{section}\n{network}", fontsize=10, fontweight="bold")
        panel.set_xlabel("test accuracy, %")
        panel.grid(visible=True, axis="x", alpha=0.25)
    drawn[0].set_yticks(range(len(methods)), methods)
    drawn[0].invert_yaxis()
    figure.supxlabel("bar: mean over agents; line: seeds; upright mark: bottom decile", fontsize=9)
    save_figure(figure, path)
