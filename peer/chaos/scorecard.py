"""What a run of troubles came to: what was lost, and the numbers beside it. Pure: from a `Record`."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.chaos.record import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.chaos.record import Done, Life, Record

ERROR_MAX: Final = 1e-6  # relative, against the closed form
POINTS_MAX: Final = 2.0  # of accuracy, fewer than undisturbed
STILL_S_MAX: Final = 30.0  # nobody stands still for longer once its process is left alone
GAP_S: Final = 1.0  # shorter times without a tick are not told: agents are looked at twice a second
CHECKPOINT_S: Final = 3.0  # agents keep what they have learned so often,
LOST_S_MAX: Final = 10.0  # and lose no more work than this when their process ends: disks take their time


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which an agent did not tick, or of which it has lost the work."""

    agent: str
    from_s: float
    to_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.to_s - self.from_s


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the scorecard: what is asked, what came of it, and what was lost, each saying where."""

    asked: str
    found: str
    lost: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """As in `--json`."""
        return {"asked": self.asked, "found": self.found, "lost": list(self.lost)}


def scorecard(record: Record, undisturbed: Record | None = None) -> tuple[Line, ...]:
    """All lines. With `undisturbed` the scores are accuracies, to be compared with those of that run."""
    return (
        _identities(record),
        _epochs(record),
        _checkpoints(record),
        _processes(record),
        _beliefs(record),
        _progress(record),
        _errors(record) if undisturbed is None else _accuracies(record, undisturbed),
        Line(
            "nothing is left behind", "nothing" if not record.left_behind else "", tuple(record.left_behind)
        ),
    )


def numbers(record: Record) -> dict[str, str]:
    """What is worth knowing whether something was lost or not, for people."""
    kinds = Counter(done.trouble.kind for done in record.done if not done.note)
    gaps = standing_still(record)
    longest = max(gaps, key=lambda gap: gap.seconds, default=None)
    free = [gap for gap in gaps if not _causes(record, gap)]
    longest_free = max(free, key=lambda gap: gap.seconds, default=None)
    shown = {
        "troubles": ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none",
        "full disks": record.disks,
        "longest time without a tick": _told_gap(record, longest),
        "the same, process left alone": _told_gap(record, longest_free),
        "peak memory": _told_memory(record.memory),
    }
    if record.garbage:
        shown["garbage"] = ", ".join(f"{count:,} {what}" for what, count in record.garbage.items())
    if record.refused:
        shown["refused"] = ", ".join(f"{why} {count:,}" for why, count in record.refused.most_common())
    return shown


def to_dict(record: Record, lines: Sequence[Line]) -> dict[str, object]:
    """As in `--json`."""
    return {
        "nothing_lost": not any(line.lost for line in lines),
        "interrupted": record.interrupted,
        "scorecard": [line.to_dict() for line in lines],
        "numbers": numbers(record),
        "quiet_from_s": record.quiet_s,
        "answered_s": record.answered_s,
        "ended_s": record.ended_s,
        "scores": {agent: dict(scores) for agent, scores in record.scores.items()},
        "peak_memory_bytes": {str(process): size for process, size in record.memory.items()},
        "troubles": [
            {"at_s": done.at_s, "end_s": done.end_s, "kind": done.trouble.kind, "what": done.told()}
            for done in record.done
        ],
        "lives": [
            {
                "agent": life.agent,
                "peer": life.peer,
                "incarnation": life.incarnation,
                "at_s": life.at_s,
                "ticks": life.ticks,
            }
            for life in record.lives
        ],
        "exits": [
            {"process": one.process, "at_s": one.at_s, "how": one.how, "excuse": one.excuse}
            for one in record.exits
        ],
        "without_a_tick": [
            {"agent": gap.agent, "from_s": gap.from_s, "to_s": gap.to_s} for gap in standing_still(record)
        ],
    }


def worst_error(scores: Mapping[str, Mapping[str, float]]) -> float:
    """The largest error of any agent in anything; 0 if there are none."""
    return max((value for one in scores.values() for value in one.values()), default=0.0)


def standing_still(record: Record) -> list[Gap]:
    """All times longer than GAP_S in which an agent should have ticked and did not."""
    gaps = []
    for agent, seen in record.seen.items():
        times = [*seen, Seen(record.ended_s, None)]
        gaps += [
            Gap(agent, one.at_s, later.at_s)
            for one, later in itertools.pairwise(times)
            if one.ticks is not None and later.at_s - one.at_s > GAP_S
        ]
    return gaps


def lost_work(record: Record) -> list[Gap]:
    """Of every return of an agent as itself: from its newest checkpoint to its last tick before it ended."""
    lost = []
    for life in record.lives:
        before = [one for one in record.seen.get(life.agent, ()) if one.at_s < life.at_s and one.ticks]
        if life.incarnation > 1 and before and not life.anew:
            kept_s = max((one.at_s for one in before if (one.ticks or 0) <= life.ticks), default=0.0)
            lost.append(Gap(life.agent, kept_s, before[-1].at_s))
    return lost


def _identities(record: Record) -> Line:
    """Whoever comes back is who it was, in a later incarnation."""
    lost = []
    before: dict[str, Life] = {}
    for life in record.lives:
        last = before.get(life.agent)
        before[life.agent] = life
        if last is None or life.anew:
            continue
        where = f"{life.agent} at {life.at_s:.1f} s"
        if life.peer != last.peer:
            lost.append(f"{where}: came back as {life.peer}, it was {last.peer}")
        elif life.incarnation <= last.incarnation:
            lost.append(f"{where}: incarnation {life.incarnation} after {last.incarnation}")
    back = len(record.lives) - len(before)
    return Line(
        "every agent comes back as itself, in a later incarnation",
        f"{len(before)} agents, {back} returns",
        tuple(lost),
    )


def _epochs(record: Record) -> Line:
    lost = [
        f"{peer}: entered epoch {later} after {earlier}"
        for peer, epochs in record.epochs.items()
        for earlier, later in itertools.pairwise(epochs)
        if later <= earlier
    ]
    entered = sum(map(len, record.epochs.values()))
    highest = max((max(epochs) for epochs in record.epochs.values()), default=0)
    return Line("no agent enters an epoch twice", f"{entered} entered, the highest is {highest}", tuple(lost))


def _checkpoints(record: Record) -> Line:
    work = lost_work(record)
    most = max(work, key=lambda gap: gap.seconds, default=None)
    return Line(
        f"whoever comes back goes on from a checkpoint of the last {LOST_S_MAX:g} s before",
        "nobody came back" if most is None else f"at most {most.seconds:.1f} s of work were lost",
        tuple(
            f"{gap.agent}: went on at {gap.to_s:.1f} s from where it was at {gap.from_s:.1f} s"
            for gap in work
            if gap.from_s < _kept_since(record, gap)
        ),
    )


def _processes(record: Record) -> Line:
    lost = [f"process {one.process} at {one.at_s:.1f} s: {one.how}" for one in record.exits if not one.excuse]
    excuses = Counter(one.excuse for one in record.exits if one.excuse)
    found = ", ".join(f"{count} {excuse}" for excuse, count in excuses.items())
    return Line("no process ends, or is refused its state, by itself", found or "none ended", tuple(lost))


def _beliefs(record: Record) -> Line:
    """All that take part are honest; who only speaks garbage takes no part."""
    honest = {life.peer for life in record.lives}
    lost = [
        f"{one.agent} at {one.at_s:.1f} s: did not believe {one.peer}: {one.reason}"
        for one in record.disbelieved
        if one.peer in honest
    ]
    found = "all are believed" if not lost else f"{len(lost)} doubts"
    return Line("no agent takes for untrue what another says", found, tuple(lost))


def _progress(record: Record) -> Line:
    absent = [f"{agent}: not there at the end" for agent in record.agents if agent not in record.scores]
    still = [
        f"{gap.agent}: no tick from {gap.from_s:.1f} to {gap.to_s:.1f} s{_told_causes(record, gap)}"
        for gap in standing_still(record)
        if gap.to_s - _left_alone_at(record, gap) > STILL_S_MAX
    ]
    there = len(record.agents) - len(absent)
    return Line(
        f"all are there at the end, nobody left alone stands still for {STILL_S_MAX:g} s",
        f"{there} of {len(record.agents)}",
        (*absent, *still),
    )


def _errors(record: Record) -> Line:
    lost = [
        f"{agent}: {column} off by {value:.1e}"
        for agent, scores in record.scores.items()
        for column, value in scores.items()
        if not value <= ERROR_MAX
    ]
    found = f"{worst_error(record.scores):.1e}"
    if record.answered_s is not None:
        found += f"; all had it {record.answered_s - record.quiet_s:.0f} s after the last trouble"
    return Line(f"every agent's error against the closed form is below {ERROR_MAX:g}", found, tuple(lost))


def _accuracies(record: Record, undisturbed: Record) -> Line:
    asked = f"accuracy at most {POINTS_MAX:g} points below that of an undisturbed run"
    means = [_mean(one.scores) for one in (record, undisturbed)]
    columns = [column for column in means[0] if column in means[1]]
    found = ", ".join(f"{name} {means[0][name]:.3f} (undisturbed {means[1][name]:.3f})" for name in columns)
    lost = [
        f"{name}: {100 * (means[1][name] - means[0][name]):.1f} points below"
        for name in columns
        if 100 * (means[1][name] - means[0][name]) > POINTS_MAX
    ]
    return Line(asked, found, (*lost, *([] if columns else ["there are no scores to compare"])))


def _mean(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Over the agents, of each column."""
    every = list(scores.values())
    return {name: statistics.fmean(one[name] for one in every) for name in (every[0] if every else ())}


