"""What `hyperpush bench hypergradient` measures: problems, networks, estimators, and one curve for each.

Lock-step estimators are given the exact model for nothing; tracking begins with an untrained one and solves
for model and adjoint in the same messages. Errors are relative, over all agents together:
norm of (v - truth) / norm of truth, v and truth being the hypergradients of all agents in one vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from peer.estimators import Direct, JacobianPush, Neumann, SwarmProducts
from peer.lockstep import RATES, LockstepNetwork, make_graph
from peer.logistic import mixture, solve
from peer.scenario import Kill, Restart, member_names
from peer.virtual_swarm import simulate
from wire import Exponential, FaultPlan, LinkFaults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.estimators import HypergradientEstimator
    from peer.logistic import LogisticProblem, LogisticSolution
    from peer.scenario import Change
    from peer.virtual_swarm import Swarm

TICK_S: Final = 0.05
PAPER_AGENTS: Final = 3
PAPER_DATA, PAPER_LINKS = (
    2344,
    0,
)  # seeds of samples and of links' rates: see `hypergradient_tables.same_order`
FANOUT: Final = 3  # of agents, and of lock-step graphs but the paper's: fewer is slower
SILENT: Final = 0.4
# How tracking is set, on all networks: step 1 / L where all agents are neighbours and one tick averages well,
# half of that on sparse graphs. L: largest curvature of the mean training loss. The best of steps 0.5, 1 and
# 2 / L, momentum 0 to 0.8 and 1 to 3 out-neighbours, at 3 and 10 agents with 40 % silent loss.
STEP_COMPLETE: Final = 1.0
STEP_SPARSE: Final = 0.5
MOMENTUM: Final = 0.5
WARM_UP_TICKS: Final = 5.0
KILLED_AT: Final = 30  # nominal ticks, as the next two
BACK_AT: Final = 60
CHECKPOINT_TICKS: Final = 10
TARGET: Final = 1e-6
GIVE_UP: Final = 1e6  # an error above it is not going to come back

PERFECT: Final = "perfect"
KNOWN: Final = "links known to be down"
SILENT_LOSS: Final = "silent loss 40 %"
DELAYS: Final = "delays, mean 2 ticks"
SPEEDS: Final = "speeds 10x apart"
CRASH: Final = "a crash in between"
NETWORKS: Final = (PERFECT, KNOWN, SILENT_LOSS, DELAYS, SPEEDS, CRASH)
LOCKSTEP_NETWORKS: Final = (PERFECT, KNOWN, SILENT_LOSS)

DIRECT: Final = "direct"
NEUMANN: Final = "neumann, a = 1"
NEUMANN_TUNED: Final = "neumann, a = 1 / L"
JACOBIAN_PUSH: Final = "jacobian-push"
TRACKING: Final = "tracking"
ESTIMATORS: Final = (DIRECT, JACOBIAN_PUSH, NEUMANN, NEUMANN_TUNED, TRACKING)


@dataclass(frozen=True, slots=True)
class Task:
    """One curve to be measured. `setting` is S of neumann, a of jacobian-push."""

    agents: int
    network: str
    estimator: str
    seed: int
    length: int  # updates or nominal ticks at most
    setting: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """After so much communication of the whole swarm, the error was this."""

    messages: int  # put on links, lost ones included
    bytes: int
    error: float  # NaN where the estimate is not finite


@dataclass(frozen=True, slots=True)
class Curve:
    """What one task found."""

    task: Task
    points: tuple[Point, ...]


@cache
def swarm_of(agents: int, seed: int) -> tuple[tuple[LogisticProblem, ...], LogisticSolution]:
    """Problems and truth; three agents are the paper's set-up and have the same data whatever the seed."""
    problems = mixture(agents, PAPER_DATA if agents == PAPER_AGENTS else seed)
    return tuple(problems), solve(problems)


