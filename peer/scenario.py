"""What happens to the members of a swarm and to its links, and when: values, and what fits together.

A change names its agent by number (`peer.simulate`) or by name (scenario files).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from peer.errors import SettingError
from wire.faults import is_meant, name_before_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire import FaultPlan, FaultWindow, PeerId

A = TypeVar("A", int, str)
"""How an agent is named."""


@dataclass(frozen=True, slots=True)
class Kill(Generic[A]):
    """This agent stops without a word at this time, in seconds since the start."""

    agent: A
    at_s: float


@dataclass(frozen=True, slots=True)
class Join(Generic[A]):
    """This agent is not there from the start but comes at this time."""

    agent: A
    at_s: float


@dataclass(frozen=True, slots=True)
class Restart(Generic[A]):
    """An agent that was killed or left comes back: with state as a new incarnation, else as somebody new."""

    agent: A
    at_s: float
    with_state: bool = True


@dataclass(frozen=True, slots=True)
class Leave(Generic[A]):
    """This agent says goodbye and stops."""

    agent: A
    at_s: float


@dataclass(frozen=True, slots=True)
class Pause(Generic[A]):
    """This agent's process stands still for a while, as under SIGSTOP: it does and says nothing."""

    agent: A
    at_s: float
    duration_s: float


AnyChange = Kill[A] | Join[A] | Restart[A] | Leave[A] | Pause[A]

Change = AnyChange[int]
"""What `peer.simulate` is given."""


def member_names(agents: int) -> tuple[PeerId, ...]:
    """The names of the agents of one program; their order is that of their numbers."""
    digits = len(str(agents - 1))
    return tuple(f"agent-{number:0{digits}}" for number in range(agents))


def next_life(name: PeerId, life: int) -> PeerId:
    """The name of who comes in the place of `name`, without its state."""
    return f"{first_life(name)}+{life}"


