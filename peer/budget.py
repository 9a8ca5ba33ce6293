"""What an agent may send: bytes per second, spent on whole blocks."""

from __future__ import annotations


class ByteBudget:
    """Grows with time, is spent by sending; what is not spent is saved up to one tick of blocks.

    A block costs at most what has been saved for it, so however small the rate and large the block, its turn
    comes: a cap makes an agent slower, never stuck.
    """

    def __init__(self, bytes_per_second: float, now: float) -> None:
        self._rate = bytes_per_second
        self._saved = 0.0
        self._at = now

    def blocks(self, block_bytes: int, blocks: int, now: float) -> int | None:
        """How many of `blocks` blocks of this size, all targets together, may be sent now; None: any."""
        if not self._rate:
            return None
        self._saved = min(self._saved + self._rate * (now - self._at), float(block_bytes * blocks))
        self._at = now
        return min(blocks, int(self._saved // max(1, block_bytes)))

    def spend(self, sent_bytes: float) -> None:
        """These are being sent. Small ones that must go out may put it into debt."""
        self._saved -= sent_bytes
