"""Recording a simulation and finding where two recordings part."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import peer

if TYPE_CHECKING:
    from collections.abc import Sequence


def recorded(problems: Sequence[Any], **arguments: Any) -> tuple[list[bytes], peer.SimulationResult]:
    """Every record of the trace, in order, and the result."""
    records: list[bytes] = []
    return records, peer.simulate(problems, record=records.append, **arguments)


def readable(record: bytes | None) -> str:
    """`time kind agent content`, content shortened."""
    if record is None:
        return "nothing: the trace has ended"
    (now,) = struct.unpack_from("<d", record)
    kind, who, content = record[9:].split(b"|", 2)
    shown = content if len(content) <= 80 else content[:80] + b"..."
    return f"at {now!r} s {kind.decode()} {who.decode()} {shown!r}"


def first_difference(one: Sequence[bytes], other: Sequence[bytes]) -> str | None:
    """Number and content of the first record that differs; None if there is none."""
    for number, (left, right) in enumerate(itertools.zip_longest(one, other)):
        if left != right:
            return f"record {number}: {readable(left)}\n  instead of {readable(right)}"
    return None
