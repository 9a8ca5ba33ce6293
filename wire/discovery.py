"""What every way of finding other agents is: the protocol `Discovery`, and how one is made.

A discovery finds addresses. It decides nothing: whether a peer lives, its messages tell, and who is a
neighbour the agent decides.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from wire.known_peers import OnIncompatible, OnSeen
from wire.messages import PeerId
from wire.records import PeerRecord

Fetch = Callable[[str, float], Awaitable[dict[str, object] | None]]


class Discovery(Protocol):
    """Looks for the other agents of a swarm from `start` to `close`.

    What is guaranteed: `on_seen` is given every compatible agent that is found, in the event loop, never this
    one, and again when its record changes; what does not fit goes to `on_incompatible`; memory is bounded,
    whatever the network says; `close` leaves nothing behind. `wire.known_peers.KnownPeers` keeps the books
    for that.
    """

    async def start(self) -> None:
        """Begin to look. Raises TransportError if that cannot be; it may be tried again later."""

    async def close(self) -> None:
        """Stop, and take back what was told to others. Also twice, and after a `start` that has failed."""

    def forget(self, peer: PeerId) -> None:
        """There was no room for this peer: tell of it again when it is heard of again."""

    def refused(self) -> Collection[PeerId]:
        """Who is found at this moment and does not fit."""

    async def wait_failed(self) -> None:
        """Wait for a bug in it or in a callback, and raise it; does not return otherwise."""


class MakeDiscovery(Protocol):
    """Makes one for an agent; called anew when the agent's record changes.

    `fetch` asks "host:port" who is there, within so many seconds: the fields of `PeerRecord.from_identity`,
    or None. `on_problem` is told in words what people should know.
    """

    def __call__(
        self,
        record: PeerRecord,
        *,
        fetch: Fetch,
        on_seen: OnSeen,
        on_incompatible: OnIncompatible,
        on_problem: Callable[[str], None],
    ) -> Discovery:
        """Not begun."""
