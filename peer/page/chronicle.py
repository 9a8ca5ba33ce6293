"""What happened to agents and links, in the order in which it was heard of; the oldest is forgotten."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from peer.event_words import sentence

if TYPE_CHECKING:
    from peer.events import Event
    from wire import PeerId

EVENTS_MAX: Final = 256  # what a page shows; all of them are in `--out`
TEXT_MAX: Final = 400  # characters of one: reasons come from the network


@dataclass(frozen=True, slots=True)
class Happened:
    """One line."""

    number: int  # from 1 on, without a gap
    at_s: float  # of the program
    agent: PeerId  # "" where it is of none
    kind: str
    text: str


class Chronicle:
    """Pure: times are given by whoever calls."""

    def __init__(self) -> None:
        self._happened: deque[Happened] = deque(maxlen=EVENTS_MAX)
        self._count = 0

    def tell(self, at_s: float, peer: PeerId, event: Event) -> None:
        """Something happened to an agent."""
        self.say(at_s, sentence(event), peer=peer, kind=type(event).__name__)

    def say(self, at_s: float, text: str, *, peer: PeerId = "", kind: str = "said") -> None:
        """Something happened."""
        self._count += 1
        self._happened.append(Happened(self._count, at_s, peer, kind, text[:TEXT_MAX]))

    def since(self, number: int) -> list[dict[str, object]]:
        """What came after that one, of what is kept; JSON-able."""
        return [asdict(one) for one in self._happened if one.number > number]
