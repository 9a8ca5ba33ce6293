"""What agents have learned for themselves: hyperparameters at the end and over time. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from peer.report.curves import Chart, Course, Measure, chart_figure
from peer.report.figure import (
    Figure,
    Picture,
    Table,
    axis,
    colour_bar,
    layout,
    numbers,
    plot_name,
    plot_text,
    rows_height,
    shown,
    time_unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peer.report.run import Run

AGENTS_SHOWN_MAX: Final = 48
ENTRIES_SHOWN_MAX: Final = 64
WRITTEN_MAX: Final = 12  # columns with the number in each cell
FIGURES_MAX: Final = 6  # heat maps of one run
TIMES_AGENTS_MAX: Final = 16  # with a heat map over time each, one of which is seen
CLASS_WEIGHTS: Final = "class-weights.score"

LOG_MAX: Final = math.log(10)  # as `peer.personalization.class_weights` bounds the logarithm of a weight


def class_weight(score: float) -> float:
    """By what a sample of the class counts, 1/10 to 10, before weights are normalised."""
    return math.exp(LOG_MAX * math.tanh(score / LOG_MAX)) if math.isfinite(score) else math.nan


def moved(run: Run) -> Course:
    """How far the hyperparameters of each agent have moved since they were first seen: root mean square."""
    at_s = tuple(time for time, _ in run.hypers.moments)
    first: dict[str, tuple[float, ...]] = {}
    rows: dict[str, list[float]] = {}
    for index, (_, agents) in enumerate(run.hypers.moments):
        for agent, named in agents.items():
            flat = tuple(value for _, values in sorted(named.items()) for value in values)
            start = first.setdefault(agent, flat)
            row = rows.setdefault(agent, [math.nan] * len(at_s))
            if flat and len(start) == len(flat):
                squares = [(now - then) ** 2 for now, then in zip(flat, start, strict=True)]
                row[index] = math.sqrt(sum(squares) / len(squares))
    columns = [
        [row[index] for row in rows.values() if math.isfinite(row[index])] for index in range(len(at_s))
    ]
    return Course(
        at_s,
        {agent: tuple(row) for agent, row in rows.items()},
        tuple(sum(column) / len(column) if column else math.nan for column in columns),
        tuple(min(column, default=math.nan) for column in columns),
        tuple(max(column, default=math.nan) for column in columns),
    )


MOVED: Final = Chart(
    "moved",
    "How far hyperparameters have moved",
    "root mean square",
    (Measure("moved", moved),),
    lambda value: shown(value, ".3g"),
    explained="The root mean square of all entries' change since the beginning.",
)


def moved_figure(runs: Sequence[Run]) -> Figure | None:
    """Of all runs; None where there are no hyperparameters."""
    return chart_figure(MOVED, runs)


def hyper_figures(run: Run, key: str, title: str) -> list[Figure]:
    """Heat maps of one run at the end, and of its agents over time; `key`, `title` tell runs apart."""
    last = run.hypers.last
    names = sorted({name for named in last.values() for name in named})
    many = [name for name in names if 1 < _longest(run, name) <= ENTRIES_SHOWN_MAX]
    found = [
        _heat(run, name, f"{key}hyper-{number}", title) for number, name in enumerate(many[:FIGURES_MAX])
    ]
    single = [name for name in names if _longest(run, name) == 1]
    if single:
        found.append(_singles(run, single, f"{key}hyper-single", title))
    if many:
        over_time = _over_time(run, many[0], f"{key}hyper-times", title)
        found += [over_time] if over_time is not None else []
    return found


def range_table(run: Run) -> Table | None:
    """Of hyperparameters that are too long to be shown entry by entry."""
    rows = tuple(
        (name, agent, *(shown(value, ".4g") for value in values))
        for name, agents in sorted(run.hypers.ranges.items())
        for agent, values in sorted(agents.items())
    )
    headings = ("hyperparameter", "agent", "entries", "least", "median", "most")
    return Table(headings, rows, numeric=2) if rows else None


def _longest(run: Run, name: str) -> int:
    return max(len(named.get(name, ())) for named in run.hypers.last.values())


def _reading(name: str) -> tuple[str, Callable[[float], float], Callable[[float], str]]:
    """What an entry means: what it is called, its place on the scale of colours, and how it is written."""
    if name == CLASS_WEIGHTS:
        return (
            "weight of the class",
            lambda score: math.log10(class_weight(score)),
            lambda score: f"×{class_weight(score):.2f}" if math.isfinite(score) else "–",
        )
    return name, lambda value: value, lambda value: shown(value, "+.3f")


def _entries(run: Run, name: str) -> list[str]:
    """What the entries are called; numbers where the run does not say."""
    longest = _longest(run, name)
    told = run.hypers.entries.get(name, ())
    return list(told) if len(told) == longest else [str(index) for index in range(longest)]


def _colours(name: str, values: Sequence[Sequence[float]], place: Callable[[float], float]) -> Picture:
    """A scale around nothing learned, as wide as the largest entry."""
    known = [abs(place(value)) for row in values for value in row if math.isfinite(value)]
    widest = max(known, default=0.0) or 1.0
    bar = colour_bar()
    if name == CLASS_WEIGHTS:
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if abs(math.log10(tick)) <= widest]
        bar |= {
            "tickvals": numbers([math.log10(tick) for tick in ticks]),
            "ticktext": [f"×{t:g}" for t in ticks],
        }
    return {"zmin": -widest, "zmax": widest, "colorscale": "theme:spread", "colorbar": bar}


def _heat(run: Run, name: str, key: str, title: str) -> Figure:
    """A row for each agent, a column for each entry."""
    label, place, form = _reading(name)
    last = run.hypers.last
    agents = [agent for agent in sorted(last) if name in last[agent]]
    shown_agents, entries = agents[:AGENTS_SHOWN_MAX], _entries(run, name)
    rows = [_padded(last[agent][name], len(entries)) for agent in shown_agents]
    heat: Picture = {
        "type": "heatmap",
        "x": list(range(len(entries))),
        "y": list(range(len(shown_agents))),
        "z": [numbers([place(value) for value in row]) for row in rows],
        "xgap": 1,
        "ygap": 1,
        **_colours(name, rows, place),
        "hovertext": [
            [plot_text(f"{agent}, {entry}: {form(value)}") for entry, value in zip(entries, row, strict=True)]
            for agent, row in zip(shown_agents, rows, strict=True)
        ],
        "hoverinfo": "text",
    }
    if len(entries) <= WRITTEN_MAX:
        heat |= {
            "text": [[_in_cell(name, value) for value in row] for row in rows],
            "texttemplate": "%{text}",
            "textfont": {"size": 10},
        }
    picture: Picture = {"data": [heat], "layout": layout(**_axes(entries, shown_agents, "entry"))}
    sentence = (
        f"{label[0].upper()}{label[1:]} of every agent at the end. {_extremes(name, agents, entries, run)}"
    )
    if len(agents) > len(shown_agents):
        sentence += f" The first {len(shown_agents)} of {len(agents)} agents are shown."
    table = Table(
        ("agent", *entries),
        tuple(
            (agent, *(form(value) for value in _padded(last[agent][name], len(entries)))) for agent in agents
        ),
    )
    return Figure(
        key, f"Hyperparameter {name}{title}", sentence, picture, table, rows_height(len(shown_agents))
    )


def _in_cell(name: str, value: float) -> str:
    """Short enough for a cell on a phone."""
    if name == CLASS_WEIGHTS or not math.isfinite(value):
        return _reading(name)[2](value).replace("×0.", "×.")
    return f"{value:+.2f}".replace("+0.", "+.").replace("-0.", "-.")


def _axes(columns: Sequence[str], rows: Sequence[str], title: str) -> Picture:
    ticks: Picture = {"tickmode": "array", "showgrid": False, "zeroline": False}
    every = max(1, len(columns) // 20)
    picked = list(range(0, len(columns), every))
    return {
        "xaxis": axis(
            title, **ticks, tickvals=picked, ticktext=[plot_name(columns[index]) for index in picked]
        ),
        "yaxis": axis(
            **ticks,
            tickvals=list(range(len(rows))),
            ticktext=[plot_name(name) for name in rows],
            autorange="reversed",
        ),
    }


def _extremes(name: str, agents: Sequence[str], entries: Sequence[str], run: Run) -> str:
    """Where the smallest and the largest entry are."""
    _, _, form = _reading(name)
    cells = [
        (value, agent, entry)
        for agent in agents
        for entry, value in zip(entries, run.hypers.last[agent][name], strict=False)
        if math.isfinite(value)
    ]
    if not cells:
        return "None of them is a number."
    (low, who_low, what_low), (high, who_high, what_high) = min(cells), max(cells)
    told = f"From {form(low)} ({who_low}, entry {what_low}) to {form(high)} ({who_high}, entry {what_high})."
    return f"{told} 0 is where all began." if name != CLASS_WEIGHTS else f"{told} ×1 is where all began."


def _singles(run: Run, names: Sequence[str], key: str, title: str) -> Figure:
    """Hyperparameters that are one number, a row each, a mark for each agent."""
    last = run.hypers.last
    agents = sorted(last)
    points = [
        (row, agent, name, last[agent][name][0])
        for row, name in enumerate(names)
        for agent in agents
        if last[agent].get(name)
    ]
    picture: Picture = {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers([value for _, _, _, value in points]),
                "y": [row for row, _, _, _ in points],
                "marker": {"size": 10, "opacity": 0.7, "color": "theme:run0"},
                "hovertext": [
                    plot_text(f"{agent}, {name}: {shown(value, '.4g')}") for _, agent, name, value in points
                ],
                "hoverinfo": "text",
                "showlegend": False,
            }
        ],
        "layout": layout(
            xaxis=axis("value"),
            yaxis=axis(
                tickmode="array",
                tickvals=list(range(len(names))),
                ticktext=[plot_name(name) for name in names],
                range=[len(names) - 0.5, -0.5],
                zeroline=False,
            ),
        ),
    }
    table = Table(
        ("agent", *names),
        tuple(
            (agent, *(shown((last[agent].get(name) or (math.nan,))[0], ".4g") for name in names))
            for agent in agents
        ),
    )
    sentence = (
        f"Hyperparameters that are a single number: a row each, with a mark for each of {len(agents)} agents."
    )
    heading = f"Single hyperparameters{title}"
    return Figure(key, heading, sentence, picture, table, rows_height(len(names), 30, 100))


def _over_time(run: Run, name: str, key: str, title: str) -> Figure | None:
    """A heat map of entries by time for each agent; a menu says whose is seen."""
    _, place, form = _reading(name)
    entries = _entries(run, name)
    times = [at_s for at_s, _ in run.hypers.moments]
    agents = [agent for agent in sorted(run.hypers.last) if name in run.hypers.last[agent]][:TIMES_AGENTS_MAX]
    if len(times) < 3 or not agents:
        return None
    unit, unit_s = time_unit(max(run.end_s, times[-1]))
    columns = {
        agent: [_padded(rows.get(agent, {}).get(name, ()), len(entries)) for _, rows in run.hypers.moments]
        for agent in agents
    }
    scale = _colours(name, [column for table in columns.values() for column in table], place)
    traces: list[Picture] = [
        {
            "type": "heatmap",
            "x": numbers([at_s / unit_s for at_s in times]),
            "y": list(range(len(entries))),
            "z": [
                numbers([place(column[entry]) for column in columns[agent]]) for entry in range(len(entries))
            ],
            **scale,
            "visible": agent == agents[0],
            "hovertext": [
                [plot_text(f"{agent}, {label}: {form(column[entry])}") for column in columns[agent]]
                for entry, label in enumerate(entries)
            ],
            "hoverinfo": "text+x",
        }
        for agent in agents
    ]
    buttons = [
        {
            "label": plot_name(agent),
            "method": "update",
            "args": [{"visible": [other == agent for other in agents]}],
        }
        for agent in agents
    ]
    menu: Picture = {
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.04,
        "yanchor": "bottom",
        "bgcolor": "theme:paper",
        "bordercolor": "theme:grid",
        "font": {"color": "theme:ink"},
        "showactive": False,
    }
    axes = _axes([], entries, unit)
    axes["xaxis"] = axis(unit, showgrid=False, zeroline=False)
    picture: Picture = {
        "data": traces,
        "layout": layout(**axes, updatemenus=[menu], margin={"l": 60, "r": 14, "t": 52, "b": 44}),
    }
    rows = tuple(
        (
            agent,
            *(
                f"{form(_first(columns[agent], entry))} → {form(columns[agent][-1][entry])}"
                for entry in range(len(entries))
            ),
        )
        for agent in agents
    )
    sentence = f"Every entry of {name} over time, of the agent that the menu names."
    table = Table(("agent, first and last", *entries), rows)
    heading = f"{name} over time{title}"
    return Figure(key, heading, sentence, picture, table, rows_height(len(entries), 20, 150))


def _first(columns: Sequence[Sequence[float]], entry: int) -> float:
    return next((column[entry] for column in columns if math.isfinite(column[entry])), math.nan)


def _padded(values: Sequence[float], length: int) -> list[float]:
    return [*values[:length], *[math.nan] * (length - len(values))]
