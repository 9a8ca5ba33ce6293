"""The seats of a simulated swarm: who holds them, who comes and goes, and who is told of it.

Generic over vectors, so that tensors and the exact numbers of the hunt are seated by the same lines.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from peer.algebra import V
from peer.scenario import Join, Kill, Leave, Pause, next_life
from peer.simulation import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from peer.agent import Agent
    from peer.scenario import Change
    from peer.simulation import Simulation
    from wire import PeerId


@dataclass(slots=True)
class Seat(Generic[V]):
    """One place in the swarm, and the agent that holds it now."""

    peer: PeerId
    incarnation: int = 0
    lives: int = 0
    alive: bool = False
    agent: Agent[V] | None = None
    clock: Clock = field(default_factory=Clock)  # of the machine: it goes on when agents do not
    compute_s: float = 0.0  # for each computation


S = TypeVar("S", bound=Seat)  # type: ignore[type-arg]


class VirtualSeats(ABC, Generic[V, S]):
    """Does to the members of a simulated swarm what a scenario says, and spreads the news of it.

    `notice_s`: every observer learns of a change after its own delay, drawn uniformly from this interval.
    None: nobody is told; who comes knows whom it may contact, and heartbeats tell the rest.
    """

    def __init__(
        self,
        simulation: Simulation[V],
        members: Sequence[S],
        *,
        seed: int,
        notice_s: tuple[float, float] | None,
    ) -> None:
        self.simulation = simulation
        self.members = list(members)
        self._notice_s = notice_s
        self._rng = random.Random(f"{seed}/notices")
        self._told_at: dict[tuple[PeerId, PeerId], float] = {}

    @abstractmethod
    def make_agent(self, member: S, *, founder: bool, epoch_floor: int) -> Agent[V]:
        """A new agent for this seat, under the seat's name and incarnation."""

    def found(self, absent: Iterable[int], *, named: bool = True) -> None:
        """Let all but the absent begin; they are told who takes part, if `named`, else who can be reached."""
        for index, member in enumerate(self.members):
            if index not in absent:
                self._come(member, founder=named, tell=False)
        for member in self.members:
            if member.alive:
                self._show_everybody(member, named=named)

    def follow(self, scenario: Iterable[Change]) -> None:
        """Let these changes happen when it is time."""
        for change in scenario:
            self.simulation.at(change.at_s, lambda change=change: self.change(change))  # type: ignore[misc]

    def _come(self, member: S, *, founder: bool, tell: bool = True) -> None:
        simulation = self.simulation
        floor = simulation.storage.epoch(member.peer)
        member.agent = self.make_agent(member, founder=founder, epoch_floor=floor)
        kept = simulation.storage.snapshot(member.peer)
        if kept is not None:
            member.agent.restore(kept)
        member.alive = True
        if tell:
            self._show_everybody(member, named=self._notice_s is not None)
            self._announce(member, simulation.tell_seen, member.peer, member.incarnation)
        simulation.start(member.agent, member.clock, member.compute_s)

    def _show_everybody(self, member: S, *, named: bool) -> None:
        """What an agent is told when it starts."""
        assert member.agent is not None
        now = member.clock.read(self.simulation.now)
        there = [other for other in self.members if other.alive and other is not member]
        for other in there if named else self.contacts_of(member, there):
            if named:
                member.agent.peer_seen(other.peer, other.incarnation, now)
            else:
                member.agent.peer_found(other.peer, now)

    def contacts_of(self, member: S, others: list[S]) -> list[S]:  # noqa: ARG002  (for subclasses)
        """Whom an agent that is told of nobody can reach at first."""
        return others

    def _announce(self, member: S, tell: Callable[..., None], *what: object) -> None:
        if self._notice_s is None:
            return
        low, high = self._notice_s
        for other in self.members:
            if other is not member:
                link = (other.peer, member.peer)
                at_s = self.simulation.now + low + (high - low) * self._rng.random()
                at_s = self._told_at[link] = max(at_s, self._told_at.get(link, 0.0))  # news stays in order
                observer = other.peer
                self.simulation.at(
                    at_s,
                    lambda observer=observer: tell(observer, *what),  # type: ignore[misc]
                )

    def change(self, change: Change) -> None:
        """Let this happen now."""
        member = self.members[change.agent]
        match change:
            case Leave():
                self.simulation.leave(member.peer)
                member.alive = False
            case Pause():
                self.simulation.pause(member.peer, change.duration_s)
            case Kill():
                self.simulation.kill(member.peer)
                member.alive = False
                self._announce(member, self.simulation.tell_gone, member.peer, member.incarnation)
            case Join():
                self._come(member, founder=False)
            case _:  # a restart
                member.lives += 1
                if change.with_state:
                    member.incarnation += 1
                else:
                    member.peer, member.incarnation = next_life(member.peer, member.lives), 0
                self._come(member, founder=False)
