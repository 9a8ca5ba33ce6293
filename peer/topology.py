"""Who pushes to whom: rings drawn from the epoch number, the same in every agent's head.

Peers are put in a circle and each pushes to its successor. The first circle is the sorted order; every
further one is drawn afresh from (swarm, epoch), so any two agents that know the same peers draw the same
circles without a word. One circle alone makes the graph strongly connected. Each circle adds one in-neighbour
to every peer, which caps the in-degree. Positions are hashes of the peer's name, so a peer that only some
know of disturbs its neighbours only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from wire import PeerId

BYPASS_MAX = 8  # peers in a row that may all be cut off from the one behind them
RINGS_TRIED_PER_NEIGHBOUR = 4  # circles may name a peer twice in small swarms; then more are drawn


def out_neighbours(
    own: PeerId, peers: Collection[PeerId], *, fanout: int, swarm: str, epoch: int
) -> tuple[PeerId, ...]:
    """The targets of `own` in this epoch, sorted.

    Invariant: the successor in sorted order is always among them; never `own`; at most `fanout`, fewer only
    in a swarm of fewer peers or by a rare draw. `peers` may contain `own` or not.
    """
    others = sorted(set(peers) - {own})
    if len(others) <= fanout:
        return tuple(others)
    chosen = {_successor(own, others, _by_name)}
    for ring in range(RINGS_TRIED_PER_NEIGHBOUR * (fanout - 1)):
        if len(chosen) == fanout:
            break
        chosen.add(_successor(own, others, _by_draw(f"{swarm}/{epoch}/{ring}")))
    return tuple(sorted(chosen))


def predecessors(
    own: PeerId, peers: Collection[PeerId], *, fanout: int, swarm: str, epoch: int
) -> frozenset[PeerId]:
    """Who has `own` among its targets in this epoch: its predecessor on every circle that all draw.

    Invariant: no others but these, if all know the same peers, except where circles name a peer twice.
    """
    others = sorted(set(peers) - {own})
    if len(others) <= fanout:
        return frozenset(others)
    circles = [_by_name, *(_by_draw(f"{swarm}/{epoch}/{ring}") for ring in range(fanout - 1))]
    return frozenset(_predecessor(own, others, position) for position in circles)


def next_behind(own: PeerId, peers: Iterable[PeerId]) -> tuple[PeerId, ...]:
    """The next in sorted order, which is a circle: as many as `bypassed` looks at."""
    return tuple(sorted(set(peers) - {own}, key=lambda peer: (peer < own, peer))[: BYPASS_MAX + 1])


def bypassed(
    own: PeerId, behind: Sequence[PeerId], reaches: Callable[[PeerId, PeerId], bool]
) -> tuple[PeerId, ...]:
    """Who hears none of those between `own` and itself in sorted order, but hears `own`.

    Its predecessors on the circle leave it out, each for its own cut link; without this nobody might push to
    it. `behind` are the `next_behind`; `reaches(source, target)` is what is known.
    """
    found = []
    for index in range(1, len(behind)):
        target = behind[index]
        for source in reversed(behind[:index]):
            if reaches(source, target):
                break
        else:
            if reaches(own, target):
                found.append(target)
    return tuple(found)


def bridges(
    own: PeerId, members: Sequence[PeerId], reaches: Callable[[PeerId, PeerId], bool]
) -> tuple[PeerId, ...]:
    """Whom `own` has to push to, beside the next member that it reaches, so that all are connected both ways.

    If all know the same, all come to the same links here, and each is made by its source. Invariant: with
    them, and everybody's link to the next member that it reaches, the graph is strongly connected if that of
    all links is. `members` are sorted, `own` among them; `reaches(source, target)` is what is known. No link
    is added where everybody reaches its successor.
    """
    count = len(members)
    links = [0] * count  # by source, a bit for each target
    whole = True
    for source in range(count):
        for step in range(1, count):
            target = (source + step) % count
            if reaches(members[source], members[target]):
                links[source] |= 1 << target
                whole = whole and step == 1
                break
        else:
            whole = False
    found: list[PeerId] = []
    if whole:
        return ()
    for outwards in (True, False):  # all are to be reached from the first; all are to reach it
        here = _closure(links, outwards=outwards)
        while here != (1 << count) - 1:
            link = _crossing(members, here, reaches, outwards=outwards)
            if link is None:
                break
            source, target = link
            links[source] |= 1 << target
            if members[source] == own:
                found.append(members[target])
            here = _closure(links, outwards=outwards)
    return tuple(sorted(found))


def _closure(links: Sequence[int], *, outwards: bool) -> int:
    """Bits of whom the first reaches, or of who reaches the first."""
    here, before = 1, 0
    while here != before:
        before = here
        for source, targets in enumerate(links):
            if outwards and here >> source & 1:
                here |= targets
            elif not outwards and targets & here:
                here |= 1 << source
    return here


def _crossing(
    members: Sequence[PeerId], here: int, reaches: Callable[[PeerId, PeerId], bool], *, outwards: bool
) -> tuple[int, int] | None:
    """A link out of those here, or to them: of the shortest ones along the circle the first."""
    count = len(members)
    for step in range(1, count):
        for source in range(count):
            target = (source + step) % count
            inside, outside = (source, target) if outwards else (target, source)
            crosses = here >> inside & 1 and not here >> outside & 1
            if crosses and reaches(members[source], members[target]):
                return source, target
    return None


Position = tuple[bytes, str]


def _by_name(peer: PeerId) -> Position:
    return b"", peer


def _by_draw(ring: str) -> Callable[[PeerId], Position]:
    def position(peer: PeerId) -> Position:
        return hashlib.blake2b(f"{ring}/{peer}".encode(), digest_size=8).digest(), peer

    return position


def _successor(own: PeerId, others: Collection[PeerId], position: Callable[[PeerId], Position]) -> PeerId:
    """The first after `own` on the circle; behind the last comes the first again."""
    here = position(own)
    return min(others, key=lambda peer: ((place := position(peer)) < here, place))


def _predecessor(own: PeerId, others: Collection[PeerId], position: Callable[[PeerId], Position]) -> PeerId:
    """The last before `own` on the circle; before the first comes the last again."""
    here = position(own)
    return max(others, key=lambda peer: ((place := position(peer)) < here, place))
