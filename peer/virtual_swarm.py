"""`peer.simulate`: a whole swarm under a virtual clock, from problems to results, in one call."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from peer import assembly
from peer.errors import SettingError
from peer.scenario import Change, Join, Kill, Leave, Pause, check_scenario, member_names, next_life
from peer.settings import AgentSettings
from peer.simulation import MessageCounters, Simulation
from wire import FaultPlan, PeerId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Unpack

    from peer.events import Event
    from peer.inbox import InboxCounters
    from peer.problem import BilevelProblem
    from peer.settings import SettingKeywords
    from peer.torch_learner import MakeOptimizer, TorchLearner


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What one agent ended with; tensors are copies."""

    id: PeerId
    model: Mapping[str, Tensor]
    adjoint: Mapping[str, Tensor]
    hypergradient: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    local: Mapping[str, Tensor]
    ticks: int
    epoch: int
    residual: float
    alive: bool
    counters: MessageCounters
    inbox: InboxCounters
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a simulated swarm ended with."""

    agents: tuple[AgentResult, ...]
    digest: str  # of the whole trace; equal for equal arguments on one machine and set of versions
    messages: int  # put on links
    bytes: int
    ticks: float  # nominal ticks of virtual time
    virtual_s: float
    wall_s: float
    events: tuple[tuple[float, PeerId, Event], ...]  # (virtual time, agent, what happened)


@dataclass(slots=True)
class Member:
    """One seat of the swarm: its problem, and the agent that holds the seat now."""

    problem: BilevelProblem[Any]
    settings: AgentSettings
    peer: PeerId
    incarnation: int = 0
    lives: int = 0
    alive: bool = False
    agent: assembly.TensorAgent | None = None
    learner: TorchLearner[Any] | None = None


class Swarm:
    """The members of a simulated swarm: does to them what a scenario says and spreads the news of it.

    `notice_s`: every observer learns of a change after its own delay, drawn uniformly from this interval.
    None: nobody is told; who comes knows whom it may contact, and heartbeats tell the rest.
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
        self._notice_s = notice_s
        self._rng = random.Random(f"{seed}/notices")
        self._told_at: dict[tuple[PeerId, PeerId], float] = {}
        self._make_optimizer = make_optimizer
        self.events: list[tuple[float, PeerId, Event]] = []
        self.simulation: Simulation[Tensor] = Simulation(
            faults=faults, seed=seed, codec=assembly, record=record, on_event=self._on_event
        )
        names = member_names(len(problems))
        self.members = [
            Member(problem, _at_speed(settings, speeds[i] if speeds else 1.0), names[i])
            for i, problem in enumerate(problems)
        ]
        absent = {change.agent for change in scenario if isinstance(change, Join)}
        for index, member in enumerate(self.members):
            if index not in absent:
                self._come(member, founder=True, tell=False)
        for member in self.members:
            if member.alive:
                self._show_everybody(member)
        for change in scenario:
            self.simulation.at(change.at_s, lambda change=change: self._change(change))  # type: ignore[misc]

    def _on_event(self, now: float, peer: PeerId, event: Event) -> None:
        self.events.append((now, peer, event))

    def _come(self, member: Member, *, founder: bool, tell: bool = True) -> None:
        simulation = self.simulation
        member.agent, member.learner = assembly.make_agent(
            member.problem,
            member.settings,
            peer=member.peer,
            swarm=self._swarm,
            seed=self._seed,
            now=simulation.now,
            founder=founder,
            incarnation=member.incarnation,
            epoch_floor=simulation.durable.get(member.peer, 0),
            make_optimizer=self._make_optimizer,
        )
        member.alive = True
        if tell:
            self._show_everybody(member)
            self._announce(member, simulation.tell_seen, member.peer, member.incarnation)
        simulation.start(member.agent)

    def _show_everybody(self, member: Member) -> None:
        """What discovery tells an agent when it starts."""
        assert member.agent is not None
        for other in self.members:
            if other.alive and other is not member:
                if self._notice_s is None and self.simulation.now > 0.0:
                    member.agent.peer_found(other.peer, self.simulation.now)
                else:
                    member.agent.peer_seen(other.peer, other.incarnation, self.simulation.now)

    def _announce(self, member: Member, tell: Callable[..., None], *what: object) -> None:
        if self._notice_s is None:
            return
        low, high = self._notice_s
        for other in self.members:
            if other is not member:
                link = (other.peer, member.peer)
                at_s = self.simulation.now + low + (high - low) * self._rng.random()
                at_s = self._told_at[link] = max(at_s, self._told_at.get(link, 0.0))  # news stays in order
                observer = other.peer
                self.simulation.at(
                    at_s,
                    lambda observer=observer: tell(observer, *what),  # type: ignore[misc]
                )

    def _change(self, change: Change) -> None:
        member = self.members[change.agent]
        match change:
            case Leave():
                self.simulation.leave(member.peer)
                member.alive = False
            case Pause():
                self.simulation.pause(member.peer, change.duration_s)
            case Kill():
                self.simulation.kill(member.peer)
                member.alive = False
                self._announce(member, self.simulation.tell_gone, member.peer, member.incarnation)
            case Join():
                self._come(member, founder=False)
            case _:  # a restart
                member.lives += 1
                if change.with_state:
                    member.incarnation += 1
                else:
                    member.peer, member.incarnation = next_life(member.peer, member.lives), 0
                self._come(member, founder=False)

    def result(self, member: Member) -> AgentResult:
        """Copies of what the member knows, or knew when it was killed."""
        agent, learner = member.agent, member.learner
        assert agent is not None
        assert learner is not None
        layout = learner.layout
        return AgentResult(
            id=member.peer,
            model=_copies(layout.unflatten(agent.solver.model.estimate)),
            adjoint=_copies(layout.unflatten(agent.solver.adjoint.estimate)),
            hypergradient=_copies(learner.hypergradient),
            hyperparameters=_copies(learner.hyperparameters),
            local=_copies(learner.local),
            ticks=agent.ticks,
            epoch=agent.epoch,
            residual=agent.progress.residual(),
            alive=member.alive,
            counters=self.simulation.counters[member.peer],
            inbox=agent.inbox.counters,
            metrics=dict(agent.progress.report.metrics),
        )


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
    **settings: Unpack[SettingKeywords],
) -> SimulationResult:
    """Run one agent per problem for `ticks * tick_s` virtual seconds; equal arguments give equal bits.

    `faults` shapes every link (default: perfect). `speeds[i]` multiplies agent i's rate of ticks. `scenario`
    kills, joins, restarts, stops and pauses agents; each other agent is told of deaths and births after a
    delay drawn from `notice_s` (seconds), or left to heartbeats if that is None. `make_optimizer` makes the
    optimizer of each agent's hyperparameters; its learning rate is set at each step to `hyper_step_size`,
    lowered by the agent if need be. `record` is given every record of the trace that the digest covers.
    `progress` is called once per nominal tick. All fields of `AgentSettings` are keyword arguments.

    Runs with one torch thread and deterministic algorithms, and sets both back afterwards. Raises
    `SettingError` and `ProblemError` before anything runs.
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
        if progress is not None:
            for tick in range(1, int(ticks) + 1):
                simulation.run_until(tick * chosen.tick_s)
                progress(swarm)
        simulation.run_until(virtual_s)
    return SimulationResult(
        agents=tuple(swarm.result(member) for member in swarm.members),
        digest=simulation.digest(),
        messages=sum(counters.sent for counters in simulation.counters.values()),
        bytes=sum(counters.bytes_sent for counters in simulation.counters.values()),
        ticks=ticks,
        virtual_s=virtual_s,
        wall_s=time.perf_counter() - began,
        events=tuple(swarm.events),
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


def _copies(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def _at_speed(settings: AgentSettings, speed: float) -> AgentSettings:
    return dataclasses.replace(settings, tick_s=settings.tick_s / speed)
