"""DESIGN (9) with `==`: mass is conserved whatever network and members do, on the very code that runs.

Hypothesis drives real agents on exact fractions through arbitrary interleavings of ticks (begun and finished
separately), deliveries, losses, duplicates, reordering, membership news, crashes and restarts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from peer.admission import Identity
from peer.agent import Agent
from peer.events import Compute, Persist, Send
from peer.orders import block_spans
from peer.phase import Phase
from peer.push_sum import PushSum
from peer.settings import AgentSettings
from peer.solver import Solver
from peer.tracking import TrackingStream
from tests.oracles.fractions import FractionAlgebra, FractionLearner, vector
from wire import DecodeError, Push, RejectReason

if TYPE_CHECKING:
    from peer.running_sum import RunningSum

SIZE = 2
AGENTS_MAX = 5
MAY_BE_REFUSED = (None, RejectReason.UNKNOWN_SENDER, RejectReason.EPOCH_RATE)
IN_FLIGHT_MAX = 12


@dataclass
class Life:
    """One incarnation of one identity, as the world sees it."""

    agent: Agent[Any]
    alive: bool = True
    work: Any = None


@dataclass
class World:
    """Agents, what is in flight on every link, and what each identity has on disk."""

    settings: AgentSettings
    algebra: FractionAlgebra
    now: float = 0.0
    lives: list[Life] = field(default_factory=list)
    flying: list[tuple[str, Push[Any]]] = field(default_factory=list)
    durable: dict[str, int] = field(default_factory=dict)

    def start(self, peer: str, number: int, *, incarnation: int, founder: bool) -> Life:
        learner = FractionLearner(
            vector(*[Fraction(number + 2, 3)] * SIZE), vector(number, -number), vector(1, number)
        )
        spans = block_spans(SIZE, self.settings.block_fraction, SIZE)
        solver = Solver(learner, self.algebra, self.settings, spans, random.Random(number))
        agent = Agent(
            Identity(peer, "swarm", "model", incarnation),
            solver,
            self.algebra,
            self.settings,
            rng=random.Random(f"{peer}/{incarnation}"),
            now=self.now,
            founder=founder,
            epoch_floor=self.durable.get(peer, 0),
        )
        life = Life(agent)
        self.lives.append(life)
        return life

    def alive(self) -> list[Life]:
        return [life for life in self.lives if life.alive]

    def perform(self, life: Life) -> None:
        peer = life.agent.identity.peer
        for effect in life.agent.take_effects():
            match effect:
                case Persist(epoch):
                    assert epoch > self.durable.get(peer, 0), "an identity entered an epoch twice"
                    self.durable[peer] = epoch
                case Compute(work):
                    assert life.work is None
                    life.work = work
                case Send(targets, push):
                    durable = self.durable.get(peer, 0)
                    assert push.epoch == durable or not push.arrays, "sent in an epoch that is not durable"
                    self.flying.extend((target, push) for target in targets)
        del self.flying[:-IN_FLIGHT_MAX]  # the oldest are lost

    def begin(self, life: Life) -> None:
        deadline = life.agent.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        life.agent.handle_timer(self.now)
        self.perform(life)

    def finish(self, life: Life) -> None:
        work, life.work = life.work, None
        life.agent.computed(work(), self.now)
        self.perform(life)

    def deliver(self, target: str, push: Push[Any]) -> None:
        for life in self.alive():
            if life.agent.identity.peer == target:
                assert reason_to_refuse(life.agent, push, self.now) in MAY_BE_REFUSED

    def entered(self) -> dict[str, Agent[Any]]:
        """The agents of the highest epoch, dead ones included: what they held is not given back."""
        agents = [life.agent for life in self.lives if life.agent.phase is not Phase.LISTENING]
        highest = max((agent.epoch for agent in agents), default=0)
        found: dict[str, Agent[Any]] = {}
        for agent in agents:
            if agent.epoch == highest:
                assert agent.identity.peer not in found, "an identity is twice in one epoch"
                found[agent.identity.peer] = agent
        return found

    def mass(self, ledgers: dict[str, RunningSum[Any]], spans: list[slice]) -> list[Fraction]:
        """Held, plus what is on the epoch's links; a target that has not entered has received nothing."""
        agents = self.entered()
        total = [Fraction(0)] * spans[-1].stop
        for peer, ledger in ledgers.items():
            for index, held in enumerate(ledger.held):
                total[index] += held
            for target in agents[peer].out_neighbours:
                for span in spans:
                    received = ledgers[target].received.get((peer, span.start)) if target in ledgers else None
                    for offset, index in enumerate(range(span.start, span.stop)):
                        total[index] += ledger.pushed[index] - (0 if received is None else received[offset])
        return total


def reason_to_refuse(agent: Agent[Any], push: Push[Any], now: float) -> RejectReason | None:
    try:
        agent.receive(push, now)
    except DecodeError as error:
        return error.reason
    return None


