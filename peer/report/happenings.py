"""What went wrong when, on purpose or not: faults of links and events of agents on one line of time. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from peer.fault_words import describe
from peer.report.figure import (
    Figure,
    Picture,
    Table,
    axis,
    layout,
    numbers,
    plot_name,
    plot_text,
    rows_height,
    seconds,
    time_unit,
)
from peer.report.values import mapping, text
from wire import FaultPlan, FaultPlanError, LinkFaults
from wire.link_faults import FAULT_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.report.happenings_told import Happening
    from peer.report.run import Run

WINDOWS_MAX: Final = 16  # rows of faults
AGENTS_SHOWN_MAX: Final = 48
ROWS_TOLD_MAX: Final = 100  # of the table

KINDS: Final = {  # kind: what it is called, symbol, colour
    "Scenario": ("done by the scenario", "star", "theme:bad"),
    "WentOn": ("goes on after a restart", "diamond-open", "theme:good"),
    "FaultsSet": ("faults set meanwhile", "square", "theme:bad"),
    "PeerDeparted": ("takes a peer for gone", "x", "theme:bad"),
    "PeerQuarantined": ("does not believe a peer", "hexagram", "theme:bad"),
    "LinkDeaf": ("is not heard", "triangle-down", "theme:accent"),
    "LinkHeard": ("is heard again", "triangle-up", "theme:good"),
    "HyperRateLowered": ("hyperparameters slowed down", "diamond", "theme:accent"),
    "NonFiniteStep": ("gradient not finite", "cross", "theme:bad"),
    "EpochEntered": ("enters an epoch", "line-ns-open", "theme:run0"),
    "ListeningStarted": ("listens first", "circle-open", "theme:run0"),
    "PeerArrived": ("sees a peer", "circle-open", "theme:muted"),
}
QUIET: Final = ("PeerArrived", "EpochEntered", "ListeningStarted")  # as every start has them


class Trouble(NamedTuple):
    """Faults of some links for a while; `end_s` may be infinite."""

    start_s: float
    end_s: float
    where: str
    what: str
    is_cut: bool


def troubles(run: Run) -> tuple[str, list[Trouble]]:
    """The plan of faults: what links do all the time, and what for a while. "" if there is no plan."""
    try:
        plan = FaultPlan.from_dict(mapping(run.config.get("faults")))
    except FaultPlanError:
        return "", []
    base = describe(LinkFaults(*(getattr(plan, key) for key in FAULT_KEYS)))
    if plan.model is not None:
        base = f"{base}, then {plan.model}"
    found = [
        Trouble(
            one.start_s, one.end_s, _where(one.sources, one.targets), describe(one.faults), one.faults is None
        )
        for one in plan.windows
    ]
    return base, found


def time_line(run: Run, key: str, title: str) -> Figure | None:
    """One figure of one run; None if nothing happened."""
    _, planned = troubles(run)
    if not planned and not run.happenings:
        return None
    end_s = max([run.end_s, *(one.start_s for one in planned)]) or 1.0
    unit, unit_s = time_unit(end_s)
    agents = sorted({one.agent for one in run.happenings})[:AGENTS_SHOWN_MAX]
    windows = planned[:WINDOWS_MAX]
    rows = [f"{one.where}: {one.what}" for one in windows] + agents
    place = {agent: len(windows) + row for row, agent in enumerate(agents)}
    traces = [_window(one, row, end_s, unit_s) for row, one in enumerate(windows)]
    kinds = [kind for kind in (*KINDS, *sorted(set(run.happened) - set(KINDS))) if kind in run.happened]
    for kind in kinds:
        some = [one for one in run.happenings if one.kind == kind and one.agent in place]
        traces.append(_marks(kind, some, place, unit_s))
    picture: Picture = {
        "data": traces,
        "layout": layout(
            xaxis=axis(unit, range=[-0.02 * end_s / unit_s, 1.02 * end_s / unit_s], zeroline=False),
            yaxis=axis(
                tickmode="array",
                tickvals=list(range(len(rows))),
                ticktext=[plot_name(row) for row in rows],
                range=[len(rows) - 0.4, -0.6],
                zeroline=False,
            ),
        ),
    }
    told = [f"{_times(run.happened[kind])}: {KINDS.get(kind, (kind,))[0]}" for kind in kinds]
    sentence = "Bars are faults of links, marks are what happened to agents. " if windows else ""
    sentence += f"{'; '.join(told)}." if told else "Nothing else happened."
    if len(planned) > len(windows):
        sentence += f" The first {len(windows)} of {len(planned)} faults are shown."
    heading = f"What happened when{title}"
    height = rows_height(len(rows), 24, 130 + 22 * math.ceil(len(kinds) / 3))
    return Figure(key, heading, sentence, picture, _table(run, planned), height)


def _where(sources: Sequence[str] | None, targets: Sequence[str] | None) -> str:
    if sources is None and targets is None:
        return "all links"
    sides = ("all" if side is None else " ".join(side) for side in (sources, targets))
    return text(" → ".join(sides))


def _window(one: Trouble, row: int, end_s: float, unit_s: float) -> Picture:
    """A bar from its beginning to its end, or to that of the run."""
    last = min(one.end_s, end_s)
    until = "for good" if math.isinf(one.end_s) else f"until {seconds(one.end_s)}"
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([one.start_s / unit_s, last / unit_s]),
        "y": [row, row],
        "line": {"width": 11, "color": "theme:bad" if one.is_cut else "theme:accent"},
        "opacity": 0.75,
        "hovertext": plot_text(f"{one.where}: {one.what}, from {seconds(one.start_s)} {until}"),
        "hoverinfo": "text",
        "showlegend": False,
    }


def _marks(kind: str, some: Sequence[Happening], place: dict[str, int], unit_s: float) -> Picture:
    label, symbol, colour = KINDS.get(kind, (kind, "circle", "theme:muted"))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([one.at_s / unit_s for one in some]),
        "y": [place[one.agent] for one in some],
        "marker": {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 1.6, "color": colour}},
        "name": plot_text(label),
        "hovertext": [plot_text(f"{seconds(one.at_s)}: {one.agent} {one.told}") for one in some],
        "hoverinfo": "text",
        "visible": True if kind not in QUIET[:1] else "legendonly",
    }


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _table(run: Run, planned: Sequence[Trouble]) -> Table:
    """What was planned, and what happened that does not happen at every start."""
    rows = [
        (seconds(one.start_s), "–" if math.isinf(one.end_s) else seconds(one.end_s), one.where, one.what)
        for one in planned
    ]
    loud = [one for one in run.happenings if one.kind not in QUIET]
    rows += [(seconds(one.at_s), "", one.agent, one.told) for one in loud]
    left = len(rows) - ROWS_TOLD_MAX
    rows = rows[:ROWS_TOLD_MAX]
    if left > 0:
        rows.append(("", "", "", f"{left} more are in events.jsonl"))
    rows += [
        ("", "", "all agents", f"{_times(run.happened[kind])}: {KINDS[kind][0]}")
        for kind in QUIET
        if kind in run.happened
    ]
    return Table(("from", "until", "where", "what"), tuple(rows), numeric=4)
