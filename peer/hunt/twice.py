"""One world judged twice: equal worlds give equal verdicts, and the same things happen in the same order."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import fields
from typing import TYPE_CHECKING

from peer.hunt.trial import Trial, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.hunt.world import World

MARK_BYTES = 8
TOLD_MAX = 160  # characters of what has happened
_TIME = struct.Struct("<d")


def noted(world: World) -> tuple[Verdict, list[bytes]]:
    """The verdict, and everything that went into its digest, in order."""
    happened: list[bytes] = []
    return Trial(world, happened.append).run(), happened


def marked(world: World) -> tuple[Verdict, bytes]:
    """The verdict, and a mark of MARK_BYTES for each thing that went into its digest, one after another."""
    marks = bytearray()
    return Trial(world, lambda one: marks.extend(_mark(one))).run(), bytes(marks)


def difference(one: tuple[Verdict, Sequence[bytes]], other: tuple[Verdict, bytes]) -> str:
    """Where two runs part, for people: here from `noted`, there from `marked`. Empty if they do not."""
    verdict, happened = one
    there, marks = other
    for number, thing in enumerate(happened):
        mark = marks[number * MARK_BYTES : (number + 1) * MARK_BYTES]
        if mark != _mark(thing):
            what = "ends before that" if not mark else "does something else"
            return f"a second run {what}: the first has as number {number} {_told(thing)}"
    if len(marks) > len(happened) * MARK_BYTES:
        return f"a second run goes on where the first ends, after {len(happened)} things"
    parts = [one.name for one in fields(verdict) if getattr(verdict, one.name) != getattr(there, one.name)]
    return f"in a second run the same happens, but the verdict differs: {', '.join(parts)}" if parts else ""


def _mark(thing: bytes) -> bytes:
    return hashlib.sha256(thing).digest()[:MARK_BYTES]


def _told(thing: bytes) -> str:
    """A record of the simulation: time, kind, peer, content."""
    (now,) = _TIME.unpack(thing[: _TIME.size])
    kind, peer, content = thing[_TIME.size + 1 :].split(b"|", 2)
    told = content.decode() if kind == b"event" else content.hex()
    return f"{kind.decode()} of {peer.decode()} at {now:g} s: {told[:TOLD_MAX]}"
