"""What links do to messages: the same plan shapes real links and simulated ones.

A plan is directed: (source, target) and (target, source) are two links. It is a value: nothing here draws
unless a random stream is handed in, and time is an argument (`elapsed_s`, seconds since the start).

    which faults a link has   1. the entry of `links`, else the plan's own drop, delay_s, ...
                              2. changed by every window that matches source, target and time, in their order

A window names agents by their whole id, or by the name before the fingerprint of their key (or the number of
their life in a simulation), so that it still means them when they have come back as somebody new.
"""

import copy
import itertools
import math
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from wire.delays import Constant, Delay, Exponential, LogNormal, Uniform, check_number, parse_delay
from wire.errors import FaultPlanError
from wire.link_faults import FAULT_KEYS, FaultChange, LinkFaults, check_keys, check_peers
from wire.link_models import LinkModel, ShownModel
from wire.messages import PeerId

__all__ = [
    "DRAWS_PER_MESSAGE",
    "Constant",
    "Delay",
    "Exponential",
    "FaultChange",
    "FaultPlan",
    "FaultWindow",
    "LinkFaults",
    "LogNormal",
    "Uniform",
    "cut",
    "link_rng",
    "name_before_key",
    "parse_delay",
    "partition",
]

DRAWS_PER_MESSAGE: Final = 8  # drop, duplicate, and (delay, reorder, hold) of two copies
LINKS_REMEMBERED: Final = 4_096  # with what they do at the time: those of 64 agents in one process