def first_life(name: PeerId) -> PeerId:
    """The name of who had the place first."""
    return name.split("+")[0]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario file: faults of links and changes of members, both in the order of time.

    Its fault windows change what the links do anyway. They and the changes name agents as the file does.
    """

    file: str = ""
    windows: tuple[FaultWindow, ...] = ()
    changes: tuple[AnyChange[str], ...] = ()

    @property
    def last_s(self) -> float:
        """When the last of it begins."""
        starts = (*(window.start_s for window in self.windows), *(change.at_s for change in self.changes))
        return max(starts, default=0.0)

    def stays(self, members: Sequence[str]) -> bool:
        """Whether one of these members or more is there when all is over."""
        there = dict.fromkeys(members, True)
        for change in self.changes:
            there[change.agent] = not isinstance(change, Kill | Leave)
        return any(there.values())

    def plan(self, base: FaultPlan) -> FaultPlan:
        """`base` with the windows of this scenario after its own."""
        return dataclasses.replace(base, windows=(*base.windows, *self.windows))

    def numbered(self, members: Sequence[str]) -> tuple[AnyChange[int], ...]:
        """The changes with `members.index(name)` instead of names. The file was read for these members."""
        return tuple(_renamed(change, members.index(change.agent)) for change in self.changes)

    def of(self, peer: PeerId) -> tuple[tuple[AnyChange[str], ...], tuple[AnyChange[str], ...]]:
        """The changes of this agent, and those of others, which are their business where each runs alone."""
        names = (peer, name_before_key(peer))
        own = tuple(change for change in self.changes if change.agent in names)
        return own, tuple(change for change in self.changes if change.agent not in names)

    def check_alone(self, peer: PeerId, *, has_state: bool) -> None:
        """Raise `SettingError` if an agent that is a process of its own cannot come back as the file says."""
        for change in self.of(peer)[0]:
            if isinstance(change, Restart) and change.with_state is not has_state:
                remedy = (
                    "give --state DIR, which keeps what it comes back with, or write with_state = false"
                    if change.with_state
                    else "with_state = false is somebody new: leave out --state"
                )
                raise SettingError(f"{self.file}: restart", f"{change.agent} at {change.at_s:g} s", remedy)

    def next_coming(self, peer: PeerId, passed_s: float) -> float | None:
        """When this agent is to be there: at once, when so much has passed, or later; None: never again."""
        own, _ = self.of(peer)
        there = not any(isinstance(change, Join) for change in own)
        for change in own:
            if change.at_s > passed_s:
                break
            there = there if isinstance(change, Pause) else isinstance(change, Join | Restart)
        if there:
            return passed_s
        return next(
            (one.at_s for one in own if one.at_s > passed_s and isinstance(one, Join | Restart)), None
        )

    def since(self, passed_s: float) -> Scenario:
        """What is left of it after so many seconds, by a clock that begins then."""
        if passed_s == 0.0:
            return self
        windows = tuple(
            dataclasses.replace(
                window, start_s=max(0.0, window.start_s - passed_s), end_s=window.end_s - passed_s
            )
            for window in self.windows
            if window.end_s > passed_s
        )
        changes = tuple(
            dataclasses.replace(change, at_s=change.at_s - passed_s)
            for change in self.changes
            if change.at_s > passed_s
        )
        return Scenario(self.file, windows, changes)

    def strangers(self, peer: PeerId) -> list[str]:
        """Whom the file names, if not this agent: nobody, or it may be misspelt."""
        told = [change.agent for change in self.changes]
        told += [name for one in self.windows for name in (*(one.sources or ()), *(one.targets or ()))]
        meant = any(is_meant(peer, name) for name in told)
        return [] if meant else sorted(set(told))


def _renamed(change: AnyChange[str], agent: int) -> AnyChange[int]:
    match change:
        case Kill():
            return Kill(agent, change.at_s)
        case Join():
            return Join(agent, change.at_s)
        case Restart():
            return Restart(agent, change.at_s, change.with_state)
        case Leave():
            return Leave(agent, change.at_s)
        case _:
            return Pause(agent, change.at_s, change.duration_s)


def told(change: AnyChange[str]) -> str:
    """One line for people."""
    match change:
        case Kill():
            what = "is killed"
        case Join():
            what = "joins"
        case Leave():
            what = "leaves"
        case Pause():
            what = f"stands still for {change.duration_s:g} s"
        case _:
            what = "is back" if change.with_state else "is back, as somebody new"
    return f"{change.at_s:g} s: {change.agent} {what}"


def check_scenario(changes: Sequence[AnyChange[int]], agents: int) -> None:
    """Raise `SettingError` if the changes, in order of time, do not fit together."""
    for index, change in enumerate(changes):
        if not 0 <= change.agent < agents:
            raise SettingError(
                f"scenario[{index}].agent", change.agent, f"give a number from 0 to {agents - 1}"
            )
        if not 0 <= change.at_s < math.inf:
            raise SettingError(f"scenario[{index}].at_s", change.at_s, "give virtual seconds, 0 or more")
        if isinstance(change, Pause) and not 0 < change.duration_s < math.inf:
            raise SettingError(
                f"scenario[{index}].duration_s", change.duration_s, "give virtual seconds, more than 0"
            )
    problem = misfit(changes)
    if problem is not None:
        index, remedy = problem
        raise SettingError(f"scenario[{index}]", changes[index], remedy)


def misfit(changes: Sequence[AnyChange[A]]) -> tuple[int, str] | None:
    """Index of the first change, in order of time, that cannot happen, and why; None if all can.

    Whoever does not join is there from the start.
    """
    coming = {change.agent for change in changes if isinstance(change, Join)}
    stopped: set[A] = set()  # killed, or left
    paused_until: dict[A, float] = {}
    for index, change in sorted(enumerate(changes), key=lambda item: (item[1].at_s, item[0])):
        agent = change.agent
        running = agent not in coming and agent not in stopped
        awake = running and change.at_s >= paused_until.get(agent, 0.0)
        match change:
            case Kill():
                fits, remedy = running, "only a running agent can be killed"
                stopped.add(agent)
                paused_until.pop(agent, None)
            case Join():
                fits, remedy = agent in coming, "an agent joins once; Restart brings it back"
                coming.discard(agent)
            case Restart():
                fits, remedy = agent in stopped, "only a killed agent restarts, or one that left"
                stopped.discard(agent)
            case Leave():
                fits, remedy = awake, "only a running agent that is not paused can leave"
                stopped.add(agent)
            case _:
                fits, remedy = awake, "only a running agent that is not paused can be paused"
                paused_until[agent] = change.at_s + change.duration_s
        if not fits:
            return index, remedy
    return None
