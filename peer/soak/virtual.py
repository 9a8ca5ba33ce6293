"""A simulated swarm for a soak: small quadratics, real bytes, mild faults, a member that restarts."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.admission import Identity
from peer.agent import Agent
from peer.hunt.quadratics import Quadratic, closed_form
from peer.orders import block_spans
from peer.scenario import Kill, Restart, member_names
from peer.settings import AgentSettings
from peer.simulation import Simulation
from peer.soak import floats
from peer.soak.floats import FloatAlgebra, FloatLearner, FloatVector
from peer.solver import Solver
from peer.tracking import TrackingStream
from peer.virtual_seats import Seat, VirtualSeats
from wire import FaultPlan, Uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.algebra import V
    from peer.scenario import Change

DIMENSION = 3
TICK_S = 1.0
FAULTS = FaultPlan(drop=0.1, delay_s=Uniform(0.0, 1.0), duplicate=0.01)
DOWN = 0.25  # of the time between two samples
RESTART_EVERY = 4  # samples: who comes back more often is held off for flapping
RESTARTED = 0.25  # of the members: what grows in a member would not be seen if all began anew in turn
SETTLE_TICKS = 300  # from one sample to the next at least, so that the answer is there again
BRIEFLY_S = 5.0
MEETING_TICKS = 70  # from one restart to the next at first: a little longer than the shortest epoch
FORGIVEN_TICKS = 800  # so long after its last restart a member is forgiven that it flapped
SETTINGS = AgentSettings(
    tick_s=TICK_S,
    momentum=0.5,
    damping=0.0,
    model_step_size=0.2,
    adjoint_step_size=0.2,
    warm_up_ticks=10.0,
    listen_ticks=5.0,
    listen_s_max=10.0,
    evaluate_every=0,
)


@dataclass(slots=True, kw_only=True)
class SoakSeat(Seat[FloatVector]):
    """One seat and its task."""

    task: Quadratic


class VirtualSoak(VirtualSeats[FloatVector, SoakSeat]):
    """50 agents or so. Nothing here is kept of what has happened, so what grows is the agents' own."""

    def __init__(self, agents: int, seed: int) -> None:
        rng = random.Random(f"soak/{seed}")
        tasks = [_task(rng) for _ in range(agents)]
        self._answer = closed_form(tasks)
        self._seed = seed
        self._former_ticks = 0
        self._turn = 0
        names = member_names(agents)
        seats = [SoakSeat(peer=name, task=task) for name, task in zip(names, tasks, strict=True)]
        simulation: Simulation[FloatVector] = Simulation(faults=FAULTS, seed=seed, codec=floats)
        super().__init__(simulation, seats, seed=seed, notice_s=None)
        self.found(())
        restarted, rounds, gap_ticks = meeting(agents)
        for number in range(rounds):
            at_s = (number + 1) * gap_ticks * TICK_S
            self.follow([Kill(number % restarted, at_s), Restart(number % restarted, at_s + BRIEFLY_S)])

    def make_agent(self, member: SoakSeat, *, founder: bool, epoch_floor: int) -> Agent[FloatVector]:
        """A new life."""
        name = f"{self._seed}/{member.peer}/{member.incarnation}"
        algebra, spans = FloatAlgebra(), block_spans(DIMENSION, 1.0, DIMENSION)
        learner = FloatLearner(member.task)
        return Agent(
            Identity(member.peer, "soak", "quadratic", member.incarnation),
            Solver(learner, algebra, SETTINGS, spans, random.Random(f"{name}/blocks")),
            algebra,
            SETTINGS,
            rng=random.Random(f"{name}/ticks"),
            now=member.clock.read(self.simulation.now),
            founder=founder,
            epoch_floor=epoch_floor,
        )

    def change(self, change: Change) -> None:
        """Keep count of the ticks made by whom a new life replaces."""
        if isinstance(change, Restart):
            former = self.members[change.agent].agent
            self._former_ticks += 0 if former is None else former.ticks
        super().change(change)

    def go_on(self, ticks: float) -> None:
        """Run for so long; now and then a member is down at the beginning, once all know all."""
        begun_s = self.simulation.now
        index = who_restarts(self._turn, len(self.members))
        self._turn += 1
        if index is not None and begun_s > meeting_ticks(len(self.members)) * TICK_S:
            self.change(Kill(index, begun_s))
            self.simulation.run_until(begun_s + DOWN * ticks * TICK_S)
            self.change(Restart(index, self.simulation.now))
        self.simulation.run_until(begun_s + ticks * TICK_S)

    @property
    def agents(self) -> list[Agent[FloatVector]]:
        """Who holds the seats, or held them last."""
        return [member.agent for member in self.members if member.agent is not None]

    @property
    def agent_ticks(self) -> int:
        """All that were ever made."""
        return self._former_ticks + sum(agent.ticks for agent in self.agents)

    @property
    def roots(self) -> list[object]:
        """Where all that the agents keep can be reached from."""
        return [self.simulation]

    def largest_sum(self) -> float:
        """The largest running sum of this moment."""
        return max(max(map(abs, stream.mass.pushed.values)) for stream in tracking(self.agents))

    def error(self) -> float:
        """Of the worst agent's model or adjoint, relative to the largest number of the answer."""
        truths = (self._answer.model, self._answer.adjoint) * len(self.members)
        found = [stream.stepped.values for stream in tracking(self.agents)]
        return max(_distance(one, truth) for one, truth in zip(found, truths, strict=True))


def meeting(members: int) -> tuple[int, int, int]:
    """Who restarts at first, how often in all, every how many ticks: each time an epoch draws new neighbours.

    Whatever is kept of each neighbour is full once all have met, so as many epochs as it takes to draw all.
    """
    restarted = max(1, round(RESTARTED * members))
    drawn = SETTINGS.fanout - 1
    rounds = math.ceil(members / drawn * math.log(5 * members)) if members > SETTINGS.fanout + 1 else 0
    return restarted, rounds, max(MEETING_TICKS, FORGIVEN_TICKS // restarted)


def meeting_ticks(members: int) -> int:
    """How long that takes."""
    _, rounds, gap_ticks = meeting(members)
    return (rounds + 1) * gap_ticks


def who_restarts(turn: int, members: int) -> int | None:
    """The member that is down at the beginning of this turn, if one is."""
    number, rest = divmod(turn, RESTART_EVERY)
    return None if rest else number % max(1, round(RESTARTED * members))


def tracking(agents: Sequence[Agent[V]]) -> list[TrackingStream[V]]:
    """Model and adjoint of each agent in turn."""
    streams = [stream for agent in agents for stream in agent.solver.streams]
    return [stream for stream in streams if isinstance(stream, TrackingStream)]


def _distance(found: Sequence[float], truth: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(found, truth, strict=True)) / max(map(abs, truth))


def _task(rng: random.Random) -> Quadratic:
    def values(low: float, high: float) -> tuple[float, ...]:
        return tuple(rng.uniform(low, high) for _ in range(DIMENSION))

    return Quadratic(values(0.5, 1.5), values(-5.0, 5.0), values(-5.0, 5.0))
