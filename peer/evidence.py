"""What `hyperpush doctor` found out about the network, as values. peer/doctor.py judges it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire import PeerId, PeerRecord
    from wire.addresses import LocalAddress


class Reached(enum.StrEnum):
    """How far a question to an address came."""

    NO_NAME = "no such name"
    NO_ROUTE = "no route"
    REFUSED = "refused"
    SILENT = "no answer"
    NO_AGENT = "no agent"  # somebody answers, but not as an agent does
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent says of itself. `hears` and `heard_by` are None where it does not say."""

    record: PeerRecord
    hears: tuple[PeerId, ...] | None = None
    heard_by: tuple[PeerId, ...] | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One address, asked who listens there."""

    address: str
    source: str  # the option that named it, or "zeroconf"
    reached: Reached
    detail: str = ""  # of a failure, in the system's words
    answer: Answer | None = None  # of an agent
    is_self: bool = False  # this very process, or the agent that runs here, answered
    clock_ahead_s: float | None = None  # of the other machine's clock; None if it does not tell the time


@dataclass(frozen=True, slots=True)
class Multicast:
    """What came in at the port of multicast DNS while this machine asked for agents."""

    error: str = ""  # why it could not be tried
    own: tuple[str, ...] = ()  # addresses of this machine whose questions came back
    others: tuple[str, ...] = ()  # addresses of other machines


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when the doctor judges."""

    own: PeerRecord  # as the options say; `address` is what others are told
    listen_host: str
    listen_error: str  # why that port cannot be had; "" if it can, or if an agent of ours has it
    running: Answer | None  # the agent that listens there already
    advertised: Probe | None  # of own.address; None if nobody listens
    local: tuple[LocalAddress, ...]
    multicast: Multicast | None  # None: zeroconf is turned off
    unresolved: tuple[Probe, ...]  # DNS names that lead nowhere
    peers: tuple[Probe, ...]
    timeout_s: float
    knows_task: bool = True  # False: no task was given, so that `own.fingerprint` says nothing
