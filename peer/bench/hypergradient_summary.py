"""What the curves of `hyperpush bench hypergradient` come to: best settings, and the target."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.bench.hypergradient_cases import (
    ESTIMATORS,
    KNOWN,
    NETWORKS,
    NEUMANN,
    NEUMANN_TUNED,
    SILENT_LOSS,
    TARGET,
    TRACKING,
    Curve,
    Point,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHARE_AIMED_AT: Final = 10  # tracking is to need so many times fewer messages than neumann


@dataclass(frozen=True, slots=True)
class Summary:
    """One estimator on one network, at the setting that needs the fewest messages; medians over seeds."""

    agents: int
    network: str
    estimator: str
    setting: float
    error: float  # at the end; NaN: not finite
    messages: float  # to the target; inf where half of the seeds or more do not get there
    bytes: float
    curves: tuple[Curve, ...]  # of this setting, one per seed


def reached(curve: Curve) -> Point | None:
    """The first point at the target: of tracking, that after which it stays there.

    A lock-step estimator is given its best number of updates; agents go on and do not know when to stop.
    """
    points = curve.points
    if curve.task.estimator != TRACKING:
        return next((point for point in points if point.error <= TARGET), None)
    above = [index for index, point in enumerate(points) if not point.error <= TARGET]
    first = above[-1] + 1 if above else 0
    return points[first] if first < len(points) else None


def final_error(curve: Curve) -> float:
    """As `Summary.error`, of one curve. Not its lowest: estimates that go astray may pass by the truth."""
    return curve.points[-1].error


def summarize(curves: Iterable[Curve]) -> list[Summary]:
    """In the order of the table: by agents, network, estimator."""
    groups: dict[tuple[int, str, str], dict[float, list[Curve]]] = {}
    for curve in curves:
        task = curve.task
        key = (task.agents, task.network, task.estimator)
        groups.setdefault(key, {}).setdefault(task.setting, []).append(curve)
    found = []
    for key in sorted(groups, key=lambda k: (k[0], NETWORKS.index(k[1]), ESTIMATORS.index(k[2]))):
        choices = [_summary(key, setting, groups[key][setting]) for setting in sorted(groups[key])]
        found.append(min(choices, key=lambda one: (one.messages, _or_inf(one.error), one.setting)))
    return found


def _summary(key: tuple[int, str, str], setting: float, curves: list[Curve]) -> Summary:
    points = [reached(curve) for curve in sorted(curves, key=lambda one: one.task.seed)]
    errors = [_or_inf(final_error(curve)) for curve in curves]
    error = statistics.median(errors)
    return Summary(
        *key,
        setting=setting,
        error=error if error < math.inf else math.nan,
        messages=statistics.median_high([math.inf if p is None else float(p.messages) for p in points]),
        bytes=statistics.median_high([math.inf if p is None else float(p.bytes) for p in points]),
        curves=tuple(curves),
    )


def _or_inf(error: float) -> float:
    return error if math.isfinite(error) else math.inf


def envelope(curves: Sequence[Curve], *, by_bytes: bool = False) -> tuple[list[float], list[float]]:
    """Costs and errors of the best setting at every cost: steps down, from one seed's curves."""
    points = sorted(
        (float(point.bytes if by_bytes else point.messages), point.error)
        for curve in curves
        for point in curve.points
        if math.isfinite(point.error)
    )
    costs: list[float] = []
    errors: list[float] = []
    for cost, error in points:
        if cost > 0 and (not errors or error < errors[-1]):
            costs.append(cost)
            errors.append(error)
    return costs, errors


def verdict(summaries: Sequence[Summary]) -> list[str]:
    """Whether the target holds, one line for each swarm and for both step sizes of neumann."""
    at = {(one.agents, one.network, one.estimator): one for one in summaries}
    lines = []
    for agents in sorted({one.agents for one in summaries}):
        ours = at.get((agents, SILENT_LOSS, TRACKING))
        for rival in (NEUMANN, NEUMANN_TUNED):
            theirs = at.get((agents, KNOWN, rival))
            if ours is not None and theirs is not None:
                lines.append(_line(agents, ours, theirs))
    return lines


def _line(agents: int, ours: Summary, theirs: Summary) -> str:
    begin = f"{agents} agents, error {TARGET:.0e}: tracking at 40 % silent loss"
    if not ours.messages < math.inf:
        return f"{begin} does not get there ({ours.error:.1e}). Target missed."
    begin += f" {ours.messages:,.0f} messages; {theirs.estimator} on links known to be down"
    if not theirs.messages < math.inf:
        return f"{begin} does not get there ({theirs.error:.1e}). Target met."
    ratio = theirs.messages / ours.messages
    met = "met" if ratio >= SHARE_AIMED_AT else f"missed: {SHARE_AIMED_AT} are aimed at"
    return f"{begin} {theirs.messages:,.0f}, {ratio:,.1f} times as many. Target {met}."
