"""`hyperpush bench hypergradient`: error of every estimator against what it sends, on six networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from rich.progress import Progress

from peer.bench.hypergradient_cases import (
    CRASH,
    DELAYS,
    DIRECT,
    JACOBIAN_PUSH,
    KNOWN,
    LOCKSTEP_NETWORKS,
    NETWORKS,
    NEUMANN,
    NEUMANN_TUNED,
    PAPER_AGENTS,
    PERFECT,
    SPEEDS,
    TARGET,
    TRACKING,
    Curve,
    Point,
    Task,
    is_complete,
    lockstep_curve,
    swarm_of,
    tracking_curve,
)
from peer.bench.hypergradient_figure import draw
from peer.bench.hypergradient_summary import Summary, summarize, verdict
from peer.bench.hypergradient_tables import (
    CAPTION,
    DEPTHS,
    REFERENCE,
    comparison,
    reproduction,
)
from peer.bench.measured import Measured
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.exit_codes import INTERRUPTED
from peer.figure_file import check_figure
from peer.jsonable import check_json, write_json
from peer.recorder import versions
from peer.spread.workers import workers_of
from peer.worker_processes import as_done

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

AGENTS_MAX: Final = 200  # a task holds matrices of all agents, and simulated ticks of so many take minutes
PUSHES: Final = {3: (1, 2, 5, 10, 15, 20, 30), 10: (5, 10, 20, 30, 50), 0: (20, 40, 60, 100)}  # S; 0: more
JACOBIAN_STEPS: Final = (0.1, 0.3, 1.0)  # a of jacobian-push
JACOBIAN_UPDATES: Final = 1000
# Nominal ticks until tracking is below the target for good, with room; more agents take longer to agree.
TICKS: Final = {PERFECT: 140, DELAYS: 220, SPEEDS: 600, CRASH: 260}
TICKS_ELSEWHERE: Final = 160
GROWTH: Final = {3: 1.0, 10: 1.3, 0: 1.8}
REFERENCE_SEEDS: Final = 15  # what is left of the networks' noise scatters over decades


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    agents: tuple[int, ...]
    seeds: int
    quick: bool

    def reference(self) -> list[Task]:
        """The table of the reference; less of it if quick, none without the paper's set-up."""
        if PAPER_AGENTS not in self.agents:
            return []
        found = []
        for pushes in REFERENCE:
            seeds = REFERENCE_SEEDS
            if self.quick or pushes > 10:  # so many pushes leave no noise to speak of, but take long
                seeds = 0 if self.quick and pushes > 10 else 3
            found += [
                Task(PAPER_AGENTS, KNOWN, NEUMANN, seed, DEPTHS[-1], float(pushes)) for seed in range(seeds)
            ]
        return found

    def tasks(self) -> list[Task]:
        """All curves, the longest first."""
        found: list[Task] = []
        for agents in sorted(self.agents, reverse=True):
            size = agents if agents in PUSHES else 0
            for seed in range(self.seeds):
                for network in NETWORKS:
                    length = round(TICKS.get(network, TICKS_ELSEWHERE) * GROWTH[size])
                    found.append(Task(agents, network, TRACKING, seed, length))
                for network in LOCKSTEP_NETWORKS:
                    found.append(Task(agents, network, DIRECT, seed, 0))
                    found += self._lockstep(agents, network, seed, PUSHES[size])
        return found

    def _lockstep(self, agents: int, network: str, seed: int, pushes: Sequence[int]) -> list[Task]:
        smallest, largest = swarm_of(agents, seed)[1].curvature
        if network == PERFECT and agents == PAPER_AGENTS:
            pushes = pushes[:1]  # one push is an exact average where all have links to all
        tasks = []
        if is_complete(agents):
            tasks += [Task(agents, network, JACOBIAN_PUSH, seed, JACOBIAN_UPDATES, a) for a in JACOBIAN_STEPS]
        for name, step in ((NEUMANN, 1.0), (NEUMANN_TUNED, 1 / largest)):
            depth = math.ceil(math.log(TARGET / 10) / math.log1p(-min(step * smallest, 0.5)))
            tasks += [Task(agents, network, name, seed, depth, float(count)) for count in pushes]
        return tasks


