"""What simulated agents keep on their disks; this one never fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from peer.algebra import V

if TYPE_CHECKING:
    from peer.snapshot import Snapshot
    from wire import PeerId


class ProcessEndedError(Exception):
    """A process has ended in the midst of an operation on its disk."""


class Storage(Generic[V]):
    """Invariant: epochs rise. Those whose disks fail raise ProcessEndedError, or say that it took time."""

    def __init__(self) -> None:
        self._epochs: dict[PeerId, int] = {}
        self._snapshots: dict[PeerId, Snapshot[V]] = {}

    def epoch(self, peer: PeerId) -> int:
        """The highest that is durable; 0 if none is."""
        return self._epochs.get(peer, 0)

    def snapshot(self, peer: PeerId) -> Snapshot[V] | None:
        """What was learned, as it was last kept."""
        return self._snapshots.get(peer)

    def keep_epoch(self, peer: PeerId, epoch: int) -> tuple[bool, float]:
        """Make it durable. Whether it is, and for how many seconds the agent stands still.

        That is how long it took, or until it is to be tried again.
        """
        assert epoch > self.epoch(peer), f"{peer} enters epoch {epoch} twice"
        self._epochs[peer] = epoch
        return True, 0.0

    def keep_snapshot(self, peer: PeerId, snapshot: Snapshot[V]) -> None:
        """Keep what was learned, if the disk lets it."""
        self._snapshots[peer] = snapshot
