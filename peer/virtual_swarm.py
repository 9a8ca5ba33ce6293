"""`peer.simulate`: a whole swarm under a virtual clock, from problems to results, in one call."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from peer import assembly
from peer.errors import SettingError
from peer.learned import Learned, copies
from peer.run_result import frame
from peer.scenario import Change, Join, check_scenario, member_names
from peer.settings import AgentSettings
from peer.simulation import MessageCounters, Simulation
from peer.views import AgentView, Messages
from peer.virtual_seats import Seat, VirtualSeats
from wire import FaultPlan, PeerId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Unpack

    from peer.events import Event
    from peer.inbox import InboxCounters
    from peer.problem import BilevelProblem
    from peer.settings import SettingKeywords
    from peer.torch_learner import MakeOptimizer, TorchLearner
    from peer.trace.files import Traces

HISTORY_TICKS = 10  # nominal ticks between two views of a history


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult(Learned):
    """What one agent ended with; tensors are copies."""

    alive: bool
    counters: MessageCounters
    inbox: InboxCounters


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a simulated swarm ended with, and with `history=True` how it came there."""

    agents: tuple[AgentResult, ...]
    digest: str  # of the whole trace; equal for equal arguments on one machine and set of versions
    messages: int  # put on links
    bytes: int
    ticks: float  # nominal ticks of virtual time
    virtual_s: float
    wall_s: float
    events: tuple[tuple[float, PeerId, Event], ...]  # (virtual time, agent, what happened)
    views: tuple[AgentView, ...]  # of every agent the last one; with a history evenly over the run

    def frame(self) -> Any:
        """The views as a `pandas.DataFrame`, in the order of time; see `peer.frame`."""
        return frame(self.views)


@dataclass(slots=True, kw_only=True)
class Member(Seat[Tensor]):
    """One seat of the swarm with its problem."""

    problem: BilevelProblem[Any]
    settings: AgentSettings
    learner: TorchLearner[Any] | None = None


class Swarm(VirtualSeats[Tensor, Member]):
    """The members of a simulated swarm: does to them what a scenario says and spreads the news of it.

    `notice_s` as in `VirtualSeats`.
    """

    def __init__(
        self,
        problems: Sequence[BilevelProblem[Any]],
        settings: AgentSettings,
        *,
        faults: FaultPlan,
        seed: int,
        speeds: Sequence[float] | None = None,
        scenario: Sequence[Change] = (),
        notice_s: tuple[float, float] | None = (0.0, 0.0),
        swarm: str = "simulated",
        make_optimizer: MakeOptimizer | None = None,
        record: Callable[[bytes], None] | None = None,
        traces: Traces | None = None,
    ) -> None:
        if not problems:
            raise SettingError("problems", len(problems), "give at least one problem, one per agent")
        if speeds is not None and (len(speeds) != len(problems) or not all(speed > 0 for speed in speeds)):
            raise SettingError("speeds", list(speeds), f"give {len(problems)} numbers above 0, one per agent")
        if notice_s is not None and not 0 <= notice_s[0] <= notice_s[1] < math.inf:
            raise SettingError("notice_s", notice_s, "give (shortest, longest) delay in seconds, 0 or more")
        check_scenario(scenario, len(problems))
        assembly.check_alike(problems)
        self._seed = seed
        self._swarm = swarm
        self._make_optimizer = make_optimizer
        self._traces = traces
        self.events: list[tuple[float, PeerId, Event]] = []
        simulation: Simulation[Tensor] = Simulation(
            faults=faults, seed=seed, codec=assembly, record=record, on_event=self._on_event
        )
        names = member_names(len(problems))
        members = [
            Member(peer=names[i], problem=problem, settings=_at_speed(settings, speeds[i] if speeds else 1.0))
            for i, problem in enumerate(problems)
        ]
        super().__init__(simulation, members, seed=seed, notice_s=notice_s)
        self.found({change.agent for change in scenario if isinstance(change, Join)})
        self.follow(scenario)

    def _on_event(self, now: float, peer: PeerId, event: Event) -> None:
        self.events.append((now, peer, event))

    def make_agent(self, member: Member, *, founder: bool, epoch_floor: int) -> assembly.TensorAgent:
        """An agent for the member's problem; its learner becomes the member's."""
        agent, member.learner = assembly.make_agent(
            member.problem,
            member.settings,
            peer=member.peer,
            swarm=self._swarm,
            seed=self._seed,
            now=self.simulation.now,
            founder=founder,
            incarnation=member.incarnation,
            epoch_floor=epoch_floor,
            make_optimizer=self._make_optimizer,
            trace=None if self._traces is None else self._traces.of(member.peer, member.lives),
        )
        return agent

    def result(self, member: Member, metrics: Mapping[str, float] | None = None) -> AgentResult:
        """Copies of what the member knows, or knew when killed; `metrics` in place of those taken last."""
        agent, learner = member.agent, member.learner
        assert agent is not None
        assert learner is not None
        layout = learner.layout
        return AgentResult(
            id=member.peer,
            model=copies(layout.unflatten(agent.solver.model.estimate)),
            adjoint=copies(layout.unflatten(agent.solver.adjoint.estimate)),
            hypergradient=copies(learner.hypergradient),
            hyperparameters=copies(learner.hyperparameters),
            local=copies(learner.local),
            ticks=agent.ticks,
            epoch=agent.epoch,
            residual=agent.progress.residual(),
            alive=member.alive,
            counters=self.simulation.counters[member.peer],
            inbox=agent.inbox.counters,
            metrics=dict(agent.progress.report.metrics) if metrics is None else metrics,
        )

    def view(self, member: Member, metrics: Mapping[str, float] | None = None) -> AgentView:
        """What people see of it now; with these metrics instead of those taken last."""
        assert member.agent is not None
        counters = self.simulation.counters[member.peer]
        seen = AgentView.of(member.agent, Messages.of_simulation(member.agent, counters))
        return seen if metrics is None else seen.with_metrics(metrics)

    def metrics(self, member: Member) -> Mapping[str, float]:
        """Of what it has come to, unless its settings want none."""
        if not member.settings.evaluate_every:
            return {}
        assert member.agent is not None
        assert member.learner is not None
        return dict(member.learner.metrics(member.agent.solver.model.estimate))


