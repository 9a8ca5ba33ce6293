"""`hyperpush bench personalization`: our agents beside what people would otherwise use, on five networks."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from peer.bench.measured import Measured
from peer.bench.personalization_figure import draw
from peer.bench.personalization_networks import NETWORKS
from peer.bench.personalization_plan import LAST_TWO, Plan, quick_plan, whole_plan
from peer.bench.personalization_rows import alone_and_combined, rows_of, verdict
from peer.bench.personalization_runs import (
    ALL_LABELS,
    CHOICES,
    TUNED_WITH,
    Moment,
    Run,
    Scale,
    Score,
    check,
    perform,
    with_data,
)
from peer.bench.personalization_tables import CAPTION, comma_separated, markdown, tables_of
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED
from peer.figure_file import check_figure
from peer.jsonable import check_json, write_json
from peer.options.data import SHARED_OUT
from peer.recorder import versions
from peer.rivals.registry import SETTINGS
from peer.spread.workers import workers_of
from peer.worker_processes import as_done

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from peer.bench.personalization_rows import Row

STEPS, QUICK_STEPS = 800, 150
LARGE: Final = 100
SEEDS: Final = 3
QUICK_AGENTS, AGENTS = 8, 20
QUICK_SAMPLES: Final = 4000
IMAGES: Final = ("fashion-mnist", "mnist", "emnist")  # of which there are that many


class Results:
    """Scores of runs, from a record and new ones."""

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self._file = Measured(path, resume=resume, benchmark="personalization", of=perform.__module__)
        self.scores: dict[Run, Score] = {}
        self.used_s = 0.0  # by what is known, one after the other

    def known(self, runs: Iterable[Run]) -> list[Run]:
        """Take what the record has of these; returns the others."""
        missing = []
        for one in runs:
            if one in self.scores:
                continue
            kept = self._file.found.get(one.key)
            if kept is None:
                missing.append(one)
            else:
                self._take(one, score_of(kept))
        return missing

    def add(self, one: Run, score: Score) -> None:
        """A new one."""
        self._file.add(one.key, asdict(score))
        self._take(one, score)

    def _take(self, one: Run, score: Score) -> None:
        self.scores[one] = score
        self.used_s += score.wall_s

    def told_of_other_code(self) -> Iterator[str]:
        """A line for people, if some were measured by other code."""
        return self._file.told_of_other_code([one.key for one in self.scores], "runs")

    def close(self) -> None:
        """Nothing is added any more."""
        self._file.close()


def main(options: argparse.Namespace) -> int:
    """Measure, print the tables, write and draw them; 0 also where ours is not the best.

    Raises `SettingError` for what cannot be, `HyperpushError` for a record that is none.
    """
    for name in ("json", "markdown", "csv"):
        check_json(getattr(options, name), name)
    check_figure(options.figure)
    plan = plan_of(options)
    check(plan.sections[0].scale)  # the others differ in how many agents there are, or in who has what
    plan = replace(plan, sections=tuple(replace(one, scale=with_data(one.scale)) for one in plan.sections))
    console = make_console()
    results = Results(options.record, resume=options.resume)
    began, interrupted = time.perf_counter(), False
    try:
        _measure(plan, results, options, console)
    except KeyboardInterrupt:
        interrupted = True
        console.print(
            "interrupted; --record FILE --resume goes on. Methods of which all settings were tried, some "
            "with fewer seeds than others; no file is written:"
        )
    finally:
        results.close()
    rows = rows_of(plan, results.scores)
    if rows:
        single = alone_and_combined(plan, results.scores)
        _show(plan, results, rows, single, console)
        console.print(f"{time.perf_counter() - began:,.0f} s with {options.jobs} processes")
        if not interrupted:
            _write(results, rows, single, options)
    return INTERRUPTED if interrupted else 0


def plan_of(options: argparse.Namespace) -> Plan:
    """What is to be measured. Raises `SettingError`."""
    quick = options.quick
    device = options.device
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for it
        told = str(error).partition("\n")[0]
        raise SettingError("device", device, f"give one that there is, such as cpu: {told}") from None
    scale = Scale(
        task=options.task,
        agents=options.agents or (QUICK_AGENTS if quick else AGENTS),
        steps=options.steps or (QUICK_STEPS if quick else STEPS),
        samples=options.samples or (QUICK_SAMPLES if quick and options.task in IMAGES else None),
        partition=None if options.partition is None else str(options.partition),
        model=options.model,
        data_dir=None if options.data_dir is None else str(options.data_dir),
        device=device,
    )
    given = None if options.networks is None else options.networks.split(",")
    for name in given or ():
        if name not in NETWORKS:
            raise SettingError("networks", name, f"give some of {','.join(NETWORKS)}")
    networks = [name for name in NETWORKS if name in (given or (LAST_TWO if quick else NETWORKS))]
    if quick:
        return quick_plan(scale, options.large or 0, options.seeds or 1, networks)
    large = LARGE if options.large is None else options.large
    return whole_plan(scale, large, options.seeds or SEEDS, networks, groups=options.task in SHARED_OUT)


def score_of(kept: Mapping[str, Any]) -> Score:
    """From a record, which anybody may have written. Raises `HyperpushError`."""

    def moment(found: Mapping[str, list[float]]) -> Moment:
        return Moment(tuple(found["validation"]), tuple(found["test"]))

    try:
        after = None if kept["after"] is None else moment(kept["after"])
        return Score(moment(kept["before"]), after, kept["bytes"], kept["messages"], kept["wall_s"])
    except (LookupError, TypeError):
        raise HyperpushError("the record has a score with other fields; give another --record") from None


def _measure(plan: Plan, results: Results, options: argparse.Namespace, console: Console) -> None:
    """First what settings are chosen by, then the rest."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for what, runs in (("choosing", plan.first), ("scoring", lambda: plan.then(results.scores))):
            wanted = list(runs())
            missing = results.known(wanted)
            bar = progress.add_task(what, total=len(wanted), completed=len(wanted) - len(missing))
            for one, score in as_done(perform, missing, workers_of(options)):
                results.add(one, score)
                progress.update(bar, advance=1, description=f"{what}: {one.network}, {one.method}")


