"""Whether what a member announces can be true, judged by what its link and all links have brought so far.

An honest running sum does jump, after a cut: by the messages missed times what one message brings. A sum that
jumps by far more than the largest share ever seen on its link, on any link and here was made up; so was one
that is out of all proportion to what this agent holds itself. A settled link's shares alone are no measure:
who comes late into an epoch brings a whole gradient, of which a neighbour's neighbour has heard nothing. A
message that cannot be true is not absorbed, never clipped; its sender is for the agent to deal with. What
stays below the margins cannot be told from an honest surprise: a liar moves the answer by a bounded amount.

Estimates grow by themselves: they begin anywhere, often at zero, and for as long as all only average, or an
agent hears nobody and spends its mass on others, they hardly move; then the whole way is gone in a few steps.
So a link's history alone is no measure of them: they have to be out of proportion to everything seen, on any
link and here. And next to nothing is no measure at all, neither as a history nor as an own estimate, for
which as many own steps stand as any task takes. Who does not know yet how far it will step judges none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from peer.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.algebra import V
    from wire import PeerId

LINK_MARGIN = 100.0  # times the largest share of a link and of this agent, and more than any: not computed
ESTIMATE_MARGIN = 1e3  # the same for estimates, against all links and what this agent holds
OWN_MARGIN = 1e4  # agents differ in their data, but not by this
HISTORY_MIN = 4  # messages after which a link has a history

Place = tuple["PeerId", int, int]  # source, block, stream
K = TypeVar("K")


@dataclass(slots=True)
class LinkRecord:
    """The largest of what one link has brought for one block and stream."""

    share: float = 0.0
    estimate: float = 0.0
    messages: int = 0


_NOTHING = LinkRecord()  # of what has brought nothing; never changed


@dataclass(frozen=True, slots=True)
class Claim:
    """What one message announces of one block and stream, in lengths."""

    growth: float  # of what is added to the mass
    missed: int  # messages that it is the sum of; 1 if none was lost
    estimate: float

    @property
    def share(self) -> float:
        """What one message brings."""
        return self.growth / max(1, self.missed)


@dataclass(slots=True)
class Plausibility:
    """What all links have brought, kept over epochs. At most as large as the table of what was received."""

    _links: dict[Place, LinkRecord] = field(default_factory=dict)
    _largest: dict[tuple[int, int], LinkRecord] = field(default_factory=dict)  # by block and stream
    _own: dict[int, LinkRecord] = field(default_factory=dict)  # by stream

    def own(self, stream: int, share: float, estimate: float) -> None:
        """Note what this agent itself holds: the lengths of its mass, or gradient, and of its estimate.

        Or of some steps along that gradient, if that is longer; 0 if it does not know yet how long they are.
        """
        _note(_record(self._own, stream), share, estimate)

    @property
    def knows_itself(self) -> bool:
        """Whether this agent has held anything yet."""
        return any(own.share > 0.0 for own in self._own.values())

    def is_beyond_own(self, stream: int, length: float) -> bool:
        """Whether an own gradient of this length can only be the work of somebody else. NaN is."""
        own = self._own.get(stream, _NOTHING).share
        return 0.0 < own < math.inf and not length <= OWN_MARGIN * own

    def objection(self, source: PeerId, block: int, stream: int, claim: Claim) -> str | None:
        """Why this cannot be true; None if it can. It is no history yet: see `believe`."""
        link = self._links.get((source, block, stream), _NOTHING)
        largest = self._largest.get((block, stream), _NOTHING)
        own = self._own.get(stream, _NOTHING)
        estimate = claim.estimate
        has_history = link.messages >= HISTORY_MIN
        if _exceeds(claim.share, link.share if has_history else None, largest.share, own.share):
            return (
                f"the sum of block {block} jumps by {claim.growth:.3g} in {claim.missed} messages; the "
                f"largest share seen on this link is {link.share:.3g}, on any {largest.share:.3g}; own mass "
                f"{own.share:.3g}"
            )
        known = max(link.estimate, largest.estimate, own.estimate) if has_history else math.inf
        if own.estimate > 0.0 and estimate > min(OWN_MARGIN * own.estimate, ESTIMATE_MARGIN * known):
            return (
                f"the estimate of block {block} has length {estimate:.3g}; the longest seen on this link is "
                f"{link.estimate:.3g}, on any {largest.estimate:.3g}; the own {own.estimate:.3g}"
            )
        return None

    def believe(self, source: PeerId, block: int, stream: int, claim: Claim) -> None:
        """Nothing speaks against the message, in no stream: from now on it is history."""
        link = _record(self._links, (source, block, stream))
        _note(link, claim.share, claim.estimate)
        _note(_record(self._largest, (block, stream)), claim.share, claim.estimate)
        link.messages += 1

    def believable(self, stream: int, lengths: Sequence[float]) -> list[bool]:
        """Which of several estimates of one block, by their lengths, an agent may begin with.

        Nothing is known yet of who announced them, so they are compared with each other and with what this
        agent itself has held: none may be longer than the shortest by a margin. Too short does no harm.
        """
        own = self._own.get(stream, _NOTHING).estimate
        shortest = min((length for length in (*lengths, own) if length > 0.0), default=0.0)
        return [length <= OWN_MARGIN * shortest for length in lengths]

    def snapshot(self) -> Snapshot[V]:
        """What this agent has held, by stream: who comes back settled measures nobody by nearly nothing."""
        return Snapshot({}, {str(key): [own.share, own.estimate] for key, own in sorted(self._own.items())})

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there. Raises `SnapshotError`."""
        for stream, values in snapshot.values.items():
            match values:
                case [int() | float() as share, int() | float() as estimate] if stream.isdecimal():
                    self.own(int(stream), share, estimate)
                case _:
                    raise SnapshotError(f"scale of stream {stream} is {values!r} instead of two lengths")

    def forget(self, source: PeerId) -> None:
        """The source is gone."""
        for place in [place for place in self._links if place[0] == source]:
            del self._links[place]


def _exceeds(value: float, on_link: float | None, anywhere: float, own: float) -> bool:
    """Beyond a margin. Next to nothing, or nothing but zeros, is no history to compare with."""
    if own > 0.0 and value > OWN_MARGIN * own:
        return True
    if on_link is None or LINK_MARGIN * on_link < own:
        return False
    return value > anywhere and value > LINK_MARGIN * max(on_link, own) > 0.0


def _record(records: dict[K, LinkRecord], key: K) -> LinkRecord:
    record = records.get(key)
    if record is None:
        record = records[key] = LinkRecord()
    return record


def _note(record: LinkRecord, share: float, estimate: float) -> None:
    record.share = max(record.share, share)
    record.estimate = max(record.estimate, estimate)
