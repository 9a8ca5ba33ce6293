"""What happened to one peer, one message or one hyperparameter, told while a trace is replayed.

Subjects, as on the command line:

    peer:ID                         what came from this peer, went to it and was thought of it
    message:SENDER/BLOCK/SEQUENCE   how it was sent or came, and what became of it; once in every epoch
    hyperparameter:NAME             its values, wherever it moves
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from peer.errors import SettingError
from peer.events import Compute, EpochEntered, HyperRateLowered, NonFiniteStep, Reach, Send
from peer.trace.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from peer.events import Event
    from peer.trace.replay import Seen, Teller
    from wire import PeerId, Push

NUMBERS_SHOWN: Final = 10  # of one hyperparameter


def teller_of(subject: str) -> Teller:
    """Whoever tells the story of this subject. Raises `SettingError`."""
    kind, _, name = subject.partition(":")
    match kind, name.rsplit("/", 2):
        case "peer", _ if name:
            return PeerStory(name)
        case "hyperparameter", _ if name:
            return HyperparameterStory(name)
        case "message", [sender, block, sequence] if sender and block.isdecimal() and sequence.isdecimal():
            return MessageStory(sender, int(block), int(sequence))
    remedy = "give peer:ID, message:SENDER/BLOCK/SEQUENCE or hyperparameter:NAME"
    raise SettingError("story", subject, remedy)


def taken_in(seen: Seen) -> Sequence[Push[Any]] | None:
    """The messages that the tick begun by this input takes in; None if it begins none."""
    for effect in seen.effects:
        if isinstance(effect, Compute) and isinstance(effect.work, partial):
            pushes: list[Push[Any]] = effect.work.args[0]
            return pushes
    return None


def described(push: Push[Any]) -> str:
    """Which message."""
    if not push.arrays:
        return "goodbye" if push.digest and push.digest[0].left else f"sign of life, epoch {push.epoch}"
    return f"block {push.block}, sequence {push.sequence}, epoch {push.epoch}"


def _event(event: Event) -> str:
    given = (f"{one.name} {getattr(event, one.name)}" for one in dataclasses.fields(event))
    return f"{type(event).__name__}: {', '.join(given)}"


class PeerStory:
    """All that has to do with one peer."""

    def __init__(self, peer: PeerId) -> None:
        self._peer = peer
        self._newest = (-1, -1)  # incarnation and heartbeat, by hearsay
        self._is_target = False
        self._is_known = False  # something has been told

    def look(self, seen: Seen) -> Iterator[str]:
        """As in `Teller`."""
        for line in self._lines(seen):
            self._is_known = True
            yield line

    def _lines(self, seen: Seen) -> Iterator[str]:
        yield from self._input(seen)
        for push in taken_in(seen) or ():
            if push.sender == self._peer:
                yield f"taken in with tick {seen.agent.ticks}: {described(push)}"
        for peer, objection in () if seen.result is None else seen.result.report.objections:
            if peer == self._peer:
                yield f"not believed: {objection}"
        for effect in seen.effects:
            match effect:
                case Send(targets, push) if self._peer in targets:
                    yield f"sent to it: {described(push)}"
                case Reach(peer, address) if peer == self._peer:
                    yield f"to be reached at {address or 'an unknown address'}"
        for event in seen.events:
            if getattr(event, "peer", None) == self._peer:
                yield _event(event)
            elif isinstance(event, EpochEntered) and (self._is_known or self._peer in event.out_neighbours):
                yield self._epoch(event)

    def _input(self, seen: Seen) -> Iterator[str]:
        push, one = seen.push, seen.input
        if push is None:
            if one.arguments and one.arguments[0] == self._peer and one.name.startswith("peer_"):
                yield {
                    "peer_seen": "named as a member",
                    "peer_found": "found by discovery",
                    "peer_gone": "said to be gone",
                }.get(one.name, one.name)
            return
        if push.sender == self._peer:
            became = seen.raised or seen.filed
            yield f"came from it: {described(push)}, its tick {push.tick}{became and f'; {became}'}"
            return
        for news in push.digest:
            if news.peer == self._peer and (news.incarnation, news.heartbeat) > self._newest:
                self._newest = (news.incarnation, news.heartbeat)
                left = ", it left" if news.left else ""
                yield (
                    f"{push.sender} tells: heartbeat {news.heartbeat} of incarnation {news.incarnation}{left}"
                )

    def _epoch(self, event: EpochEntered) -> str:
        was, self._is_target = self._is_target, self._peer in event.out_neighbours
        role = {
            (False, True): "it becomes an out-neighbour",
            (True, False): "it is no out-neighbour any more",
            (True, True): "it stays an out-neighbour",
            (False, False): "it is no out-neighbour",
        }[was, self._is_target]
        return f"epoch {event.epoch} ({event.reason}): {role}"


class MessageStory:
    """One message, in whichever epochs there is one of this number; and what stands for it if it is lost."""

    def __init__(self, sender: PeerId, block: int, sequence: int) -> None:
        self._key = (sender, block)
        self._sequence = sequence
        self._epoch = 0  # in which the last of this block came
        self._before = 0  # its sequence
        self._waits = False

    def look(self, seen: Seen) -> Iterator[str]:
        """As in `Teller`."""
        push = seen.push
        if push is not None and push.arrays and (push.sender, push.block) == self._key:
            yield from self._came(push, seen)
        if self._waits and seen.input.name == "handle_timer":
            self._waits = False
            yield self._left_inbox(seen)
        for peer, objection in () if seen.result is None else seen.result.report.objections:
            if peer == self._key[0]:
                yield f"its sender is not believed: {objection}"
        for effect in seen.effects:
            match effect:
                case Send(targets, sent) if sent.arrays and (sent.sender, sent.block) == self._key:
                    if sent.sequence == self._sequence:
                        yield f"sent to {', '.join(targets)}: {described(sent)}, tick {sent.tick}"

    def _left_inbox(self, seen: Seen) -> str:
        taken = taken_in(seen)
        if taken is None:
            return "listened to, by an agent that takes no part yet"
        for push in taken:
            if (push.sender, push.block) == self._key:
                return f"taken in with tick {seen.agent.ticks}: {described(push)}"
        return f"left out of tick {seen.agent.ticks}: its epoch is over, or its sender is not to be heard"

    def _came(self, push: Push[Any], seen: Seen) -> Iterator[str]:
        is_it = push.sequence == self._sequence
        became = seen.raised or seen.filed
        if is_it:
            yield f"came: {described(push)}, its sender's tick {push.tick}; {became}"
        if seen.filed in ("", "stale"):
            return
        if push.epoch > self._epoch:
            if self._waits:
                yield f"dropped before a tick came: {described(push)} has come"
            self._epoch, self._before, self._waits = push.epoch, 0, False
        if self._waits:
            yield f"replaced before a tick came: {described(push)} has come, which contains it"
        if self._before < self._sequence < push.sequence:
            yield f"has not come so far, but {described(push)}, which contains it; {became}"
        self._waits = is_it or self._waits or self._before < self._sequence <= push.sequence
        self._before = push.sequence


class HyperparameterStory:
    """One of the agent's own hyperparameters."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before: list[float] | None = None

    def look(self, seen: Seen) -> Iterator[str]:
        """As in `Teller`. Raises `TraceError` if there is no such hyperparameter."""
        learner: Any = seen.agent.solver.learner
        named = getattr(learner, "hyperparameters", {})
        if self._name not in named:
            known = ", ".join(named) or "none"
            raise TraceError(f"its agent has no hyperparameter {self._name!r}; there are: {known}")
        for event in seen.events:
            if isinstance(event, HyperRateLowered | NonFiniteStep):
                yield _event(event)
        numbers = named[self._name].reshape(-1).tolist()
        if numbers != self._before:
            self._before = numbers
            told = f"tick {seen.agent.ticks}: {self._name} = {_numbers(numbers)}"
            if seen.result is not None:
                factor = seen.agent.progress.hyper_schedule.factor
                slope = _numbers(learner.hypergradient[self._name].reshape(-1).tolist())
                told += f", hypergradient {slope}, at {factor:g} of the full step size"
            yield told


def _numbers(numbers: list[float]) -> str:
    if len(numbers) > NUMBERS_SHOWN:
        length = math.sqrt(sum(one * one for one in numbers))
        return f"{len(numbers)} numbers of length {length:.6g}, the largest {max(numbers, key=abs):.6g}"
    return f"[{', '.join(f'{one:.5g}' for one in numbers)}]"
