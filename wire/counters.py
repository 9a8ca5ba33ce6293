"""What a transport counts: numbers that only grow, for logs, metrics and the agent's view of its peers."""

from dataclasses import dataclass, field

from wire.messages import PeerId


@dataclass(slots=True)
class LinkCounters:
    """One outgoing link. A frame put on it ends in exactly one of sent, replaced, unsent, or in a fault."""

    sent: int = 0  # written to the socket (a duplicate made by a fault plan once more); not: arrived
    replaced: int = 0  # a newer one took the place while it waited
    unsent: int = 0  # no address, refused, reset, closed, stalled
    last_error: str | None = None  # of the last failure, kept after a success
    unreachable_since: float | None = None  # clock time of the first failure since the last success

    def succeed(self) -> None:
        """A frame was written."""
        self.sent += 1
        self.unreachable_since = None

    def fail(self, now: float, error: str, frames: int = 1) -> None:
        """`frames` frames were dropped because of `error`."""
        self.unsent += frames
        self.last_error = error
        if self.unreachable_since is None:
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
    rejected: dict[str, int] = field(default_factory=dict)  # by RejectReason
    per_peer: dict[PeerId, LinkCounters] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count one dropped message from the network."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