def simulate(
    problems: Sequence[BilevelProblem[Any]],
    *,
    faults: FaultPlan | None = None,
    ticks: float = 1000,
    seed: int = 0,
    speeds: Sequence[float] | None = None,
    scenario: Sequence[Change] = (),
    notice_s: tuple[float, float] | None = (0.0, 0.0),
    make_optimizer: MakeOptimizer | None = None,
    record: Callable[[bytes], None] | None = None,
    progress: Callable[[Swarm], None] | None = None,
    history: bool = False,
    **settings: Unpack[SettingKeywords],
) -> SimulationResult:
    """Run one agent per problem for `ticks * tick_s` virtual seconds; equal arguments give equal bits.

    `faults` shapes every link (default: perfect). `speeds[i]` multiplies agent i's rate of ticks. `scenario`
    kills, joins, restarts, stops and pauses agents; each other agent is told of deaths and births after a
    delay drawn from `notice_s` (seconds), or left to heartbeats if that is None. `make_optimizer` makes the
    optimizer of each agent's hyperparameters; its learning rate is set at each step to `hyper_step_size`,
    lowered by the agent if need be. `record` is given every record of the trace that the digest covers.
    `progress` is called once per nominal tick. `history` keeps a view of every agent each HISTORY_TICKS
    nominal ticks, for `SimulationResult.frame`. All fields of `AgentSettings` are keyword arguments.

    Runs with one torch thread and deterministic algorithms, and sets both back afterwards. Raises
    `SettingError` and `ProblemError` before anything runs.

    >>> import peer, torch, wire
    >>> generator = torch.Generator().manual_seed(0)
    >>> problems = [peer.QuadraticProblem.random(generator, dimension=4) for _ in range(3)]
    >>> result = peer.simulate(problems, faults=wire.FaultPlan(drop=0.3), ticks=300, wire_dtype="float64")
    >>> truth = peer.closed_form(problems).model
    >>> all(torch.allclose(agent.model["x"], truth, atol=1e-9) for agent in result.agents)
    True
    """
    chosen = AgentSettings(**settings)
    if not 0 < ticks < math.inf:
        raise SettingError("ticks", ticks, "give a number above 0")
    virtual_s = ticks * chosen.tick_s
    for change in scenario:
        if isinstance(change, Join) and change.at_s > virtual_s:
            raise SettingError("scenario", change, f"let every agent join before the end at {virtual_s} s")
    began = time.perf_counter()
    with reproducible_torch():
        swarm = Swarm(
            problems,
            chosen,
            faults=faults or FaultPlan(),
            seed=seed,
            speeds=speeds,
            scenario=scenario,
            notice_s=notice_s,
            make_optimizer=make_optimizer,
            record=record,
        )
        simulation = swarm.simulation
        views: list[AgentView] = []
        if progress is not None or history:
            for tick in range(1, int(ticks) + 1):
                simulation.run_until(tick * chosen.tick_s)
                if history and tick % HISTORY_TICKS == 0:
                    views += [swarm.view(member) for member in swarm.members if member.agent is not None]
                if progress is not None:
                    progress(swarm)
        simulation.run_until(virtual_s)
        agents = tuple(swarm.result(member, swarm.metrics(member)) for member in swarm.members)
        pairs = zip(swarm.members, agents, strict=True)
        views += [swarm.view(member, agent.metrics) for member, agent in pairs]
    return SimulationResult(
        agents=agents,
        digest=simulation.digest(),
        messages=sum(counters.sent for counters in simulation.counters.values()),
        bytes=sum(counters.bytes_sent for counters in simulation.counters.values()),
        ticks=ticks,
        virtual_s=virtual_s,
        wall_s=time.perf_counter() - began,
        events=tuple(swarm.events),
        views=tuple(views),
    )


@contextlib.contextmanager
def reproducible_torch() -> Iterator[None]:
    """One thread and deterministic algorithms, so that equal calls give equal bits."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    # As use_deterministic_algorithms(True), which would load a compiler first.
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


def _at_speed(settings: AgentSettings, speed: float) -> AgentSettings:
    return dataclasses.replace(settings, tick_s=settings.tick_s / speed)
