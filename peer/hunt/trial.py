"""One world from beginning to end: first anything may happen, then every agent has to find the answer."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import random
import traceback
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from peer.admission import Identity
from peer.agent import Agent
from peer.errors import HyperpushError
from peer.events import EpochEntered
from peer.hunt import fixed_point
from peer.hunt.checkers import Onlookers, Violation, all_checkers, wrong_answer
from peer.hunt.fixed_point import FixedAlgebra, FixedVector
from peer.hunt.hostile import IMPOSTOR, LIAR, speak
from peer.hunt.marks import COMPUTES
from peer.hunt.processes import HuntSeat, Processes
from peer.hunt.quadratics import QuadraticLearner, closed_form
from peer.hunt.seals import SealedPush, Seals
from peer.hunt.watched_solver import WatchedSolver
from peer.hunt.wiretap import Wiretap
from peer.hunt.world import TICK_S, World
from peer.orders import block_spans
from peer.scenario import Join
from peer.simulation import Clock, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from peer.events import Event
    from peer.hunt.storage import CameBack
    from peer.hunt.wiretap import Replays
    from peer.hunt.world import Jump, Lies
    from peer.trace.files import Traces
    from wire import PeerId, Push
    from wire.envelope import Opener

# How long after the last trouble the answer may take: silence is believed after several of the longest gaps.
# In 957 worlds it was at most 0.34 of this (median 0.05), with a quarantine 0.43.
SETTLES_S, SETTLES_OF_SLOWEST_S = 2_500.0, 1_100.0
QUARANTINE_S = 20_000.0  # where somebody was shunned: for thousands of ticks, doubled each time
CODED_EVERY = 4  # worlds, of which one sends real bytes
NUMBER_BYTES = 4
SURE_S = 20.0  # an answer has to stay
COLLECT_EVERY = 200_000  # objects more than before


@dataclass(slots=True)
class Life:
    """One incarnation of one identity, dead or alive."""

    seat: HuntSeat
    agent: Agent[FixedVector]
    learner: QuadraticLearner

    @property
    def is_alive(self) -> bool:
        """Whether it holds its seat now."""
        return self.seat.alive and self.seat.agent is self.agent


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one world. Equal worlds give equal verdicts, on every machine."""

    seed: int
    digest: str
    violation: str = ""  # empty: none
    checker: str = ""
    at_s: float = 0.0
    settled_s: float | None = None  # from the last trouble to the answer; None: none was asked for, or found
    agent_ticks: int = 0
    marks: dict[str, int] = field(default_factory=dict)  # how often each kind of thing happened


