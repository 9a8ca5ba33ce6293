"""Drives agents on exact fractions by plain calls: no network, no clock but a number."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from peer.admission import Identity
from peer.agent import Agent
from peer.events import Checkpoint, Compute, Persist, Reach, Send
from peer.orders import block_spans
from peer.settings import AgentSettings
from peer.solver import Solver
from tests.oracles.fractions import FractionAlgebra, FractionLearner, vector
from wire import Push

if TYPE_CHECKING:
    from peer.snapshot import Snapshot

SIZE = 2
SWARM, MODEL = "swarm", "model"


def settings(**changes: Any) -> AgentSettings:
    """Ticks of one second without jitter; short warm-up and listening."""
    plain: dict[str, Any] = {
        "tick_s": 1.0,
        "tick_jitter": 0.0,
        "fanout": 3,
        "model_step_size": Fraction(1, 8),
        "adjoint_step_size": Fraction(1, 8),
        "momentum": Fraction(0),
        "warm_up_ticks": 3.0,
        "epoch_warm_ups_min": 2.0,
        "listen_ticks": 2.0,
        "listen_s_max": 8.0,
        "evaluate_every": 0,
    }
    return AgentSettings(**{**plain, **changes})


@dataclass
class Driver:
    """One agent and what it asked for. Computations are done at once, unless told otherwise."""

    agent: Agent[Any]
    now: float = 0.0
    persisted: list[int] = field(default_factory=list)
    sent: list[tuple[tuple[str, ...], Push[Any]]] = field(default_factory=list)  # with arrays
    beacons: list[tuple[tuple[str, ...], Push[Any]]] = field(default_factory=list)
    reached: list[tuple[str, str]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    kept: list[Snapshot[Any]] = field(default_factory=list)

    def tick(self, times: int = 1) -> None:
        """Let time pass until the next deadline, so many times."""
        for _ in range(times):
            deadline = self.agent.next_deadline()
            assert deadline is not None
            self.now = max(self.now, deadline)
            self.agent.handle_timer(self.now)
            self.perform()

    def tick_until(self, now: float) -> None:
        """All ticks before this time, and then this time."""
        while (deadline := self.agent.next_deadline()) is not None and deadline < now:
            self.tick()
        self.now = now

    def perform(self) -> None:
        while effects := self.agent.take_effects():
            for effect in effects:
                match effect:
                    case Persist(epoch):
                        self.persisted.append(epoch)
                    case Compute(work):
                        self.agent.computed(work(), self.now)
                    case Send(targets, push):
                        (self.sent if push.arrays else self.beacons).append((targets, push))
                    case Reach(peer, address):
                        self.reached.append((peer, address))
                    case Checkpoint(snapshot):
                        self.kept.append(snapshot)
        self.events += self.agent.take_events()

    def see(self, *peers: str, incarnation: int = 0) -> None:
        for peer in peers:
            self.agent.peer_seen(peer, incarnation, self.now)

    def hear(self, sender: str, **fields: Any) -> None:
        self.agent.receive(push(sender, **fields), self.now)

    def kinds(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def start(
    peer: str = "b",
    *,
    founder: bool = True,
    incarnation: int = 0,
    epoch_floor: int = 0,
    algebra: FractionAlgebra | None = None,
    learner: Any = None,
    now: float = 0.0,
    **changes: Any,
) -> Driver:
    """An agent with the model (0, 0), inner centre (1, -1) and outer goal (2, 3)."""
    chosen = settings(**changes)
    numbers = algebra or FractionAlgebra()
    if learner is None:
        learner = FractionLearner(vector(1, Fraction(1, 2)), vector(1, -1), vector(2, 3))
    solver = Solver(
        learner, numbers, chosen, block_spans(SIZE, chosen.block_fraction, SIZE), random.Random(0)
    )
    agent = Agent(
        Identity(peer, SWARM, MODEL, incarnation, address=f"{peer}:1"),
        solver,
        numbers,
        chosen,
        rng=random.Random(0),
        now=now,
        founder=founder,
        epoch_floor=epoch_floor,
    )
    return Driver(agent, now)


def push(sender: str, **fields: Any) -> Push[Any]:
    """A message in epoch 1 about the only block; zeros but for the fields given."""
    plain: dict[str, Any] = {
        "swarm": SWARM,
        "fingerprint": MODEL,
        "sender": sender,
        "incarnation": 0,
        "epoch": 1,
        "block": 0,
        "sequence": 1,
        "tick": 1,
        "tick_interval_s": 1.0,
        "address": "",
        "arrays": (vector(0, 0),) * 4,
    }
    return Push(**{**plain, **fields})
