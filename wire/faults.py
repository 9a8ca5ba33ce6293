"""What links do to messages: the same plan shapes real links and simulated ones.

A plan is directed: (source, target) and (target, source) are two links. It is a value: nothing here draws
unless a random stream is handed in, and time is an argument (`elapsed_s`, seconds since the start).

    which faults a link has   1. the last window that matches source, target and time
                              2. else the entry of `links`
                              3. else the plan's own drop, delay_s, ...
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wire.delays import (
    DELAY_S_MAX,
    Constant,
    Delay,
    Exponential,
    LogNormal,
    Uniform,
    check_number,
    parse_delay,
)
from wire.errors import FaultPlanError
from wire.messages import PEER_ID_BYTES_MAX, PeerId, name_problem

__all__ = [
    "DRAWS_PER_MESSAGE",
    "Constant",
    "Delay",
    "Exponential",
    "FaultPlan",
    "FaultWindow",
    "LinkFaults",
    "LogNormal",
    "Uniform",
    "cut",
    "link_rng",
    "parse_delay",
    "partition",
]

DRAWS_PER_MESSAGE: Final = 8  # drop, duplicate, and (delay, reorder, hold) of two copies

_FAULT_KEYS: Final = ("drop", "delay_s", "duplicate", "reorder", "reorder_window_s")


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """What one directed link does to each message, independently.

    drop             probability that it is lost, with its duplicate
    delay_s          seconds on its way (a number is a constant)
    duplicate        probability that it arrives twice; the copy has its own delay
    reorder          probability that a copy is held back by up to reorder_window_s more: later ones overtake
    """

    drop: float = 0.0
    delay_s: float | Delay = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_window_s: float = 0.25

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "reorder"):
            check_number(name, getattr(self, name), 0.0, 1.0, "it is a probability: write 0.3 for 30 %")
        if not isinstance(self.delay_s, Delay):
            check_number(
                "delay_s", self.delay_s, 0.0, DELAY_S_MAX, "it is in seconds; for text use parse_delay"
            )
        check_number("reorder_window_s", self.reorder_window_s, 0.0, DELAY_S_MAX, "it is in seconds")

    @property
    def delay(self) -> Delay:
        """`delay_s` as a distribution."""
        return self.delay_s if isinstance(self.delay_s, Delay) else Constant(self.delay_s)

    def to_dict(self) -> dict[str, object]:
        """JSON-able; LinkFaults.from_dict gives an equal value back."""
        values: dict[str, object] = {name: getattr(self, name) for name in _FAULT_KEYS}
        if isinstance(self.delay_s, Delay):
            values["delay_s"] = str(self.delay_s)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "LinkFaults":
        """Read what to_dict writes; missing keys have their defaults, unknown ones raise FaultPlanError."""
        _check_keys("faults", values, _FAULT_KEYS)
        delay_s = values.get("delay_s", 0.0)
        return cls(
            drop=_number(values, "drop", 0.0),
            delay_s=parse_delay(delay_s) if isinstance(delay_s, str) else _number(values, "delay_s", 0.0),
            duplicate=_number(values, "duplicate", 0.0),
            reorder=_number(values, "reorder", 0.0),
            reorder_window_s=_number(values, "reorder_window_s", 0.25),
        )


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """Other faults for a while: from `start_s` up to, not including, `end_s` (math.inf: for ever).

    `faults` None cuts the links: nothing passes. `sources`, `targets` None mean every peer.
    """

    start_s: float
    end_s: float
    faults: LinkFaults | None
    sources: tuple[PeerId, ...] | None = None
    targets: tuple[PeerId, ...] | None = None
    # For membership only; never iterated, so that no order comes out of it.
    _source_set: frozenset[PeerId] | None = field(init=False, repr=False, compare=False)
    _target_set: frozenset[PeerId] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_number("start_s", self.start_s, 0.0, math.inf, "seconds since the start")
        check_number("end_s", self.end_s, 0.0, math.inf, "seconds since the start, inf for ever")
        if not self.start_s < self.end_s:
            raise FaultPlanError(
                f"end_s = {self.end_s!r}: not after start_s = {self.start_s!r}; the window would never open"
            )
        if self.faults is not None and not isinstance(self.faults, LinkFaults):
            raise FaultPlanError(f"faults = {self.faults!r}: give LinkFaults, or None to cut the links")
        object.__setattr__(self, "_source_set", _peer_set("sources", self.sources))
        object.__setattr__(self, "_target_set", _peer_set("targets", self.targets))

    def matches(self, source: PeerId, target: PeerId, elapsed_s: float) -> bool:
        """True if this window decides about a message sent now on this link."""
        return (
            self.start_s <= elapsed_s < self.end_s
            and (self._source_set is None or source in self._source_set)
            and (self._target_set is None or target in self._target_set)
        )

    def to_dict(self) -> dict[str, object]:
        """JSON-able: `end_s` None is for ever, since JSON has no infinity."""
        return {
            "start_s": self.start_s,
            "end_s": None if self.end_s == math.inf else self.end_s,
            "faults": None if self.faults is None else self.faults.to_dict(),
            "sources": None if self.sources is None else list(self.sources),
            "targets": None if self.targets is None else list(self.targets),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "FaultWindow":
        """Read what to_dict writes. `start_s` and `faults` are required; raises FaultPlanError."""
        _check_keys("window", values, ("start_s", "end_s", "faults", "sources", "targets"))
        for name in ("start_s", "faults"):
            if name not in values:
                raise FaultPlanError(
                    f"window {dict(values)!r}: {name} is missing; faults = null cuts the links"
                )
        faults = values["faults"]
        return cls(
            start_s=_number(values, "start_s", 0.0),
            end_s=math.inf if values.get("end_s") is None else _number(values, "end_s", math.inf),
            faults=None if faults is None else LinkFaults.from_dict(_mapping("faults", faults)),
            sources=_peers(values, "sources"),
            targets=_peers(values, "targets"),
        )


def cut(source: PeerId, target: PeerId, start_s: float, end_s: float = math.inf) -> FaultWindow:
    """Cut one directed link; the way back stays."""
    return FaultWindow(start_s, end_s, None, (source,), (target,))


def partition(groups: Sequence[Sequence[PeerId]], start_s: float, end_s: float) -> tuple[FaultWindow, ...]:
    """Cut every link between two groups, both ways; within a group, and for peers in none, nothing changes.

    Raises FaultPlanError unless there are two groups or more and no peer is in two of them.
    """
    if len(groups) < 2:
        raise FaultPlanError(f"groups = {groups!r}: give at least two groups of peers")
    members = [peer for group in groups for peer in group]
    if len(set(members)) < len(members):
        raise FaultPlanError(f"groups = {groups!r}: a peer is named twice; a peer is on one side only")
    return tuple(
        FaultWindow(
            start_s,
            end_s,
            None,
            tuple(group),
            tuple(itertools.chain(*groups[:index], *groups[index + 1 :])),
        )
        for index, group in enumerate(groups)
    )


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What all links do, now and later. Frozen: `links` is copied and not to be changed.

    Its own five numbers are the faults of every link that neither `links` nor a window says otherwise about.
    Windows may overlap: the last one that matches wins.
    """

    drop: float = 0.0
    delay_s: float | Delay = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_window_s: float = 0.25
    links: Mapping[tuple[PeerId, PeerId], LinkFaults] = field(default_factory=dict, hash=False)
    windows: tuple[FaultWindow, ...] = ()
    _base: LinkFaults = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        base = LinkFaults(self.drop, self.delay_s, self.duplicate, self.reorder, self.reorder_window_s)
        object.__setattr__(self, "_base", base)
        object.__setattr__(self, "links", dict(self.links))
        for link, faults in self.links.items():
            if len(_check_peers("links key", link)) != 2:
                raise FaultPlanError(f"links key = {link!r}: give (source, target)")
            if not isinstance(faults, LinkFaults):
                raise FaultPlanError(
                    f"links[{link!r}] = {faults!r}: give LinkFaults; to cut a link use cut()"
                )
        object.__setattr__(self, "windows", tuple(self.windows))
        for window in self.windows:
            if not isinstance(window, FaultWindow):
                raise FaultPlanError(f"windows = {window!r}: give FaultWindow")

    def faults_on(self, source: PeerId, target: PeerId, elapsed_s: float) -> LinkFaults | None:
        """The faults of one link now; None if it is cut."""
        for window in reversed(self.windows):
            if window.matches(source, target, elapsed_s):
                return window.faults
        return self.links.get((source, target), self._base)

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """Delay in seconds of every copy of a message sent now that arrives; () if it is lost.

        Takes exactly DRAWS_PER_MESSAGE numbers from `rng`, whatever happens to the message: so with the same
        stream a higher drop rate loses the same messages and some more, and delays the rest as before.
        """
        faults = self.faults_on(source, target, elapsed_s)
        shaping = self._base if faults is None else faults
        dropped = rng.random() < shaping.drop
        doubled = rng.random() < shaping.duplicate
        delay = shaping.delay
        copies = (_draw_copy(shaping, delay, rng), _draw_copy(shaping, delay, rng))
        if faults is None or dropped:
            return ()
        return copies if doubled else copies[:1]

    def to_dict(self) -> dict[str, object]:
        """JSON-able; FaultPlan.from_dict gives an equal plan back."""
        return {
            **self._base.to_dict(),
            "links": [
                {"source": source, "target": target, **faults.to_dict()}
                for (source, target), faults in self.links.items()
            ],
            "windows": [window.to_dict() for window in self.windows],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "FaultPlan":
        """Read what to_dict writes; missing keys have their defaults, unknown ones raise FaultPlanError."""
        _check_keys("plan", values, (*_FAULT_KEYS, "links", "windows"))
        base = LinkFaults.from_dict({name: values[name] for name in _FAULT_KEYS if name in values})
        links: dict[tuple[PeerId, PeerId], LinkFaults] = {}
        for entry in _list(values, "links"):
            link = dict(_mapping("links", entry))
            ends = (link.pop("source", None), link.pop("target", None))
            source, target = _check_peers("links source, target", ends)
            if (source, target) in links:
                raise FaultPlanError(f"links = {source!r} -> {target!r}: given twice; keep one")
            links[source, target] = LinkFaults.from_dict(link)
        windows = tuple(FaultWindow.from_dict(_mapping("windows", w)) for w in _list(values, "windows"))
        return cls(
            base.drop,
            base.delay_s,
            base.duplicate,
            base.reorder,
            base.reorder_window_s,
            links=links,
            windows=windows,
        )


def link_rng(seed: int, source: PeerId, target: PeerId) -> random.Random:
    """The random stream of one directed link: the same in every process, and shifted by no other link."""
    return random.Random(f"{seed}/{source}->{target}")


def _draw_copy(faults: LinkFaults, delay: Delay, rng: random.Random) -> float:
    """Delay of one copy; three numbers from `rng`."""
    delay_s = delay.draw(rng)
    held = rng.random() < faults.reorder
    hold_s = faults.reorder_window_s * rng.random()
    return delay_s + hold_s if held else delay_s


def _check_peers(name: str, peers: object) -> tuple[PeerId, ...]:
    if not isinstance(peers, tuple) or not peers:
        raise FaultPlanError(f"{name} = {peers!r}: give a tuple of peer names, not empty")
    for peer in peers:
        problem = name_problem(peer, PEER_ID_BYTES_MAX) if isinstance(peer, str) else "must be text"
        if problem is not None:
            raise FaultPlanError(f"{name} = {peer!r}: a peer name {problem}")
    return peers


def _peer_set(name: str, peers: tuple[PeerId, ...] | None) -> frozenset[PeerId] | None:
    return None if peers is None else frozenset(_check_peers(name, peers))


def _check_keys(where: str, values: Mapping[str, object], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            raise FaultPlanError(f"{where} key {key!r}: unknown; known are {', '.join(known)}")


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    return check_number(name, values.get(name, default), -math.inf, math.inf, "give a number")


def _mapping(name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise FaultPlanError(f"{name} = {value!r}: give a table of names and values")
    return value


def _list(values: Mapping[str, object], name: str) -> Sequence[object]:
    value = values.get(name, ())
    if not isinstance(value, list | tuple):
        raise FaultPlanError(f"{name} = {value!r}: give a list")
    return value


def _peers(values: Mapping[str, object], name: str) -> tuple[PeerId, ...] | None:
    value = values.get(name)
    if value is None:
        return None
    return _check_peers(name, tuple(value) if isinstance(value, list | tuple) else value)
