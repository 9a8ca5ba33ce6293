"""The rows of the tables of `hyperpush bench personalization`, and what they come to."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.bench.personalization_networks import FULL, SILENT
from peer.bench.personalization_runs import (
    ALL_LABELS,
    NO_NETWORK,
    OURS,
    TUNED_WITH,
    Run,
    grid_of,
    has_network,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from peer.bench.personalization_plan import Plan, Section
    from peer.bench.personalization_runs import Score

POINTS: Final = 100.0


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one network; accuracies in percent, means over seeds. NaN where there is none."""

    section: str
    network: str
    method: str
    setting: str
    seeds: tuple[int, ...]
    means: tuple[float, ...]  # by seed: mean over agents, at the moment that is better on validation samples
    bottom_decile: float
    before: float  # mean over agents, after local work
    after: float  # mean over agents, after averaging
    megabytes: float  # sent by all agents together
    wall_s: float  # of one run

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.means)

    @property
    def spread(self) -> float:
        """Largest minus smallest mean of the seeds."""
        return max(self.means) - min(self.means)


def rows_of(plan: Plan, known: Mapping[Run, Score]) -> list[Row]:
    """Of everything that is known, in the order of the tables."""
    found: list[Row] = []
    for section in plan.sections:
        for network in section.networks:
            for method in plan.methods:
                setting = plan.chosen(section, network, method, known)
                if setting is not None:
                    found += _row(section, network, method, setting, range(section.seeds), known)
    return found


def alone_and_combined(plan: Plan, known: Mapping[Run, Score]) -> list[Row]:
    """Every personalization of ours by itself, with the seed by which one of them was chosen."""
    found: list[Row] = []
    for section in plan.sections:
        if section.settings_of is None and OURS in plan.methods:
            for network in section.networks:
                for setting in range(len(grid_of(OURS))):
                    found += _row(section, network, OURS, setting, (TUNED_WITH,), known)
    return found


def _row(
    section: Section,
    network: str,
    method: str,
    setting: int,
    seeds: Sequence[int],
    known: Mapping[Run, Score],
) -> Iterator[Row]:
    """One, or none while nothing is known."""
    at = network if has_network(method) else NO_NETWORK
    runs = [Run(section.scale, at, method, setting, seed) for seed in seeds]
    scores = {one.seed: known[one] for one in runs if one in known}
    if not scores:
        return

    def mean(moment: str) -> float:
        values = [getattr(score, moment) for score in scores.values()]
        return math.nan if None in values else POINTS * statistics.fmean(value.mean for value in values)

    yield Row(
        section.name,
        network,
        method,
        told(grid_of(method)[setting]),
        tuple(scores),
        tuple(POINTS * score.best.mean for score in scores.values()),
        POINTS * statistics.fmean(score.best.bottom_decile for score in scores.values()),
        mean("before"),
        mean("after"),
        statistics.fmean(score.bytes for score in scores.values()) / 1e6,
        statistics.fmean(score.wall_s for score in scores.values()),
    )


def verdict(rows: Sequence[Row]) -> Iterator[str]:
    """Where our row is best, by how much, and what the worst network costs it."""
    ours = {(row.section, row.network): row for row in rows if row.method == OURS}
    for (section, network), own in ours.items():
        others = [
            row
            for row in rows
            if (row.section, row.network) == (section, network) and row.method not in (OURS, ALL_LABELS)
        ]
        if not others:
            continue
        best = max(others, key=lambda row: row.mean)
        pairs = _pairs(own, best)
        gains = f", by seed {', '.join(f'{gain:+.1f}' for gain in pairs)}" if len(pairs) > 1 else ""
        spread = max(own.spread, best.spread)
        word = "more" if own.mean - best.mean > spread else "no more"
        told_spread = f"; {word} than the spread, {spread:.1f}" if len(pairs) > 1 else ""
        yield (
            f"{section}, {network}: {own.setting} {own.mean - best.mean:+.1f} points against the best other, "
            f"{best.method}{gains}{told_spread}"
        )
    perfect, worst = ours.get(("networks", FULL)), ours.get(("networks", SILENT))
    if perfect is not None and worst is not None:
        yield (
            f"from the perfect network to the worst ours changes by {worst.mean - perfect.mean:+.1f} points"
        )


def _pairs(one: Row, other: Row) -> list[float]:
    """Differences with the same seed: the same data and links."""
    found = dict(zip(other.seeds, other.means, strict=True))
    return [mean - found[seed] for seed, mean in zip(one.seeds, one.means, strict=True) if seed in found]
