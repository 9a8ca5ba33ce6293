"""Who heard whom, from what the agents of a run said of their links. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from peer.report.thinning import Thinned
from peer.report.values import count, items, mapping, number, parsed, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOOKS_MAX: Final = 100  # times: a column of a heat map each
PEERS_MAX: Final = 256  # in one line, as the recorder keeps them

Ends = tuple[str, str]  # source, target


@dataclass(frozen=True, slots=True)
class Heard:
    """What one line of `links.jsonl`, which is of another agent, says of a peer."""

    pushes_to: bool
    hears: bool
    heard_by: bool
    left: bool
    received: int
    gaps: int
    rtt_s: float


@dataclass(frozen=True, slots=True)
class Link:
    """One direction between two agents at the end."""

    source: str
    target: str
    heard: bool  # the target has heard the source lately
    pushed: bool  # the source pushes there; where it does not say itself: has pushed
    is_mutual: bool  # the other direction works as well
    received: int
    missing: int
    rtt_s: float

    @property
    def loss(self) -> float:
        """Share of its messages in the whole run that did not arrive; NaN if none is known of."""
        numbered = self.received + self.missing
        return self.missing / numbered if numbered else math.nan

    @property
    def state(self) -> str:
        """`both`: heard both ways; `one-way`; `signs`: heard both ways, but nothing is pushed there now;
        `deaf`: pushed in vain; `idle`: neither pushed nor heard.
        """
        if not self.heard:
            return "deaf" if self.pushed else "idle"
        if not self.is_mutual:
            return "one-way"
        return "both" if self.pushed else "signs"


@dataclass(frozen=True, slots=True)
class LinksSeen:
    """`agents`: who was ever there, in order; `present`: who told of its links at the end."""

    agents: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    at_s: tuple[float, ...] = ()
    loss: Mapping[Ends, tuple[float, ...]] = field(
        default_factory=dict
    )  # since the time before; NaN: nothing


def links_seen(lines: Iterable[str], agents_max: int) -> tuple[LinksSeen, int]:
    """What the lines say, and how many of them say nothing."""
    thinned: Thinned[Mapping[str, Heard]] = Thinned(LOOKS_MAX, agents_max)
    damaged = 0
    for line in lines:
        found = mapping(parsed(line))
        at_s, agent = number(found.get("at_s")), text(found.get("agent"))
        if not (agent and at_s >= 0):
            damaged += 1
            continue
        rows = [mapping(one) for one in items(found.get("links"))[:PEERS_MAX]]
        thinned.add(at_s, agent, {peer: _heard(row) for row in rows if (peer := text(row.get("peer")))})
    times = thinned.times()
    return (_seen(times, agents_max) if times else LinksSeen()), damaged


def _seen(times: Sequence[tuple[float, Mapping[str, Mapping[str, Heard]]]], agents_max: int) -> LinksSeen:
    last = times[-1][1]
    named = {name for _, rows in times for name in rows} | {name for row in last.values() for name in row}
    agents = sorted(named)[:agents_max]
    pairs = [(source, target) for source in agents for target in agents if source != target]
    links = [link for source, target in pairs if (link := _link(source, target, last)) is not None]
    loss = {}
    for source, target in pairs:
        told = [rows.get(target, {}).get(source) for _, rows in times]
        if any(told):
            row = _loss_over_time(told)
            if not all(map(math.isnan, row)):
                loss[source, target] = row
    present = tuple(name for name in agents if name in last)
    return LinksSeen(tuple(agents), present, tuple(links), tuple(at_s for at_s, _ in times), loss)


def _heard(row: Mapping[str, object]) -> Heard:
    return Heard(
        pushes_to=row.get("pushes_to") is True,
        hears=row.get("hears") is True,
        heard_by=row.get("heard_by") is True,
        left=row.get("left") is True,
        received=count(row.get("received")),
        gaps=count(row.get("gaps")),
        rtt_s=number(row.get("rtt_s")),
    )


def _link(source: str, target: str, last: Mapping[str, Mapping[str, Heard]]) -> Link | None:
    """From both ends, as far as they are there; who receives knows best."""
    there, here = last.get(target, {}).get(source), last.get(source, {}).get(target)
    if there is None and here is None:
        return None
    heard = there.hears if there is not None else bool(here and here.heard_by)
    back = here.hears if here is not None else bool(there and there.heard_by)
    return Link(
        source,
        target,
        heard=heard,
        pushed=here.pushes_to and not here.left if here is not None else bool(there and there.received),
        is_mutual=heard and back,
        received=0 if there is None else there.received,
        missing=0 if there is None else there.gaps,
        rtt_s=math.nan if here is None else here.rtt_s,
    )


def _loss_over_time(row: Sequence[Heard | None]) -> tuple[float, ...]:
    """Between one time and the next; what counts less than before counts anew."""
    found = []
    received = gaps = 0
    for one in row:
        if one is None:
            found.append(math.nan)
            continue
        if one.received < received or one.gaps < gaps:
            received = gaps = 0
        new, missing = one.received - received, one.gaps - gaps
        received, gaps = one.received, one.gaps
        found.append(missing / (new + missing) if new + missing else math.nan)
    return tuple(found)
