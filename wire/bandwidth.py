"""How many bits a second a link carries: the text form, and the one rule that holds frames back.

text       bits per second
800bit     800
256kbit    256,000          k, m, g are thousands, as in everything that travels
64kbyte    512,000
"""

import math
import re
from typing import Final

from wire.delays import check_number
from wire.errors import FaultPlanError

BITS_PER_S_MIN: Final = 1.0  # slower is a cut; and waiting times stay finite
BITS_PER_S_MAX: Final = 1e15  # faster is unlimited
BANDWIDTH_FORMS: Final = "write 256kbit, 1.5mbit or 64kbyte (each second)"

_FORM = re.compile(r"([0-9]+(?:\.[0-9]*)?)([kmg]?)(bit|byte)")
_PREFIX: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BITS: Final = {"bit": 1, "byte": 8}


def check_bandwidth(name: str, value: object) -> float:
    """`value` as bits per second. Raises FaultPlanError."""
    return check_number(name, value, BITS_PER_S_MIN, BITS_PER_S_MAX, BANDWIDTH_FORMS)


def parse_bandwidth(text: str) -> float:
    """Read the text form; raises FaultPlanError naming the text and the remedy. In bits a second.

    >>> from wire import parse_bandwidth
    >>> parse_bandwidth("1.5mbit"), parse_bandwidth("64kbyte")
    (1500000.0, 512000.0)
    """
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        raise FaultPlanError(f"bandwidth = {text[:40]!r}: no number with a unit; {BANDWIDTH_FORMS}")
    number, prefix, unit = match.groups()
    return check_bandwidth("bandwidth", float(number) * _PREFIX[prefix] * _BITS[unit])


def bandwidth_text(bits_per_s: float) -> str:
    """A text that parse_bandwidth reads as this number, to twelve digits."""
    prefix = next((p for p in ("g", "m", "k") if bits_per_s >= _PREFIX[p]), "")
    return f"{bits_per_s / _PREFIX[prefix]:.12g}{prefix}bit"


class BandwidthGate:
    """When one link may take its next frame. The same on real links and on simulated ones.

    A frame of n bytes keeps the link busy for n * 8 / bandwidth seconds; until then later frames wait where
    newer ones replace them (slots.py), so that a narrow link slows nobody and nothing grows. The bandwidth is
    asked for anew each time: whoever widens a link need not wait for what the narrow one would have taken.
    """

    __slots__ = ("_began_at", "_bits")

    def __init__(self) -> None:
        self._began_at = -math.inf
        self._bits = 0

    def ready_at(self, bits_per_s: float | None) -> float:
        """Not before this time; in the past if the link is free. `bits_per_s` None is unlimited."""
        return self._began_at if bits_per_s is None else self._began_at + self._bits / bits_per_s

    def took(self, frame_bytes: int, now: float) -> None:
        """A frame was put on the link at `now`; whether it is lost there does not matter."""
        self._began_at = now
        self._bits = 8 * frame_bytes
