"""What is written down while trouble is made: facts, in seconds since all agents were started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.chaos.plan import Trouble
    from wire import PeerId


@dataclass(frozen=True, slots=True)
class Done:
    """One trouble as it was made."""

    trouble: Trouble
    at_s: float
    end_s: float
    note: str = ""  # why not, or not as planned

    def told(self) -> str:
        """One line for people."""
        return self.trouble.told() + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True, slots=True)
class Life:
    """One start of one agent."""

    agent: str
    peer: PeerId
    incarnation: int
    at_s: float
    ticks: int = 0  # with which it begins
    anew: bool = False  # it was to come back as somebody new


@dataclass(frozen=True, slots=True)
class Disbelieved:
    """One agent has taken what another announced for untrue; in a swarm of honest agents nobody should."""

    agent: str
    peer: PeerId
    reason: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of one process."""

    process: int
    at_s: float
    how: str
    excuse: str = ""  # why that may be; none: it may not


@dataclass(frozen=True, slots=True)
class Seen:
    """From this time on an agent had done so many ticks; None: it was not to be there."""

    at_s: float
    ticks: int | None


@dataclass(slots=True)
class Record:
    """Everything that the scorecard is made of."""

    agents: tuple[PeerId, ...] = ()  # who is to be there at the end
    quiet_s: float = 0.0
    ended_s: float = 0.0
    interrupted: bool = False
    disks: str = ""  # how they fill up
    done: list[Done] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    epochs: dict[PeerId, list[int]] = field(default_factory=dict)  # as each was entered
    disbelieved: list[Disbelieved] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    seen: dict[str, list[Seen]] = field(default_factory=dict)  # of each agent, whenever it had ticked
    memory: dict[int, int] = field(default_factory=dict)  # most bytes at once, by process
    scores: dict[str, Mapping[str, float]] = field(default_factory=dict)  # of those there at the end
    answered_s: float | None = None  # since when all have the answer
    garbage: dict[str, int] = field(default_factory=dict)  # what was said, and how much of it was refused
    refused: Counter[str] = field(default_factory=Counter)  # messages, by why
    left_behind: list[str] = field(default_factory=list)

    def see(self, agent: str, ticks: int | None, now_s: float) -> None:
        """Note how many ticks an agent has done in all, or that nobody expects it to tick."""
        seen = self.seen.setdefault(agent, [])
        if not seen or seen[-1].ticks != ticks:
            seen.append(Seen(now_s, ticks))