def relative_error(found: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Over all agents in one vector; NaN if it is not finite."""
    exact = torch.cat(list(truth))
    error = float((torch.cat(list(found)) - exact).norm() / exact.norm())
    return error if error < math.inf else math.nan


class StandingProducts(SwarmProducts):
    """Products at models that do not move any more, of losses over all samples: matrices, made once.

    100 agents then take one matrix product a term instead of hundreds of calls.
    """

    def __init__(self, problems: Sequence[LogisticProblem], model: Tensor) -> None:
        super().__init__(problems)
        self.models = model.expand_as(self.models).clone()
        size = len(model)
        zeros = torch.zeros_like(self.models)
        self._outer = super().outer_gradients()
        self._direct = torch.stack(super().hypergradients(zeros))  # (n, h)
        columns, mixed = [], []
        for unit in torch.eye(size, dtype=torch.float64):
            columns.append(super().hessian_vectors(unit.expand_as(zeros)))
            mixed.append(torch.stack(super().hypergradients(unit.expand_as(zeros))) - self._direct)
        self._hessians = torch.stack(columns, dim=2)  # (n, d, d)
        self._mixed = torch.stack(mixed, dim=2)  # (n, h, d)

    def outer_gradients(self) -> Tensor:
        """As in `SwarmProducts`."""
        return self._outer

    def adjoint_gradients(self, adjoints: Tensor) -> Tensor:
        """As in `SwarmProducts`."""
        return self.hessian_vectors(adjoints) - self._outer

    def hessian_vectors(self, vectors: Tensor) -> Tensor:
        """As in `SwarmProducts`."""
        return torch.bmm(self._hessians, vectors.unsqueeze(2)).squeeze(2)

    def hypergradients(self, adjoints: Tensor) -> tuple[Tensor, ...]:
        """As in `SwarmProducts`."""
        return tuple(self._direct + torch.bmm(self._mixed, adjoints.unsqueeze(2)).squeeze(2))


def lockstep_network(task: Task) -> LockstepNetwork:
    """The paper's three clients all have links to each other; more agents have sparse graphs."""
    rates = {PERFECT: (1.0, 1.0), KNOWN: RATES, SILENT_LOSS: (1 - SILENT, 1 - SILENT)}[task.network]
    fanout = None if task.agents == PAPER_AGENTS else FANOUT
    graph = make_graph(task.agents, fanout=fanout, rates=rates, seed=_links_seed(task))
    return LockstepNetwork(graph, known=task.network != SILENT_LOSS, seed=task.seed)


def is_complete(agents: int) -> bool:
    """Whether all have links to all, and so both ways."""
    return agents - 1 <= FANOUT


def _links_seed(task: Task) -> int:
    return PAPER_LINKS if task.agents == PAPER_AGENTS else task.seed


def estimator_of(task: Task, largest: float) -> HypergradientEstimator:  # type: ignore[type-arg]
    """`largest`: curvature L of the mean training loss at its minimum."""
    if task.estimator == DIRECT:
        return Direct()
    if task.estimator == JACOBIAN_PUSH:
        return JacobianPush(task.setting)
    return Neumann(int(task.setting), 1.0 if task.estimator == NEUMANN else 1 / largest)


def lockstep_curve(task: Task, *, whole: bool = False) -> Curve:
    """Errors after every update; unless `whole`, ends below the target or where no hope is left."""
    problems, truth = swarm_of(task.agents, task.seed)
    products = StandingProducts(problems, truth.model)
    network = lockstep_network(task)
    estimator = estimator_of(task, truth.curvature[1])
    state = estimator.init(products)
    points = []
    for update in range(task.length + 1):
        if update:
            state = estimator.update(state, products, network)
        error = relative_error(estimator.hypergradients(state, products), truth.hypergradients)
        points.append(Point(network.messages, network.bytes, error))
        if not whole and (not error < GIVE_UP or error < TARGET / 10 or _stagnates(points)):
            break
    return Curve(task, tuple(points))


def _stagnates(points: Sequence[Point], window: int = 200) -> bool:
    """Whether the second half of the last updates was no better than the first half of them."""
    if len(points) % window or len(points) < 2 * window:
        return False
    recent = [point.error for point in points[-window:]]
    return min(recent[window // 2 :]) > 0.9 * min(recent[: window // 2])


def tracking_curve(task: Task) -> Curve:
    """Errors once per nominal tick, of the agents themselves."""
    problems, truth = swarm_of(task.agents, task.seed)
    points: list[Point] = []
    exact = truth.hypergradients
    latest: dict[int, Tensor] = {}

    def look(swarm: Swarm) -> None:
        for index, member in enumerate(swarm.members):
            if member.learner is not None:
                latest[index] = member.learner.hypergradient["decay"]
        counters = swarm.simulation.counters.values()
        error = relative_error([latest[index] for index in range(len(exact))], exact)
        points.append(
            Point(sum(one.sent for one in counters), sum(one.bytes_sent for one in counters), error)
        )

    step_size = (STEP_COMPLETE if is_complete(task.agents) else STEP_SPARSE) / truth.curvature[1]
    last = task.agents - 1
    simulate(
        problems,
        faults=fault_plan(task),
        ticks=task.length,
        seed=task.seed,
        speeds=[0.1 ** (i / last) for i in range(task.agents)] if task.network == SPEEDS else None,
        scenario=crash(task) if task.network == CRASH else (),
        progress=look,
        tick_s=TICK_S,
        fanout=min(FANOUT, task.agents - 1),
        model_step_size=step_size,
        adjoint_step_size=step_size,
        momentum=MOMENTUM,
        warm_up_ticks=WARM_UP_TICKS,
        wire_dtype="float64",
        evaluate_every=0,
        checkpoint_ticks=CHECKPOINT_TICKS if task.network == CRASH else 0,
    )
    return Curve(task, tuple(points))


def crash(task: Task) -> tuple[Change, ...]:
    """One agent is killed before anything has settled, and comes back with its last checkpoint."""
    agent = task.agents // 2
    return Kill(agent, KILLED_AT * TICK_S), Restart(agent, BACK_AT * TICK_S)


def fault_plan(task: Task) -> FaultPlan:
    """What links do to agents, who are never told."""
    if task.network == KNOWN:
        names = member_names(task.agents)
        rates = make_graph(task.agents, rates=RATES, seed=_links_seed(task)).rates
        links: Mapping[tuple[str, str], LinkFaults] = {
            (source, target): LinkFaults(drop=1 - float(rates[j, i]))
            for i, source in enumerate(names)
            for j, target in enumerate(names)
            if i != j
        }
        return FaultPlan(links=links)
    if task.network == SILENT_LOSS:
        return FaultPlan(drop=SILENT)
    if task.network == DELAYS:
        return FaultPlan(delay_s=Exponential(2 * TICK_S))
    return FaultPlan()
