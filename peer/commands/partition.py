"""`hyperpush partition`: who would have which data, as a table and a picture. Nothing is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from peer.data.choice import DataChoice
from peer.data.files import IMAGE_SETS, read_image_set
from peer.data.holdings import MOST, holdings
from peer.data.picture import draw
from peer.display import make_console
from peer.errors import SettingError
from peer.figure_file import check_figure
from peer.jsonable import check_json, write_json
from peer.options.data import SHARED_OUT
from peer.tasks import digits
from peer.tasks.folder import read_pooled
from peer.tasks.samples import DIRICHLET, share_out

if TYPE_CHECKING:
    import argparse

    from peer.data.holdings import Holdings
    from peer.data.labelled import LabelledData
    from peer.data.scheme import Scheme

NAMES_SHOWN = 12  # of labels, under a column of bars; more are only numbered in the picture


def main(options: argparse.Namespace) -> int:
    """Share out, print, and draw if that is wanted; returns the exit code."""
    check_json(options.json)
    check_figure(options.figure)
    scheme = options.partition or DIRICHLET
    choice = DataChoice(scheme, options.data_dir, None, options.samples)
    found = _shared_out(options.task, options.agents, options.seed, scheme, choice)
    console = make_console()
    title = f"{options.task}, {options.agents} agents, {scheme}, seed {options.seed}"
    console.print(_table(found, title))
    console.print(_summary(found))
    if options.figure is not None:
        draw(found, title, options.figure)
        console.print(f"drawn: {options.figure}")
    if options.json is not None:
        write_json(options.json, _content(found, options, scheme))
    return 0


def _shared_out(task: str, agents: int, seed: int, scheme: Scheme, choice: DataChoice) -> Holdings:
    """As the task of this name does it."""
    if task == "digits":
        choice.only("digits", "partition")
        data, shares = digits.read_digits(), digits.share_out(agents, seed, scheme)
        return holdings(data.labels, shares, data.names, digits.TRAIN, digits.VALIDATION)
    data = _data(task, choice)
    return holdings(data.labels, share_out(data, agents, seed, scheme, choice.samples), data.names)


def _data(task: str, choice: DataChoice) -> LabelledData:
    if task in IMAGE_SETS:
        return read_image_set(IMAGE_SETS[task], choice.data_dir)
    if task == "folder":
        return read_pooled(choice)
    raise SettingError("task", task, f"give one whose samples are shared out: {', '.join(SHARED_OUT)}")


def _table(found: Holdings, title: str) -> Table:
    table = Table(title=(title), header_style="bold")
    grouped = len(set(found.groups)) > 1
    table.add_column("agent", justify="right")
    if grouped:
        table.add_column("group", justify="right")
    for heading in ("train", "validation", "test"):
        table.add_column(heading, justify="right")
    first = [name[0] for name in found.names] if len(set(found.names)) == len(found.names) else []
    marks = "".join(first) if len(set(first)) == len(found.names) else "labels"
    table.add_column(marks, no_wrap=True)
    table.add_column(f"labels for {MOST:.0%}", justify="right")
    for agent, (sizes, bars, few) in enumerate(
        zip(found.sizes, found.bars(), found.labels_for_most, strict=True)
    ):
        group = [str(found.groups[agent] + 1)] if grouped else []
        table.add_row(str(agent + 1), *group, *(f"{size:,}" for size in sizes), bars, str(few))
    return table


def _summary(found: Holdings) -> str:
    whole = found.counts.sum(axis=1)
    few = sorted(found.labels_for_most)
    told = f"{whole.sum():,} samples of {len(found.names)} labels; {whole.min():,} to {whole.max():,} at an "
    told += f"agent; of half of the agents {MOST:.0%} are in {few[(len(few) - 1) // 2]} labels or fewer"
    if len(found.names) <= NAMES_SHOWN:
        told += f"; labels: {', '.join(found.names)}"
    return told


def _content(found: Holdings, options: argparse.Namespace, scheme: Scheme) -> dict[str, object]:
    agents = [
        {
            "group": found.groups[agent],
            "train": int(train),
            "validation": int(validation),
            "test": int(test),
            "labels": found.counts[agent].tolist(),
        }
        for agent, (train, validation, test) in enumerate(found.sizes)
    ]
    asked = {"task": options.task, "partition": str(scheme), "seed": options.seed}
    return {**asked, "names": list(found.names), "agents": agents}
