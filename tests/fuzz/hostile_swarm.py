"""A swarm of quadratics under attack: what it learns must be what it learns without."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

import wire
from peer import assembly
from peer.events import PeerQuarantined
from peer.settings import AgentSettings
from peer.virtual_swarm import Swarm, reproducible_torch
from tests.paper.swarms import TICK_S, bad_links, errors, quadratics
from wire import Array, DecodeError, Heard, Heartbeat, Push, encode_push, peer_mark
from wire.messages import DIGEST_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.simulation import Node

DIMENSION = 6
HONEST = 5
GHOSTS = 30  # so many more than agents, that an agent would push to little else


@dataclass
class Attack:
    """What became of a swarm that was attacked until `until` ticks."""

    errors: dict[str, float]
    outcomes: dict[str, int]  # of the hostile messages, by reason
    quarantines: list[tuple[float, str, str]]  # when, who judged, about whom
    peak_bytes: int
    epochs: list[int]
    worst: list[float] = field(default_factory=list)  # length of the largest estimate, tick by tick


def attacked(
    make: Callable[[Liar], list[Push[Array]]], *, ticks: int, until: int, liars: int, measured: bool = False
) -> Attack:
    """Let `make` give the messages that every honest agent gets in each tick from each of the liars.

    Memory is `measured` on request: it makes everything slower.
    """
    problems = quadratics(HONEST, dimension=DIMENSION, condition=5.0)
    settings = AgentSettings(
        tick_s=TICK_S,
        wire_dtype="float64",
        model_step_size=0.2,
        adjoint_step_size=0.2,
        momentum=0.5,
        warm_up_ticks=15.0,
        epoch_warm_ups_min=4.0,
        expire_ticks=30.0,
        evaluate_every=0,
    )
    outcomes: dict[str, int] = {}
    worst: list[float] = []
    if measured:
        tracemalloc.start()
    try:
        with reproducible_torch():
            swarm = Swarm(problems, settings, faults=bad_links(), seed=1)
            simulation = swarm.simulation
            crowd = [
                Liar(f"liar-{number}", swarm, random.Random(f"liar/{number}")) for number in range(liars)
            ]
            for tick in range(1, ticks + 1):
                simulation.run_until(tick * TICK_S)
                for node in list(simulation.nodes.values()):
                    for liar in crowd if tick < until else ():
                        liar.beat(node)
                        for push in make(liar):
                            _deliver(swarm, node, push, outcomes)
                worst.append(max(_length(node) for node in simulation.nodes.values()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        if measured:
            tracemalloc.stop()
    agents = [swarm.result(member) for member in swarm.members]
    quarantines = [
        (now, who, event.peer) for now, who, event in swarm.events if isinstance(event, PeerQuarantined)
    ]
    epochs = [agent.epoch for agent in agents]
    return Attack(errors(agents, problems), outcomes, quarantines, peak, epochs, worst)


def _length(node: Node[Any]) -> float:
    return max(float(stream.estimate.abs().max()) for stream in node.agent.solver.streams)


def _deliver(swarm: Swarm, node: Node[Any], push: Push[Array], outcomes: dict[str, int]) -> None:
    """As a link would, but at once."""
    simulation = swarm.simulation
    try:
        node.agent.receive(assembly.decode(encode_push(push)), simulation.now)
        outcome = "received"
    except DecodeError as error:
        outcome = str(error.reason)
    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    simulation._perform(node)


class Liar:
    """Speaks as a member does; `say` fills in what is not said otherwise."""

    def __init__(self, name: str, swarm: Swarm, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.heartbeat = 0
        self._swarm = swarm
        self._target: Node[Any] | None = None

    def beat(self, target: Node[Any]) -> None:
        """Messages are for this agent now."""
        self._target = target
        self.heartbeat += 1

    @property
    def target(self) -> Any:
        """The agent lied to."""
        assert self._target is not None
        return self._target.agent

    def arrays(self, make: Callable[[], float]) -> tuple[Array, ...]:
        """Estimates and sums of both streams."""
        return tuple(
            Array(
                "<f8", torch.tensor([make() for _ in range(DIMENSION)], dtype=torch.float64).numpy().tobytes()
            )
            for _ in range(4)
        )

    def say(self, **fields: Any) -> Push[Array]:
        """One message."""
        identity, heartbeat = self.target.identity, self.heartbeat
        hears = (Heard(peer_mark(identity.peer), self.target.membership.liveness.heartbeat, 0),)
        own = Heartbeat(self.name, fields.get("incarnation", 0), heartbeat, "", False, hears)
        plain: dict[str, Any] = {
            "swarm": identity.swarm,
            "fingerprint": identity.fingerprint,
            "sender": self.name,
            "incarnation": 0,
            "epoch": max(1, self.target.epoch),
            "block": 0,
            "sequence": heartbeat,
            "tick": heartbeat,
            "tick_interval_s": TICK_S,
            "address": "",
            "arrays": (),
            "digest": (own,),
        }
        said = {**plain, **fields}
        if said["arrays"]:
            said.setdefault("targets", (peer_mark(identity.peer),))
        return Push(**said)

    def about_others(self) -> tuple[Heartbeat, ...]:
        """Lies about everybody: dead, reborn, accused, elsewhere; and about some who never were."""
        rng = self.rng
        names = [member.peer for member in self._swarm.members] + [f"ghost-{rng.randrange(10**6)}"]
        return tuple(
            Heartbeat(
                rng.choice(names),
                rng.choice((0, 0, 1, 2**64 - 1)),
                rng.choice((self.heartbeat, 2**63, 2**64 - 1)),
                rng.choice(("", "192.0.2.1:1")),
                rng.random() < 0.5,
                rng.choice((None, ())),
                tuple(peer_mark(name) for name in names[:5]),
            )
            for _ in range(5)
        )

    def digest(self) -> tuple[Heartbeat, ...]:
        """The own heartbeat and lies about others."""
        accuses = tuple(peer_mark(member.peer) for member in self._swarm.members)
        own = Heartbeat(self.name, 0, self.heartbeat, "", False, (), accuses)
        return (own, *self.about_others())


def outsiders(liar: Liar) -> list[Push[Array]]:
    """Of another swarm, another model, or in the name of the agent itself."""
    own = liar.target.identity.peer
    arrays = liar.arrays(lambda: liar.rng.uniform(-1e3, 1e3))
    return [
        liar.say(swarm="others", arrays=arrays),
        liar.say(fingerprint="another", arrays=arrays, epoch=2**48),
        liar.say(sender=own, arrays=arrays),
        liar.say(swarm="others", epoch=0, digest=liar.digest()),
    ]


def nonsense(liar: Liar) -> list[Push[Array]]:
    """A member's messages that no honest agent sends: shapes, NaN, infinities, epochs beyond reason."""
    wild = liar.arrays(lambda: liar.rng.choice((float("nan"), float("inf"), -float("inf"), 1.0)))
    good = liar.arrays(lambda: 0.0)
    return [
        liar.say(),
        liar.say(arrays=wild),
        liar.say(arrays=good[:2]),
        liar.say(arrays=(Array("<f8", b""),) * 4),
        liar.say(arrays=good, block=2**63),
        liar.say(arrays=good, epoch=liar.target.epoch + 2**21),
        liar.say(arrays=good, epoch=2**64 - 1),
        liar.say(arrays=good, targets=(peer_mark("somebody else"),)),
    ]


