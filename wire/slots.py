"""What waits to be sent: one newest-wins slot per (target, block).

A newer frame contains the older (DESIGN 2, "Newest wins"), so nothing is lost by replacing one that still
waits, and nothing can grow: a slow target has at most one frame per block waiting, however long it is slow.
"""

from collections import OrderedDict
from typing import Final

from wire.messages import PeerId

TARGETS_MAX: Final = 512  # as many as peers can be known; an agent pushes to its few out-neighbours
BLOCKS_MAX: Final = 65_536  # blocks of one model: 64 GiB in frames of 1 MiB


class Outbox:
    """Frames waiting per target, the block that has waited longest first.

    Invariant: at most one frame per (target, block), always the newest put; a target with nothing waiting
    takes no memory. At most `targets_max` x `blocks_max` frames; since one bytes object may wait for many
    targets, memory is usually that of one model.
    """

    __slots__ = ("_blocks_max", "_frames", "_targets_max")

    def __init__(self, *, targets_max: int = TARGETS_MAX, blocks_max: int = BLOCKS_MAX) -> None:
        self._targets_max = targets_max
        self._blocks_max = blocks_max
        self._frames: dict[PeerId, OrderedDict[int, bytes]] = {}

    def put(self, target: PeerId, block: int, frame: bytes) -> bool:
        """Let `frame` wait, in the place of an older one if there is one: True if so.

        Raises ValueError past a cap: the caller has lost count of its targets or blocks.
        """
        frames = self._frames.get(target)
        if frames is None:
            if len(self._frames) >= self._targets_max:
                raise ValueError(f"target {target!r} is one too many: at most {self._targets_max} may wait")
            frames = self._frames[target] = OrderedDict()
        replaced = block in frames
        if not replaced and len(frames) >= self._blocks_max:
            raise ValueError(f"block {block} is one too many: at most {self._blocks_max} wait for a target")
        frames[block] = frame
        return replaced

    def take(self, target: PeerId) -> bytes | None:
        """Remove and return the frame of the block that has waited longest; None if none waits.

        A block waits from its first put since it was last taken: being replaced does not send it to the back,
        so no block starves.
        """
        frames = self._frames.get(target)
        if frames is None:
            return None
        _, frame = frames.popitem(last=False)
        if not frames:
            del self._frames[target]
        return frame

    def waiting(self, target: PeerId) -> int:
        """Frames waiting for `target`."""
        return len(self._frames.get(target, ()))

    def forget(self, target: PeerId) -> int:
        """Drop everything that waits for `target`; how many frames that were."""
        return len(self._frames.pop(target, ()))
