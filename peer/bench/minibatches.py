"""`hyperpush bench tuning --minibatches`: where gradients are noisy, beside the best of a grid of steps."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from peer.bench.minibatch_tasks import TICK_S, Task, draw_task
from peer.bench.seeds import finish, measure_seeds, quantile
from peer.display import make_console
from peer.errors import HyperpushError
from peer.jsonable import jsonable
from peer.recorder import versions
from peer.settings import AgentSettings
from peer.virtual_swarm import Swarm, reproducible_torch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

TICKS: Final = 300
LAST_TICKS: Final = 40  # of which losses are averaged
STEPS: Final = (0.003, 0.03, 0.3, 3.0, 30.0)  # times one over the curvature where learning begins
MOMENTA: Final = (0.0, 0.9)
SETTINGS: Final = tuple((step, momentum) for step in STEPS for momentum in MOMENTA)
FLAT: Final = 1e-9  # no curvature
EQUAL: Final = 0.01  # of the loss at the start: losses that differ by less are as good
PEAK: Final = 3.0  # times the loss at the start
BEYOND: Final = 1e7  # length of an adjoint that leads nowhere
WORST_SHOWN: Final = 8
CAPTION: Final = f"""\
Training loss of the last {LAST_TICKS} of {TICKS} ticks, mean over the agents, to that of the best of
{len(SETTINGS)} settings on the same task; both with {EQUAL:.0%} of the loss at the start added, as losses
next to nothing are as good as each other.
  above start  such a loss is above that of the first tick
  peak         some tick's mean loss is above {PEAK:g} times that
  adjoint      some agent's adjoint was longer than {BEYOND:.0e}
  disbelieved  an agent has refused messages of another; all are honest
  validation   its loss is lower at the end than at the start"""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a swarm. Losses are means over its agents."""

    start: float  # training loss of the first tick
    end: float  # and of the last ones; infinite if any of them is no number
    peak: float  # the highest of any tick
    adjoint: float  # the longest of any agent in any tick
    disbelieved: int  # times that an agent was
    validation_start: float
    validation_end: float

    @property
    def is_worse(self) -> bool:
        """Nothing was learned."""
        return not self.end <= self.start


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task."""

    seed: int
    about: str
    tuned: Run
    grid: tuple[float, ...]  # `Run.end` of each of SETTINGS
    chosen: str  # what the first agent chose last, in words

    @property
    def best(self) -> float:
        """Of the grid."""
        return min(self.grid)

    def ratio_of(self, loss: float) -> float:
        """To the best of the grid."""
        equal = EQUAL * self.tuned.start
        return (loss + equal) / (self.best + equal)

    @property
    def ratio(self) -> float:
        """Of the steps that were chosen."""
        return self.ratio_of(self.tuned.end)


def run(task: Task, ticks: int = TICKS, *, step: float | None = None, momentum: float | None = None) -> Run:
    """One swarm, with steps as given or chosen."""
    return _run(task, ticks, step, momentum)[0]


def _run(task: Task, ticks: int, step: float | None, momentum: float | None) -> tuple[Run, Swarm]:
    settings = AgentSettings(
        tick_s=TICK_S, evaluate_every=0, model_step_size=step, adjoint_step_size=step, momentum=momentum
    )
    swarm = Swarm(task.problems(), settings, faults=task.faults, seed=task.seed)
    training, validation, longest, disbelieved = [], [], 0.0, 0
    for tick in range(1, ticks + 1):
        swarm.simulation.run_until(tick * TICK_S)
        agents = [member.agent for member in swarm.members if member.agent is not None and member.agent.ticks]
        if not agents:
            continue
        reports = [agent.progress.report for agent in agents]
        training.append(statistics.fmean(report.training_loss for report in reports))
        validation.append(statistics.fmean(report.validation_loss for report in reports))
        longest = max(longest, *(float(agent.solver.adjoint.estimate.norm()) for agent in agents))
    for member in swarm.members:
        if member.agent is not None:
            disbelieved += len(member.agent.membership.quarantined)
    return Run(
        start=training[0],
        end=_mean_of_last(training),
        peak=max(loss if not math.isnan(loss) else math.inf for loss in training),
        adjoint=longest if not math.isnan(longest) else math.inf,
        disbelieved=disbelieved,
        validation_start=validation[0],
        validation_end=_mean_of_last(validation),
    ), swarm


def _mean_of_last(losses: Sequence[float]) -> float:
    mean = statistics.fmean(losses[-LAST_TICKS:])
    return mean if not math.isnan(mean) else math.inf


def compare(task: Task, ticks: int = TICKS) -> Outcome:
    """The swarm that tunes itself, then one for each setting."""
    with reproducible_torch():
        tuned, swarm = _run(task, ticks, None, None)
        first = swarm.members[0].agent
        assert first is not None
        tuner = first.solver.tuner
        unit = 1.0 / max(tuner.curvature_at_first, FLAT)
        grid = tuple(run(task, ticks, step=step * unit, momentum=momentum).end for step, momentum in SETTINGS)
    return Outcome(task.seed, task.about, tuned, grid, tuner.tuning.describe())


def measure(seed: int) -> dict[str, Any]:
    """One task, in any process."""
    return asdict(compare(draw_task(seed)))


def main(options: argparse.Namespace) -> int:
    """Measure, print the table, write it; 130 with the table of what there is if interrupted."""
    console = make_console()
    began = time.perf_counter()
    found = measure_seeds(options, console, benchmark="tuning --minibatches", measure=measure)
    outcomes = [outcome_of(kept) for kept in found.results.values()]
    if outcomes:
        console.print(summary(outcomes))
        console.print(CAPTION)
        for one in sorted(outcomes, key=lambda one: -one.ratio)[:WORST_SHOWN]:
            console.print(f"{one.ratio:.2f}: task {one.seed}, {one.about}; {one.chosen}", style="dim")
    return finish(found, console, options, began, lambda: as_json(outcomes))


def outcome_of(kept: Mapping[str, Any]) -> Outcome:
    """From a record, which anybody may have written. Raises `HyperpushError`."""
    try:
        return Outcome(**{**kept, "tuned": Run(**kept["tuned"]), "grid": tuple(kept["grid"])})
    except (LookupError, TypeError, AttributeError):
        raise HyperpushError("the record has a task with other fields; give another --record") from None


def summary(outcomes: Sequence[Outcome]) -> Table:
    """The chosen steps, and the setting of the grid that is best for all tasks together."""
    fixed = min(
        range(len(SETTINGS)),
        key=lambda setting: statistics.median(one.ratio_of(one.grid[setting]) for one in outcomes),
    )
    title = f"{len(outcomes)} random networks and tasks with minibatches, seeds from {outcomes[0].seed}"
    table = Table(title=title, header_style="bold")
    table.add_column("steps", no_wrap=True)
    headings = ("median", "nine in ten", "worst", "above start", "peak", "adjoint", "disbelieved")
    for heading in (*headings, "validation"):
        table.add_column(heading, justify="right")
    tuned = [one.tuned for one in outcomes]
    table.add_row(
        "chosen by the agents",
        *_row([one.ratio for one in outcomes]),
        str(sum(one.is_worse for one in tuned)),
        str(sum(not one.peak <= PEAK * one.start for one in tuned)),
        str(sum(not one.adjoint <= BEYOND for one in tuned)),
        str(sum(one.disbelieved > 0 for one in tuned)),
        str(sum(one.validation_end < one.validation_start for one in tuned)),
    )
    step, momentum = SETTINGS[fixed]
    table.add_row(
        f"{step:g} / curvature, momentum {momentum:g} for all",
        *_row([one.ratio_of(one.grid[fixed]) for one in outcomes]),
        str(sum(not one.grid[fixed] <= one.tuned.start for one in outcomes)),
    )
    return table


def _row(ratios: Sequence[float]) -> list[str]:
    return [f"{value:.3g}" for value in (statistics.median(ratios), quantile(ratios, 0.9), max(ratios))]


def as_json(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """For programs."""
    return {
        "versions": versions(),
        "settings": SETTINGS,
        "tasks": [jsonable(asdict(one)) for one in outcomes],
    }
