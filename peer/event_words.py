"""What happened to an agent, in a sentence for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.events import (
    EpochEntered,
    HyperRateLowered,
    LinkDeaf,
    LinkHeard,
    ListeningStarted,
    NonFiniteStep,
    PeerArrived,
    PeerDeparted,
    PeerQuarantined,
)

if TYPE_CHECKING:
    from peer.events import Event


def sentence(event: Event) -> str:
    """Without the name of the agent; begins with what a reader looks for."""
    match event:
        case EpochEntered(epoch, reason, out_neighbours):
            return f"epoch {epoch}: {reason}; pushes to {', '.join(out_neighbours) or 'nobody'}"
        case ListeningStarted(epoch):
            return f"listens to epoch {epoch} before it takes part"
        case PeerArrived(peer, incarnation):
            again = f" again, incarnation {incarnation}" if incarnation > 1 else ""
            return f"{peer} is there{again}"
        case PeerDeparted(peer):
            return f"{peer} is gone"
        case PeerQuarantined(peer, reason):
            return f"{peer} is quarantined: {reason}"
        case LinkDeaf(peer):
            return f"{peer} hears nothing of what is pushed to it"
        case LinkHeard(peer):
            return f"{peer} hears this agent again"
        case HyperRateLowered(factor, reason):
            share = f"{factor:.2g} of what was given, or of its own choice"
            return f"hyper step size lowered to {share}, because {reason}; nothing to do"
        case _:
            assert isinstance(event, NonFiniteStep)
            return f"a gradient of tick {event.tick} was not finite; the step was not taken"
