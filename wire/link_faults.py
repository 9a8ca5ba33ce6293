"""What one directed link does to a message, and a change of some of it. Values; and how they are read.

LinkFaults    all of it
FaultChange   some of it: drop 0.5 from now on, whatever else the link does
None          the link is cut
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wire.bandwidth import check_bandwidth, parse_bandwidth
from wire.delays import DELAY_S_MAX, Constant, Delay, check_number, parse_delay
from wire.errors import FaultPlanError
from wire.messages import PEER_ID_BYTES_MAX, PeerId, name_problem

_RATES: Final = ("drop", "duplicate", "reorder")
FAULT_KEYS: Final = ("drop", "delay_s", "duplicate", "reorder", "reorder_window_s", "bandwidth_bits_per_s")


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """What one directed link does to each message, independently.

    drop                  probability that it is lost, with its duplicate
    delay_s               seconds on its way (a number is a constant)
    duplicate             probability that it arrives twice; the copy has its own delay
    reorder               probability that a copy is held back by up to reorder_window_s more: later ones
                          overtake
    bandwidth_bits_per_s  no frame leaves before the last one would have passed at this rate; None: no limit
    """

    drop: float = 0.0
    delay_s: float | Delay = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_window_s: float = 0.25
    bandwidth_bits_per_s: float | None = None
    delay: Delay = field(init=False, repr=False, compare=False)  # `delay_s` as a distribution

    def __post_init__(self) -> None:
        for name in FAULT_KEYS:
            if name != "bandwidth_bits_per_s" or self.bandwidth_bits_per_s is not None:
                check_fault(name, getattr(self, name))
        delay = self.delay_s if isinstance(self.delay_s, Delay) else Constant(self.delay_s)
        object.__setattr__(self, "delay", delay)

    def to_dict(self) -> dict[str, object]:
        """JSON-able; LinkFaults.from_dict gives an equal value back."""
        return {name: _plain(getattr(self, name)) for name in FAULT_KEYS}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "LinkFaults":
        """Read what to_dict writes; missing keys have their defaults, unknown ones raise FaultPlanError."""
        return FaultChange.from_dict(values).applied_to(cls())


@dataclass(frozen=True, slots=True)
class FaultChange:
    """Other values for some of a link's faults; None keeps what the link does already.

    `bandwidth_bits_per_s` math.inf takes its limit away.
    """

    drop: float | None = None
    delay_s: float | Delay | None = None
    duplicate: float | None = None
    reorder: float | None = None
    reorder_window_s: float | None = None
    bandwidth_bits_per_s: float | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            if name != "bandwidth_bits_per_s" or self.bandwidth_bits_per_s != math.inf:
                check_fault(name, getattr(self, name))

    @property
    def names(self) -> tuple[str, ...]:
        """What it changes."""
        return tuple(name for name in FAULT_KEYS if getattr(self, name) is not None)

    def applied_to(self, faults: LinkFaults) -> LinkFaults:
        """`faults` with these values in the place of theirs."""
        limit = self.bandwidth_bits_per_s
        return LinkFaults(
            faults.drop if self.drop is None else self.drop,
            faults.delay_s if self.delay_s is None else self.delay_s,
            faults.duplicate if self.duplicate is None else self.duplicate,
            faults.reorder if self.reorder is None else self.reorder,
            faults.reorder_window_s if self.reorder_window_s is None else self.reorder_window_s,
            faults.bandwidth_bits_per_s if limit is None else None if limit == math.inf else limit,
        )

    def to_dict(self) -> dict[str, object]:
        """JSON-able: what it changes; a bandwidth of None is no limit."""
        return {name: _plain(getattr(self, name)) for name in self.names}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "FaultChange":
        """Read what to_dict writes; delay and bandwidth may also be text. Raises FaultPlanError."""
        check_keys("faults", values, FAULT_KEYS)
        delay_s = values.get("delay_s")
        return cls(
            drop=_given(values, "drop"),
            delay_s=parse_delay(delay_s) if isinstance(delay_s, str) else _given(values, "delay_s"),
            duplicate=_given(values, "duplicate"),
            reorder=_given(values, "reorder"),
            reorder_window_s=_given(values, "reorder_window_s"),
            bandwidth_bits_per_s=_limit(values, "bandwidth_bits_per_s"),
        )


def check_fault(name: str, value: object) -> None:
    """Raise FaultPlanError unless a link can have this value of this fault."""
    if name in _RATES:
        check_number(name, value, 0.0, 1.0, "it is a probability: write 0.3 for 30 %")
    elif name == "reorder_window_s":
        check_number(name, value, 0.0, DELAY_S_MAX, "it is in seconds")
    elif name == "bandwidth_bits_per_s":
        check_bandwidth(name, value)
    elif not isinstance(value, Delay):
        check_number(name, value, 0.0, DELAY_S_MAX, "it is in seconds; for text use parse_delay")


def check_keys(where: str, values: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise FaultPlanError for a key that is not known."""
    for key in values:
        if key not in known:
            raise FaultPlanError(f"{where} key {key!r}: unknown; known are {', '.join(known)}")


def check_peers(name: str, peers: object) -> tuple[PeerId, ...]:
    """`peers` if it is a tuple of names, not empty. Raises FaultPlanError."""
    if not isinstance(peers, tuple) or not peers:
        raise FaultPlanError(f"{name} = {peers!r}: give a tuple of peer names, not empty")
    for peer in peers:
        problem = name_problem(peer, PEER_ID_BYTES_MAX) if isinstance(peer, str) else "must be text"
        if problem is not None:
            raise FaultPlanError(f"{name} = {peer!r}: a peer name {problem}")
    return peers


def _plain(value: float | Delay | None) -> object:
    if isinstance(value, Delay):
        return str(value)
    return None if value == math.inf else value


def _given(values: Mapping[str, object], name: str) -> float | None:
    if name not in values:
        return None
    return check_number(name, values[name], -math.inf, math.inf, "give a number")


def _limit(values: Mapping[str, object], name: str) -> float | None:
    """Infinity for null, which takes a limit away."""
    value = values.get(name, "")
    if value is None:
        return math.inf
    return parse_bandwidth(value) if isinstance(value, str) and name in values else _given(values, name)
