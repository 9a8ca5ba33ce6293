"""Scenario files: TOML text to a `Scenario`. The same file means the same in `swarm`, `simulate` and `run`.

[[event]]
at = "30s"                                  # since the start; a number is seconds
cut = ["agent-1", "agent-2"]                # from, to; or {from = [...], to = [...]}, one of them left out
for = "20s"                                 # else for ever

[[event]]
at = "60s"
drop = 0.5                                  # delay, duplicate, reorder, bandwidth; everywhere, or
from = "agent-1"                            # from and to these agents
to = ["agent-2", "agent-3"]

partition = [["agent-0", "agent-1"], ["agent-2"]]
kill = "agent-3"                            # or several: join, leave, restart, pause (which needs `for`)
restart = "agent-3"                         # with_state = false: as somebody new
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.fault_words import WORDS, brief, read_change, read_duration, read_time
from peer.scenario import Join, Kill, Leave, Pause, Restart, Scenario, misfit
from wire import PEER_ID_BYTES_MAX, FaultPlanError, FaultWindow, partition
from wire.messages import name_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.scenario import AnyChange

_FAULTS: Final = " or ".join(WORDS)
_BESIDE: Final = {
    "cut": ("for",),
    "partition": ("for",),
    _FAULTS: ("from", "to", "for"),
    "kill": (),
    "join": (),
    "leave": (),
    "restart": ("with_state",),
    "pause": ("for",),
}
_MEMBERS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of the file, read key by key."""

    where: str
    values: Mapping[str, object]
    members: Sequence[str] | None

    def field(self, key: str) -> str:
        """How errors name a value of this event."""
        return f"{self.where}: {key}"

    def refuse(self, key: str, remedy: str, value: object = None) -> SettingError:
        """The error about one value; it is that of `key` unless another is given."""
        return SettingError(self.field(key), brief(self.values.get(key) if value is None else value), remedy)

    @property
    def at_s(self) -> float:
        """When it happens."""
        value = self.values.get("at")
        if value is None:
            raise SettingError(f"{self.where}: at", None, "say when: 30s after the start, for example")
        return read_time(value, self.field("at"))

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.at_s + self.duration_s if "for" in self.values else math.inf

    @property
    def duration_s(self) -> float:
        """The value of `for`."""
        return read_duration(self.values.get("for"), self.field("for"))

    def names(self, key: str, value: object) -> tuple[str, ...]:
        """One name or several, all of them members if these are known."""
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names:
            raise self.refuse(key, "give the name of an agent, or a list of names", value)
        for name in names:
            problem = name_problem(name, PEER_ID_BYTES_MAX) if isinstance(name, str) else "must be text"
            if problem is not None:
                raise self.refuse(key, f"the name of an agent {problem}", name)
            if self.members is not None and name not in self.members:
                shown = ", ".join(self.members[:_MEMBERS_SHOWN])
                more = " ..." if len(self.members) > _MEMBERS_SHOWN else ""
                raise self.refuse(key, f"no such agent; there are {shown}{more}", name)
        return tuple(names)

    def kind(self) -> str:
        """Which of _BESIDE it is; every key belongs to it."""
        found = {
            kind: [key for key in (WORDS if kind == _FAULTS else (kind,)) if key in self.values]
            for kind in _BESIDE
        }
        kinds = [kind for kind, keys in found.items() if keys]
        if len(kinds) != 1:
            remedy = f"give one of {', '.join(_BESIDE)} in each event"
            raise SettingError(self.where, brief(list(self.values)), remedy)
        (kind,) = kinds
        for key in self.values:
            if key not in ("at", *found[kind], *_BESIDE[kind]):
                known = ", ".join(("at", *_BESIDE[kind]))
                raise self.refuse(key, f"unknown here; beside {kind} there may be {known}")
        return kind


def parse_scenario(text: str, file: str, members: Sequence[str] | None = None) -> Scenario:
    """Read the text of `file`; with `members`, names of others are refused.

    Raises `SettingError` naming file, number of the event from 1, key, value and remedy.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise SettingError(
            file, str(error), "write TOML: [[event]] and then lines such as drop = 0.5"
        ) from None
    events: object = content.pop("event", [])
    for key, value in content.items():
        raise SettingError(f"{file}: {key}", brief(value), "a scenario consists of [[event]] tables only")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise SettingError(f"{file}: event", brief(events), "write [[event]] above each event")
    windows: list[FaultWindow] = []
    changes: list[AnyChange[str]] = []
    origins: list[tuple[_Event, str]] = []  # of each change
    for number, values in enumerate(events, 1):
        event = _Event(f"{file}: event {number}", values, members)
        kind = event.kind()
        if kind in _CHANGES:
            found = [_CHANGES[kind](event, name) for name in event.names(kind, values[kind])]
            changes += found
            origins += [(event, kind)] * len(found)
        else:
            windows += _windows(event, kind)
    problem = misfit(changes)
    if problem is not None:
        index, remedy = problem
        event, kind = origins[index]
        raise event.refuse(kind, remedy, changes[index].agent)
    return Scenario(
        file,
        tuple(sorted(windows, key=lambda window: window.start_s)),
        tuple(sorted(changes, key=lambda change: change.at_s)),
    )


def _restart(event: _Event, name: str) -> Restart[str]:
    with_state = event.values.get("with_state", True)
    if not isinstance(with_state, bool):
        raise event.refuse("with_state", "give true or false")
    return Restart(name, event.at_s, with_state)


_CHANGES: Final[dict[str, Callable[[_Event, str], AnyChange[str]]]] = {
    "kill": lambda event, name: Kill(name, event.at_s),
    "join": lambda event, name: Join(name, event.at_s),
    "leave": lambda event, name: Leave(name, event.at_s),
    "restart": _restart,
    "pause": lambda event, name: Pause(name, event.at_s, event.duration_s),
}


def _windows(event: _Event, kind: str) -> tuple[FaultWindow, ...]:
    if kind == "partition":
        return _partition(event)
    if kind == "cut":
        ends = _ends_of_cut(event)
        return (FaultWindow(event.at_s, event.end_s, None, *_sides(event, "cut", ends)),)
    change = read_change({key: event.values[key] for key in WORDS if key in event.values}, WORDS, event.field)
    sides = _sides(event, "", {key: event.values[key] for key in ("from", "to") if key in event.values})
    return (FaultWindow(event.at_s, event.end_s, change, *sides),)


def _ends_of_cut(event: _Event) -> Mapping[str, object]:
    value = event.values["cut"]
    if isinstance(value, list) and len(value) == 2:
        return {"from": value[0], "to": value[1]}
    if isinstance(value, dict) and value and set(value) <= {"from", "to"}:
        return value
    raise event.refuse("cut", 'give ["agent-1", "agent-2"] (from, to), or {from = [...], to = [...]}')


def _sides(
    event: _Event, key: str, ends: Mapping[str, object]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Sources and targets; None where nobody is named."""
    return (
        event.names(key or "from", ends["from"]) if "from" in ends else None,
        event.names(key or "to", ends["to"]) if "to" in ends else None,
    )


def _partition(event: _Event) -> tuple[FaultWindow, ...]:
    groups = event.values["partition"]
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        raise event.refuse("partition", 'give groups of agents: [["agent-0", "agent-1"], ["agent-2"]]')
    named = [event.names("partition", group) for group in groups]
    try:
        return partition(named, event.at_s, event.end_s)
    except FaultPlanError:
        raise event.refuse("partition", "give two groups or more, no agent in two of them") from None