class Swarm(RuleBasedStateMachine):
    """Arbitrary interleavings. Subclasses fix solver, wire and cut into blocks."""

    solver = "tracking"
    wire_denominator: int | None = None
    block_fraction = 1.0
    local_steps = 1

    @initialize(count=st.integers(2, 4), fanout=st.integers(1, 3))
    def found(self, count: int, fanout: int) -> None:
        chosen = AgentSettings(
            fanout=fanout,
            solver=self.solver,  # type: ignore[arg-type]
            model_step_size=Fraction(1, 8),
            adjoint_step_size=Fraction(1, 8),
            momentum=Fraction(1, 2),
            damping=Fraction(1, 16),
            local_steps=self.local_steps,
            block_fraction=self.block_fraction,
            tick_s=1.0,
            warm_up_ticks=1.0,
            epoch_warm_ups_min=1.0,
            listen_ticks=1.0,
            listen_s_max=4.0,
            evaluate_every=0,
        )
        self.world = World(chosen, FractionAlgebra(self.wire_denominator))
        for number in range(count):
            self.world.start(f"peer-{number}", number, incarnation=0, founder=True)
        for life in self.world.lives:
            for other in self.world.lives:
                life.agent.peer_seen(other.agent.identity.peer, 0, 0.0)
        self.births = count

    @rule(data=st.data())
    def tick(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.world.alive()))
        if life.work is None:
            self.world.begin(life)
        else:
            self.world.finish(life)

    @rule()
    def everybody_ticks(self) -> None:
        for life in self.world.alive():
            if life.work is None:
                self.world.begin(life)
            if life.work is not None:
                self.world.finish(life)

    @precondition(lambda self: self.world.flying)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        index = data.draw(st.integers(0, len(self.world.flying) - 1))
        target, push = self.world.flying[index] if keep else self.world.flying.pop(index)
        self.world.deliver(target, push)

    @rule()
    def deliver_everything(self) -> None:
        flying, self.world.flying = self.world.flying, []
        for target, push in flying:
            self.world.deliver(target, push)

    @precondition(lambda self: self.world.flying)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.world.flying.pop(data.draw(st.integers(0, len(self.world.flying) - 1)))

    @rule(data=st.data())
    def news(self, data: st.DataObject) -> None:
        """True or false, at any time: membership is only an opinion."""
        observer = data.draw(st.sampled_from(self.world.alive())).agent
        subject = data.draw(st.sampled_from(self.world.lives)).agent.identity
        if data.draw(st.booleans()):
            observer.peer_seen(subject.peer, subject.incarnation, self.world.now)
        else:
            observer.peer_gone(subject.peer, self.world.now)

    @precondition(lambda self: len(self.world.alive()) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.world.alive())).alive = False

    @rule(data=st.data(), with_state=st.booleans())
    def restart_or_join(self, data: st.DataObject, with_state: bool) -> None:
        alive = {life.agent.identity.peer for life in self.world.alive()}
        if len(alive) >= AGENTS_MAX:
            return
        dead = [life.agent.identity for life in self.world.lives if life.agent.identity.peer not in alive]
        if with_state and dead:
            identity = data.draw(st.sampled_from(dead))
            peer = identity.peer
            incarnation = 1 + max(
                life.agent.identity.incarnation
                for life in self.world.lives
                if life.agent.identity.peer == peer
            )
        else:
            peer, incarnation = f"peer-{self.births}", 0
            self.births += 1
        born = self.world.start(peer, self.births, incarnation=incarnation, founder=False)
        for life in self.world.alive():
            if life is not born:
                born.agent.peer_seen(
                    life.agent.identity.peer, life.agent.identity.incarnation, self.world.now
                )
                life.agent.peer_seen(peer, incarnation, self.world.now)

    @invariant()
    def mass_is_conserved(self) -> None:
        agents = self.world.entered()
        spans = list(self.world.lives[0].agent.solver.spans)
        for which in (0, 1):
            streams = {peer: agent.solver.streams[which] for peer, agent in agents.items()}
            self.check(streams, spans)

    def check(self, streams: dict[str, Any], spans: list[slice]) -> None:
        assert all(isinstance(stream, TrackingStream) for stream in streams.values())
        expected = [Fraction(0)] * SIZE
        for stream in streams.values():
            for index, element in enumerate(stream.gradient):
                expected[index] += element
        assert self.world.mass({peer: stream.mass for peer, stream in streams.items()}, spans) == expected


class SwarmOfBlocks(Swarm):
    block_fraction = 0.5
    local_steps = 2


class SwarmOverCoarseWire(Swarm):
    """The wire rounds to sixteenths: mass must still be exact."""

    wire_denominator = 16


class SwarmOfPushSum(Swarm):
    """Push-sum over running sums: the weights of an epoch always add up to its members."""

    solver = "push-sum"

    def check(self, streams: dict[str, Any], spans: list[slice]) -> None:
        assert all(isinstance(stream, PushSum) for stream in streams.values())
        weights = {peer: stream.weight for peer, stream in streams.items()}
        blocks = [slice(block, block + 1) for block in range(len(spans))]
        assert self.world.mass(weights, blocks) == [Fraction(len(streams))] * len(spans)


@pytest.mark.parametrize("machine", [Swarm, SwarmOfBlocks, SwarmOverCoarseWire, SwarmOfPushSum])
def test_mass_is_conserved_exactly(machine: type[Swarm]) -> None:
    """Reference: DESIGN (9). Fails if sigma and y disagree by anything, or an epoch is entered twice."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
