"""What a seed draws: agents, their settings, and the troubles of the first phase.

A trouble is what can be left out: `World.without` gives the same world with fewer of them, which is how a
violation is made short. Everything else stays as it was, for no trouble takes part in the drawing of another.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from peer.hunt import hostile
from peer.hunt.disk_troubles import bad_disks, checkpoint_ticks, deaths
from peer.hunt.quadratics import Quadratic
from peer.hunt.seals import is_sealed
from peer.hunt.wiretap import replays
from peer.scenario import Join, Kill, Leave, Pause, Restart, member_names
from peer.settings import AgentSettings
from wire import FaultChange, FaultPlan, FaultWindow, Uniform, cut, partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from peer.hunt.disk_troubles import BadDisk, Death
    from peer.hunt.wiretap import Replays
    from peer.scenario import Change
    from wire import PeerId

TICK_S = 1.0
AGENTS = (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 7, 9)
FAR, FAR_SHARE, FAR_TOLERANCE = 1000.0, 0.08, 1e-13  # sums of thousands are coarser than that
BEND, BENT_SHARE = 0.4, 0.02  # losses that are no quadratics
MANY, MANY_SHARE = 27, 0.005  # more than tell each other whom they hear
COMPUTES, COMPUTES_SHARE = (0.0, 0.2, 0.5, 0.9), 0.25  # of an agent's own tick
RING_MAX = 6  # agents in a mere ring: in one of nine the steps drawn here did not settle, at unequal speeds


@dataclass(frozen=True, slots=True)
class Jump:
    """The clock of this agent, if it runs, jumps ahead."""

    agent: int
    at_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Lies:
    """Somebody who is no agent speaks to all, once a tick, in one of the ways of `hostile`."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong. `kind` is what the campaign counts."""

    kind: str
    told: str  # for people
    changes: tuple[Change, ...] = ()
    windows: tuple[FaultWindow, ...] = ()
    jumps: tuple[Jump, ...] = ()
    lies: tuple[Lies, ...] = ()
    deaths: tuple[Death, ...] = ()
    disks: tuple[BadDisk, ...] = ()
    replays: tuple[Replays, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """Everything that decides what happens. Times in virtual seconds, of which a nominal tick takes one."""

    seed: int
    tasks: tuple[Quadratic, ...]
    settings: AgentSettings
    speeds: tuple[float, ...]
    drifts: tuple[float, ...]  # rates of the clocks
    named: bool  # the first agents know that the others are members, else only where somebody listens
    acquainted: bool  # who comes later can reach everybody, else only one who is always there
    calm: FaultPlan  # the links without troubles
    troubles: tuple[Trouble, ...]
    quiet_s: float  # from then on, nothing happens but what is for ever
    computes: tuple[float, ...]  # for how long, at each tick; messages come meanwhile
    sealed: bool = False  # messages are sealed, with a key of the swarm

    @property
    def names(self) -> tuple[PeerId, ...]:
        """The agents in their first lives."""
        return member_names(len(self.tasks))

    def without(self, left_out: Collection[int]) -> World:
        """The same world, these troubles left out."""
        kept = (one for index, one in enumerate(self.troubles) if index not in left_out)
        return replace(self, troubles=tuple(kept))

    def plan(self) -> FaultPlan:
        """What the links do at all times."""
        windows = tuple(window for trouble in self.troubles for window in trouble.windows)
        return replace(self.calm, windows=windows)

    def steady(self) -> list[int]:
        """Agents that do not come and go; nobody, where links are cut for ever: it might be alone."""
        if any(window.end_s == math.inf for trouble in self.troubles for window in trouble.windows):
            return []
        touched = {change.agent for change in self.changes()}
        return [agent for agent in range(len(self.tasks)) if agent not in touched]

    def changes(self) -> tuple[Change, ...]:
        """Who comes and goes, in the order of time."""
        found = [change for trouble in self.troubles for change in trouble.changes]
        return tuple(sorted(found, key=lambda change: change.at_s))

    def told(self, left_out: Collection[int] = ()) -> Iterator[str]:
        """What a person wants to know of it; troubles keep their numbers when some are left out."""
        settings = self.settings
        computes = ", ".join(f"{seconds:g}" for seconds in self.computes)
        yield (
            f"{len(self.tasks)} agents of dimension {len(self.tasks[0].centre)}, fanout {settings.fanout}, "
            f"blocks of {settings.block_fraction:g}, {settings.local_steps} local steps, "
            f"momentum {settings.momentum:g}, warm-up {settings.warm_up_ticks:g}, "
            f"expire {settings.expire_ticks:g}, {'named' if self.named else 'found'}; "
            f"{'bent; ' if self.tasks[0].bend else ''}{'sealed; ' if self.sealed else ''}"
            f"speeds {', '.join(f'{speed:g}' for speed in self.speeds)}"
            f"{f'; computations take {computes} s' if any(self.computes) else ''}"
        )
        for index, trouble in enumerate(self.troubles):
            if index not in left_out:
                yield f"trouble {index}: {trouble.kind}: {trouble.told}"


def draw(seed: int) -> World:
    """The world of this seed."""
    rng = random.Random(f"hunt/{seed}")
    count = MANY if rng.random() < MANY_SHARE else rng.choice(AGENTS)
    dimension = rng.choice((1, 2, 3))
    quiet_s = float(rng.randrange(60, 260))
    names = member_names(count)
    troubles = [
        *_links(rng, names, quiet_s),
        *(one for agent in range(count) for one in _life(rng, agent, names[agent], quiet_s)),
    ]
    troubles = [replace(one, deaths=deaths(seed, one.changes)) for one in troubles]
    troubles += [_bad_disk(disk, names) for disk in bad_disks(seed, count, quiet_s)]
    troubles += [
        Trouble(one.kind, f"from {one.start_s:g} to {one.end_s:g}", replays=(one,))
        for one in replays(seed, count, quiet_s)
    ]
    if is_sealed(seed) and count > 1:
        start_s, end_s = _span(random.Random(f"hunt/{seed}/impostor"), quiet_s)
        lies = Lies(hostile.IMPOSTOR, start_s, end_s)
        troubles.append(Trouble("liar: impostor", f"from {start_s:g} to {end_s:g}", lies=(lies,)))
    if not any(_stays(troubles, agent) for agent in range(count)):
        troubles = [one for one in troubles if not any(change.agent == 0 for change in one.changes)]
    world = World(
        seed=seed,
        tasks=tuple(_task(rng, dimension) for _ in range(count)),
        settings=replace(_settings(rng, count), checkpoint_s=0.0, checkpoint_ticks=checkpoint_ticks(seed)),
        speeds=tuple(rng.choice((1.0, 1.0, 1.0, 0.1, 0.3, 0.5, 2.0, 3.0)) for _ in range(count)),
        drifts=tuple(rng.choice((1.0, 1.0, 0.999, 1.001, 0.95, 1.05)) for _ in range(count)),
        named=rng.random() < 0.7,
        acquainted=rng.random() < 0.7,
        calm=FaultPlan(
            drop=rng.choice((0.0, 0.0, 0.1, 0.3, 0.5)),
            delay_s=Uniform(0.0, rng.choice((0.1, 0.5, 1.5))),
            duplicate=rng.choice((0.0, 0.1)),
        ),
        troubles=tuple(troubles),
        quiet_s=quiet_s,
        computes=(0.0,) * count,
        sealed=is_sealed(seed),
    )
    apart = random.Random(f"hunt/{seed}/computes")
    if apart.random() < COMPUTES_SHARE:
        world = replace(world, computes=tuple(apart.choice(COMPUTES) / speed for speed in world.speeds))
    if random.Random(f"hunt/{seed}/bent").random() < BENT_SHARE:
        world = replace(world, tasks=tuple(replace(task, bend=BEND) for task in world.tasks))
    return _far(world) if random.Random(f"hunt/{seed}/far").random() < FAR_SHARE else world


def _far(world: World) -> World:
    """The same world with an answer far from where all begin: sums become large, and epochs too coarse.

    They must not stay so: near the answer all gradients are as small as ever.
    """

    def moved(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(FAR + value for value in values)

    tasks = tuple(replace(task, centre=moved(task.centre), goal=moved(task.goal)) for task in world.tasks)
    return replace(world, tasks=tasks, settings=replace(world.settings, precision_tolerance=FAR_TOLERANCE))


def _bad_disk(disk: BadDisk, names: Sequence[PeerId]) -> Trouble:
    how = f", {disk.operation_s:g} s each time" if disk.operation_s else ""
    if disk.kind == "nearly full disk":
        how = f", {disk.room} bytes of a file fit"
    return Trouble(
        disk.kind, f"{names[disk.agent]} from {disk.from_s:g} to {disk.until_s:g}{how}", disks=(disk,)
    )


def _stays(troubles: Sequence[Trouble], agent: int) -> bool:
    last = [change for trouble in troubles for change in trouble.changes if change.agent == agent]
    return not last or not isinstance(max(last, key=lambda change: change.at_s), Kill | Leave)


def _task(rng: random.Random, dimension: int) -> Quadratic:
    def values(low: float, high: float) -> tuple[float, ...]:
        return tuple(round(rng.uniform(low, high), 3) for _ in range(dimension))

    return Quadratic(values(0.4, 1.6), values(-5.0, 5.0), values(-5.0, 5.0))


def _settings(rng: random.Random, agents: int) -> AgentSettings:
    """The step is stable on every network drawn: the hunt is for faults of the protocol."""
    fanout, momentum = rng.choice((1, 2, 2, 3, 4)), rng.choice((0.0, 0.0, 0.5))
    local_steps = rng.choice((1, 1, 3))
    if agents > RING_MAX:
        fanout = max(3 if agents == MANY else 2, fanout)
    step_size = (0.05 if fanout == 1 or agents == MANY else 0.15) * (1.0 - momentum) / local_steps
    return AgentSettings(
        tick_s=TICK_S,
        tick_jitter=rng.choice((0.0, 0.1, 0.3)),
        fanout=fanout,
        model_step_size=step_size,
        adjoint_step_size=step_size,
        momentum=momentum,
        damping=0.0,
        local_steps=local_steps,
        block_fraction=rng.choice((1.0, 1.0, 0.5)),
        wire_dtype="float64",
        precision_tolerance=rng.choice((1e-4, 1e-4, 1e-12)),
        warm_up_ticks=rng.choice((6.0, 10.0, 15.0)),
        epoch_warm_ups_min=rng.choice((4.0, 6.0)),
        listen_ticks=rng.choice((3.0, 8.0)),
        listen_s_max=rng.choice((4.0, 12.0)),
        expire_ticks=rng.choice((20.0, 30.0, 45.0)),
        ticks_per_delay=rng.choice((0.0, 5.0)),
        bytes_per_second=rng.choice((0.0, 0.0, 0.0, 3_000.0)),
        evaluate_every=0,
    )


# ---- what goes wrong


def _span(rng: random.Random, quiet_s: float) -> tuple[float, float]:
    start_s = round(rng.uniform(0.0, 0.8 * quiet_s), 2)
    return start_s, round(rng.uniform(start_s + 1.0, quiet_s), 2)


def _links(rng: random.Random, names: Sequence[PeerId], quiet_s: float) -> Iterator[Trouble]:
    """Faults of links. What is cut for ever may part the swarm; then no answer is asked for."""
    for _ in range(rng.choice((0, 1, 2, 3))):
        start_s, end_s = _span(rng, quiet_s)
        kind, change = _weather(rng)
        told = f"{_told(change)} from {start_s:g} to {end_s:g}"
        yield Trouble(kind, told, windows=(FaultWindow(start_s, end_s, change),))
    if len(names) == 1:
        return
    for _ in range(rng.choice((0, 1, 2))):
        start_s, end_s = _span(rng, quiet_s)
        kind, change = _weather(rng)
        source, target = rng.sample(names, 2)
        window = FaultWindow(start_s, end_s, change, (source,), (target,))
        told = f"{source}->{target} {_told(change)} from {start_s:g} to {end_s:g}"
        yield Trouble(f"{kind}, one link", told, windows=(window,))
    for _ in range(rng.choice((0, 0, 1, 3))):
        start_s, end_s = _span(rng, quiet_s)
        source, target = rng.sample(names, 2)
        told = f"{source}->{target} from {start_s:g} to {end_s:g}"
        yield Trouble("cut for a while", told, windows=(cut(source, target, start_s, end_s),))
    if rng.random() < 0.3:
        start_s, end_s = _span(rng, quiet_s)
        side = sorted(rng.sample(names, rng.randrange(1, len(names))))
        other = [name for name in names if name not in side]
        told = f"{', '.join(side)} against the others from {start_s:g} to {end_s:g}"
        yield Trouble("partition", told, windows=partition((side, other), start_s, end_s))
    if rng.random() < 0.1:
        start_s, end_s = _span(rng, quiet_s)
        kind = rng.choice(hostile.KINDS)
        told = f"{kind} from {start_s:g} to {end_s:g}"
        yield Trouble(f"liar: {kind}", told, lies=(Lies(kind, start_s, end_s),))
    for _ in range(rng.choice((0, 0, 1, 1, 3)) if len(names) > 2 and rng.random() < 0.5 else 0):
        start_s, _ = _span(rng, quiet_s)
        source, target = rng.sample(names, 2)
        told = f"{source}->{target} from {start_s:g}"
        yield Trouble("cut for ever", told, windows=(cut(source, target, start_s),))


def _told(change: FaultChange) -> str:
    return ", ".join(f"{name} {value}" for name, value in change.to_dict().items())


def _weather(rng: random.Random) -> tuple[str, FaultChange]:
    match rng.randrange(5):
        case 0:
            return "loss", FaultChange(drop=rng.choice((0.3, 0.6, 0.9)))
        case 1:
            return "delay", FaultChange(delay_s=Uniform(0.0, rng.choice((3.0, 20.0, 200.0))))
        case 2:
            return "duplicates", FaultChange(duplicate=rng.choice((0.3, 1.0)))
        case 3:
            return "reordering", FaultChange(reorder=0.5, reorder_window_s=rng.choice((5.0, 50.0)))
        case _:
            return "clogged", FaultChange(bandwidth_bits_per_s=rng.choice((500.0, 5e3)))


def _life(rng: random.Random, agent: int, name: PeerId, quiet_s: float) -> Iterator[Trouble]:
    """What happens to one agent, one thing after another, so that any of it can be left out."""
    now_s = 0.0
    if agent and rng.random() < 0.15:
        now_s = round(rng.uniform(1.0, 0.7 * quiet_s), 2)
        yield Trouble("joins late", f"{name} at {now_s:g}", changes=(Join(agent, now_s),))
    while rng.random() < 0.4:
        at_s = round(now_s + rng.uniform(1.0, 80.0), 2)
        now_s = round(at_s + rng.choice((0.5, 5.0, 30.0, 80.0)) * rng.uniform(0.5, 1.5), 2)
        if now_s >= quiet_s:
            return
        kind = rng.randrange(7)
        told = f"{name} at {at_s:g}, until {now_s:g}"
        if kind < 2:
            changes: tuple[Change, ...] = (Kill(agent, at_s), Restart(agent, now_s, with_state=True))
            yield Trouble("crash, back with state", told, changes=changes)
        elif kind == 2:
            changes = (Kill(agent, at_s), Restart(agent, now_s, with_state=False))
            yield Trouble("crash, back without state", told, changes=changes)
        elif kind == 3:
            changes = (Leave(agent, at_s), Restart(agent, now_s, with_state=True))
            yield Trouble("leaves, comes back", told, changes=changes)
        elif kind == 4:
            yield Trouble("stands still", told, changes=(Pause(agent, at_s, now_s - at_s),))
        elif kind == 5:
            seconds = round(rng.choice((2.0, 20.0, 500.0)) * rng.uniform(0.5, 1.5), 2)
            told = f"{name} at {at_s:g}, by {seconds:g}"
            yield Trouble("clock jumps", told, jumps=(Jump(agent, at_s, seconds),))
        else:
            times = rng.randrange(3, 7)
            step_s = round(rng.uniform(0.5, 8.0), 2)
            flaps: list[Change] = []
            for turn in range(times):
                flaps.append(Kill(agent, at_s + 2 * turn * step_s))
                flaps.append(Restart(agent, at_s + (2 * turn + 1) * step_s, with_state=True))
            now_s = at_s + 2 * times * step_s
            if now_s >= quiet_s:
                return
            yield Trouble("flaps", f"{name} {times} times from {at_s:g}", changes=tuple(flaps))
    if rng.random() < 0.1:
        at_s = now_s + round((quiet_s - now_s) * rng.uniform(0.1, 0.9), 2)
        goes = rng.random() < 0.5
        change: Change = Leave(agent, at_s) if goes else Kill(agent, at_s)
        yield Trouble("leaves for good" if goes else "dies", f"{name} at {at_s:g}", changes=(change,))
