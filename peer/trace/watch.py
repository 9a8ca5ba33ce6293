"""An agent with a note taken of every input, in the order in which they come, and of what came of it.

Nothing else is changed, and an agent that is not watched pays nothing. What is noted of a tick on one core
(8 agents, digits) stands in the README.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from peer.agent import Agent
from peer.algebra import V
from peer.trace import outline, values
from peer.trace.records import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peer.events import Effect, Event, TickResult
    from peer.snapshot import Snapshot
    from peer.trace.outline import Codec
    from wire import PeerId, Push


class Sink(Protocol):
    """Where notes go."""

    def is_over(self) -> bool:
        """Whether nothing is noted any more."""

    def wants_state(self) -> bool:
        """Whether the next note should begin a new file, with the state of the agent before it."""

    def begin(self, state: bytes, first: int) -> None:
        """Do so; `first` is the number of the next input."""

    def add(self, note: Input) -> None:
        """Keep it, or leave it out if there is no room."""

    def stop(self, why: str) -> None:
        """Note nothing any more: it cannot be written."""


T = TypeVar("T")
OWN: Final = ("_sink", "_codec", "_number", "_latest", "_due_effects", "_due_events")


class WatchedAgent(Agent[V]):
    """Takes the place of `agent`, which has had no input and is not to be used any more."""

    def __init__(self, agent: Agent[V], sink: Sink, codec: Codec | None, now: float) -> None:
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
        with self._noted("restore", self._latest, lambda: [values.encode(snapshot)]):
            super().restore(snapshot)

    def listens_at(self, address: str) -> None:
        """As in `Agent`."""
        with self._noted("listens_at", self._latest, lambda: [address]):
            super().listens_at(address)

    def peer_seen(self, peer: PeerId, incarnation: int, now: float) -> None:
        """As in `Agent`."""
        with self._noted("peer_seen", now, lambda: [peer, incarnation]):
            super().peer_seen(peer, incarnation, now)

    def peer_found(self, peer: PeerId, now: float, address: str = "", *, introduce: bool = True) -> None:
        """As in `Agent`."""
        with self._noted("peer_found", now, lambda: [peer, address, introduce]):
            super().peer_found(peer, now, address, introduce=introduce)

    def peer_gone(self, peer: PeerId, now: float, incarnation: int | None = None) -> None:
        """As in `Agent`."""
        with self._noted("peer_gone", now, lambda: [peer, incarnation]):
            super().peer_gone(peer, now, incarnation)

    def receive(self, push: Push[V], now: float) -> None:
        """As in `Agent`."""
        with self._noted("receive", now, lambda: list(outline.write_push(push, self._codec))):
            super().receive(push, now)

    def leave(self, now: float) -> None:
        """As in `Agent`."""
        with self._noted("leave", now, list):
            super().leave(now)

    def handle_timer(self, now: float) -> None:
        """As in `Agent`; calls that do nothing are not noted."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            with self._noted("handle_timer", now, list):
                super().handle_timer(now)

    def computed(self, result: TickResult[V], now: float) -> None:
        """As in `Agent`."""
        with self._noted("computed", now, list, result):
            super().computed(result, now)

    # ---- outputs

    def take_effects(self) -> list[Effect[V]]:
        """As in `Agent`."""
        noted, self._due_effects = self._due_effects, []
        return noted + super().take_effects()

    def take_events(self) -> list[Event]:
        """As in `Agent`."""
        noted, self._due_events = self._due_events, []
        return noted + super().take_events()

    # ---- notes

    @contextlib.contextmanager
    def _noted(
        self, name: str, now: float, arguments: Callable[[], list[Any]], result: TickResult[V] | None = None
    ) -> Iterator[None]:
        """Note an input and what comes of it, whatever that is."""
        if self._sink.is_over():
            yield
            return
        written = self._attempt(partial(self._before, arguments))
        raised = None
        try:
            yield
        except Exception as error:
            raised = outline.of_error(error)
            raise
        finally:
            outputs = super().take_effects(), super().take_events()
            self._due_effects += outputs[0]
            self._due_events += outputs[1]
            after = partial(outline.of_input, self, self._codec, raised, outputs, result)
            outcome = self._attempt(after)
            if written is not None and outcome is not None:
                self._sink.add(Input(self._number, now, name, written, outcome))
            self._number += 1
            self._latest = now

    def _before(self, arguments: Callable[[], list[Any]]) -> list[Any]:
        if self._sink.wants_state() and self.next_deadline() is not None:  # not while its parts are computing
            self._sink.begin(state_of(self), self._number)
        return arguments()

    def _attempt(self, write: Callable[[], T]) -> T | None:
        """What cannot be written ends the trace, not the agent."""
        try:
            return write()
        except values.ValueFormatError as error:
            self._sink.stop(str(error))
            return None


def state_of(agent: Agent[V]) -> bytes:
    """All of an agent that is not computing and whose outputs have been taken."""
    learner = agent.solver.learner
    attributes = {name: value for name, value in vars(agent).items() if name not in OWN}
    return values.encode([attributes, learner.snapshot()], {"learner": learner})


def set_state(agent: Agent[V], state: bytes) -> None:
    """Make a fresh agent what `state_of` has seen. Raises `values.ValueFormatError` and `SnapshotError`."""
    learner = agent.solver.learner
    attributes, snapshot = values.decode(state, {"learner": learner})
    odd = set(attributes) ^ set(vars(agent))
    if odd:
        raise values.ValueFormatError(f"another version has written it: agents have {', '.join(sorted(odd))}")
    if attributes["speaker"].identity.fingerprint != agent.identity.fingerprint:
        raise values.ValueFormatError("it is the state of an agent of another model")
    learner.restore(snapshot)
    vars(agent).update(attributes)
