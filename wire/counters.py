"""What a transport counts: numbers that only grow, for logs, metrics and the agent's view of its peers."""

from dataclasses import dataclass, field
from typing import Literal

from wire.messages import PeerId

Route = Literal["dialled", "reverse"]


@dataclass(slots=True)
class LinkCounters:
    """One outgoing link. A frame put on it ends in exactly one of sent, replaced, unsent, or in a fault."""

    bytes_sent: int = 0  # of frames, without what the socket adds
    sent: int = 0  # written to the socket (a duplicate made by a fault plan once more); not: arrived
    replaced: int = 0  # a newer one took the place while it waited
    unsent: int = 0  # no address, refused, reset, closed, stalled
    last_error: str | None = None  # of the last failure, kept after a success
    unreachable_since: float | None = None  # clock time since which there has been no way to the target
    route: Route | None = None  # of the last frame, while that websocket is open

    def succeed(self, route: Route) -> None:
        """A frame was written."""
        self.sent += 1
        self.unreachable_since = None
        self.route = route

    def fail(self, now: float, error: str, frames: int = 1, *, other_way: bool = False) -> None:
        """`frames` frames were dropped because of `error`; with `other_way` the next can go."""
        self.unsent += frames
        self.last_error = error
        self.route = None
        if self.unreachable_since is None and not other_way:
            self.unreachable_since = now


@dataclass(slots=True)
class TransportCounters:
    """A transport; `per_peer` holds the targets that are connected, or were sent to without an address."""

    sent: int = 0
    replaced: int = 0
    unsent: int = 0
    received: int = 0  # binary messages, whether they were understood or not
    bytes_sent: int = 0  # of frames, without what the sockets add
    bytes_received: int = 0
    lost_by_faults: int = 0  # a fault plan took them: neither sent nor unsent, the sender cannot know
    rejected: dict[str, int] = field(default_factory=dict)  # messages, by RejectReason
    refused: dict[str, int] = field(default_factory=dict)  # sockets and requests, by Refusal
    per_peer: dict[PeerId, LinkCounters] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count one dropped message from the network."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def refuse(self, reason: str) -> None:
        """Count one socket that was closed, or one request that was not answered."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
