"""Configuration, results and differences between runs, as tables; and how to do a run again. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from peer.report.curves import missing_share, sent_bytes
from peer.report.figure import Table, megabytes, percent, seconds, shown
from peer.report.happenings import troubles
from peer.report.values import items, mapping, number, text, texts, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.report.run import Result, Run

ROWS_MAX: Final = 300  # of a table of configuration; a directory may hold any number of keys
DIGEST_SHOWN: Final = 8  # characters, enough to tell digests apart
DEPTH_MAX: Final = 4  # of objects in objects

# Keys of config.json that are not settings, or are told of in their own place.
APART: Final = (
    "arguments",
    "given",
    "hyperparameters",
    "began_at",
    "began_before",
    "changes",
    "versions",
    "id",
)
ABOUT: Final = ("agents", "shard", "task", "partition", "model", "personalization", "seed", "estimator")
TITLES: Final = {"accuracy": "test accuracy", "error": "relative error", "loss": "validation loss"}
STATISTICS: Final = {
    "mean": "mean over agents",
    "bottom_decile": "bottom decile",
    "top_decile": "worst decile",
}


def given_table(run: Run) -> Table | None:
    """Options that were not left at their defaults; None if the run does not say."""
    if "given" not in run.config:
        return None
    rows = tuple(
        (text(one.get("option")), written(one.get("value")), text(one.get("from")))
        for one in map(mapping, items(run.config["given"])[:ROWS_MAX])
    )
    return Table(("option", "value", "from"), rows, numeric=3)


def settings_table(run: Run) -> Table:
    """Everything that was in force."""
    return Table(("setting", "value"), tuple(flat(run.config).items())[:ROWS_MAX], numeric=2)


def flat(config: Mapping[str, object]) -> dict[str, str]:
    """`settings.fanout` of an object in an object, without what is told of apart."""
    found: dict[str, str] = {}
    _flatten({key: value for key, value in config.items() if key not in APART}, "", found, DEPTH_MAX)
    return found


def _flatten(values: Mapping[str, object], prefix: str, found: dict[str, str], depth: int) -> None:
    for key, value in values.items():
        if len(found) >= ROWS_MAX:
            return
        name = text(f"{prefix}{key}")
        if isinstance(value, Mapping) and value and depth > 1:
            _flatten(value, f"{name}.", found, depth - 1)
        else:
            found[name] = written(value)


def differences_table(runs: Sequence[Run]) -> Table:
    """Settings, options and versions that are not the same in all runs, a column for each run."""
    rows = [
        flat(run.config) | {f"version of {text(name)}": written(one) for name, one in _versions(run).items()}
        for run in runs
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    differing = [name for name in names if len({row.get(name, "–") for row in rows}) > 1]
    cells = tuple((name, *(row.get(name, "–") for row in rows)) for name in differing[:ROWS_MAX])
    return Table(("setting", *(run.name for run in runs)), cells, numeric=len(runs) + 1)


def _versions(run: Run) -> Mapping[str, object]:
    return dict(list(mapping(run.config.get("versions")).items())[:32])


def results_table(runs: Sequence[Run]) -> Table:
    """Scores and costs, a column for each run; after the first with the difference from it."""
    results = [run.result for run in runs]
    rows: list[tuple[str, ...]] = []
    columns: dict[str, str] = {}
    for result in results:
        columns |= result.columns if result else {}
    for column, label in columns.items():
        for statistic, told in STATISTICS.items():
            values = [_summary(result, column, statistic) for result in results]
            if any(map(math.isfinite, values)):
                form = ".1e" if any(one and one.kind == "error" for one in results) else ".3f"
                rows.append((f"{label}, {told}", *_beside(values, form)))
    rows.append(("ticks", *(f"{one.ticks:,}" if one else "–" for one in results)))
    if any(one and math.isfinite(one.virtual_s) for one in results):
        rows.append(("virtual time", *(seconds(one.virtual_s) if one else "–" for one in results)))
    rows.append(("time it took", *(seconds(one.wall_s) if one else "–" for one in results)))
    rows.append(("bytes sent", *(megabytes(total_bytes(run)) for run in runs)))
    rows.append(("messages missing", *(percent(total_missing(run)) for run in runs)))
    if any(one and one.digest for one in results):
        rows.append(("digest", *((one.digest[:DIGEST_SHOWN] if one else "") or "–" for one in results)))
    names = ("this run",) if len(runs) == 1 else tuple(run.name for run in runs)
    return Table(("", *names), tuple(rows))


def _summary(result: Result | None, column: str, statistic: str) -> float:
    return result.summary.get(column, {}).get(statistic, math.nan) if result else math.nan


def _beside(values: Sequence[float], form: str) -> list[str]:
    cells = [shown(values[0], form)]
    for value in values[1:]:
        change = value - values[0]
        told = shown(value, form)
        cells.append(f"{told} ({change:+{form}})" if math.isfinite(change) else told)
    return cells


def score_table(result: Result) -> Table:
    """Of one run: a row for each score, a column for the mean and one for the worst decile."""
    form = ".1e" if result.kind == "error" else ".3f"
    known = [
        name
        for name in STATISTICS
        if any(math.isfinite(_summary(result, column, name)) for column in result.columns)
    ]
    rows = [
        (label, *(shown(_summary(result, column, name), form) for name in known))
        for column, label in result.columns.items()
    ]
    return Table((TITLES.get(result.kind, result.kind), *(STATISTICS[name] for name in known)), tuple(rows))


def gain_sentences(result: Result) -> list[str]:
    """The paired intervals, in points."""
    found = []
    for what, row in result.gains.items():
        mean, low, high = (row.get(name, math.nan) for name in ("mean", "low", "high"))
        _, _, other = what.partition(" - ")
        if math.isfinite(mean):
            against = result.columns.get(other, other)
            within = f", 95% interval {100 * low:+.1f} to {100 * high:+.1f}" if math.isfinite(low) else ""
            own = result.columns.get("personal", "personal")
            found.append(f"{own} against {against}: {100 * mean:+.1f} points{within}")
    return found


def total_bytes(run: Run) -> float:
    """Of all agents; NaN if it is not known."""
    sent = [one.messages.get("bytes_sent", math.nan) for one in run.result.agents] if run.result else []
    known = [value for value in sent if math.isfinite(value)]
    totals = [*sent_bytes(run).middle[-1:], *([sum(known)] if known else [])]
    if run.result and math.isfinite(run.result.sent_bytes):
        totals.append(run.result.sent_bytes)
    return max(totals, default=math.nan)  # agents that came back counted anew; the last second has no line


def total_missing(run: Run) -> float:
    """Share of messages to all agents in the whole run that did not arrive; NaN if it is not known."""
    if run.result:
        rows = [one.messages for one in run.result.agents]
    else:
        rows = list(run.moments[-1].agents.values()) if run.moments else []
    received, gaps = (
        sum(v for row in rows if math.isfinite(v := row.get(name, math.nan))) for name in ("received", "gaps")
    )
    if received + gaps:
        return gaps / (received + gaps)
    known = [value for value in missing_share(run).middle if math.isfinite(value)]
    return known[-1] if known else math.nan


def command(run: Run) -> str:
    """The command that asks for the same again, quoted for a shell; "" if the run does not say."""
    words = texts(run.config.get("arguments"))
    return shlex.join(["hyperpush", *words]) if words else ""


def about(run: Run) -> list[tuple[str, str]]:
    """What the run was, in a few words each."""
    found = [(name, written(run.config[name])) for name in ABOUT if name in run.config]
    base, planned = troubles(run)
    if base:
        more = f", and {len(planned)} more for a while" if planned else ""
        found.append(("faults of links", f"{base}{more}"))
    goals = texts(run.config.get("until"))
    if goals:
        found.append(("until", ", ".join(goals)))
    began = text(run.config.get("began_at"))
    return [*found, *([("began", began.replace("T", " "))] if began else [])]


def reproduce(run: Run) -> list[str]:
    """What else is needed beside the command, in sentences."""
    versions = ", ".join(f"{text(name)} {written(one)}" for name, one in _versions(run).items())
    told = [f"Made with {versions}."] if versions else []
    if math.isfinite(number(run.config.get("seed"))):
        told.append(f"Seed {written(run.config['seed'])} draws data, model, faults and times of ticks.")
    if run.result and run.result.digest:
        told.append(
            "A simulation: the same command on the same kind of machine and versions gives the digest "
            f"{run.result.digest}."
        )
    elif text(run.config.get("command")) in ("swarm", "run"):
        told.append(
            "Real agents on real sockets: another run takes other steps, and comes to about the same."
        )
    return told
