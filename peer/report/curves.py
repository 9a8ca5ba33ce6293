"""Curves over time: means over agents, in a band from the lowest to the highest. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.report.figure import (
    Figure,
    Picture,
    Table,
    axis,
    band_colour,
    layout,
    megabytes,
    numbers,
    percent,
    plot_name,
    plot_text,
    run_colour,
    shown,
    sparkline,
    time_unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peer.report.run import Run

AGENT_LINES_MAX: Final = 16  # thin lines; more would only be another band
LABELLED_DECADES: Final = 2.5  # of a logarithmic axis; of more only powers of ten have room for a label
TIMES_TOLD: Final = 7  # rows of a table


@dataclass(frozen=True, slots=True)
class Course:
    """One number over time: by agent, and of all of them together."""

    at_s: tuple[float, ...]
    agents: dict[str, tuple[float, ...]]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def known(self) -> list[tuple[float, float]]:
        """Times at which there is a number, and the number."""
        pairs = zip(self.at_s, self.middle, strict=True)
        return [(at_s, value) for at_s, value in pairs if math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class Measure:
    """What one line shows, and how."""

    name: str
    course: Callable[[Run], Course]
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Chart:
    """What one figure shows."""

    key: str
    heading: str
    axis: str
    measures: tuple[Measure, ...]
    form: Callable[[float], str]
    is_log: bool = False
    explained: str = ""


def mean_of(name: str) -> Callable[[Run], Course]:
    """The mean over the agents that have the number then."""

    def course(run: Run) -> Course:
        at_s = tuple(moment.at_s for moment in run.moments)
        names = dict.fromkeys(agent for moment in run.moments for agent in moment.agents)
        rows = {
            agent: tuple(moment.agents.get(agent, {}).get(name, math.nan) for moment in run.moments)
            for agent in names
        }
        columns = [
            [value for row in rows.values() if math.isfinite(value := row[index])]
            for index in range(len(at_s))
        ]
        return Course(
            at_s,
            rows,
            tuple(statistics.fmean(column) if column else math.nan for column in columns),
            tuple(min(column, default=math.nan) for column in columns),
            tuple(max(column, default=math.nan) for column in columns),
        )

    return course


def sent_bytes(run: Run) -> Course:
    """Of all agents together, since the run began; an agent that comes back counts anew, and is added."""
    at_s = tuple(moment.at_s for moment in run.moments)
    total, sums = 0.0, []
    before: dict[str, float] = {}
    for moment in run.moments:
        for agent, row in moment.agents.items():
            last = before.get(agent, 0.0)
            before[agent] = now = row["bytes_sent"]
            total += now - last if now >= last else now
        sums.append(total)
    found = tuple(sums)
    return Course(at_s, {}, found, found, found)


def missing_share(run: Run) -> Course:
    """Messages that did not arrive, of all that were sent to the agents since the time before."""
    at_s = tuple(moment.at_s for moment in run.moments)
    shares = []
    before: dict[str, tuple[float, float]] = {}
    for moment in run.moments:
        came = missing = 0.0
        for agent, row in moment.agents.items():
            received, gaps = row["received"], row["gaps"]
            last_received, last_gaps = before.get(agent, (0.0, 0.0))
            if received < last_received or gaps < last_gaps:  # it counts anew
                last_received = last_gaps = 0.0
            before[agent] = (received, gaps)
            came += received - last_received
            missing += gaps - last_gaps
        shares.append(missing / (came + missing) if came + missing else math.nan)
    found = tuple(shares)
    return Course(at_s, {}, found, found, found)


def _short(value: float) -> str:
    return shown(value, ".1e")


CHARTS: Final = (
    Chart(
        "losses",
        "Losses",
        "loss",
        (
            Measure("validation", mean_of("validation_loss")),
            Measure("training", mean_of("training_loss"), "dot"),
        ),
        shown,
        explained="Everybody minimises the training losses together; "
        "hyperparameters are chosen for the validation losses.",
    ),
    Chart(
        "accuracies",
        "Accuracy on test samples",
        "accuracy",
        (Measure("personal", mean_of("personal")), Measure("shared", mean_of("shared"), "dot")),
        shown,
        explained="Shared is the model that all learn together, personal the one that an agent uses.",
    ),
    Chart(
        "hypergradient",
        "Length of the hypergradients",
        "|hypergradient|",
        (Measure("|hypergradient|", mean_of("hypergradient_norm")),),
        _short,
        is_log=True,
        explained="The derivative of everybody's validation loss by an agent's hyperparameters: "
        "0 where nothing is left to gain.",
    ),
    Chart(
        "residual",
        "Residual",
        "residual",
        (Measure("residual", mean_of("residual")),),
        _short,
        is_log=True,
        explained="How far an agent is from settled: 1 at the start, 0 when settled.",
    ),
    Chart(
        "bytes",
        "Bytes sent",
        "bytes",
        (Measure("all agents together", sent_bytes),),
        megabytes,
        explained="Of messages, all agents together, lost ones included.",
    ),
    Chart(
        "missing",
        "Messages that did not arrive",
        "share missing",
        (Measure("share missing", missing_share),),
        percent,
        explained="Lost or late, of those sent since the time before; nothing is sent again.",
    ),
)


def curves(runs: Sequence[Run]) -> list[Figure]:
    """One figure for each chart of which there is something to see."""
    return [figure for chart in CHARTS if (figure := chart_figure(chart, runs)) is not None]


def chart_figure(chart: Chart, runs: Sequence[Run]) -> Figure | None:
    """The figure; None if there is nothing to see."""
    found = [(measure, [measure.course(run) for run in runs]) for measure in chart.measures]
    found = [(measure, courses) for measure, courses in found if any(len(one.known) > 1 for one in courses)]
    if not found:
        return None
    unit, unit_s = time_unit(max(run.end_s for run in runs))
    traces: list[Picture] = []
    for measure, courses in reversed(found):
        for index, course in enumerate(courses):
            is_main = measure is found[0][0]
            traces += _lines(chart, measure, course, index, runs, unit_s, is_main=is_main)
    kinds: Picture = {}
    if chart.is_log:
        kinds = {"type": "log", "exponentformat": "power", "dtick": _log_ticks(found[0][1])}
    if chart.form is percent:
        kinds = {"tickformat": ".0%", "rangemode": "tozero"}
    if chart.form is megabytes:
        kinds = {"rangemode": "tozero", "ticksuffix": "B", "exponentformat": "SI"}
    picture: Picture = {
        "data": traces,
        "layout": layout(
            xaxis=axis(unit),
            yaxis=axis(chart.axis, **kinds),
            hovermode="x unified",
            showlegend=len(found) * len(runs) > 1,
        ),
    }
    first_course = found[0][1][0]
    return Figure(
        chart.key,
        chart.heading,
        " ".join([*_told(chart, found, runs), chart.explained]),
        picture,
        _table(chart, found, runs, unit, unit_s),
        spark=sparkline(first_course.middle) if len(runs) == 1 else "",
    )


def _log_ticks(courses: Sequence[Course]) -> str | int:
    """At 1, 2 and 5 where there are few decades, else at every one, two, ... of them."""
    ends = [value for course in courses for value in (*course.low, *course.high) if value > 0]
    decades = math.log10(max(ends) / min(ends)) if ends else 0.0
    return "D2" if decades < LABELLED_DECADES else math.ceil(decades / 8)


def _lines(
    chart: Chart,
    measure: Measure,
    course: Course,
    index: int,
    runs: Sequence[Run],
    unit_s: float,
    *,
    is_main: bool,
) -> list[Picture]:
    """Of the main measure with its band, and of one run alone with a thin line for each agent."""
    times = numbers([at_s / unit_s for at_s in course.at_s])
    colour, traces = run_colour(index), []
    many = len(course.agents) > 1
    if is_main and many:
        known = [
            (time, low, high)
            for time, low, high in zip(times, course.low, course.high, strict=True)
            if math.isfinite(low) and math.isfinite(high) and not (chart.is_log and low <= 0)
        ]
        around = [*known, *reversed(known)]
        traces.append(
            {
                "type": "scatter",
                "x": [time for time, _, _ in around],
                "y": numbers([high for _, _, high in known] + [low for _, low, _ in reversed(known)]),
                "fill": "toself",
                "fillcolor": band_colour(index),
                "line": {"width": 0, "color": band_colour(index)},
                "mode": "lines",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    if is_main and many and len(runs) == 1 and len(course.agents) <= AGENT_LINES_MAX:
        traces += [
            {
                "type": "scatter",
                "mode": "lines",
                "x": times,
                "y": numbers(row),
                "connectgaps": True,
                "line": {"width": 1, "color": "theme:faint"},
                "name": plot_name(agent),
                "hoverinfo": "skip",
                "showlegend": False,
            }
            for agent, row in course.agents.items()
        ]
    name = measure.name if len(runs) == 1 else plot_name(runs[index].name)
    if len(runs) > 1 and len(chart.measures) > 1:
        name = f"{name}, {measure.name}"
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": times,
            "y": numbers(course.middle),
            "connectgaps": True,
            "line": {"width": 2.5, "color": colour, "dash": measure.dash},
            "name": name,
            "text": [plot_text(chart.form(value)) for value in course.middle],
            "hovertemplate": "%{text}",
        }
    )
    return traces


def _told(chart: Chart, found: Sequence[tuple[Measure, Sequence[Course]]], runs: Sequence[Run]) -> list[str]:
    """What has become of each number, in words."""
    sentences = []
    for index, run in enumerate(runs):
        parts = []
        for measure, courses in found:
            known = courses[index].known
            if known:
                name = "" if len(chart.measures) == 1 else f"{measure.name} "
                parts.append(f"{name}from {chart.form(known[0][1])} to {chart.form(known[-1][1])}")
        if parts:
            who = "" if len(runs) == 1 else f"{run.name}: "
            sentences.append(f"{who}{', '.join(parts)}.")
    if len(runs) == 1:
        sentences[0] = sentences[0][0].upper() + sentences[0][1:]
    course = found[0][1][0]
    if len(course.agents) > 1:
        lines = len(runs) == 1 and len(course.agents) <= AGENT_LINES_MAX
        thin = ", thin lines are agents" if lines else ""
        sentences.append(f"Lines are means over agents, the band goes from the lowest to the highest{thin}.")
    return sentences


def _table(
    chart: Chart,
    found: Sequence[tuple[Measure, Sequence[Course]]],
    runs: Sequence[Run],
    unit: str,
    unit_s: float,
) -> Table:
    """At a few times; of each run its own, as they differ."""
    several = len(runs) > 1
    headings = (*(("run",) if several else ()), unit, *(measure.name for measure, _ in found))
    if not several and len(found[0][1][0].agents) > 1:
        headings = (*headings, f"lowest {found[0][0].name}", f"highest {found[0][0].name}")
    rows = []
    for index, run in enumerate(runs):
        course = found[0][1][index]
        count = len(course.at_s)
        picked = (
            sorted({round(place * (count - 1) / (TIMES_TOLD - 1)) for place in range(TIMES_TOLD)})
            if count
            else []
        )
        for at in picked:
            cells = [run.name] if several else []
            cells.append(f"{course.at_s[at] / unit_s:.3g}")
            cells += [chart.form(courses[index].middle[at]) for _, courses in found]
            if len(headings) > len(cells):
                cells += [chart.form(course.low[at]), chart.form(course.high[at])]
            rows.append(tuple(cells))
    return Table(headings, tuple(rows), numeric=1 if several else 0)
