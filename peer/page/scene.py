"""What people watch of the agents of one program: how they are, curves, and what happened. Bounded.

agents --look, once a second--> curves      events --tell--> a list that forgets its oldest
                                   \\         /
                                    live(after)   what a page asks for again and again
"""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from peer.page.chronicle import Chronicle
from peer.page.history import History
from peer.page.picture import curves, pictures
from peer.views import AgentView, Messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.service import AgentService
    from peer.status import AgentStatus, LinkStatus
    from wire import PeerId

LOOK_EVERY_S: Final = 1.0
PICTURE_EVERY_S: Final = 5.0  # hyperparameters move slowly, and may be many
PICTURE_POINTS_MAX: Final = 240
ALL_LINKS_AGENTS_MAX: Final = 16  # in larger swarms only those that matter are told: all would be megabytes
AGENTS_MAX: Final = 256  # whose curves are kept: those of agents that went, and came as others, go first


class Source(Protocol):
    """The agents of a program, and what they are told about themselves."""

    @property
    def title(self) -> str:
        """What is watched."""

    @property
    def actions(self) -> Sequence[str]:
        """What may be done to agents beside faults on their links: kill, restart, pause, leave."""

    def services(self) -> Sequence[AgentService]:
        """Of those who are there."""

    def status_of(self, service: AgentService) -> AgentStatus:
        """As `hyperpush status` shows it."""

    def absent(self) -> Sequence[str]:
        """Names of those who are to be there, and are not now."""


class Scene:
    """Times are seconds since the program began, and given by whoever calls."""

    def __init__(self, source: Source, agents: int | None = None) -> None:
        """`agents`: of the whole page, if others of them are elsewhere."""
        self.source = source
        self._agents = agents
        self.run = secrets.token_hex(8)  # so that a page sees that another program answers
        self._curves: dict[PeerId, History] = {}
        self._pictures: dict[PeerId, History] = {}
        self.chronicle = Chronicle()
        self._looked_s = -math.inf

    def look(self, at_s: float) -> None:
        """Keep the numbers of all agents, if it is time."""
        if at_s < self._looked_s + LOOK_EVERY_S:
            return
        self._looked_s = at_s
        for service in self.source.services():
            peer = service.record.peer
            self._room_for(peer)
            self._curves[peer].add(at_s, numbers_of(service))
            if self._pictures[peer].is_due(at_s):
                learner = service.learner
                self._pictures[peer].add(at_s, curves(learner.problem, learner.hyperparameters))

    def statuses(self) -> list[AgentStatus]:
        """Of all who are there."""
        return [self.source.status_of(service) for service in self.source.services()]

    def live(self, now_s: float, after_s: float, after_event: int) -> dict[str, object]:
        """All that a page shows: of curves what came after `after_s`, of events what came after that one."""
        return {
            "run": self.run,
            "title": self.source.title,
            "now_s": now_s,
            "actions": list(self.source.actions),
            "agents": self.agents(after_s),
            "absent": list(self.source.absent()),
            "events": self.chronicle.since(after_event),
        }

    def agents(self, after_s: float) -> list[dict[str, object]]:
        """Status, curves and what is personal, of all who are there."""
        return [self._agent(service, after_s) for service in self.source.services()]

    def _agent(self, service: AgentService, after_s: float) -> dict[str, object]:
        peer, learner = service.record.peer, service.learner
        self._room_for(peer)
        status = self.source.status_of(service)
        if (self._agents or len(self.source.services())) > ALL_LINKS_AGENTS_MAX:
            status = replace(status, links=tuple(link for link in status.links if matters(link)))
        return {
            "status": status.to_dict(),
            "curves": self._curves[peer].since(after_s),
            "hyperparameters": pictures(learner.problem, learner.hyperparameters),
            "hyperparameter_curves": self._pictures[peer].since(after_s),
        }

    def _room_for(self, peer: PeerId) -> None:
        if peer in self._curves:
            return
        if len(self._curves) >= AGENTS_MAX:
            there = {service.record.peer for service in self.source.services()}
            oldest = next((one for one in self._curves if one not in there), next(iter(self._curves)))
            del self._curves[oldest], self._pictures[oldest]
        self._curves[peer] = History(LOOK_EVERY_S)
        self._pictures[peer] = History(PICTURE_EVERY_S, PICTURE_POINTS_MAX)


def matters(link: LinkStatus) -> bool:
    """Whether more passes on this link than signs of life, or something is wrong with it."""
    carries = link.pushes_to or link.model_disagreement is not None
    return carries or link.quarantined is not None or link.incompatible is not None


def numbers_of(service: AgentService) -> Mapping[str, float]:
    """The curves of an agent, as they are at this moment."""
    agent = service.agent
    seen = AgentView.of(agent, Messages.of_transport(agent, service.transport.counters))
    tracker, gradient = agent.progress.report.adjoint_residual
    near = [model for model, _ in agent.progress.disagreements.values()]
    numbered = seen.messages.received + seen.messages.gaps
    return {
        "training_loss": seen.training_loss,
        "validation_loss": seen.validation_loss,
        "shared": seen.shared,
        "personal": seen.personal,
        "hypergradient_norm": seen.hypergradient_norm,
        "residual": seen.residual,
        "adjoint_residual": tracker / gradient if gradient > 0 else math.nan,
        "disagreement": math.fsum(near) / len(near) if near else math.nan,
        "missing": seen.messages.gaps / numbered if numbered else math.nan,
        "megabytes_sent": seen.messages.bytes_sent / 1e6,
        "rejected": float(sum(seen.messages.rejected.values())),
    }