class OnlookerError(Exception):
    """Who looks on has failed, not the swarm: a terminal that is gone, a trace that cannot be written."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage that refers to itself now and then only: a trial makes none, and keeps much."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Trial(Processes):
    """The swarm of one world, and what checkers look at."""

    def __init__(self, world: World, record: Callable[[bytes], None] | None = None) -> None:
        """`record` is given everything that goes into the digest, piece by piece."""
        self.world = world
        self.lives: list[Life] = []
        self.marks: Counter[str] = Counter()
        self.told: dict[tuple[PeerId, int, int], list[tuple[FixedVector, ...]]] = defaultdict(list)
        # arrays that were announced, by (sender, epoch, block), in order
        self.tainted: set[int] = set()  # epochs in which a liar spoke of sums
        self.lied = False  # of anything
        self.listener: Callable[[float, PeerId, Event], None] | None = None  # for people
        self.traces: Traces | None = None
        self._frames: list[Push[FixedVector]] = []
        self._injected: Push[FixedVector] | None = None  # what no agent has sent
        replays = any(trouble.replays for trouble in world.troubles)
        self._wiretap = Wiretap(world.seed) if replays else None
        self._seals = Seals(world.seed) if world.sealed else None
        self._openers: dict[PeerId, Opener] = {}  # of processes, by who they host
        self._checkers = all_checkers()
        self._is_judged = False  # a single agent may be made, to be replayed
        simulation: Simulation[FixedVector] = Simulation(
            faults=world.plan(), seed=world.seed, codec=self, record=record, on_event=self._on_event
        )
        seats = [
            HuntSeat(peer=name, task=task, speed=speed, clock=Clock(drift), compute_s=compute_s)
            for name, task, speed, drift, compute_s in zip(
                world.names, world.tasks, world.speeds, world.drifts, world.computes, strict=True
            )
        ]
        if self._seals is not None:
            simulation.on_arrival = self._open
        super().__init__(simulation, seats, seed=world.seed, marks=self.marks)

    # ---- what the simulation needs

    def encode(self, push: Push[FixedVector]) -> bytes:
        """One frame; what it announces is noted. In most worlds a number stands for it, which is faster."""
        is_honest = push is not self._injected
        if push.arrays and is_honest:
            self.told[push.sender, push.epoch, push.block].append(push.arrays)
        if self._seals is not None and is_honest:
            push = self._seals.seal(push)
        if is_honest and self._wiretap is not None:
            self._wiretap.hear(push)
        if isinstance(push, SealedPush):
            self._frames.append(push)
            return (len(self._frames) - 1).to_bytes(NUMBER_BYTES) + push.sealed
        if self.world.seed % CODED_EVERY == 0:
            return fixed_point.encode(push)
        self._frames.append(push)
        content = (
            *(push.sender, push.incarnation, push.epoch, push.block, push.sequence, push.tick),
            *[[one.peer, one.incarnation, one.heartbeat] for one in push.digest],
            *[vector.units for vector in push.arrays],
        )
        number = (len(self._frames) - 1).to_bytes(NUMBER_BYTES)
        return number + hashlib.sha256(repr(content).encode()).digest() * (2 + 3 * len(push.digest))

    def decode(self, frame: bytes) -> Push[FixedVector]:
        """The message of a frame."""
        if self.world.seed % CODED_EVERY == 0 and not self.world.sealed:
            return fixed_point.decode(frame)
        return self._frames[int.from_bytes(frame[:NUMBER_BYTES])]

    def make_agent(self, member: HuntSeat, *, founder: bool, epoch_floor: int) -> Agent[FixedVector]:
        """A new life."""
        world = self.world
        settings = replace(world.settings, tick_s=TICK_S / member.speed)
        learner = QuadraticLearner(member.task)
        size = len(member.task.centre)
        name = f"{world.seed}/{member.peer}/{member.incarnation}"
        now = member.clock.read(self.simulation.now)
        algebra = FixedAlgebra()
        spans = block_spans(size, settings.block_fraction, size)
        solver = WatchedSolver(learner, algebra, settings, spans, random.Random(f"{name}/blocks"))
        agent = Agent(
            Identity(member.peer, "hunt", "quadratic", member.incarnation),
            solver,
            algebra,
            settings,
            rng=random.Random(f"{name}/ticks"),
            now=now,
            founder=founder,
            epoch_floor=epoch_floor,
        )
        trace = None if self.traces is None else self.traces.of(member.peer, member.lives)
        if trace is not None:
            made: dict[str, object] = {"peer": member.peer, "incarnation": member.incarnation}
            made.update(founder=founder, epoch_floor=epoch_floor)
            try:
                agent = trace.watch(agent, now, made)
            except HyperpushError as error:
                raise OnlookerError from error
        life = Life(member, agent, learner)
        self.lives.append(life)
        if self._is_judged:
            learner.watcher = Onlookers(self, life, self._checkers)
            if self._seals is not None:
                self._openers[member.peer] = self._seals.opener()
        return agent

    def _open(self, peer: PeerId, push: Push[FixedVector]) -> Push[FixedVector]:
        """Let an agent be given only what opens. Raises `wire.DecodeError`."""
        assert self._seals is not None
        found = self._seals.open(self._openers[peer], push)
        author = push.author if isinstance(push, SealedPush) else LIAR
        for checker in self._checkers:
            checker.opened(self, peer, found.sender, author)
        return found

    def contacts_of(self, member: HuntSeat, others: list[HuntSeat]) -> list[HuntSeat]:  # noqa: ARG002
        """Everybody, or a newcomer's only acquaintance."""
        if self.world.acquainted or self.simulation.now == 0.0:
            return others
        steady = {self.members[agent].peer for agent in self.world.steady()}
        return [other for other in others if other.peer in steady][:1] or others

    def came_back(self, member: HuntSeat, found: CameBack) -> None:
        """Checkers look at it."""
        for checker in self._checkers:
            checker.came_back(self, member, found)

    def _on_event(self, now: float, peer: PeerId, event: Event) -> None:
        self.marks[_mark_of(event)] += 1
        if self.listener is not None:
            try:
                self.listener(now, peer, event)
            except OSError as error:
                raise OnlookerError from error
        for checker in self._checkers:
            checker.event(self, now, peer, event)

    # ---- the two phases

    @rare_collections()
    def run(self) -> Verdict:
        """All of it. Whatever is raised in it is a violation. Raises OnlookerError only."""
        world, simulation = self.world, self.simulation
        violation, checker, settled_s = "", "", None
        self._is_judged = True
        try:
            settled_s = self._play()
        except Violation as found:
            violation, checker = str(found), found.checker
        except OnlookerError:
            raise
        except Exception as error:  # an agent that raises is what is hunted
            place = traceback.extract_tb(error.__traceback__)[-1]
            violation = f"{type(error).__name__} in {place.name}, line {place.lineno}: {error}"
            checker = "crash"
        for counters in simulation.counters.values():
            for reason, count in counters.rejected.items():
                self.marks[f"refused: {reason}"] += count
            for name in ("sent", "lost", "undeliverable", "replaced"):
                self.marks[f"messages {name}"] += getattr(counters, name)
        self.marks.update(trouble.kind for trouble in world.troubles)
        self.marks[COMPUTES] += any(world.computes)
        return Verdict(
            world.seed,
            simulation.digest(),
            violation,
            checker,
            simulation.now if violation else 0.0,
            settled_s,
            sum(life.agent.ticks for life in self.lives),
            dict(sorted(self.marks.items())),
        )

    def _play(self) -> float | None:
        world, simulation = self.world, self.simulation
        changes = world.changes()
        self.found({change.agent for change in changes if isinstance(change, Join)}, named=world.named)
        self.follow(changes)
        for trouble in world.troubles:
            for jump in trouble.jumps:
                simulation.at(jump.at_s, lambda jump=jump: self._jump(jump))  # type: ignore[misc]
            for lies in trouble.lies:
                self._lie(lies)
            for replays in trouble.replays:
                self._replay(replays)
            self.spoil(trouble.deaths, trouble.disks)
        while simulation.now < world.quiet_s or any(member.starts_again for member in self.members):
            self._tick()
        core = [member for member in self.members if member.alive]
        if not self._is_connected(core):
            self.marks["core not connected"] += 1
            return None
        answer = closed_form([member.task for member in core])
        begun = {member.peer: member.agent.ticks for member in core if member.agent is not None}
        right_since = None
        while right_since is None or simulation.now < right_since + SURE_S:
            self._tick()
            wrong = wrong_answer(self, core, answer)
            right_since = None if wrong else right_since or simulation.now
            if simulation.now > world.quiet_s + self._settles_s():
                quiet_s = simulation.now - world.quiet_s
                raise Violation(
                    "answer", f"after {quiet_s:g} s of quiet: {wrong or 'right for a moment only'}"
                )
        for checker in self._checkers:
            checker.end(self, core, begun)
        return right_since - world.quiet_s

    def _settles_s(self) -> float:
        if self.marks["PeerQuarantined"]:
            return QUARANTINE_S
        return SETTLES_S + SETTLES_OF_SLOWEST_S / min(self.world.speeds)

    def life_of(self, member: HuntSeat) -> Life:
        """The one that holds the seat, or held it last."""
        return next(life for life in reversed(self.lives) if life.agent is member.agent)

    def _tick(self) -> None:
        self.simulation.run_until(self.simulation.now + TICK_S)
        for checker in self._checkers:
            checker.tick(self)

    def _jump(self, jump: Jump) -> None:
        member = self.members[jump.agent]
        if member.alive:
            self.simulation.jump(member.peer, jump.seconds)
        else:
            member.clock.ahead_s += jump.seconds

    def _lie(self, lies: Lies) -> None:
        """Speak to all, and again a tick later."""
        simulation = self.simulation
        if simulation.now >= lies.start_s:
            self.lied = self._seals is None
            for member in self.members:
                if member.alive and member.agent is not None:
                    for push in self._lies_to(member.agent, lies.kind):
                        if push.arrays and self.lied:
                            self.tainted.add(push.epoch)
                        self._inject(member, push)
        next_s = max(lies.start_s, simulation.now + TICK_S)
        if next_s < lies.end_s:
            simulation.at(next_s, lambda: self._lie(lies))

    def _lies_to(self, agent: Agent[FixedVector], kind: str) -> Sequence[Push[FixedVector]]:
        if kind == IMPOSTOR:
            there = [member.peer for member in self.members if member.alive]
            return [] if self._seals is None else self._seals.pretend(agent, there, self.simulation.now)
        return speak(kind, agent, self.simulation.now)

    def _replay(self, replays: Replays) -> None:
        """Send again to all what was recorded, and again a tick later."""
        simulation = self.simulation
        if simulation.now >= replays.start_s and self._wiretap is not None:
            for member in self.members:
                if member.alive and member.agent is not None:
                    for push in self._wiretap.speak(replays.kind, member.agent):
                        self._inject(member, push)
        next_s = max(replays.start_s, simulation.now + TICK_S)
        if next_s < replays.end_s:
            simulation.at(next_s, lambda: self._replay(replays))

    def _inject(self, member: HuntSeat, push: Push[FixedVector]) -> None:
        self._injected = push
        self.simulation.inject(member.peer, push)
        self._injected = None

    def _is_connected(self, core: list[HuntSeat]) -> bool:
        """Whether everybody reaches everybody over links that are not cut for ever, one after another."""
        plan, now = self.world.plan(), self.simulation.now
        for forward in (True, False):
            reached, todo = {core[0].peer}, [core[0].peer]
            while todo:
                here = todo.pop()
                for other in core:
                    link = (here, other.peer) if forward else (other.peer, here)
                    if other.peer not in reached and plan.faults_on(*link, now) is not None:
                        reached.add(other.peer)
                        todo.append(other.peer)
            if len(reached) < len(core):
                return False
        return True


def _mark_of(event: Event) -> str:
    """The kind of an event, with its reason where there are few."""
    if isinstance(event, EpochEntered):
        return f"epoch: {event.reason}"
    return type(event).__name__