def _left_alone_at(record: Record, gap: Gap) -> float:
    """Since when, while an agent did not tick, nothing was done to its process and it was there."""
    ends = [done.end_s for done in _troubles(record, gap)]
    returns = [
        life.at_s for life in record.lives if life.agent == gap.agent and gap.from_s < life.at_s < gap.to_s
    ]
    return max([gap.from_s, *ends, *returns])


def _troubles(record: Record, gap: Gap) -> list[Done]:
    """Those of an agent's process while it did not tick."""
    return [
        done
        for done in record.done
        if gap.agent in done.trouble.agents and done.at_s <= gap.to_s and gap.from_s <= done.end_s
    ]


def _kept_since(record: Record, gap: Gap) -> float:
    """The earliest checkpoint with which an agent may come back after the end of this gap.

    It is LOST_S_MAX old, or as old as the disk and files let it be: only what kept the agent from writing in
    that time counts, and what kept it from writing in as long before that. What is over by then is no excuse.
    """
    since_s = gap.to_s - LOST_S_MAX
    for done in sorted(_troubles(record, gap), key=lambda done: -done.end_s):
        if done.trouble.kind in ("disk", "files") and since_s <= done.end_s > done.at_s:
            since_s = min(since_s, done.at_s - LOST_S_MAX)
    return since_s


def _causes(record: Record, gap: Gap) -> list[str]:
    return [done.trouble.kind for done in _troubles(record, gap)]


def _told_causes(record: Record, gap: Gap) -> str:
    causes = dict.fromkeys(_causes(record, gap))
    return f" ({', '.join(causes)})" if causes else ""


def _told_gap(record: Record, gap: Gap | None) -> str:
    if gap is None:
        return f"less than {GAP_S:g} s"
    return f"{gap.seconds:.1f} s: {gap.agent} from {gap.from_s:.1f} s on{_told_causes(record, gap)}"


def _told_memory(memory: Mapping[int, int]) -> str:
    parts = [f"process {process}: {size / 2**20:.0f} MiB" for process, size in sorted(memory.items())]
    return ", ".join(parts) or "not known"