_WHO_EXACTLY = re.compile(
    r"(?:-(?:[a-z2-7]{20}|[0-9a-f]{8})|\+[0-9]+)\Z"
)  # key, unkeyed process, simulated life


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """Other faults for a while: from `start_s` up to, not including, `end_s` (math.inf: for ever).

    `faults` None cuts the links: nothing passes. A FaultChange keeps what it does not name, and a cut link
    cut. `sources`, `targets` None mean every peer.
    """

    start_s: float
    end_s: float
    faults: LinkFaults | FaultChange | None
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
        if self.faults is not None and not isinstance(self.faults, LinkFaults | FaultChange):
            raise FaultPlanError(
                f"faults = {self.faults!r}: give LinkFaults, a FaultChange, or None to cut the links"
            )
        object.__setattr__(self, "_source_set", _peer_set("sources", self.sources))
        object.__setattr__(self, "_target_set", _peer_set("targets", self.targets))

    def concerns(self, source: PeerId, target: PeerId) -> bool:
        """True if at any time this window decides about messages on this link."""
        return (self._source_set is None or is_among(source, self._source_set)) and (
            self._target_set is None or is_among(target, self._target_set)
        )

    def applied_to(self, faults: LinkFaults | None) -> LinkFaults | None:
        """What a link that this window concerns does meanwhile instead of `faults`."""
        if not isinstance(self.faults, FaultChange):
            return self.faults
        return None if faults is None else self.faults.applied_to(faults)

    def to_dict(self) -> dict[str, object]:
        """JSON-able: `end_s` None is for ever, since JSON has no infinity."""
        changes = isinstance(self.faults, FaultChange)
        return {
            "start_s": self.start_s,
            "end_s": None if self.end_s == math.inf else self.end_s,
            "change" if changes else "faults": None if self.faults is None else self.faults.to_dict(),
            "sources": None if self.sources is None else list(self.sources),
            "targets": None if self.targets is None else list(self.targets),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "FaultWindow":
        """Read what to_dict writes. `start_s`, and `faults` or `change`, are required; or FaultPlanError."""
        check_keys("window", values, ("start_s", "end_s", "faults", "change", "sources", "targets"))
        if "start_s" not in values:
            raise FaultPlanError(f"window {dict(values)!r}: start_s is missing; give seconds since the start")
        if ("faults" in values) == ("change" in values):
            raise FaultPlanError(
                f"window {dict(values)!r}: faults is missing, or change beside it; give one of them: "
                "faults = null cuts the links"
            )
        faults: LinkFaults | FaultChange | None = None
        if "change" in values:
            faults = FaultChange.from_dict(_mapping("change", values["change"]))
        elif values["faults"] is not None:
            faults = LinkFaults.from_dict(_mapping("faults", values["faults"]))
        return cls(
            start_s=_number(values, "start_s", 0.0),
            end_s=math.inf if values.get("end_s") is None else _number(values, "end_s", math.inf),
            faults=faults,
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

    Its own numbers, which mean what those of `LinkFaults` mean, are the faults of every link that neither
    `links` nor a window says otherwise about.
    Windows may overlap: a later one changes what the earlier ones left. `model` is asked about each copy that
    all these let arrive.

    >>> import wire
    >>> plan = wire.FaultPlan(drop=0.2, delay_s=0.05, windows=(wire.cut("a", "b", start_s=10, end_s=20),))
    >>> plan.faults_on("a", "b", 15.0) is None, plan.faults_on("b", "a", 15.0).drop
    (True, 0.2)
    >>> wire.FaultPlan(drop=20)
    Traceback (most recent call last):
        ...
    wire.errors.FaultPlanError: drop = 20: must be a number from 0 to 1; it is a probability: ...
    """

    drop: float = 0.0
    delay_s: float | Delay = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_window_s: float = 0.25
    bandwidth_bits_per_s: float | None = None
    links: Mapping[tuple[PeerId, PeerId], LinkFaults] = field(default_factory=dict, hash=False)
    windows: tuple[FaultWindow, ...] = ()
    model: LinkModel | None = field(default=None, hash=False)
    _base: LinkFaults = field(init=False, repr=False, compare=False)
    # From when to when each link does the same, and what, as of the last time somebody asked.
    _known: dict[tuple[PeerId, PeerId], tuple[float, float, LinkFaults | None]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        base = LinkFaults(
            self.drop,
            self.delay_s,
            self.duplicate,
            self.reorder,
            self.reorder_window_s,
            self.bandwidth_bits_per_s,
        )
        object.__setattr__(self, "_base", base)
        object.__setattr__(self, "links", dict(self.links))
        for link, faults in self.links.items():
            if len(check_peers("links key", link)) != 2:
                raise FaultPlanError(f"links key = {link!r}: give (source, target)")
            if not isinstance(faults, LinkFaults):
                raise FaultPlanError(
                    f"links[{link!r}] = {faults!r}: give LinkFaults; to cut a link use cut()"
                )
        object.__setattr__(self, "windows", tuple(self.windows))
        for window in self.windows:
            if not isinstance(window, FaultWindow):
                raise FaultPlanError(f"windows = {window!r}: give FaultWindow")
        if self.model is not None and not isinstance(self.model, LinkModel):
            raise FaultPlanError(f"model = {self.model!r}: give a LinkModel, or None")

    def begun(self) -> "FaultPlan":
        """The same, with a copy of the model: what one run asks of it, another does not feel."""
        return self if self.model is None else replace(self, model=copy.deepcopy(self.model))

    def faults_on(self, source: PeerId, target: PeerId, elapsed_s: float) -> LinkFaults | None:
        """The faults of one link now; None if it is cut."""
        known = self._known.get((source, target))
        if known is None or not known[0] <= elapsed_s < known[1]:
            known = self._look_up(source, target, elapsed_s)
        return known[2]

    def _look_up(
        self, source: PeerId, target: PeerId, elapsed_s: float
    ) -> tuple[float, float, LinkFaults | None]:
        """What the link does, and from when to when; remembered."""
        since_s, until_s = -math.inf, math.inf
        faults: LinkFaults | None = self.links.get((source, target), self._base)
        for window in self.windows:
            if window.concerns(source, target):
                edges = (window.start_s, window.end_s)
                since_s = max([since_s, *(edge for edge in edges if edge <= elapsed_s)])
                until_s = min([until_s, *(edge for edge in edges if edge > elapsed_s)])
                if window.start_s <= elapsed_s < window.end_s:
                    faults = window.applied_to(faults)
        if len(self._known) >= LINKS_REMEMBERED:
            self._known.clear()
        known = self._known[source, target] = (since_s, until_s, faults)
        return known

    def deliveries(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        """Delay in seconds of every copy of a message sent now that arrives; () if it is lost.

        Takes exactly DRAWS_PER_MESSAGE numbers from `rng`, whatever happens to the message: so with the same
        stream a higher drop rate loses the same messages and some more, and delays the rest as before. That
        ends with a model, which takes what it likes for each copy that it is asked about.
        """
        copies = self._copies(source, target, elapsed_s, rng)
        if self.model is None:
            return copies
        return tuple(
            late_s + more_s
            for late_s in copies
            for more_s in self.model.deliveries(source, target, elapsed_s, rng)
        )

    def _copies(
        self, source: PeerId, target: PeerId, elapsed_s: float, rng: random.Random
    ) -> tuple[float, ...]:
        faults = self.faults_on(source, target, elapsed_s)
        if faults is None:
            faults, arrives = self._base, False
        else:
            arrives = True
        draw = rng.random
        arrives = draw() >= faults.drop and arrives
        doubled = draw() < faults.duplicate
        first = _draw_copy(faults, rng)
        if doubled:
            second = _draw_copy(faults, rng)
            return (first, second) if arrives else ()
        draw(), draw(), draw()  # as many as a second copy takes
        return (first,) if arrives else ()

    def to_dict(self) -> dict[str, object]:
        """JSON-able; FaultPlan.from_dict gives an equal plan back, but of a model only the text."""
        named = {} if self.model is None else {"model": str(self.model)}
        return {
            **self._base.to_dict(),
            **named,
            "links": [
                {"source": source, "target": target, **faults.to_dict()}
                for (source, target), faults in self.links.items()
            ],
            "windows": [window.to_dict() for window in self.windows],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "FaultPlan":
        """Read what to_dict writes; missing keys have their defaults.

        A model is there to be shown: it only tells its text. Unknown keys raise FaultPlanError.
        """
        check_keys("plan", values, (*FAULT_KEYS, "model", "links", "windows"))
        base = LinkFaults.from_dict({name: values[name] for name in FAULT_KEYS if name in values})
        links: dict[tuple[PeerId, PeerId], LinkFaults] = {}
        for entry in _list(values, "links"):
            link = dict(_mapping("links", entry))
            ends = (link.pop("source", None), link.pop("target", None))
            source, target = check_peers("links source, target", ends)
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
            base.bandwidth_bits_per_s,
            links=links,
            windows=windows,
            model=ShownModel(str(values["model"])) if "model" in values else None,
        )


def link_rng(seed: int, source: PeerId, target: PeerId) -> random.Random:
    """The random stream of one directed link: the same in every process, and shifted by no other link."""
    return random.Random(f"{seed}/{source}->{target}")


def name_before_key(peer: PeerId) -> str:
    """The part of a peer's id that stays when it comes back with another key or life."""
    found = _WHO_EXACTLY.search(peer)
    return peer[: found.start()] if found is not None and found.start() else peer


def is_meant(name: str, other: str) -> bool:
    """Whether two names are one peer's, either of them written without its key or with it."""
    return name == other or name_before_key(name) == other or name == name_before_key(other)


def is_among(peer: PeerId, names: Collection[str]) -> bool:
    """Whether one of these names means this peer."""
    return peer in names or name_before_key(peer) in names


def _draw_copy(faults: LinkFaults, rng: random.Random) -> float:
    """Delay of one copy; three numbers from `rng`."""
    delay_s = faults.delay.draw(rng)
    held = rng.random() < faults.reorder
    hold_s = faults.reorder_window_s * rng.random()
    return delay_s + hold_s if held else delay_s


def _peer_set(name: str, peers: tuple[PeerId, ...] | None) -> frozenset[PeerId] | None:
    return None if peers is None else frozenset(check_peers(name, peers))


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
    return check_peers(name, tuple(value) if isinstance(value, list | tuple) else value)
