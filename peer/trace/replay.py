"""The inputs of a trace once more: do they lead to the same effects?"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from peer.errors import HyperpushError
from peer.events import Compute
from peer.trace import origins, outline, values
from peer.trace.records import Reader, TraceError
from peer.trace.watch import set_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from peer.agent import Agent
    from peer.events import Effect, Event, TickResult
    from peer.problem import BilevelProblem
    from peer.trace.outline import Codec
    from peer.trace.records import Input
    from wire import Push


THREADS_MAX = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """One input and what came of it, now that it has been given once more."""

    input: Input
    agent: Agent[Any]  # afterwards
    push: Push[Any] | None  # what was received
    filed: str  # what became of that: "", "filed", "stale", "in the place of an older one"
    raised: str | None
    effects: Sequence[Effect[Any]]
    events: Sequence[Event]
    result: TickResult[Any] | None  # what `computed` was given


class Teller(Protocol):
    """Makes a story of what is seen."""

    def look(self, seen: Seen) -> Iterator[str]:
        """What there is to tell of this input."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first input that leads elsewhere."""

    number: int
    now: float
    name: str
    what: str  # effects: 0: Send: sequence: expected 5, found 6


@dataclass(frozen=True, slots=True)
class Replayed:
    """How far the same inputs gave the same effects."""

    first: int  # number of the first input of the file
    inputs: int  # that gave the same
    until_s: float  # by the agent's clock
    difference: Difference | None
    cut: bool
    damaged: bool


class Player:
    """Gives inputs to an agent and compares what comes of them."""

    def __init__(self, agent: Agent[Any], codec: Codec | None) -> None:
        self.agent = agent
        self._codec = codec
        self._work: Callable[[], TickResult[Any]] | None = None

    def play(self, one: Input) -> tuple[Seen, str | None]:
        """Let the agent have it; and where what came of it differs from what the trace has."""
        agent = self.agent
        before = agent.inbox.counters
        received, stale, superseded = before.received, before.stale, before.superseded
        push, result, raised = None, None, None
        try:
            if one.name == "receive":
                form, data = one.arguments
                push = outline.read_push(form, data, self._codec)
            if one.name == "computed":
                result = self._compute()
            self._give(one, push, result)
        except Exception as error:  # whatever it was, the trace has it, or it is a difference
            raised = outline.of_error(error)
        effects, events = agent.take_effects(), agent.take_events()
        for effect in effects:
            if isinstance(effect, Compute):
                self._work = effect.work
        found = outline.of_input(agent, self._codec, raised, (effects, events), result)
        filed = ""
        if agent.inbox.counters.received > received:
            filed = "filed"
            if agent.inbox.counters.superseded > superseded:
                filed = "in the place of an older one"
            if agent.inbox.counters.stale > stale:
                filed = "stale"
        seen = Seen(one, agent, push, filed, raised, effects, events, result)
        return seen, outline.difference(one.outcome, found)

    def _compute(self) -> TickResult[Any]:
        if self._work is None:
            raise LookupError("nothing was to be computed")
        work, self._work = self._work, None
        return work()

    def _give(self, one: Input, push: Push[Any] | None, result: TickResult[Any] | None) -> None:
        agent = self.agent
        match one.name, one.arguments:
            case "receive", _ if push is not None:
                agent.receive(push, one.now)
            case "computed", _ if result is not None:
                agent.computed(result, one.now)
            case "handle_timer", []:
                agent.handle_timer(one.now)
            case "peer_seen", [str(peer), int(incarnation)]:
                agent.peer_seen(peer, incarnation, one.now)
            case "peer_found", [str(peer), str(address), bool(introduce)]:
                agent.peer_found(peer, one.now, address, introduce=introduce)
            case "peer_gone", [str(peer), incarnation]:
                agent.peer_gone(peer, one.now, incarnation)
            case "leave", []:
                agent.leave(one.now)
            case "listens_at", [str(address)]:
                agent.listens_at(address)
            case "restore", [bytes(snapshot)]:
                agent.restore(values.decode(snapshot))
            case _:
                raise LookupError(f"{one.name} is no input of this version")


def begin(
    reader: Reader,
    problem: BilevelProblem[Any] | None = None,
    task: Path | None = None,
    data_dir: Path | None = None,
) -> Player:
    """An agent as it was where the file begins. Raises `TraceError`."""
    reader.open()
    agent = origins.make(reader.beginning, problem, task, data_dir)
    if reader.state is not None:
        try:
            set_state(agent, reader.state)
        except Exception as error:  # anything: bytes became attributes as they were
            raise TraceError(f"the state it begins with cannot be taken: {error}") from None
    return Player(agent, origins.codec_of(reader.beginning["origin"]))


def replay(
    file: BinaryIO,
    problem: BilevelProblem[Any] | None = None,
    *,
    task: Path | None = None,
    data_dir: Path | None = None,
    teller: Teller | None = None,
    tell: Callable[[float, str], None] = lambda _now, _line: None,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> Replayed:
    """All inputs of one file, up to the first that differs; the problem, if its task has no name.

    `task` is the file of Python that was the task, if one was; it is executed. `data_dir` has the data of a
    task that is built in.

    `tell` is given what `teller` has to say, and when that was; `progress` how many bytes have been read.
    Raises `TraceError` for a file that cannot be replayed here.
    """
    reader = Reader(file)
    with contextlib.ExitStack() as stack:
        player = begin(reader, problem, task, data_dir)
        stack.enter_context(same_torch(reader.beginning))
        count, now = 0, -math.inf
        for one in reader.inputs():
            with _blamed_on(reader.state):
                seen, differs = player.play(one)
                lines = [] if teller is None else list(teller.look(seen))
            for line in lines:
                tell(one.now, line)
            progress(reader.bytes_read)
            if differs is not None:
                difference = Difference(one.number, one.now, one.name, differs)
                return Replayed(reader.beginning["first"], count, now, difference, cut=False, damaged=False)
            count, now = count + 1, max(now, one.now)
    return Replayed(reader.beginning["first"], count, now, None, reader.cut, reader.damaged)


@contextlib.contextmanager
def _blamed_on(state: bytes | None) -> Iterator[None]:
    """Raise `TraceError` where an agent fails that was made from a state: it may be that of no agent."""
    try:
        yield
    except Exception as error:  # anything: as above
        if state is None or isinstance(error, HyperpushError):
            raise
        told = f"{type(error).__name__}: {error}"
        raise TraceError(f"the state it begins with is not that of an agent: {told}") from None


@contextlib.contextmanager
def same_torch(beginning: Mapping[str, Any]) -> Iterator[None]:
    """As many threads, and as deterministic algorithms, as the agent had."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(max(1, min(beginning["threads"], THREADS_MAX)))
    torch.set_deterministic_debug_mode("error" if beginning.get("deterministic") else "default")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
