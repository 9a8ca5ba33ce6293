"""Reads off a running service what `peer.status` holds, and off any agent what it knows of its links."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peer.status import AgentStatus, LinkStatus, reach_warnings
from wire import PROTOCOL_VERSION, LinkCounters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.assembly import TensorAgent
    from peer.service import AgentService
    from wire import PeerId, PeerRecord, RejectReason, Transport

STRANDED_TOLD_MAX = 8  # warnings of one kind: a swarm may have many agents behind NAT
Refused = tuple["PeerRecord", "RejectReason"]


def agent_status(
    service: AgentService,
    now: float,
    *,
    settled_line: str,
    until_line: str,
    incompatible: Mapping[PeerId, Refused],
) -> AgentStatus:
    """What is known of the agent and of every peer, at this moment."""
    agent = service.agent
    report = agent.progress.report
    uptime_s = now - service.began_at
    known = sorted(agent.membership.liveness.lives)
    links = tuple(link_status(agent, peer, now, service.transport) for peer in known)
    links += tuple(_refused(*incompatible[peer]) for peer in sorted(incompatible))
    return AgentStatus(
        peer=agent.identity.peer,
        swarm=agent.identity.swarm,
        fingerprint=agent.identity.fingerprint,
        protocol=PROTOCOL_VERSION,
        keyed=bool(service.seal.key_ids),
        address=agent.identity.address,
        incarnation=agent.identity.incarnation,
        epoch=agent.epoch,
        phase=agent.phase.value,
        tick=agent.ticks,
        ticks_per_second=1.0 / agent.pace.own_s if agent.pace.own_s > 0 else math.nan,
        uptime_s=uptime_s,
        residual=agent.progress.residual(),
        settled_line=settled_line,
        until_line=until_line,
        steps_line=_steps(agent),
        hyper_rate=agent.progress.hyper_schedule.factor,
        hypergradient_norm=report.hypergradient_norm,
        training_loss=report.training_loss,
        validation_loss=report.validation_loss,
        accuracies=dict(report.metrics),
        swarm_accuracies=agent.solver.tuner.swarm().accuracies,
        messages=messages_of(service),
        rejected=dict(service.transport.counters.rejected),
        checkpoint_age_s=service.checkpoint_age_s(now),
        warnings=_warnings(service, links, uptime_s),
        links=links,
    )


def messages_of(service: AgentService) -> dict[str, int]:
    """Three counts of the sender, three of the receiver, and the bytes sent."""
    sent, received = service.transport.counters, service.agent.inbox.counters
    return {
        "sent": sent.sent,
        "replaced": sent.replaced,  # by a newer one, while waiting to be sent
        "unsent": sent.unsent,
        "received": received.received,
        "missing": received.gaps,  # numbers between those received: lost or late
        "stale": received.stale,  # late, or duplicates
        "bytes_sent": sent.bytes_sent,
    }


def _steps(agent: TensorAgent) -> str:
    rate = agent.progress.hyper_rate
    told = agent.solver.tuner.tuning.describe()
    told += f"; warm-up {agent.progress.warm_up_ticks(agent.settings):.0f} ticks"
    return f"{told}; hyperparameters {rate:.3g}" if rate else told


def link_status(
    agent: TensorAgent, peer: PeerId, now: float, transport: Transport | None = None
) -> LinkStatus:
    """The links from and to one peer, by the agent's clock; without a transport nothing of what it counts."""
    liveness = agent.membership.liveness
    life = liveness.lives[peer]
    counted = None if transport is None else transport.per_peer.get(peer)
    sent = counted or LinkCounters()
    received = agent.inbox.links.get(peer)
    quarantine = agent.membership.quarantined.get(peer)
    disagreement = agent.progress.disagreements.get(peer)
    return LinkStatus(
        peer=peer,
        address=("" if transport is None else transport.address_of(peer)) or life.address,
        incarnation=life.incarnation,
        pushes_to=peer in agent.out_neighbours,
        hears=not life.left and agent.membership.hears(peer, now),
        heard_by=not life.left and agent.membership.is_heard_by(peer, now),
        alive=agent.peers.incarnation(peer) is not None,
        left=life.left,
        route=sent.route,
        age_s=None if life.heard_at is None else now - life.heard_at,
        heartbeat_age_s=None if life.heartbeat < 0 else now - life.rose_at,
        tick_interval_s=agent.pace.told_s(peer),
        received=0 if received is None else received.received,
        gaps=0 if received is None else received.gaps,
        sent=sent.sent,
        replaced=sent.replaced,
        unsent=sent.unsent,
        bytes_sent=sent.bytes_sent,
        rtt_s=life.round_trip_s,
        model_disagreement=None if disagreement is None else disagreement[0],
        adjoint_disagreement=None if disagreement is None else disagreement[1],
        quarantined=None if quarantine is None or now >= quarantine.until else quarantine.reason,
    )


def _refused(record: PeerRecord, reason: RejectReason) -> LinkStatus:
    return LinkStatus(
        peer=record.peer,
        address=record.address,
        incarnation=record.incarnation,
        pushes_to=False,
        hears=False,
        heard_by=False,
        incompatible=str(reason),
    )


def _warnings(service: AgentService, links: Sequence[LinkStatus], uptime_s: float) -> tuple[str, ...]:
    """Of an agent that is cut off, and of peers that neither side can dial."""
    warnings = list(reach_warnings(links, uptime_s))
    alive = set(service.agent.peers.alive())
    stranded = [
        f"there is no way to {link.peer}: {counters.last_error}"
        for link in links
        if link.peer in alive
        and (counters := service.transport.per_peer.get(link.peer)) is not None
        and counters.unreachable_since is not None
    ]
    return (*warnings, *stranded[:STRANDED_TOLD_MAX])