def _show(plan: Plan, results: Results, rows: Sequence[Row], single: Sequence[Row], console: Console) -> None:
    for table in tables_of(rows):
        console.print(table)
    console.print(CAPTION)
    for table in tables_of([row for row in single if row.section == plan.sections[0].name]):
        table.title = f"What is personal, seed 0; {table.title}"
        console.print(table)
    for line in verdict(rows):
        console.print(line)
    scale = plan.sections[0].scale
    console.print(
        f"{scale.task}, {scale.agents} agents, {scale.steps} gradient steps of each; of every method that "
        f"has settings {SETTINGS} were tried, ours is one of {', '.join(CHOICES)}; setting and moment were "
        f"chosen with seed {TUNED_WITH}, once per network, by the accuracy on validation samples, from which "
        f"ours also learns: compare it with {ALL_LABELS}, too. "
        f"{len(results.scores)} runs, {results.used_s / 3600:.1f} core hours."
    )
    for line in results.told_of_other_code():
        console.print(line)


def _write(results: Results, rows: Sequence[Row], single: Sequence[Row], options: argparse.Namespace) -> None:
    if options.json is not None:
        content = {
            "versions": versions(),
            "rows": [{**asdict(row), "mean": row.mean, "spread": row.spread} for row in rows],
            "alone_and_combined": [asdict(row) for row in single],
            "runs": [{**one._asdict(), "score": asdict(score)} for one, score in results.scores.items()],
        }
        write_json(options.json, content)
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows), encoding="utf-8")
    if options.csv is not None:
        options.csv.write_text(comma_separated(rows), encoding="utf-8")
    if options.figure is not None:
        draw(rows, options.figure)
