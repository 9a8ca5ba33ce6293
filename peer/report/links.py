"""Who hears whom: as a graph, as a table of directions, and what each direction lost over time. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from peer.report.figure import (
    Figure,
    Picture,
    Table,
    axis,
    bare_axis,
    colour_bar,
    layout,
    numbers,
    percent,
    plot_name,
    plot_text,
    rows_height,
    time_unit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.report.links_seen import Link, LinksSeen
    from peer.report.run import Run

GRAPH_AGENTS_MAX: Final = 24  # more are a ball of wool
MATRIX_AGENTS_MAX: Final = 64
WRITTEN_AGENTS_MAX: Final = 12  # with the number in each cell; a phone has room for no more
ROWS_MAX: Final = 48  # links over time
TABLE_ROWS_MAX: Final = 400

CURVE_POINTS: Final = 13
BEND: Final = 0.16  # of a curve to its right, so that both directions are seen
NODE: Final = 0.075  # radius, in units of the circle

STATES: Final = {  # state: what it is called, colour, width, dash
    "signs": ("both ways, only signs of life", "theme:faint", 1.0, "dot"),
    "both": ("pushed, heard both ways", "theme:muted", 1.6, "solid"),
    "one-way": ("heard one way only", "theme:accent", 2.6, "solid"),
    "deaf": ("sent, but not heard", "theme:bad", 2.2, "dash"),
}


def link_figures(run: Run, key: str, title: str) -> list[Figure]:
    """Of one run; `key` and `title` tell several runs apart."""
    seen = run.links
    if not seen.links:
        return []
    found = []
    if len(seen.agents) <= GRAPH_AGENTS_MAX:
        found.append(_graph(seen, f"{key}link-graph", f"Who hears whom{title}"))
    found.append(_matrix(seen, f"{key}link-loss", f"What each direction lost{title}"))
    over_time = _over_time(run, f"{key}link-times", f"Losses of each direction over time{title}")
    return [*found, *([over_time] if over_time else [])]


def links_sentence(seen: LinksSeen) -> str:
    """How many directions work, and which do not go both ways."""
    states = [link.state for link in seen.links]
    both = states.count("both") + states.count("signs")
    one_way = [link for link in seen.links if link.state == "one-way"]
    deaf = [link for link in seen.links if link.state == "deaf"]
    parts = [f"At the end {both + len(one_way)} directions between {len(seen.agents)} agents are heard"]
    if one_way:
        parts.append(f"{len(one_way)} of them one way only ({_named(one_way)})")
    if deaf:
        parts.append(f"sent, but not heard: {_named(deaf)}")
    gone = [name for name in seen.agents if name not in seen.present]
    told = f"{', '.join(parts)}."
    if gone and len(seen.present) > 1:
        told += f" Not there at the end: {', '.join(gone)}."
    if len(seen.present) == 1:
        told += f" Only {seen.present[0]} has told of its links here."
    return told


def _named(links: Sequence[Link]) -> str:
    named = [f"{link.source} → {link.target}" for link in links[:6]]
    more = len(links) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more else [])])


def _graph(seen: LinksSeen, key: str, heading: str) -> Figure:
    """Agents on a circle; every direction a curve that bends to its right, with its arrow at who hears."""
    count = len(seen.agents)
    places = {
        name: (math.sin(2 * math.pi * index / count), math.cos(2 * math.pi * index / count))
        for index, name in enumerate(seen.agents)
    }
    traces = [
        trace
        for state in STATES
        for trace in _edges([link for link in seen.links if link.state == state], places, state)
    ]
    traces.append(_hover_points(seen, places))
    for is_present in (True, False):
        names = [name for name in seen.agents if (name in seen.present) is is_present]
        if names:
            traces.append(_nodes(names, places, is_present=is_present))
    span = {"range": [-1.45, 1.45]}
    picture: Picture = {
        "data": traces,
        "layout": layout(
            xaxis=bare_axis() | span,
            yaxis=bare_axis() | {"range": [-1.25, 1.25], "scaleanchor": "x"},
            margin={"l": 4, "r": 4, "t": 10, "b": 4},
            dragmode=False,
        ),
    }
    sentence = links_sentence(seen)
    sentence += (
        " Arrows point at who hears. Each agent pushes to a few others only; one way is as good as two."
    )
    return Figure(key, heading, sentence, picture, _link_table(seen), height=460)


def _edges(links: Sequence[Link], places: dict[str, tuple[float, float]], state: str) -> list[Picture]:
    """Curves of all directions of one state, and their arrows; nothing if there are none."""
    if not links:
        return []
    name, colour, width, dash = STATES[state]
    x: list[float | None] = []
    y: list[float | None] = []
    sizes: list[float] = []
    for link in links:
        curve = _curve(places[link.source], places[link.target])
        x += [*numbers([point[0] for point in curve]), None]
        y += [*numbers([point[1] for point in curve]), None]
        sizes += [*[0.0] * (len(curve) - 1), 12.0 if state == "one-way" else 9.0, 0.0]
    both: Picture = {
        "type": "scatter",
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "name": name,
        "legendgroup": state,
    }
    line: Picture = {"mode": "lines", "line": {"color": colour, "width": width, "dash": dash}}
    marker: Picture = {
        "symbol": "arrow",
        "angleref": "previous",
        "size": sizes,
        "color": colour,
        "opacity": 1,
    }
    return [both | line, both | {"mode": "markers", "marker": marker, "showlegend": False}]


def _hover_points(seen: LinksSeen, places: dict[str, tuple[float, float]]) -> Picture:
    """Nothing is seen of them; at the middle of every curve they say what the direction did."""
    links = [link for link in seen.links if link.state in STATES]
    middles = [_curve(places[link.source], places[link.target])[CURVE_POINTS // 2] for link in links]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([x for x, _ in middles]),
        "y": numbers([y for _, y in middles]),
        "marker": {"size": 16, "opacity": 0, "color": "theme:muted"},
        "hovertext": [_link_text(link) for link in links],
        "hoverinfo": "text",
        "showlegend": False,
    }


def _link_text(link: Link) -> str:
    lost = (
        "" if math.isnan(link.loss) else f", {percent(link.loss)} missing of {link.received + link.missing:,}"
    )
    return plot_text(f"{link.source} → {link.target}: {STATES[link.state][0]}{lost}")


def _nodes(names: Sequence[str], places: dict[str, tuple[float, float]], *, is_present: bool) -> Picture:
    """Agents with their names outside the circle; hollow if they are not there at the end."""
    positions = [
        (
            "middle right"
            if x > 0.25
            else "middle left"
            if x < -0.25
            else "top center"
            if y > 0
            else "bottom center"
        )
        for x, y in (places[name] for name in names)
    ]
    colour = "theme:run0" if is_present else "theme:paper"
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": numbers([places[name][0] for name in names]),
        "y": numbers([places[name][1] for name in names]),
        "marker": {"size": 17, "color": colour, "line": {"color": "theme:run0", "width": 2}},
        "text": [f"  {plot_name(name)}  " for name in names],
        "textposition": positions,
        "textfont": {"size": 12, "color": "theme:ink"},
        "hoverinfo": "skip",
        "name": "agent" if is_present else "agent that told nothing at the end",
        "showlegend": not is_present,
        "cliponaxis": False,
    }


def _curve(source: tuple[float, float], target: tuple[float, float]) -> list[tuple[float, float]]:
    """Points of a quadratic curve from the edge of one node to that of the other."""
    (x0, y0), (x1, y1) = source, target
    across, up = x1 - x0, y1 - y0
    length = math.hypot(across, up)
    bend_x, bend_y = (x0 + x1) / 2 + BEND * up, (y0 + y1) / 2 - BEND * across
    first, last = NODE / length, 1 - NODE / length
    points = []
    for index in range(CURVE_POINTS):
        t = first + (last - first) * index / (CURVE_POINTS - 1)
        before, bent, after = (1 - t) ** 2, 2 * (1 - t) * t, t**2
        points.append((before * x0 + bent * bend_x + after * x1, before * y0 + bent * bend_y + after * y1))
    return points


def _matrix(seen: LinksSeen, key: str, heading: str) -> Figure:
    """A row for each agent that hears, a column for each that is heard."""
    names = seen.agents[:MATRIX_AGENTS_MAX]
    by_ends = {(link.source, link.target): link for link in seen.links}
    rows = [
        [by_ends[source, target].loss if (source, target) in by_ends else math.nan for source in names]
        for target in names
    ]
    labels = [plot_name(name) for name in names]
    written = len(names) <= WRITTEN_AGENTS_MAX
    heat: Picture = {
        "type": "heatmap",
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "z": [numbers(row) for row in rows],
        "zmin": 0,
        "zmax": 1,
        "colorscale": "theme:loss",
        "xgap": 2,
        "ygap": 2,
        "colorbar": colour_bar(tickformat=".0%"),
        "hovertext": [
            [_cell_text(by_ends.get((source, target)), source, target) for source in names]
            for target in names
        ],
        "hoverinfo": "text",
    }
    if written:
        heat |= {
            "text": [[percent(value) if math.isfinite(value) else "" for value in row] for row in rows],
            "texttemplate": "%{text}",
            "textfont": {"size": 11},
        }
    traces = [heat, *(_marks(seen, names, state) for state in ("one-way", "deaf"))]
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": labels, "showgrid": False}
    picture: Picture = {
        "data": [trace for trace in traces if trace],
        "layout": layout(
            xaxis=axis("heard", **ticks, tickangle=-45, zeroline=False),
            yaxis=axis("who hears", **ticks, autorange="reversed", zeroline=False),
        ),
    }
    known = [link.loss for link in seen.links if math.isfinite(link.loss)]
    sentence = "The share of messages of the whole run that did not arrive, for every direction."
    if known:
        sentence = f"{sentence[:-1]}: from {percent(min(known))} to {percent(max(known))}."
    sentence += " Framed: only this direction is heard. Crossed: sent, but not heard at the end."
    if len(seen.agents) > len(names):
        sentence += f" The first {len(names)} agents are shown, the others are in links.jsonl."
    table = Table(
        ("who hears", *names),
        tuple((target, *(percent(value) for value in row)) for target, row in zip(names, rows, strict=True)),
    )
    return Figure(key, heading, sentence, picture, table, rows_height(len(names), 30, 170))


def _cell_text(link: Link | None, source: str, target: str) -> str:
    if link is None:
        return plot_text(f"{source} → {target}: nothing is known")
    lost = "no messages" if math.isnan(link.loss) else f"{percent(link.loss)} missing"
    said = STATES[link.state][0] if link.state in STATES else "not used at the end"
    trip = "" if math.isnan(link.rtt_s) else f", round trip {1000 * link.rtt_s:.3g} ms"
    return plot_text(f"{source} → {target}: {lost} of {link.received + link.missing:,}; {said}{trip}")


def _marks(seen: LinksSeen, names: Sequence[str], state: str) -> Picture:
    """Frames or crosses on the cells of this state; nothing if there are none."""
    number = {name: index for index, name in enumerate(names)}
    cells = [
        (number[link.source], number[link.target])
        for link in seen.links
        if link.state == state and link.source in number and link.target in number
    ]
    if not cells:
        return {}
    label, colour, _, _ = STATES[state]
    symbol = "square-open" if state == "one-way" else "x-thin"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for x, _ in cells],
        "y": [y for _, y in cells],
        "marker": {"symbol": symbol, "size": 20, "color": colour, "line": {"color": colour, "width": 2}},
        "name": label,
        "hoverinfo": "skip",
    }


def _over_time(run: Run, key: str, heading: str) -> Figure | None:
    """A row for each direction, those that lost most at any time first."""
    seen = run.links
    if len(seen.at_s) < 3 or not seen.loss:
        return None
    unit, unit_s = time_unit(max(run.end_s, seen.at_s[-1]))
    worst = sorted(seen.loss.items(), key=lambda item: (-_mean(item[1]), item[0]))[:ROWS_MAX]
    picture: Picture = {
        "data": [
            {
                "type": "heatmap",
                "x": numbers([at_s / unit_s for at_s in seen.at_s]),
                "y": list(range(len(worst))),
                "z": [numbers(row) for _, row in worst],
                "zmin": 0,
                "zmax": 1,
                "colorscale": "theme:loss",
                "colorbar": colour_bar(tickformat=".0%"),
                "hovertext": [
                    [plot_text(f"{_arrow(ends)}: {percent(value)} missing") for value in row]
                    for ends, row in worst
                ],
                "hoverinfo": "text+x",
            }
        ],
        "layout": layout(
            xaxis=axis(unit, showgrid=False, zeroline=False),
            yaxis=axis(
                tickmode="array",
                tickvals=list(range(len(worst))),
                ticktext=[plot_name(_arrow(ends)) for ends, _ in worst],
                autorange="reversed",
                showgrid=False,
                zeroline=False,
            ),
        ),
    }
    rows = tuple(
        (_arrow(ends), percent(_mean(row)), percent(max(value for value in row if math.isfinite(value))))
        for ends, row in worst
    )
    sentence = f"What did not arrive since the look before, for {len(worst)} of {len(seen.loss)} directions, "
    sentence += (
        f"those that lost most first: {rows[0][0]} lost {rows[0][1]} in the mean. Empty: nothing came."
    )
    table = Table(("direction", "mean", "worst"), rows)
    return Figure(key, heading, sentence, picture, table, rows_height(len(worst), 19, 110))


def _arrow(ends: tuple[str, str]) -> str:
    return f"{ends[0]} → {ends[1]}"


def _mean(row: Sequence[float]) -> float:
    known = [value for value in row if math.isfinite(value)]
    return sum(known) / len(known)


def _link_table(seen: LinksSeen) -> Table:
    rows = [
        (
            link.source,
            link.target,
            STATES[link.state][0] if link.state in STATES else "not used at the end",
            f"{link.received:,}",
            percent(link.loss),
            f"{1000 * link.rtt_s:.3g} ms" if math.isfinite(link.rtt_s) else "–",
        )
        for link in seen.links[:TABLE_ROWS_MAX]
    ]
    headings = ("from", "to", "at the end", "arrived", "missing", "round trip")
    return Table(headings, tuple(rows), numeric=3)
