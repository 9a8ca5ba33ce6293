"""The picture of `hyperpush influence`: all samples in their order, and those at both ends. An edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from peer.figure_file import save_figure
from peer.influence.findings import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.influence.findings import Findings, Place

HURTS: Final = "#D55E00"  # Okabe and Ito's colours: told apart by everybody, and in grey
HELPS: Final = "#0072B2"
PLANTED: Final = "#000000"
INK: Final = "#333333"
IMAGES: Final = 10  # in a row


def draw(findings: Sequence[Findings], title: str, path: Path, swarm: int) -> None:
    """Write it, with changes of the mean loss of so many agents. Raises `SettingError`."""
    from matplotlib.figure import Figure

    order = ranked(findings)
    has_images = _image_of(findings, order[0]) is not None
    rows = 3 if has_images else 1
    figure: Any = Figure(figsize=(11, 3.6 + 3.4 * (rows - 1) / 2), dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11, color=INK)
    grid = figure.add_gridspec(rows, IMAGES, height_ratios=[2.6, *[1.3] * (rows - 1)])
    _curve(figure.add_subplot(grid[0, :]), findings, order, swarm)
    if has_images:
        for row, (name, places) in enumerate(
            (("hurt most", order[:IMAGES]), ("help most", order[::-1][:IMAGES])), start=1
        ):
            for column, place in enumerate(places):
                panel = figure.add_subplot(grid[row, column])
                _show(panel, findings[place.agent], place, _image_of(findings, place))
                if not column:
                    panel.set_ylabel(name, color=HURTS if row == 1 else HELPS, fontsize=9)
    save_figure(figure, path)


def _curve(axes: Any, findings: Sequence[Findings], order: Sequence[Place], swarm: int) -> None:
    """What each sample does to the loss, in the order of the list."""
    values = [float(findings[place.agent].harms[place.row]) / swarm for place in order]
    colours = [HURTS if value > 0 else HELPS for value in values]
    axes.bar(range(len(values)), values, width=1.0, color=colours, linewidth=0)
    marked = [rank for rank, place in enumerate(order) if place.row in findings[place.agent].was]
    if marked:
        axes.scatter(
            marked,
            [0.0] * len(marked),
            marker="|",
            s=160,
            color=PLANTED,
            linewidths=0.9,
            label="planted wrong label",
            zorder=3,
        )
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.set_yscale("symlog", linthresh=max(map(abs, values), default=1.0) / 100 or 1.0)
    axes.set_xlim(-0.5, max(1, len(values)) - 0.5)
    axes.set_xlabel("training samples, the most harmful first", fontsize=9, color=INK)
    axes.set_ylabel("what more of it adds to\nthe swarm's validation loss", fontsize=9, color=INK)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _image_of(findings: Sequence[Findings], place: Place) -> Tensor | None:
    """The sample as an image (rows, columns) or (rows, columns, 3); None for what is no image."""
    inputs = findings[place.agent].problem.training_set[0]
    if not isinstance(inputs, Tensor):
        return None
    one = inputs[place.row]
    if one.dim() == 1:
        side = math.isqrt(len(one))
        return one.reshape(side, side) if side * side == len(one) and side >= 8 else None
    if one.dim() == 3 and one.shape[0] in (1, 3):
        return one.movedim(0, -1) if one.shape[0] == 3 else one[0]
    return one if one.dim() == 2 and min(one.shape) >= 8 else None


def _show(axes: Any, found: Findings, place: Place, image: Tensor | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    if image is None:
        return
    axes.imshow(image.numpy(), cmap="gray_r")
    label = int(found.problem.training_set[1][place.row])
    was = found.was.get(place.row)
    told = f"as {label}" if was is None else f"as {label},\nis {was}"
    axes.set_title(told, fontsize=8, color=INK if was is None else HURTS)
