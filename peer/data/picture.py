"""Who has which labels, drawn: a bubble for every agent and label, as large as their number. An edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from peer.errors import SettingError
from peer.figure_file import save_figure

if TYPE_CHECKING:
    from pathlib import Path

    from peer.data.holdings import Holdings

AGENTS_MAX: Final = 200  # beyond, bubbles are smaller than a pixel
COLOURS: Final = ("#3b6ea8", "#c8553d", "#4f8a4c", "#8a5a9e", "#b98b2f", "#4a9aa5", "#7a7a7a", "#a8557f")
INK: Final = "#333333"
GRID: Final = "#e6e6e6"
CELL_INCHES: Final = 0.34  # of a bubble's place
POINTS: Final = 72  # to an inch
GAP: Final = 0.92  # of its place the largest bubble fills
TEXT_INCHES: Final = 1.5  # for the names of labels


def draw(holdings: Holdings, title: str, file: Path) -> None:
    """Write the figure. Raises `SettingError` for more agents than can be drawn."""
    agents, labels = holdings.counts.shape
    if agents > AGENTS_MAX:
        raise SettingError("figure", str(file), f"{agents} agents are too many to draw; {AGENTS_MAX} at most")
    from matplotlib.figure import Figure

    cell = CELL_INCHES * min(1.0, 40 / max(agents, labels))
    wide, high, above = max(4.5, cell * agents), cell * labels, 1.0
    width, height = wide + TEXT_INCHES + 1.1, high + above + 1.7
    left = TEXT_INCHES / width
    figure: Any = Figure(figsize=(width, height), dpi=150)
    grid = figure.add_gridspec(
        *(2, 2),
        width_ratios=(wide, 0.9),
        height_ratios=(above, high),
        left=left,
        right=0.97,
        bottom=0.75 / height,
        top=1 - 0.8 / height,
        wspace=0.03,
        hspace=0.06 * 4 / (high + above),
    )
    top, main = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    side = figure.add_subplot(grid[1, 1])
    colours = [COLOURS[group % len(COLOURS)] for group in holdings.groups]
    _bubbles(main, holdings, colours, cell * POINTS)
    _sizes(top, holdings, colours)
    _totals(side, holdings)
    figure.suptitle(
        title, x=left, y=1 - 0.12 / height, ha="left", va="top", fontsize=11, color=INK, wrap=False
    )
    save_figure(figure, file)


def _bubbles(axes: Any, holdings: Holdings, colours: list[str], cell_points: float) -> None:
    agents, labels = holdings.counts.shape
    agent, label = np.nonzero(holdings.counts)
    counts = holdings.counts[agent, label]
    most = holdings.counts.max()
    areas = (cell_points * GAP) ** 2 * counts / most
    axes.scatter(agent, label, s=areas, c=[colours[one] for one in agent], alpha=0.85, linewidths=0, zorder=2)
    axes.set_xlim(-0.6, agents - 0.4)
    axes.set_ylim(labels - 0.4, -0.6)
    step = max(1, round(agents / 25))
    axes.set_xticks(range(0, agents, step), [str(one + 1) for one in range(0, agents, step)], fontsize=8)
    axes.set_yticks(range(labels), holdings.names, fontsize=9 if labels <= 20 else 6)
    axes.set_xlabel(f"agent (the largest bubble: {most:,} samples)", fontsize=9, color=INK)
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    _plain(axes)


def _sizes(axes: Any, holdings: Holdings, colours: list[str]) -> None:
    """Samples of each agent: to train on, to validate with, to test on."""
    below = np.zeros(len(holdings.sizes))
    for part, (name, alpha) in enumerate((("train", 1.0), ("validation", 0.6), ("test", 0.3))):
        size = holdings.sizes[:, part]
        axes.bar(range(len(size)), size, bottom=below, width=0.75, color=colours, alpha=alpha, linewidth=0)
        axes.bar([0], [0], color=INK, alpha=alpha, label=name)  # for the legend, whatever the groups' colours
        below = below + size
    axes.set_xlim(-0.6, len(holdings.sizes) - 0.4)
    axes.set_xticks([])
    axes.set_ylabel("samples", fontsize=9, color=INK)
    axes.tick_params(axis="y", labelsize=8)
    legend = {"fontsize": 8, "frameon": False, "borderpad": 0, "labelcolor": INK}
    parts = axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0), **legend)
    groups = sorted(set(holdings.groups))
    if len(groups) > 1:
        axes.add_artist(parts)
        shown = groups[: len(COLOURS)]
        marks = [axes.scatter([], [], color=COLOURS[group], label=f"group {group + 1}") for group in shown]
        axes.legend(
            handles=marks,
            ncols=len(marks),
            loc="lower right",
            bbox_to_anchor=(1.0, 1.22),
            handletextpad=0.1,
            columnspacing=1.0,
            **legend,
        )
    _plain(axes)


def _totals(axes: Any, holdings: Holdings) -> None:
    """Samples of each label, of all agents together."""
    totals = holdings.counts.sum(axis=0)
    axes.barh(range(len(totals)), totals, height=0.7, color="#b5b5b5", linewidth=0)
    axes.set_ylim(len(totals) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel("all agents", fontsize=9, color=INK)
    axes.set_xticks([0, int(totals.max())], ["0", f"{totals.max():,}"], fontsize=8)
    _plain(axes)


def _plain(axes: Any) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=INK)
