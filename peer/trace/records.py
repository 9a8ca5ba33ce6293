"""Records in a file: where one is cut short or damaged, all before it are still read.

A file is

    offset  bytes  content
    0       16     "hyperpush trace\n"
    then for each record
    0       4      length of its content, unsigned little-endian
    4       4      CRC-32 of these four bytes
    8       4      CRC-32 of the content
    12      ...    content: a msgpack array whose first element says of which kind it is

    kind        elements
    beginning   map: format, versions, and how to make the agent, see origins.py
    state       the agent as it was, see values.py; only where a file begins in the middle
    input       number, time by the agent's clock, name, arguments, what came of it, see outline.py

Nothing of this is data of the agent's own.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgpack

from peer.errors import HyperpushError
from peer.trace import checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAGIC: Final = b"hyperpush trace\n"
FORMAT: Final = 1
_HEAD: Final = struct.Struct("<III")


class TraceError(HyperpushError):
    """A file that cannot be replayed: no trace, of a future version, or of what this machine has not."""


@dataclass(frozen=True, slots=True)
class Input:
    """One call of an agent's method, and what came of it."""

    number: int  # from 0, over all files of one trace
    now: float
    name: str
    arguments: list[Any]
    outcome: dict[str, Any]


def pack(kind: str, *content: object) -> bytes:
    """One record."""
    packed = bytes(msgpack.packb([kind, *content]))
    length = len(packed).to_bytes(4, "little")
    return _HEAD.pack(len(packed), zlib.crc32(length), zlib.crc32(packed)) + packed


def pack_input(one: Input) -> bytes:
    """The record of an input."""
    return pack("input", one.number, one.now, one.name, one.arguments, one.outcome)


@dataclass(slots=True)
class Reader:
    """One file, as far as it can be read: first `open`, then `inputs`."""

    file: BinaryIO
    beginning: dict[str, Any] = field(default_factory=dict)
    state: bytes | None = None
    bytes_read: int = 0
    cut: bool = False  # the file ends within a record: what wrote it was killed, or the disk was full
    damaged: bool = False  # a record is not as it was written
    _next: list[Any] | None = None

    def open(self) -> None:
        """Read up to the first input. Raises TraceError for what is no trace that this release reads."""
        if self.file.read(len(MAGIC)) != MAGIC:
            raise TraceError("it is no trace of hyperpush; give a file written by --trace")
        self.bytes_read = len(MAGIC)
        match self._record():
            case ["beginning", dict(beginning)]:
                self.beginning = beginning
            case _:
                raise TraceError("its beginning is missing or damaged; nothing of it can be replayed")
        found = self.beginning.get("format")
        if found != FORMAT:
            raise TraceError(
                f"its format is {found!r}, this release reads {FORMAT}; replay it with hyperpush "
                f"{self.beginning.get('hyperpush')}"
            )
        match self.beginning:
            case {"first": int(first), "threads": int(), "origin": {"kind": str()}, "made": dict()}:
                pass
            case _:
                raise TraceError("its beginning says too little to replay it; give another file")
        wrong = checks.wrong_in_beginning(self.beginning)
        if wrong is not None:
            raise TraceError(f"its beginning is not one of a trace: {wrong}; give another file")
        self._next = self._record()
        match self._next:
            case ["state", bytes(state)]:
                self.state = state
                self._next = self._record()
            case _ if first:
                raise TraceError("the state it begins with is damaged; replay another file of this trace")

    def inputs(self) -> Iterator[Input]:
        """All that can be read, in order."""
        while self._next is not None:
            match self._next:
                case [
                    "input",
                    int(number),
                    int(now) | float(now),
                    str(name),
                    list(given),
                    dict(outcome),
                ] if checks.is_possible(number, now, given, outcome):
                    yield Input(number, now, name, given, outcome)
                case _:
                    self.damaged = True
                    return
            self._next = self._record()

    def _record(self) -> list[Any] | None:
        head = self.file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            self.cut = bool(head)
            return None
        length, length_check, check = _HEAD.unpack(head)
        if zlib.crc32(head[:4]) != length_check:
            self.damaged = True
            return None
        content = self.file.read(length)
        if len(content) < length:
            self.cut = True
            return None
        if zlib.crc32(content) != check:
            self.damaged = True
            return None
        self.bytes_read += len(head) + length
        try:
            found = msgpack.unpackb(content, strict_map_key=False)
        except (ValueError, TypeError, msgpack.UnpackException):  # whoever wrote it had other ideas
            self.damaged = True
            return None
        return found if isinstance(found, list) else []
