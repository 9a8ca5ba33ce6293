"""One run as one frozen value, made of what a run directory holds. Pure; nothing of it is trusted."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from peer.report.happenings_told import Happening, happening
from peer.report.links_seen import LinksSeen, links_seen
from peer.report.thinning import Thinned
from peer.report.values import count, items, mapping, number, parsed, sentence, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TIMES_MAX: Final = 500  # of metrics: as many as a screen has columns for
LOOKS_MAX: Final = 100  # of hyperparameters: a column of a heat map each
AGENTS_MAX: Final = 256  # more have no row that could be read, and a directory may hold any number of names
KIND_EVENTS_MAX: Final = 200  # of the first and of the last of one kind; all are counted
KINDS_MAX: Final = 64  # of events; a directory may hold any number of them
SCORES_MAX: Final = 16  # columns of results
ENTRIES_MAX: Final = 128  # of one hyperparameter, as the recorder keeps them
HYPERS_MAX: Final = 64  # named hyperparameters

MEASURES: Final = (
    *("training_loss", "validation_loss", "shared", "personal", "hypergradient_norm", "residual"),
)
COUNTS: Final = ("bytes_sent", "received", "gaps")  # under `messages`; they only grow in one life


@dataclass(frozen=True, slots=True)
class Scored:
    """One agent in `result.json`."""

    agent: str
    scores: Mapping[str, float]
    ticks: int
    messages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """`result.json`, without what is in `config.json`."""

    kind: str  # accuracy, error, loss
    columns: Mapping[str, str]  # names of scores: what people read above them
    agents: tuple[Scored, ...]
    summary: Mapping[str, Mapping[str, float]]
    gains: Mapping[str, Mapping[str, float]]  # intervals, by what is compared
    verdict: str
    ticks: int
    wall_s: float
    virtual_s: float
    interrupted: bool
    digest: str
    sent_bytes: float  # of all together, where agents do not count them
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """All agents at one time: numbers by agent and name, NaN where there is none."""

    at_s: float
    agents: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Hypers:
    """Hyperparameters over time. `ranges`, by name and agent: entries, least, median, most."""

    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what their entries are called
    moments: tuple[tuple[float, Mapping[str, Mapping[str, tuple[float, ...]]]], ...] = ()
    ranges: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)

    @property
    def last(self) -> Mapping[str, Mapping[str, tuple[float, ...]]]:
        """What each agent had when it was last seen, by agent and name."""
        found: dict[str, Mapping[str, tuple[float, ...]]] = {}
        for _, agents in self.moments:
            found |= agents
        return found


@dataclass(frozen=True, slots=True)
class Lines:
    """What is in the files with a line for each thing; none where there is no file."""

    metrics: Iterable[str] = ()
    events: Iterable[str] = ()
    links: Iterable[str] = ()
    hyperparameters: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    name: str
    config: Mapping[str, object]
    result: Result | None
    moments: tuple[Moment, ...]
    links: LinksSeen
    hypers: Hypers
    happenings: tuple[Happening, ...]
    happened: Mapping[str, int]  # how often, by kind
    remarks: tuple[str, ...]

    @property
    def agents(self) -> tuple[str, ...]:
        """All that it tells of, in the order of names."""
        found = {agent for moment in self.moments for agent in moment.agents}
        found |= {scored.agent for scored in self.result.agents} if self.result else set()
        return tuple(sorted(found | set(self.hypers.last)))

    @property
    def end_s(self) -> float:
        """The latest time that is told of."""
        times = [moment.at_s for moment in self.moments[-1:]] + [one.at_s for one in self.happenings]
        return max(times, default=0.0)


def make_run(
    name: str, config: Mapping[str, object], result: object, lines: Lines, remarks: Sequence[str] = ()
) -> Run:
    """The run; `result` is the content of its file, None if there is none. What is wrong is a remark."""
    told: list[str] = []
    moments = _moments(lines.metrics, told)
    links, damaged = links_seen(lines.links, AGENTS_MAX)
    if damaged:
        told.append(_damaged("links.jsonl", damaged))
    hypers = _hypers(config, lines.hyperparameters, told)
    happenings, happened = _happenings(lines.events, told)
    found = _result(mapping(result)) if result is not None else None
    if found is None:
        told.insert(0, "There are no results: the run was ended before it had any, or it is going on.")
    elif found.interrupted:
        told.insert(0, "The run was stopped before its end; these are the results so far.")
    told += remarks
    return Run(name, config, found, moments, links, hypers, happenings, happened, tuple(told))


def _moments(lines: Iterable[str], told: list[str]) -> tuple[Moment, ...]:
    thinned: Thinned[Mapping[str, float]] = Thinned(TIMES_MAX, AGENTS_MAX)
    damaged = 0
    for line in lines:
        found = mapping(parsed(line))
        at_s, agent = number(found.get("at_s")), text(found.get("id"))
        if not (agent and at_s >= 0):
            damaged += 1
            continue
        messages = mapping(found.get("messages"))
        row = {name: number(found.get(name)) for name in MEASURES}
        row |= {name: float(count(messages.get(name))) for name in COUNTS}
        thinned.add(at_s, agent, row)
    if damaged:
        told.append(_damaged("metrics.jsonl", damaged))
    if not thinned.times():
        told.append("No metrics over time were kept: there are no curves.")
    if thinned.restarts:
        told.append(f"Time began anew {thinned.restarts} times in metrics.jsonl; here it goes on.")
    if thinned.is_full:
        told.append(f"Curves are of the first {AGENTS_MAX} agents in metrics.jsonl only; there are more.")
    return tuple(Moment(at_s, agents) for at_s, agents in thinned.times())


def _hypers(config: Mapping[str, object], lines: Iterable[str], told: list[str]) -> Hypers:
    names = {
        text(name): texts(entries)[:ENTRIES_MAX]
        for name, entries in list(mapping(config.get("hyperparameters")).items())[:HYPERS_MAX]
    }
    thinned: Thinned[Mapping[str, tuple[float, ...]]] = Thinned(LOOKS_MAX, AGENTS_MAX)
    ranges: dict[str, dict[str, tuple[float, ...]]] = {}
    damaged = 0
    for line in lines:
        found = mapping(parsed(line))
        at_s, agent = number(found.get("at_s")), text(found.get("agent"))
        if not (agent and at_s >= 0):
            damaged += 1
            continue
        values = list(mapping(found.get("values")).items())[:HYPERS_MAX]
        if values:
            row = {
                text(name): tuple(number(one) for one in items(entries)[:ENTRIES_MAX])
                for name, entries in values
            }
            thinned.add(at_s, agent, row)
        for name, one in list(mapping(found.get("ranges")).items())[:HYPERS_MAX]:
            _note_range(ranges, text(name), agent, mapping(one))
    if damaged:
        told.append(_damaged("hyperparameters.jsonl", damaged))
    return Hypers(names, tuple(thinned.times()), ranges)


def _note_range(
    ranges: dict[str, dict[str, tuple[float, ...]]], name: str, agent: str, found: Mapping[str, object]
) -> None:
    if name not in ranges and len(ranges) >= HYPERS_MAX:
        return
    agents = ranges.setdefault(name, {})
    if agent in agents or len(agents) < AGENTS_MAX:
        agents[agent] = tuple(number(found.get(part)) for part in ("entries", "least", "median", "most"))


def _happenings(lines: Iterable[str], told: list[str]) -> tuple[tuple[Happening, ...], Mapping[str, int]]:
    first: dict[str, list[Happening]] = {}
    last: dict[str, deque[Happening]] = {}
    counted: Counter[str] = Counter()
    damaged = 0
    for line in lines:
        found = happening(mapping(parsed(line)))
        if found is None or (found.kind not in counted and len(counted) >= KINDS_MAX):
            damaged += 1
            continue
        counted[found.kind] += 1
        if counted[found.kind] <= KIND_EVENTS_MAX:
            first.setdefault(found.kind, []).append(found)
        else:
            last.setdefault(found.kind, deque(maxlen=KIND_EVENTS_MAX)).append(found)
    if damaged:
        told.append(_damaged("events.jsonl", damaged))
    many = [kind for kind, times in counted.items() if times > 2 * KIND_EVENTS_MAX]
    if many:
        told.append(f"Of {', '.join(many)} the first and the last {KIND_EVENTS_MAX} events are shown.")
    kept = [one for some in (*first.values(), *last.values()) for one in some]
    return tuple(sorted(kept, key=lambda one: one.at_s)), dict(counted)


def _result(found: Mapping[str, object]) -> Result:
    agents = [mapping(one) for one in items(found.get("agents"))[:AGENTS_MAX]]
    kinds = [name for name in ("accuracy", "error", "loss") if any(name in one for one in agents)]
    kind = kinds[0] if kinds else ""
    scored = tuple(
        Scored(
            text(one.get("id")),
            _numbers(one.get(kind)),
            count(one.get("ticks")),
            _numbers(one.get("messages")),
        )
        for one in agents
    )
    said = mapping(found.get("columns"))
    names = dict.fromkeys(name for one in scored for name in one.scores)
    return Result(
        kind=kind,
        columns={name: text(said.get(name)) or name for name in names},
        agents=scored,
        summary={text(name): _numbers(one) for name, one in _some(found.get("summary"))},
        gains={text(name): _numbers(one) for name, one in _some(found.get("comparison"))},
        verdict=sentence(found.get("verdict")),
        ticks=count(found.get("ticks")),
        wall_s=number(found.get("wall_s")),
        virtual_s=number(found.get("virtual_s")),
        interrupted=found.get("interrupted") is True,
        digest=text(found.get("digest")),
        sent_bytes=number(found.get("bytes")),
        absent=texts(found.get("absent"))[:AGENTS_MAX],
    )


def _some(value: object) -> list[tuple[str, object]]:
    return list(mapping(value).items())[:SCORES_MAX]


def _numbers(value: object) -> dict[str, float]:
    return {text(name): number(one) for name, one in _some(value)}


def _damaged(name: str, lines: int) -> str:
    """The last line of a run that was killed is half a line."""
    return f"{name}: {lines} line{'s are' if lines > 1 else ' is'} damaged and left out."
