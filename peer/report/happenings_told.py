"""Lines of `events.jsonl` in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.fault_words import describe
from peer.report.values import count, items, mapping, number, text
from wire import FaultPlanError, FaultWindow

if TYPE_CHECKING:
    from collections.abc import Mapping


OF_PEERS: Final = {
    "PeerArrived": "sees",
    "PeerDeparted": "takes for gone",
    "LinkDeaf": "is not heard by",
    "LinkHeard": "is heard again by",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line."""

    at_s: float
    agent: str
    kind: str
    told: str


def happening(found: Mapping[str, object]) -> Happening | None:
    """The event, in a few words; None if it is none. Kinds that are unknown are named only."""
    at_s, agent, kind = number(found.get("at_s")), text(found.get("agent")), text(found.get("event"))
    if not (agent and kind and at_s >= 0):
        return None
    return Happening(at_s, agent, kind, _told(kind, found))


def _told(kind: str, found: Mapping[str, object]) -> str:
    peer, reason = text(found.get("peer")), text(found.get("reason"))
    match kind:
        case "EpochEntered":
            return f"enters epoch {count(found.get('epoch'))}: {reason}"
        case "ListeningStarted":
            return f"listens to epoch {count(found.get('epoch'))}"
        case "PeerQuarantined":
            return f"believes nothing of {peer}: {reason}"
        case "HyperRateLowered":
            return f"moves its hyperparameters more slowly, {text(found.get('factor'))}: {reason}"
        case "NonFiniteStep":
            return f"has a gradient that is not finite in tick {count(found.get('tick'))}"
        case "WentOn":
            incarnation = count(found.get("incarnation"))
            return f"goes on from tick {count(found.get('tick'))} as incarnation {incarnation}"
        case "Scenario":
            what = text(found.get("what"))
            return what.partition(f"{text(found.get('agent'))} ")[2] or what
        case "FaultsSet":
            live = [_window(mapping(one)) for one in items(found.get("live"))]
            more = count(found.get("in_force")) - len(live)
            words = "; ".join([*live, *([f"{more} more"] if more > 0 else [])])
            return text(f"faults set meanwhile: {words or 'none any more'}")
        case _:
            return f"{OF_PEERS[kind]} {peer}" if kind in OF_PEERS else kind


def _window(values: Mapping[str, object]) -> str:
    try:
        window = FaultWindow.from_dict(values)
    except FaultPlanError:
        return "something that is no fault"
    to = "all links" if window.targets is None else f"to {' '.join(window.targets)}"
    return f"{to}: {describe(window.faults)}"
