"""A report in order, whatever it is shown as. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.report.curves import curves
from peer.report.figure import Figure, Table, megabytes, percent, seconds, shown
from peer.report.happenings import time_line
from peer.report.hypers import hyper_figures, moved_figure, range_table
from peer.report.links import link_figures
from peer.report.scores import score_figures, traffic_figure
from peer.report.tables import (
    about,
    command,
    differences_table,
    gain_sentences,
    given_table,
    reproduce,
    results_table,
    score_table,
    settings_table,
    total_bytes,
    total_missing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.report.run import Run

SCORE_SHOWN: Final = {"accuracy": "personal", "loss": "learned", "error": "model"}


@dataclass(frozen=True, slots=True)
class Titled:
    """A table under a heading; `folded`: it is long, and shown when asked for."""

    heading: str
    table: Table
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Titled, ...] = ()
    figures: tuple[Figure, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()  # whose, and the command

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.sentences or self.tables or self.figures or self.commands)


@dataclass(frozen=True, slots=True)
class Page:
    """Everything. `facts`: what, how much; of one run. `runs`: their names, in the order of their colours."""

    title: str
    subtitle: str
    verdicts: tuple[tuple[str, str], ...]  # of which run, and what came of it
    remarks: tuple[tuple[str, str], ...]  # of which run, and what is wrong with it
    facts: tuple[tuple[str, str], ...]
    runs: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def figures(self) -> list[Figure]:
        """All of them."""
        return [figure for section in self.sections for figure in section.figures]


def make_page(runs: Sequence[Run]) -> Page:
    """Of one run, or of several beside each other."""
    several = len(runs) > 1
    sections = [
        _results(runs),
        Section("curves", "Over time", figures=tuple(curves(runs))),
        Section("agents", "Agents", figures=(*score_figures(runs), *_some(traffic_figure(runs)))),
        _links(runs),
        _hyperparameters(runs),
        _happened(runs),
        _configuration(runs),
        _again(runs),
    ]
    return Page(
        title=f"{len(runs)} runs beside each other" if several else f"Run {runs[0].name}",
        subtitle=", ".join(run.name for run in runs) if several else _subtitle(runs[0]),
        verdicts=tuple((run.name, run.result.verdict) for run in runs if run.result and run.result.verdict),
        remarks=tuple((run.name, remark) for run in runs for remark in run.remarks),
        facts=() if several else tuple(_facts(runs[0])),
        runs=tuple(run.name for run in runs),
        sections=tuple(section for section in sections if not section.is_empty),
    )


def _some(figure: Figure | None) -> list[Figure]:
    return [] if figure is None else [figure]


def _of(run: Run, runs: Sequence[Run]) -> str:
    """What follows a heading so that runs are told apart."""
    return f": {run.name}" if len(runs) > 1 else ""


def _subtitle(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in about(run) if name != "began")


def _facts(run: Run) -> list[tuple[str, str]]:
    found = []
    if run.result:
        column = SCORE_SHOWN.get(run.result.kind, "")
        mean = run.result.summary.get(column, {}).get("mean", math.nan)
        if math.isfinite(mean):
            form = ".1e" if run.result.kind == "error" else ".3f"
            found.append((f"{run.result.columns.get(column, column)}, {run.result.kind}", shown(mean, form)))
    found.append(("agents", f"{len(run.agents)}"))
    if run.result:
        found.append(("ticks", f"{run.result.ticks:,}"))
        if math.isfinite(run.result.virtual_s):
            found.append(("virtual time", seconds(run.result.virtual_s)))
        found.append(("time it took", seconds(run.result.wall_s)))
    found.append(("bytes sent", megabytes(total_bytes(run))))
    found.append(("messages missing", percent(total_missing(run))))
    return found


def _results(runs: Sequence[Run]) -> Section:
    if len(runs) > 1:
        told = "In brackets: the difference from the first run."
        return Section("results", "Results", (told,), (Titled("", results_table(runs)),))
    result = runs[0].result
    if result is None or not result.agents:
        return Section("results", "Results")
    sentences = tuple(f"{told}." for told in gain_sentences(result))
    if result.absent:
        sentences = (*sentences, f"Not there at the end, and not scored: {', '.join(result.absent)}.")
    return Section("results", "Results", sentences, (Titled("", score_table(result)),))


def _links(runs: Sequence[Run]) -> Section:
    found = [link_figures(run, f"run{index}-", _of(run, runs)) for index, run in enumerate(runs)]
    kinds = ("link-graph", "link-loss", "link-times")  # those of one kind beside each other
    ordered = [one for kind in kinds for figures in found for one in figures if one.key.endswith(kind)]
    return Section("links", "Links", figures=tuple(ordered))


def _hyperparameters(runs: Sequence[Run]) -> Section:
    found = _some(moved_figure(runs))
    tables = []
    for index, run in enumerate(runs):
        found += hyper_figures(run, f"run{index}-", _of(run, runs))
        table = range_table(run)
        if table is not None:
            tables.append(Titled(f"Long hyperparameters{_of(run, runs)}", table, folded=len(table.rows) > 12))
    return Section("hyperparameters", "Hyperparameters", tables=tuple(tables), figures=tuple(found))


def _happened(runs: Sequence[Run]) -> Section:
    found = [
        figure
        for index, run in enumerate(runs)
        for figure in _some(time_line(run, f"run{index}-happenings", _of(run, runs)))
    ]
    return Section("happenings", "Faults and events", figures=tuple(found))


def _configuration(runs: Sequence[Run]) -> Section:
    tables = []
    sentences: tuple[str, ...] = ()
    if len(runs) > 1:
        table = differences_table(runs)
        if table.rows:
            tables.append(Titled("What is not the same", table))
        else:
            sentences = ("All runs have the same configuration and versions.",)
    for run in runs:
        given = given_table(run)
        if given is not None and given.rows:
            tables.append(Titled(f"Options that were not left at their defaults{_of(run, runs)}", given))
        elif given is not None:
            sentences = (*sentences, f"Every option was left at its default{_of(run, runs)}.")
        tables.append(Titled(f"All that was in force{_of(run, runs)}", settings_table(run), folded=True))
    return Section("configuration", "Configuration", sentences, tuple(tables))


def _again(runs: Sequence[Run]) -> Section:
    commands = tuple((run.name, told) for run in runs if (told := command(run)))
    several = len(runs) > 1
    sentences = tuple(f"{run.name}: {told}" if several else told for run in runs for told in reproduce(run))
    return Section("again", "Do it again", sentences, commands=commands)
