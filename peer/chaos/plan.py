"""What goes wrong when: a seed, the names of the agents and the time there is give a list of troubles.

    0 s ........ CALM_S ................................ quiet_s .................... end_s
    all learn    troubles, every kind once a round       none: all have to find the answer

Processes are named by number. What happens to links is a window of every agent's fault plan, so that an agent
that comes back meets the same faults; everything else is for whoever started the processes.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from peer.errors import SettingError
from peer.scenario import Pause, told
from wire import FaultChange, FaultPlan, FaultWindow, LogNormal, partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.scenario import AnyChange, Scenario
    from wire import PeerId

Kind = Literal[
    "kill",
    "stop",
    "disk",
    "files",
    "memory",
    "clock",
    "garbage",
    "cut",
    "partition",
    "loss",
    "unplug",
    "scenario",
]
KINDS: Final[tuple[Kind, ...]] = (
    *("kill", "stop", "disk", "files", "memory", "clock", "garbage", "cut", "partition", "loss", "unplug"),
)
"""Those that are drawn. To `unplug` processes they need networks of their own."""

SWARM: Final = "chaos"  # its name
CALM: Final = FaultPlan(drop=0.1, delay_s=0.005)  # what the links do anyway
CALM_S: Final = 3.0
QUIET_SHARE: Final = 0.5  # of the time
QUIET_S_MAX: Final = 100.0
QUIET_S_MIN: Final = 60.0  # if the answer takes so long, and whatever time there was: machines may be busy
EVERY_S: Final = (2.0, 7.0)  # from one trouble to the next: at least, if there is little time; at most
LASTS_S: Final = (3.0, 8.0)
AHEAD_S: Final = (5.0, 60.0, 3600.0, 86400.0)  # how far a clock jumps
MINUTE_STEP_S: Final = 6.0  # to which it is rounded how long a run should be
ALL_AT_ONCE: Final = 0.2  # share of the kills that take every process: the power fails


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong, from `at_s` to `end_s` (which is `at_s` for what only happens once)."""

    kind: Kind
    at_s: float
    end_s: float
    processes: tuple[int, ...] = ()  # to whom, unless links are concerned
    agents: tuple[PeerId, ...] = ()  # the same by name; of garbage, the first is spoken to
    windows: tuple[FaultWindow, ...] = ()
    ahead_s: float = 0.0  # of clocks
    change: AnyChange[str] | None = None  # of a scenario file
    ways: tuple[str, ...] = ()  # of packets that do not pass: `from` the process, `to` it
    text: str = ""  # of what the other fields do not tell

    def told(self) -> str:
        """One line for people."""
        where = f"process {', '.join(map(str, self.processes))} ({' '.join(self.agents)})"
        lasts = f" for {self.end_s - self.at_s:.1f} s"
        match self.kind:
            case "kill":
                return f"SIGKILL: {where}"
            case "stop":
                return f"SIGSTOP{lasts}: {where}"
            case "disk":
                return f"disk full{lasts}: {where}"
            case "files":
                return f"no file descriptors left{lasts}: {where}"
            case "memory":
                return f"memory limit reached{lasts}: {where}"
            case "clock":
                return f"clock {self.ahead_s:g} s ahead: {where}"
            case "unplug":
                return f"packets {' and '.join(self.ways)} {where} dropped{lasts}"
            case "garbage":
                return f"garbage at full speed{lasts}: {self.agents[0]}"
            case _:
                return self.text if self.change is not None else f"{self.text}{lasts}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. Times in seconds since all agents were started."""

    members: tuple[tuple[PeerId, ...], ...]  # the agents of each process
    troubles: tuple[Trouble, ...]
    quiet_s: float
    end_s: float
    faults: FaultPlan = field(default=CALM)

    @property
    def agents(self) -> tuple[PeerId, ...]:
        """All of them, in the order of their numbers."""
        return tuple(agent for group in self.members for agent in group)

    def share(self, trouble: Trouble, process: int) -> Trouble:
        """What one of its processes has of a trouble."""
        own = tuple(agent for agent in trouble.agents if agent in self.members[process])
        return replace(trouble, processes=(process,), agents=own)

    def process_of(self, agent: PeerId) -> int:
        """The process that hosts this agent."""
        return next(number for number, group in enumerate(self.members) if agent in group)


