"""`hyperpush influence`: which training samples help or hurt everybody, as a ranked list and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import Progress
from rich.table import Table

from peer.display import make_console
from peer.errors import SettingError
from peer.figure_file import check_figure
from peer.influence.figure import draw
from peer.influence.findings import found_again, ranked
from peer.influence.gather import kept, planted, simulated
from peer.jsonable import check_json, write_json
from peer.kept import sampled
from peer.options import data_choice, shard_of
from peer.tasks import make_task

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from peer.influence.findings import Findings, Place


def main(options: argparse.Namespace) -> int:
    """Learn or look, print, and draw if that is wanted; returns the exit code."""
    check_json(options.json)
    check_figure(options.figure)
    console = make_console()
    if options.state is None:
        findings, swarm = _simulated(options, console), options.agents
        title = f"{options.task}, {options.agents} simulated agents, {options.ticks} ticks, "
        title += f"{options.personalization}, seed {options.seed}"
    else:
        findings, swarm, title = _kept(options)
    order = ranked(findings)
    console.print(_table(findings, order[: options.top], swarm, "hurt most", title))
    console.print(_table(findings, order[::-1][: options.top], swarm, "help most", ""))
    for line in _summary(findings, swarm):
        console.print(line)
    if options.figure is not None:
        draw(findings, title, options.figure, swarm)
        console.print(f"drawn: {options.figure}")
    if options.json is not None:
        write_json(options.json, _content(findings, title))
    return 0


def _simulated(options: argparse.Namespace, console: Console) -> list[Findings]:
    if options.found["shard"].origin != "default":
        raise SettingError("shard", options.shard, "it is for --state; leave it out, or give that as well")
    task = make_task(
        options.task, options.agents, options.seed, options.personalization, choice=data_choice(options)
    )
    problems = [sampled(str(options.task), task.problems[shard]) for shard in range(options.agents)]
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("learning", total=1.0)
        return simulated(
            planted(problems, options.plant, options.seed),
            task.settings,
            ticks=options.ticks,
            damping=options.damping,
            drop=options.drop,
            seed=options.seed,
            progress=lambda share: progress.update(bar, completed=share),
        )


def _kept(options: argparse.Namespace) -> tuple[list[Findings], int, str]:
    if options.plant:
        raise SettingError("plant", options.plant, "a real agent has learned already; leave it out")
    index, count = shard_of(options.shard)
    task = make_task(
        options.task, count, options.seed, options.personalization, shard=index, choice=data_choice(options)
    )
    found, which = kept(options.state, sampled(str(options.task), task.problems[index]))
    return [found], count, f"{options.task}, shard {options.shard}, {which}"


def _table(findings: Sequence[Findings], places: Sequence[Place], swarm: int, name: str, title: str) -> Table:
    shows = any(one.was for one in findings)
    table = Table(title=title or None, header_style="bold")
    table.add_column(name, justify="right")
    for heading in ("agent", "sample", "label", "counts", "without it"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    if shows:
        table.add_column("planted")
    for rank, (agent, row) in enumerate(places, start=1):
        one = findings[agent]
        label = one.problem.training_set[1][row]
        shown = str(int(label)) if one.problem.classes is not None else f"{float(label.mean()):.4g}"
        told = f"it is {one.was[row]}" if row in one.was else ""
        table.add_row(
            *(str(rank), (one.agent), str(row), shown, f"{float(one.weights[row]):.2f}"),
            f"{-float(one.harms[row]) / swarm:+.1e}",
            *([told] if shows else []),
        )
    return table


def _summary(findings: Sequence[Findings], swarm: int) -> list[str]:
    whose = "the agent" if swarm == 1 else f"all {swarm} agents, in the mean,"
    learned = any(one.by_weights for one in findings)
    lines = [
        f"ranked by {'the weights learned' if learned else 'the loss without it'}; counts: the weight now",
        f"without it: the change of the validation loss of {whose} if it were left out now, to first order",
    ]
    again = found_again(findings)
    if again:
        lines.append(
            f"{again['planted']} wrong labels planted at {again['agents']} agents: ranked above right ones "
            f"with probability {again['area_under_curve']:.3f} (area under the curve, mean over agents; "
            f"{again['least']:.3f} to {again['most']:.3f}); of the first {again['planted']} of all "
            f"{again['samples']} samples {again['among_first']} are planted"
        )
    return lines


def _content(findings: Sequence[Findings], title: str) -> dict[str, object]:
    agents = [
        {
            "agent": one.agent,
            "harm": one.harms.tolist(),
            "weight": one.weights.tolist(),
            "rank_by": one.rank_by.tolist(),
            "label": one.problem.training_set[1].tolist(),
            "planted": {str(row): label for row, label in one.was.items()},
        }
        for one in findings
    ]
    return {"what": title, "found_again": found_again(findings), "agents": agents}
