"""`hyperpush bench tuning`: ticks to the answer of swarms that tune themselves, beside the best of a grid."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from peer.bench import minibatches
from peer.bench.seeds import finish, measure_seeds, quantile
from peer.bench.tuning_runs import ALL_SETTINGS, BEYOND, GOAL, Grid, Outcome, compare
from peer.bench.tuning_worlds import draw_world
from peer.display import make_console
from peer.errors import HyperpushError
from peer.jsonable import check_json, jsonable
from peer.recorder import versions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rich.console import Console

WORST_SHOWN: Final = 8


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, write it; 130 with the table of what there is if interrupted.

    Raises `SettingError` for a file that cannot be, `HyperpushError` for a record that is none.
    """
    check_json(options.json)
    if options.minibatches:
        return minibatches.main(options)
    console = make_console()
    began = time.perf_counter()
    found = measure_seeds(options, console, benchmark="tuning", measure=measure)
    outcomes = [outcome_of(kept) for kept in found.results.values()]
    if outcomes:
        _show(outcomes, console)
    return finish(found, console, options, began, lambda: as_json(outcomes))


def _show(outcomes: Sequence[Outcome], console: Console) -> None:
    console.print(summary(outcomes))
    console.print(
        f"Ticks until model and adjoint of all agents are within {GOAL:g} of the answer, to those of the "
        f"best of {len(ALL_SETTINGS)} settings in the same world; settings are followed to "
        f"{BEYOND:g} times the best."
    )
    for one in sorted(outcomes, key=lambda one: -one.ratio)[:WORST_SHOWN]:
        console.print(
            f"{one.ratio:.2f}: world {one.seed}, {one.about}; best {one.best_ticks:.0f} ticks with "
            f"{_named(one.best)}; {one.tuned}",
            style="dim",
        )


def outcome_of(kept: Mapping[str, Any]) -> Outcome:
    """From a record, which anybody may have written. Raises `HyperpushError`."""
    try:
        grid = Grid(**{name: tuple(values) for name, values in kept["grid"].items()})
        return Outcome(**{**kept, "grid": grid})
    except (LookupError, TypeError, AttributeError):
        raise HyperpushError("the record has a world with other fields; give another --record") from None


def measure(seed: int) -> dict[str, Any]:
    """One world, in any process."""
    return asdict(compare(draw_world(seed)))


def _named(setting: int) -> str:
    step, momentum = ALL_SETTINGS[setting]
    return f"step {step:g} / curvature, momentum {momentum:g}"


def best_for_all(outcomes: Sequence[Outcome]) -> int:
    """The setting of the grid with the smallest median; of equal ones that with the smallest ninth decile."""
    return min(
        range(len(ALL_SETTINGS)),
        key=lambda setting: [quantile([one.ratio_of(setting) for one in outcomes], q) for q in (0.5, 0.9)],
    )


def summary(outcomes: Sequence[Outcome]) -> Table:
    """The chosen steps, and the setting that is best for all worlds together."""
    fixed = best_for_all(outcomes)
    title = f"{len(outcomes)} random networks and tasks, seeds from {outcomes[0].seed}"
    table = Table(title=title, header_style="bold")
    table.add_column("steps", no_wrap=True)
    for heading in ("median", "nine in ten", "worst", "not there", "diverged"):
        table.add_column(heading, justify="right")
    tuned = [one.ratio for one in outcomes]
    table.add_row("chosen by the agents", *_row(tuned), str(sum(one.tuned_diverged for one in outcomes)))
    table.add_row(f"{_named(fixed)} for all", *_row([one.ratio_of(fixed) for one in outcomes]), "")
    return table


def _row(ratios: Sequence[float]) -> list[str]:
    texts = [
        f"> {BEYOND:g}" if math.isinf(value) else f"{value:.2f}"
        for value in (statistics.median(ratios), quantile(ratios, 0.9), max(ratios))
    ]
    return [*texts, str(sum(map(math.isinf, ratios)))]


def as_json(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """For programs."""
    return {"versions": versions(), "goal": GOAL, "worlds": [jsonable(asdict(one)) for one in outcomes]}
