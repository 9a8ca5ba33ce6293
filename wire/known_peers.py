"""What discovery has heard, turned into callbacks. Pure: bookkeeping only."""

from collections.abc import Callable

from wire.errors import RejectReason
from wire.messages import PeerId
from wire.records import PEERS_KNOWN_MAX, PeerRecord, incompatibility

OnSeen = Callable[[PeerRecord], None]
OnIncompatible = Callable[[PeerRecord, RejectReason], None]


class KnownPeers:
    """Turns what is heard under a name into callbacks, each change once, at most PEERS_KNOWN_MAX names.

    Whether a peer lives its messages tell: that its name is lost is nothing to be told.
    """

    def __init__(self, own: PeerRecord, on_seen: OnSeen, on_incompatible: OnIncompatible | None) -> None:
        self._own = own
        self._on_seen = on_seen
        self._on_incompatible = on_incompatible
        self._compatible: dict[str, PeerRecord] = {}
        self._others: dict[str, PeerRecord] = {}

    def __len__(self) -> int:
        """Names held, of compatible peers and others."""
        return len(self._compatible) + len(self._others)

    def heard(self, name: str, record: PeerRecord) -> None:
        """`record` was found under `name`."""
        if record.peer == self._own.peer and record.swarm == self._own.swarm:
            self.lost(name)
            return
        reason = incompatibility(self._own, record)
        if reason is None:
            self._others.pop(name, None)
            if self._keep(self._compatible, name, record):
                self._on_seen(record)
            return
        self._compatible.pop(name, None)
        if self._keep(self._others, name, record) and self._on_incompatible is not None:
            self._on_incompatible(record, reason)

    def lost(self, name: str) -> None:
        """Nothing is to be found under `name` any more; who is found there again is told of again."""
        self._others.pop(name, None)
        self._compatible.pop(name, None)

    def forget(self, peer: PeerId) -> None:
        """`peer` was not reported."""
        for name in [name for name, record in self._compatible.items() if record.peer == peer]:
            del self._compatible[name]

    def refused(self) -> set[PeerId]:
        """Who is heard of now and does not fit."""
        return {record.peer for record in self._others.values()}

    @staticmethod
    def _keep(table: dict[str, PeerRecord], name: str, record: PeerRecord) -> bool:
        """True if this is news and there is room for it."""
        if table.get(name) == record or (name not in table and len(table) >= PEERS_KNOWN_MAX):
            return False
        table[name] = record
        return True
