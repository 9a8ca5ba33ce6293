"""Somebody on the wire, without any key: records what agents send, and sends it again, to anybody.

What is promised where messages are not sealed: whatever is sent again as it was does no more harm than a
network that delays and duplicates. Sums are of a link, an epoch and a sequence, and an identity enters an
epoch once, so a message is taken at most once by whom it was for, before any newer one, and by nobody else;
a life that is over is not believed again by who knows of the next one. Words about who lives, told in rising
order to somebody who has never heard better, may make a dead peer seem alive for as long as the recording
lasts. And a message with other content under a sequence that has been taken is not taken. Who alters what has
not arrived yet can do everything: against that, messages are sealed.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from peer.hunt.fixed_point import UNITS, FixedVector
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peer.agent import Agent
    from wire import PeerId, Push

KINDS = ("sent again", "sent again, altered")
RECORDED_MAX = 300  # messages of all times
LATEST_MAX = 16  # of one sender and block
AGAIN_AT_ONCE = 4
OTHER = 7 * UNITS


@dataclass(frozen=True, slots=True)
class Replays:
    """Messages are sent again, once a tick, in one of the ways of KINDS."""

    kind: str
    start_s: float
    end_s: float


def replays(seed: int, agents: int, quiet_s: float) -> Iterator[Replays]:
    """In few worlds; drawn apart, so that the rest of a world does not depend on it."""
    rng = random.Random(f"hunt/{seed}/wiretap")
    for kind in KINDS:
        if agents > 1 and rng.random() < 0.1:
            start_s = round(rng.uniform(0.0, 0.8 * quiet_s), 2)
            yield Replays(kind, start_s, round(rng.uniform(start_s + 1.0, quiet_s), 2))


class Wiretap:
    """What was recorded: some of all that was sent, and the latest of each sender and block."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"hunt/{seed}/sent again")
        self._recorded: list[Push[FixedVector]] = []
        self._heard = 0
        self._latest: defaultdict[tuple[PeerId, int], deque[Push[FixedVector]]] = defaultdict(
            lambda: deque(maxlen=LATEST_MAX)
        )

    def hear(self, push: Push[FixedVector]) -> None:
        """Record it, maybe in the place of another, so that all times are heard alike."""
        self._heard += 1
        if len(self._recorded) < RECORDED_MAX:
            self._recorded.append(push)
        elif (place := self._rng.randrange(self._heard)) < RECORDED_MAX:
            self._recorded[place] = push
        if push.arrays:
            self._latest[push.sender, push.block].append(push)

    def speak(self, kind: str, target: Agent[FixedVector]) -> list[Push[FixedVector]]:
        """What this agent is sent now."""
        if kind == KINDS[0]:
            return self._rng.choices(self._recorded, k=AGAIN_AT_ONCE) if self._recorded else []
        return [_altered(push) for push in self._taken_by(target)]

    def _taken_by(self, target: Agent[FixedVector]) -> Iterator[Push[FixedVector]]:
        """A message of each link that it has absorbed for sure: the first one that told what it holds."""
        stream = target.solver.model
        assert isinstance(stream, TrackingStream)
        blocks = {span.start: block for block, span in enumerate(target.solver.spans)}
        for (source, start), total in stream.mass.received.items():
            before = None
            for push in self._latest[source, blocks[start]]:
                if push.epoch == target.epoch and push.arrays[1].units == total.units:
                    if before is not None:  # else others may have told the same earlier
                        yield push
                    break
                before = push


def _altered(push: Push[FixedVector]) -> Push[FixedVector]:
    arrays = tuple(FixedVector([unit + OTHER for unit in one.units]) for one in push.arrays)
    return replace(push, arrays=arrays)
