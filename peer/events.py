"""What comes out of an agent: effects, for its driver to carry out in order; events, which tell the story."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from peer.algebra import V

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.learner import TickReport
    from peer.snapshot import Snapshot
    from wire import PeerId, Push


@dataclass(frozen=True, slots=True)
class TickResult(Generic[V]):
    """What the computation of one tick gives back to the agent."""

    pushes: tuple[Push[V], ...]
    report: TickReport
    snapshot: Snapshot[V] | None = None  # when it is time for one


@dataclass(frozen=True, slots=True)
class Persist:
    """Make this epoch number durable before any later effect is carried out."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Compute(Generic[V]):
    """Call `work` off the event loop and hand its result to `Agent.computed`. At most one is outstanding."""

    work: Callable[[], TickResult[V]]


@dataclass(frozen=True, slots=True)
class Send(Generic[V]):
    """Send the same bytes to every target; nothing comes back."""

    targets: tuple[PeerId, ...]
    push: Push[V]


@dataclass(frozen=True, slots=True)
class Reach:
    """Messages will be sent to this peer; it says it listens at `address` ("" if it does not say)."""

    peer: PeerId
    address: str


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[V]):
    """Keep this, for a later life of the same identity, when there is time; a newer one replaces it."""

    snapshot: Snapshot[V]


@dataclass(frozen=True, slots=True)
class EpochEntered:
    """The agent's mass starts afresh."""

    epoch: int
    reason: str
    out_neighbours: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class ListeningStarted:
    """The agent is new or far behind: it listens to this epoch before it pushes."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PeerArrived:
    """A peer was seen for the first time, or in a new incarnation."""

    peer: PeerId
    incarnation: int


@dataclass(frozen=True, slots=True)
class PeerDeparted:
    """A peer is believed gone."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerQuarantined:
    """What a peer announced cannot be true; its messages are refused for a while."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class LinkDeaf:
    """A peer lives but says that it hears nothing of what is pushed to it."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class LinkHeard:
    """A peer hears this agent again."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class HyperRateLowered:
    """The hyperparameters moved faster than model and adjoint could follow."""

    factor: float
    reason: str


@dataclass(frozen=True, slots=True)
class NonFiniteStep:
    """A gradient was infinite or not a number; the step was not taken and nothing of it was sent."""

    tick: int


Effect = Persist | Compute[V] | Send[V] | Reach | Checkpoint[V]
Event = (
    EpochEntered
    | ListeningStarted
    | PeerArrived
    | PeerDeparted
    | PeerQuarantined
    | LinkDeaf
    | LinkHeard
    | HyperRateLowered
    | NonFiniteStep
)


class Outputs(Generic[V]):
    """What an agent has to say to its driver, until it is taken."""

    def __init__(self) -> None:
        self._effects: list[Effect[V]] = []
        self._events: list[Event] = []

    def take_effects(self) -> list[Effect[V]]:
        """What the driver must do now, in this order."""
        effects, self._effects = self._effects, []
        return effects

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events
