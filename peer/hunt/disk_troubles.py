"""What goes wrong with disks in a world: drawn apart, so that the rest of a world does not depend on it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.disk import COPY
from peer.scenario import Kill, Restart
from peer.state_files import IDENTITY, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from peer.scenario import Change

LEAD_S = 60.0  # before it is killed at the latest, an agent may die at its disk
OPERATIONS_MAX = 20
STARTING_MAX = 30
SUPERVISED_S = 5.0  # after so long a process that its disk did not let start is started again
DAMAGED = ("checkpoint-", IDENTITY, NUMBERS, IDENTITY + COPY, NUMBERS + COPY)


@dataclass(frozen=True, slots=True)
class Death:
    """From `from_s` on the process ends in this operation on its disk, if it is not killed before."""

    agent: int
    from_s: float
    killed_s: float
    operations: int
    power_fails: bool
    starts_end_after: int  # operations, the first time that it is to come back; 0: it does
    damaged: str  # then what begins with this is damaged; empty: nothing is


LITTLE_ROOM = 800  # bytes at most: a checkpoint has some hundreds


@dataclass(frozen=True, slots=True)
class BadDisk:
    """The disk of an agent takes its time, or has no room, or is broken."""

    agent: int
    from_s: float
    until_s: float
    operation_s: float = 0.0  # that each operation takes; 0: it refuses instead
    room: int | None = 0  # bytes of each write that fit: it is cut there; None: the disk is broken

    @property
    def kind(self) -> str:
        """What the campaign counts."""
        if self.operation_s:
            return "slow disk"
        if self.room is None:
            return "broken disk"
        return "nearly full disk" if self.room else "full disk"


def checkpoint_ticks(seed: int) -> int:
    """How often the agents of a world keep what they have learned."""
    return random.Random(f"hunt/{seed}/checkpoints").choice((0, 15, 15, 50))


def deaths(seed: int, changes: Sequence[Change]) -> tuple[Death, ...]:
    """How some of the agents that are killed and come back with their state die instead."""
    if not any(isinstance(change, Restart) and change.with_state for change in changes):
        return ()
    rng = random.Random(f"hunt/{seed}/deaths/{changes}")
    return tuple(
        Death(
            change.agent,
            max(0.0, change.at_s - rng.uniform(0.0, LEAD_S)),
            change.at_s,
            rng.randrange(1, OPERATIONS_MAX),
            rng.random() < 0.5,
            rng.randrange(1, STARTING_MAX) if rng.random() < 0.3 else 0,
            rng.choice(DAMAGED) if rng.random() < 0.3 else "",
        )
        for change in changes
        if isinstance(change, Kill) and rng.random() < 0.6
    )


def bad_disks(seed: int, agents: int, quiet_s: float) -> Iterator[BadDisk]:
    """Full, slow and broken ones."""
    rng, how = random.Random(f"hunt/{seed}/disks"), random.Random(f"hunt/{seed}/disks/how")
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        from_s = rng.uniform(0.0, 0.8 * quiet_s)
        until_s = min(
            quiet_s - SUPERVISED_S - 1.0, from_s + rng.choice((5.0, 30.0, 100.0)) * rng.uniform(0.5, 1.5)
        )
        slow = rng.choice((0.0, 0.0, 0.05, 0.5))
        room = how.choice((0, how.randrange(1, LITTLE_ROOM), None))
        yield BadDisk(rng.randrange(agents), round(from_s, 2), round(until_s, 2), slow, room)
