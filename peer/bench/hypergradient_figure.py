"""The picture of `hyperpush bench hypergradient`: errors against messages and bytes.

matplotlib, the optional extra `plot`, is loaded when it is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from peer.bench.hypergradient_cases import (
    DIRECT,
    JACOBIAN_PUSH,
    KNOWN,
    NETWORKS,
    NEUMANN,
    NEUMANN_TUNED,
    SILENT_LOSS,
    TARGET,
    TRACKING,
)
from peer.bench.hypergradient_summary import envelope
from peer.figure_file import save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.bench.hypergradient_cases import Curve

# Okabe and Ito's colours: told apart by everybody, and in grey.
COLOURS: Final = {
    DIRECT: "#999999",
    JACOBIAN_PUSH: "#CC79A7",
    NEUMANN: "#D55E00",
    NEUMANN_TUNED: "#E69F00",
    TRACKING: "#0072B2",
}
SHADES: Final = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")
LOWEST: Final = 1e-9  # of the axis: below it there is only rounding


def draw(curves: Sequence[Curve], path: Path) -> None:
    """One row of panels for each number of agents; curves of the first seed."""
    from matplotlib.figure import Figure

    seed = min(curve.task.seed for curve in curves)
    curves = [curve for curve in curves if curve.task.seed == seed]
    sizes = sorted({curve.task.agents for curve in curves})
    figure: Any = Figure(figsize=(15, 4.1 * len(sizes) + 1.2), layout="constrained", dpi=130)
    panels = figure.subplots(len(sizes), 3, squeeze=False, sharey=True)
    for row, agents in zip(panels, sizes, strict=True):
        own = [curve for curve in curves if curve.task.agents == agents]
        _compare(row[0], own, by_bytes=False)
        _compare(row[1], own, by_bytes=True)
        _networks(row[2], own)
        row[0].set_ylabel(f"{agents} agents\n\nrelative error of all hypergradients")
    for panel, title in zip(
        panels[0],
        ("every estimator: messages", "every estimator: bytes", "tracking on every network"),
        strict=True,
    ):
        panel.set_title(title, fontweight="bold")
    for panel, name in zip(panels[-1], ("messages sent", "bytes sent", "messages sent"), strict=True):
        panel.set_xlabel(f"{name} by the whole swarm")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, fontsize=9)
    save_figure(figure, path)


def _compare(panel: Any, curves: Sequence[Curve], *, by_bytes: bool) -> None:
    """Known links: the best setting and length at every cost. Silent loss: what one setting does, to its end.

    Which then wanders about, and may pass by the truth: its lowest points say nothing.
    """
    for estimator, colour in COLOURS.items():
        for network, dashes, name in ((KNOWN, "--", "known links"), (SILENT_LOSS, "-", "silent loss")):
            own = [c for c in curves if (c.task.estimator, c.task.network) == (estimator, network)]
            if not own:
                continue
            style = {"color": colour, "ls": dashes, "lw": 2.4 if estimator == TRACKING else 1.7}
            if estimator == DIRECT:
                if network == KNOWN:
                    style |= {"ls": ":", "label": "direct, no messages"}
                    panel.axhline(own[0].points[-1].error, **style)
                continue
            if network == KNOWN:
                costs, errors = envelope(own, by_bytes=by_bytes)
            else:
                best = min(own, key=lambda curve: curve.points[-1].error)
                points = [point for point in best.points if point.messages]
                costs = [float(point.bytes if by_bytes else point.messages) for point in points]
                errors = [point.error for point in points]
            panel.plot(costs, errors, label=f"{estimator}, {name}", **style)
    _axes(panel, legend=False)


def _networks(panel: Any, curves: Sequence[Curve]) -> None:
    for network, colour in zip(NETWORKS, SHADES, strict=True):
        for curve in curves:
            if (curve.task.estimator, curve.task.network) == (TRACKING, network):
                points = [point for point in curve.points if point.messages]
                panel.plot(
                    [p.messages for p in points],
                    [p.error for p in points],
                    color=colour,
                    lw=1.7,
                    label=network,
                )
    _axes(panel)


def _axes(panel: Any, *, legend: bool = True) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(LOWEST, 30)
    panel.axhline(TARGET, color="black", lw=0.8, alpha=0.6)
    panel.grid(visible=True, which="major", alpha=0.25)
    if legend:
        panel.legend(fontsize=8, loc="lower left", framealpha=0.9)
    panel.tick_params(labelleft=True)