def shared_out(agents: Sequence[PeerId], processes: int) -> tuple[tuple[PeerId, ...], ...]:
    """Neighbours together, as equally as may be."""
    ends = [len(agents) * number // processes for number in range(processes + 1)]
    return tuple(tuple(agents[start:end]) for start, end in itertools.pairwise(ends))


def undisturbed(members: tuple[tuple[PeerId, ...], ...], seconds: float) -> Plan:
    """Nothing goes wrong."""
    return Plan(members, (), 0.0, seconds)


def draw(
    members: tuple[tuple[PeerId, ...], ...], seconds: float, seed: int, kinds: Sequence[Kind] = KINDS
) -> Plan:
    """In every round each of these kinds once, in an order and to whom the seed says.

    Of two agents or more; of two processes, if they are to be unplugged.
    """
    rng = random.Random(f"{seed}/chaos")
    quiet_s = seconds - min(QUIET_S_MAX, QUIET_SHARE * seconds)
    every_s = min(max((quiet_s - CALM_S) / len(kinds), EVERY_S[0]), EVERY_S[1])
    troubles: list[Trouble] = []
    at_s, waiting, turns = CALM_S, list[Kind](), list[int]()
    while at_s + EVERY_S[0] <= quiet_s:
        if not waiting:
            waiting = rng.sample(kinds, len(kinds))
        if not turns:
            turns = rng.sample(range(len(members)), len(members))
        end_s = min(at_s + rng.uniform(*LASTS_S), quiet_s)
        troubles.append(_drawn(waiting.pop(), at_s, end_s, members, turns.pop(), rng))
        at_s += every_s
    windows = tuple(window for trouble in troubles for window in trouble.windows)
    return Plan(members, tuple(troubles), quiet_s, max(seconds, quiet_s + QUIET_S_MIN), _with(windows))


def from_scenario(scenario: Scenario, members: tuple[tuple[PeerId, ...], ...], seconds: float) -> Plan:
    """What a scenario file says, instead of what a seed draws; after the last of it is quiet time as there.

    What is for ever stays to the end; all else has to be over after `seconds`. Raises `SettingError`.
    """
    spans = [(window.start_s, window.end_s) for window in scenario.windows]
    spans += [(one.at_s, _end_of(one)) for one in scenario.changes]
    for at_s, end_s in sorted(spans):
        if seconds < at_s or seconds < end_s < math.inf:
            last_s, lasts = (at_s, "") if end_s == math.inf else (end_s, f" lasts until {end_s:g} s")
            minutes = (last_s // MINUTE_STEP_S + 1) * MINUTE_STEP_S / 60
            remedy = f"event at {at_s:g} s{lasts if at_s < end_s else ''}, the run ends at {seconds:g} s: "
            raise SettingError("minutes", seconds / 60, f"{remedy}give --minutes {minutes:.10g} or more")
    quiet_s = min(max((end_s for _, end_s in spans), default=0.0), seconds)
    plan_end_s = max(seconds, quiet_s + QUIET_S_MIN) if spans else seconds
    links = [
        Trouble("scenario", one.start_s, min(one.end_s, plan_end_s), windows=(one,), text=_told(one))
        for one in scenario.windows
    ]
    changes = [
        Trouble("scenario", one.at_s, _end_of(one), agents=(one.agent,), change=one, text=told(one))
        for one in scenario.changes
    ]
    troubles = tuple(sorted((*links, *changes), key=lambda trouble: trouble.at_s))
    return Plan(members, troubles, quiet_s, plan_end_s, _with(scenario.windows))


def _end_of(change: AnyChange[str]) -> float:
    return change.at_s + (change.duration_s if isinstance(change, Pause) else 0.0)


def _with(windows: tuple[FaultWindow, ...]) -> FaultPlan:
    return FaultPlan(drop=CALM.drop, delay_s=CALM.delay_s, windows=windows)


def _drawn(
    kind: Kind,
    at_s: float,
    end_s: float,
    members: tuple[tuple[PeerId, ...], ...],
    number: int,
    rng: random.Random,
) -> Trouble:
    """One of this kind; to this process, if it is done to one."""
    everybody = [agent for group in members for agent in group]
    match kind:
        case "cut":
            order = rng.sample(everybody, len(everybody))
            where = rng.randint(1, len(order) - 1)
            sources, targets = sorted(order[:where]), sorted(order[where:])
            window = FaultWindow(at_s, end_s, None, tuple(sources), tuple(targets))
            text = f"cut, one way: {' '.join(sources)} -> {' '.join(targets)}"
            return Trouble(kind, at_s, end_s, windows=(window,), text=text)
        case "partition":
            order = rng.sample(everybody, len(everybody))
            where = rng.randint(1, len(order) - 1)
            groups = sorted(order[:where]), sorted(order[where:])
            text = f"partition: {' | '.join(' '.join(group) for group in groups)}"
            return Trouble(kind, at_s, end_s, windows=partition(groups, at_s, end_s), text=text)
        case "loss":
            drop = round(rng.uniform(0.4, 0.8), 1)
            change = FaultChange(drop=drop, delay_s=LogNormal(0.05, 1.0))
            window = FaultWindow(at_s, end_s, change)
            text = f"{drop:.0%} of all messages lost, the others 50 ms late and more"
            return Trouble(kind, at_s, end_s, windows=(window,), text=text)
        case "unplug":
            ways = rng.choice((("from",), ("to",), ("from", "to")))
            return Trouble(kind, at_s, end_s, (number,), members[number], ways=ways)
        case "garbage":
            group = rng.sample(members[number], len(members[number]))
            return Trouble(kind, at_s, end_s, processes=(number,), agents=tuple(group))
        case _:
            once = kind in ("kill", "clock")
            power = kind == "kill" and rng.random() < ALL_AT_ONCE
            hit = tuple(range(len(members))) if power else (number,)
            return Trouble(
                kind,
                at_s,
                at_s if once else end_s,
                processes=hit,
                agents=tuple(agent for number in hit for agent in members[number]),
                ahead_s=rng.choice(AHEAD_S) if kind == "clock" else 0.0,
            )


def _told(window: FaultWindow) -> str:
    between = " ".join(
        f"{word} {' '.join(names)}"
        for word, names in (("from", window.sources), ("to", window.targets))
        if names is not None
    )
    change = window.faults
    what = "cut" if change is None else ", ".join(f"{k} {v}" for k, v in change.to_dict().items())
    return f"{what} {between or 'everywhere'}"