def garbage(liar: Liar) -> list[Push[Array]]:
    """Finite sums and estimates that were never computed."""
    return [liar.say(arrays=liar.arrays(lambda: liar.rng.uniform(-1e12, 1e12)))]


def lies(liar: Liar) -> list[Push[Array]]:
    """About who lives, who is reborn, whom to believe."""
    return [liar.say(), liar.say(digest=liar.digest(), epoch=0)]


def ghosts(liar: Liar) -> list[Push[Array]]:
    """Of a crowd that never was and lives on: it is said to hear everybody, nobody, or not said."""
    target = liar.target
    echo = Heard(peer_mark(target.identity.peer), target.membership.liveness.heartbeat, 0)
    words = (None, (), (echo,))
    crowd = tuple(
        Heartbeat(f"ghost-{number}", 0, liar.heartbeat, "", False, words[number % 3])
        for number in range(GHOSTS)
    )
    size = DIGEST_MAX - 1
    parts = (crowd[start : start + size] for start in range(0, GHOSTS, size))
    plain = liar.say()
    return [replace(plain, digest=(*plain.digest, *part)) for part in parts]


def reborn(liar: Liar) -> list[Push[Array]]:
    """Ever new incarnations, each with many heartbeats in one tick."""
    incarnation = liar.heartbeat // 4
    return [
        liar.say(
            incarnation=incarnation,
            digest=(Heartbeat(liar.name, incarnation, step, "", False, ()),),
            arrays=liar.arrays(lambda: 0.0),
        )
        for step in range(1, 9)
    ]


def haste(liar: Liar) -> list[Push[Array]]:
    """Ever higher epochs, each with an estimate to begin with."""
    later = liar.rng.choice((1, 2, 1000, wire.U64_MAX // 2**45))
    return [liar.say(), liar.say(arrays=liar.arrays(lambda: 1e9), epoch=liar.target.epoch + later)]


KINDS = (outsiders, nonsense, garbage, lies, haste, ghosts, reborn)


def everything(liar: Liar) -> list[Push[Array]]:
    """All at once, each by somebody else."""
    return KINDS[int(liar.name.rpartition("-")[2]) % len(KINDS)](liar)


ATTACKS = {one.__name__: one for one in (*KINDS, everything)}
