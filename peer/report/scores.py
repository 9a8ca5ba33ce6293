"""What each agent has come to, beside what it would have reached alone; and what it sent for that. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from peer.report.figure import (
    Figure,
    Picture,
    Table,
    axis,
    layout,
    megabytes,
    numbers,
    plot_name,
    plot_text,
    rows_height,
    run_colour,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.report.run import Result, Run, Scored

AGENTS_SHOWN_MAX: Final = 48  # rows; of more those with the smallest and the largest gain
SYMBOLS: Final = (
    "circle-open",
    "diamond-open",
    "square",
    "circle",
    "triangle-up",
    "triangle-down",
    "star",
    "x",
)
BEFORE_AND_AFTER: Final = {"accuracy": ("local_all", "personal"), "loss": ("initial", "learned")}
TITLES: Final = {
    "accuracy": ("Accuracy of every agent", "accuracy on test samples"),
    "error": ("Errors of every agent", "relative error"),
    "loss": ("Validation loss of every agent", "validation loss"),
}


def score_figures(runs: Sequence[Run]) -> list[Figure]:
    """Of all runs whose results are of one kind; others are of their own tasks and have a figure each."""
    kinds = list(dict.fromkeys(run.result.kind for run in runs if run.result and run.result.agents))
    found = []
    for kind in kinds:
        if kind in TITLES:
            some = [(index, run, run.result) for index, run in enumerate(runs) if run.result]
            found.append(_figure(kind, [one for one in some if one[2].kind == kind and one[2].agents], runs))
    return found


def _figure(kind: str, found: Sequence[tuple[int, Run, Result]], runs: Sequence[Run]) -> Figure:
    several = len(runs) > 1
    columns = dict(found[0][2].columns)
    for _, _, result in found[1:]:
        columns |= result.columns
    if several and kind in BEFORE_AND_AFTER and all(name in columns for name in BEFORE_AND_AFTER[kind]):
        columns = {name: columns[name] for name in BEFORE_AND_AFTER[kind]}
    names = _ordered(kind, found)
    shown_names = names
    if len(names) > AGENTS_SHOWN_MAX:
        half = AGENTS_SHOWN_MAX // 2
        shown_names = [*names[:half], *names[-half:]]
    place = {name: row for row, name in enumerate(shown_names)}
    traces: list[Picture] = []
    for order, (index, run, result) in enumerate(found):
        offset = 0.0 if len(found) == 1 else 0.5 * (order / (len(found) - 1) - 0.5)
        scored = [one for one in result.agents if one.agent in place]
        rows = [place[one.agent] + offset for one in scored]
        traces += _gain_lines(kind, scored, rows, index, several=several)
        for number, (column, label) in enumerate(columns.items()):
            is_own = several or column in ("personal", "learned")
            colour = run_colour(index) if is_own else "theme:muted"
            values = [one.scores.get(column, math.nan) for one in scored]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": numbers(values),
                    "y": rows,
                    "marker": {
                        "symbol": SYMBOLS[_symbol(column, number)],
                        "size": 10,
                        "color": colour,
                        "line": {"width": 1.6, "color": colour},
                    },
                    "name": plot_text(f"{run.name}: {label}" if several else label),
                    "hovertext": [
                        plot_text(f"{one.agent}, {label}: {_form(kind, value)}")
                        for one, value in zip(scored, values, strict=True)
                    ],
                    "hoverinfo": "text",
                }
            )
    heading, title = TITLES[kind]
    scale: Picture = {"type": "log", "exponentformat": "power"} if kind == "error" else {}
    picture: Picture = {
        "data": traces,
        "layout": layout(
            xaxis=axis(title, zeroline=False, **scale),
            yaxis=axis(
                tickmode="array",
                tickvals=list(range(len(shown_names))),
                ticktext=[plot_name(name) for name in shown_names],
                range=[len(shown_names) - 0.4, -0.6],
                zeroline=False,
            ),
        ),
    }
    sentence = " ".join(_sentence(kind, run, result, several=several) for _, run, result in found)
    sentence = sentence if several else sentence[0].upper() + sentence[1:]
    if kind in BEFORE_AND_AFTER:
        before, after = (columns.get(name, name) for name in BEFORE_AND_AFTER[kind])
        sentence += f" The line of each goes from {before} to {after}."
    if len(shown_names) < len(names):
        sentence += f" {len(shown_names)} of {len(names)} agents are shown, those that gain least and most."
    table = _table(kind, found, columns, several=several)
    height = rows_height(len(shown_names), 24 if len(found) == 1 else 20 + 8 * len(found), 150)
    return Figure(f"scores-{kind}", heading, sentence, picture, table, height)


def _symbol(column: str, number: int) -> int:
    """The same for a score whatever else is shown."""
    fixed = {"local": 0, "local_all": 1, "initial": 1, "shared": 2, "personal": 3, "learned": 3}
    return fixed.get(column, number % len(SYMBOLS))


def _form(kind: str, value: float) -> str:
    return shown(value, ".1e" if kind == "error" else ".3f")


def _gain(kind: str, one: Scored) -> float:
    """By how much it is better off than before or alone; NaN where that is not known."""
    if kind not in BEFORE_AND_AFTER:
        return math.nan
    before, after = BEFORE_AND_AFTER[kind]
    gain = one.scores.get(after, math.nan) - one.scores.get(before, math.nan)
    return -gain if kind == "loss" else gain


def _ordered(kind: str, found: Sequence[tuple[int, Run, Result]]) -> list[str]:
    """Names of all agents, by name; of more than are shown by the gain in the first run that has them."""
    gains: dict[str, float] = {}
    for _, _, result in found:
        for one in result.agents:
            gains.setdefault(one.agent, _gain(kind, one))
    names = sorted(gains)
    if len(names) <= AGENTS_SHOWN_MAX:
        return names
    return sorted(names, key=lambda name: -gains[name] if math.isfinite(gains[name]) else math.inf)


def _gain_lines(
    kind: str, scored: Sequence[Scored], rows: Sequence[float], index: int, *, several: bool
) -> list[Picture]:
    """From before to after, in one colour for gains and in one for losses."""
    if kind not in BEFORE_AND_AFTER:
        return []
    before, after = BEFORE_AND_AFTER[kind]
    found = []
    for is_gain in (True, False):
        x: list[float | None] = []
        y: list[float | None] = []
        for one, row in zip(scored, rows, strict=True):
            gain = _gain(kind, one)
            if math.isfinite(gain) and (gain >= 0) is is_gain:
                x += [*numbers([one.scores[before], one.scores[after]]), None]
                y += [row, row, None]
        if x:
            colour = run_colour(index) if several else "theme:good" if is_gain else "theme:bad"
            line: dict[str, Any] = {"width": 3, "color": colour, "dash": "solid" if is_gain else "dot"}
            name = "better off than before" if kind == "loss" else "better off than alone"
            found.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x,
                    "y": y,
                    "line": line,
                    "opacity": 0.55,
                    "hoverinfo": "skip",
                    "name": name if is_gain else name.replace("better", "worse"),
                    "showlegend": not several,
                }
            )
    return found


def _sentence(kind: str, run: Run, result: Result, *, several: bool) -> str:
    who = f"{run.name}: " if several else ""
    if kind in BEFORE_AND_AFTER:
        gains = [gain for one in result.agents if math.isfinite(gain := _gain(kind, one))]
        if not gains:
            return f"{who}there is nothing to compare with."
        return f"{who}{sum(gain > 0 for gain in gains)} of {len(gains)} agents are better off."
    worst = max((value for one in result.agents for value in one.scores.values()), default=math.nan)
    return f"{who}the largest error is {_form(kind, worst)}, relative to the length of the answer."


def _table(
    kind: str, found: Sequence[tuple[int, Run, Result]], columns: dict[str, str], *, several: bool
) -> Table:
    has_gain = kind in BEFORE_AND_AFTER
    headings = (*(("run",) if several else ()), "agent", *columns.values(), *(("gain",) if has_gain else ()))
    rows = []
    for _, run, result in found:
        for one in result.agents:
            cells = [run.name, one.agent] if several else [one.agent]
            cells += [_form(kind, one.scores.get(column, math.nan)) for column in columns]
            if has_gain:
                gain = _gain(kind, one)
                cells.append(shown(100 * gain, "+.1f") if kind == "accuracy" else shown(gain, "+.3f"))
            rows.append(tuple(cells))
    return Table(headings, tuple(rows), numeric=2 if several else 1)


def traffic_figure(runs: Sequence[Run]) -> Figure | None:
    """Bytes that every agent has sent, a bar each."""
    found = []
    for index, run in enumerate(runs):
        sent = _sent(run)
        if sent:
            found.append((index, run, sent))
    if not found:
        return None
    several = len(runs) > 1
    names = sorted({name for _, _, sent in found for name in sent})[:AGENTS_SHOWN_MAX]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": list(range(len(names))),
            "x": numbers([sent.get(name, {}).get("bytes_sent", math.nan) for name in names]),
            "marker": {"color": run_colour(index)},
            "name": plot_name(run.name),
            "hovertext": [plot_text(f"{name}: {_told(sent.get(name, {}))}") for name in names],
            "hoverinfo": "text",
        }
        for index, run, sent in found
    ]
    picture: Picture = {
        "data": traces,
        "layout": layout(
            barmode="group",
            bargap=0.3,
            showlegend=several,
            xaxis=axis("bytes sent", ticksuffix="B", exponentformat="SI"),
            yaxis=axis(
                tickmode="array",
                tickvals=list(range(len(names))),
                ticktext=[plot_name(name) for name in names],
                autorange="reversed",
            ),
        ),
    }
    totals = []
    for _, run, sent in found:
        total = sum(value for row in sent.values() if math.isfinite(value := row.get("bytes_sent", math.nan)))
        who = f"{run.name}: " if several else "All agents together: "
        totals.append(f"{who}{megabytes(total)} in {len(sent)} agents' messages.")
    names_of = ("sent", "replaced", "unsent", "received", "gaps", "stale", "lost_by_faults")
    headings = (
        *(("run",) if several else ()),
        "agent",
        "bytes",
        *(name.replace("_", " ") for name in names_of),
    )
    rows = tuple(
        (
            *((run.name,) if several else ()),
            name,
            megabytes(row.get("bytes_sent", math.nan)),
            *(shown(row.get(one, math.nan), ",.0f") for one in names_of),
        )
        for _, run, sent in found
        for name, row in sorted(sent.items())
    )
    sentence = " ".join(totals) + " Replaced: by a newer one while it waited. Gaps: numbers that never came."
    table = Table(headings, rows, numeric=2 if several else 1)
    height = rows_height(len(names), 18 + 8 * len(found), 100)
    return Figure("traffic", "What every agent sent", sentence, picture, table, height)


def _sent(run: Run) -> dict[str, dict[str, float]]:
    """Numbers of messages by agent: of the results, or as they were last."""
    found: dict[str, dict[str, float]] = {}
    for moment in run.moments:
        found |= {
            agent: dict(row) for agent, row in moment.agents.items() if math.isfinite(row["bytes_sent"])
        }
    for one in run.result.agents if run.result else ():
        if math.isfinite(one.messages.get("bytes_sent", math.nan)):
            found[one.agent] = dict(one.messages)
    return found


def _told(row: dict[str, float]) -> str:
    sent, received, gaps = (row.get(name, math.nan) for name in ("bytes_sent", "received", "gaps"))
    return f"{megabytes(sent)}; {shown(received, ',.0f')} received, {shown(gaps, ',.0f')} missing"
