"""The rows of the tables of `hyperpush bench personalization`, and what they come to."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.bench.personalization_networks import FULL, SILENT
from peer.bench.personalization_plan import Chosen
from peer.bench.personalization_runs import (
    OURS,
    TUNED_WITH,
    Run,
    grid_of,
    place_of,
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
    means: tuple[float, ...]  # by seed: mean over agents, at the moment that was chosen
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
                chosen = plan.chosen(section, network, method, known)
                if chosen is not None:
                    found += _row(section, network, method, chosen, range(section.seeds), known)
    return found


def alone_and_combined(plan: Plan, known: Mapping[Run, Score]) -> list[Row]:
    """Every personalization of ours by itself, with the seed by which one of them was chosen."""
    found: list[Row] = []
    for section in plan.sections:
        if section.settings_of is None and OURS in plan.methods:
            for network in section.networks:
                for setting in range(len(grid_of(OURS))):
                    score = known.get(Run(section.scale, network, OURS, setting, TUNED_WITH))
                    if score is not None:
                        chosen = Chosen(setting, score.is_better_after)
                        found += _row(section, network, OURS, chosen, (TUNED_WITH,), known)
    return found


def _row(
    section: Section,
    network: str,
    method: str,
    chosen: Chosen,
    seeds: Sequence[int],
    known: Mapping[Run, Score],
) -> Iterator[Row]:
    """One, or none while nothing is known."""
    place = place_of(method, network)
    runs = [Run(section.scale, place, method, chosen.setting, seed) for seed in seeds]
    scores = {one.seed: known[one] for one in runs if one in known}
    if not scores:
        return

    moments = [score.at(chosen.after) for score in scores.values()]
    afters = [score.after.mean for score in scores.values() if score.after is not None]
    yield Row(
        section.name,
        network,
        method,
        told(grid_of(method)[chosen.setting]),
        tuple(scores),
        tuple(POINTS * moment.mean for moment in moments),
        POINTS * statistics.fmean(moment.bottom_decile for moment in moments),
        POINTS * statistics.fmean(score.before.mean for score in scores.values()),
        POINTS * statistics.fmean(afters) if len(afters) == len(scores) else math.nan,
        statistics.fmean(score.bytes for score in scores.values()) / 1e6,
        statistics.fmean(score.wall_s for score in scores.values()),
    )


def verdict(rows: Sequence[Row]) -> Iterator[str]:
    """Where our row is best, by how much, and what silent loss costs it; with equal seeds.

    Training alone on all labels is one of the others: ours learns from validation samples, too.
    """
    ours = {(row.section, row.network): row for row in rows if row.method == OURS}
    for (section, network), own in ours.items():
        there = [row for row in rows if (row.section, row.network) == (section, network)]
        others = [(gains, row) for row in there if row.method != OURS and (gains := _pairs(own, row))]
        if not others:
            continue
        gains, best = min(others, key=lambda one: statistics.fmean(one[0]))
        gain = statistics.fmean(gains)
        by_seed, compared = "", ""
        if len(gains) > 1:
            spread = max(own.spread, best.spread)
            by_seed = f", by seed {', '.join(f'{one:+.1f}' for one in gains)}"
            compared = f"; {'more' if gain > spread else 'no more'} than the spread, {spread:.1f}"
        yield (
            f"{section}, {network}: {own.setting} {gain:+.1f} points against the best other, "
            f"{best.method}{by_seed}{compared}"
        )
    perfect, silent = ours.get(("networks", FULL)), ours.get(("networks", SILENT))
    lost = _pairs(silent, perfect) if perfect is not None and silent is not None else []
    if lost:
        yield f"from the perfect network to silent loss ours changes by {statistics.fmean(lost):+.1f} points"


def _pairs(one: Row, other: Row) -> list[float]:
    """Differences with the same seed: the same data and links."""
    found = dict(zip(other.seeds, other.means, strict=True))
    return [mean - found[seed] for seed, mean in zip(one.seeds, one.means, strict=True) if seed in found]