def main(options: argparse.Namespace) -> int:
    """Measure, print the tables, write and draw them; 0 also if the target is missed.

    Raises `SettingError` for agents or files that cannot be.
    """
    for count in options.agents or ():
        if not 2 <= count <= AGENTS_MAX:
            raise SettingError("agents", count, f"give 2 to {AGENTS_MAX} agents, such as 3,10")
    check_json(options.json)
    check_figure(options.figure)
    agents = options.agents or ((3, 10) if options.quick else (3, 10, 100))
    plan = Plan(tuple(sorted(set(agents))), options.seeds or (1 if options.quick else 3), options.quick)
    console = make_console()
    wanted = [*((task, False) for task in plan.tasks()), *((task, True) for task in plan.reference())]
    of = tracking_curve.__module__
    record = Measured(options.record, resume=options.resume, benchmark="hypergradient", of=of)
    measured: dict[tuple[Task, bool], Curve] = {}
    try:
        measured |= {
            one: curve_of(one[0], record.found[key_of(one)]) for one in wanted if key_of(one) in record.found
        }
        missing = [one for one in wanted if one not in measured]
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("measuring", total=len(wanted), completed=len(measured))
            for one, curve in as_done(_measure, missing, workers_of(options)):
                points = [[point.messages, point.bytes, point.error] for point in curve.points]
                record.add(key_of(one), {"points": points})
                measured[one] = curve
                task = curve.task
                progress.update(
                    bar, advance=1, description=f"{task.agents} agents, {task.network}, {task.estimator}"
                )
    except KeyboardInterrupt:
        console.print("interrupted; --record FILE --resume would go on")
        return INTERRUPTED
    finally:
        record.close()
    for line in record.told_of_other_code([key_of(one) for one in wanted], "curves"):
        console.print(line)
    curves = [measured[one] for one in wanted if not one[1]]
    reference = [measured[one] for one in wanted if one[1]]
    if reference:
        table, line = reproduction(reference)
        console.print(table)
        console.print(line)
    summaries = summarize(curves)
    for count in plan.agents:
        console.print(comparison(summaries, count, plan.seeds))
    console.print(CAPTION)
    for line in verdict(summaries):
        console.print(line)
    if options.json is not None:
        write_json(options.json, as_json(plan, summaries, reference))
    if options.figure is not None:
        draw(curves, options.figure)
    return 0


def measure(task: Task, whole: bool = False) -> Curve:
    """One curve, in any process; `whole`: to its full length, whatever the errors."""
    if task.estimator == TRACKING:
        return tracking_curve(task)
    return lockstep_curve(task, whole=whole)


def key_of(wanted: tuple[Task, bool]) -> str:
    """Names it in a record."""
    task, whole = wanted
    return "/".join(map(str, (*(getattr(task, field.name) for field in fields(task)), whole)))


def curve_of(task: Task, kept: Mapping[str, Any]) -> Curve:
    """From a record, which anybody may have written. Raises `HyperpushError`."""
    try:
        return Curve(task, tuple(Point(*point) for point in kept["points"]))
    except (LookupError, TypeError):
        raise HyperpushError("the record has a curve with other fields; give another --record") from None


def _measure(wanted: tuple[Task, bool]) -> Curve:
    return measure(*wanted)


def as_json(plan: Plan, summaries: Sequence[Summary], reference: Sequence[Curve]) -> dict[str, object]:
    """For programs: every summary with the curves of its setting, thinned out to what a picture shows."""
    return {
        "agents": list(plan.agents),
        "seeds": plan.seeds,
        "target": TARGET,
        "versions": versions(),
        "reference": [
            {
                "S": curve.task.setting,
                "seed": curve.task.seed,
                "errors": [curve.points[m].error for m in DEPTHS],
            }
            for curve in reference
        ],
        "summaries": [
            {
                **{name: getattr(one, name) for name in ("agents", "network", "estimator", "setting")},
                **{name: getattr(one, name) for name in ("error", "messages", "bytes")},
                "curves": [
                    {"seed": c.task.seed, "points": [[p.messages, p.bytes, p.error] for p in c.points]}
                    for c in one.curves
                ],
            }
            for one in summaries
        ],
    }
