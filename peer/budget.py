"""What an agent may send: bytes per second, spent on whole messages."""

from __future__ import annotations


class ByteBudget:
    """Grows with time, is spent by sending; what is not spent is saved up to what one tick can send.

    A message is sent when its cost has been saved for it, so however small the rate and large the message,
    its turn comes: a cap makes an agent slower, never stuck. A rate of 0 is no cap.
    """

    def __init__(self, bytes_per_second: float, now: float) -> None:
        self._rate = bytes_per_second
        self._saved = 0.0
        self._at = now

    def affordable(self, message_bytes: int, wanted: int, now: float) -> int:
        """How many of the messages wanted, each of this size to all its targets, may be sent now."""
        if not self._rate:
            return wanted
        self._saved = min(self._saved + self._rate * (now - self._at), float(message_bytes * wanted))
        self._at = now
        return max(0, min(wanted, int(self._saved // max(1, message_bytes))))

    def spend(self, sent_bytes: float) -> None:
        """These are being sent; longer than expected, they put it into debt."""
        self._saved -= sent_bytes
