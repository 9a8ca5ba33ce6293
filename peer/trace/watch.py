"""An agent with a note taken of every input, in the order in which they come, and of what came of it.

Nothing else is changed, and an agent that is not watched pays nothing. What is noted of a tick on one core
(8 agents, digits) stands in the README.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from peer.agent import Agent
from peer.algebra import V
from peer.trace import outline, values
from peer.trace.records import Input

if TYPE_CHECKING:
    from collections.abc import Callable

    from peer.events import Effect, Event, TickResult
    from peer.snapshot import Snapshot
    from peer.trace.outline import Codec
    from wire import PeerId, Push


class Sink(Protocol):
    """Where notes go."""

    def wants_state(self) -> bool:
        """Whether the next note should begin a new file, with the state of the agent before it."""

    def begin(self, state: Callable[[], bytes], first: int) -> None:
        """Do so; `first` is the number of the next input."""

    def add(self, note: Input) -> None:
        """Keep it, or leave it out if there is no room."""


OWN: Final = ("_sink", "_codec", "_number", "_latest", "_due_effects", "_due_events")


class WatchedAgent(Agent[V]):
    """Takes the place of `agent`, which has had no input and is not to be used any more."""

    def __init__(self, agent: Agent[V], sink: Sink, codec: Codec, now: float) -> None:
        vars(self).update(vars(agent))
        self._sink = sink
        self._codec = codec
        self._number = 0  # of the next input
        self._latest = now
        self._due_effects: list[Effect[V]] = []  # noted, but not taken by the driver
        self._due_events: list[Event] = []

    # ---- inputs

    def restore(self, snapshot: Snapshot[V]) -> None:
        """As in `Agent`."""
        self._watch("restore", self._latest, [values.encode(snapshot)], partial(super().restore, snapshot))

    def listens_at(self, address: str) -> None:
        """As in `Agent`."""
        self._watch("listens_at", self._latest, [address], partial(super().listens_at, address))

    def peer_seen(self, peer: PeerId, incarnation: int, now: float) -> None:
        """As in `Agent`."""
        self._watch("peer_seen", now, [peer, incarnation], partial(super().peer_seen, peer, incarnation, now))

    def peer_found(self, peer: PeerId, now: float) -> None:
        """As in `Agent`."""
        self._watch("peer_found", now, [peer], partial(super().peer_found, peer, now))

    def peer_gone(self, peer: PeerId, now: float, incarnation: int | None = None) -> None:
        """As in `Agent`."""
        self._watch("peer_gone", now, [peer, incarnation], partial(super().peer_gone, peer, now, incarnation))

    def receive(self, push: Push[V], now: float) -> None:
        """As in `Agent`."""
        written = outline.write_push(push, self._codec)
        self._watch("receive", now, [*written], partial(super().receive, push, now))

    def leave(self, now: float) -> None:
        """As in `Agent`."""
        self._watch("leave", now, [], partial(super().leave, now))

    def handle_timer(self, now: float) -> None:
        """As in `Agent`; calls that do nothing are not noted."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._watch("handle_timer", now, [], partial(super().handle_timer, now))

    def computed(self, result: TickResult[V], now: float) -> None:
        """As in `Agent`."""
        self._watch("computed", now, [], partial(super().computed, result, now), result)

    # ---- outputs

    def take_effects(self) -> list[Effect[V]]:
        """As in `Agent`."""
        effects, self._due_effects = self._due_effects, []
        return effects

    def take_events(self) -> list[Event]:
        """As in `Agent`."""
        events, self._due_events = self._due_events, []
        return events

    # ---- notes

    def _watch(
        self,
        name: str,
        now: float,
        arguments: list[Any],
        act: Callable[[], None],
        result: TickResult[V] | None = None,
    ) -> None:
        """Let the agent have the input, and note both, whatever happens."""
        if self._sink.wants_state() and self.next_deadline() is not None:  # not while its parts are computing
            self._sink.begin(self._state, self._number)
        raised = None
        try:
            act()
        except Exception as error:
            raised = outline.of_error(error)
            raise
        finally:
            effects, events = super().take_effects(), super().take_events()
            outcome = outline.of_input(self, self._codec, raised, (effects, events), result)
            self._sink.add(Input(self._number, now, name, arguments, outcome))
            self._number += 1
            self._latest = now
            self._due_effects += effects
            self._due_events += events

    def _state(self) -> bytes:
        return state_of(self)


def state_of(agent: Agent[V]) -> bytes:
    """All of an agent that is not computing and whose outputs have been taken."""
    learner = agent.solver.learner
    attributes = {name: value for name, value in vars(agent).items() if name not in OWN}
    return values.encode([attributes, learner.snapshot()], {"learner": learner})


def set_state(agent: Agent[V], state: bytes) -> None:
    """Make a fresh agent what `state_of` has seen. Raises `values.ValueFormatError` and `SnapshotError`."""
    learner = agent.solver.learner
    attributes, snapshot = values.decode(state, {"learner": learner})
    if set(attributes) != set(vars(agent)):
        odd = ", ".join(sorted(set(attributes) ^ set(vars(agent))))
        raise values.ValueFormatError(f"another version has written it: of an agent with or without {odd}")
    learner.restore(snapshot)
    vars(agent).update(attributes)
