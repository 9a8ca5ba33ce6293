"""Heartbeats as they stand in the header of a frame, and back.

    key  field    type   content
    o    targets  bin    MARK_BYTES each, at most TARGETS_TOLD_MAX
    l    digest   array  at most DIGEST_MAX of [peer, incarnation, heartbeat, address, left, hears, accuses]
         hears    bin    HEARD_BYTES each, at most HEARS_MAX: mark, heartbeat (8 bytes), age (2), big-endian;
                         or nil
         accuses  bin    MARK_BYTES each, at most ACCUSES_MAX

A heartbeat of 0 of another, without `hears`, is no sign of life: somebody was found there and never heard.
Elements of a heartbeat beyond the seventh are ignored, so that a later release can add some.
"""

import functools
import struct
from itertools import starmap
from typing import Final

from wire.checks import check_address, count_of, malformed, name_of
from wire.messages import (
    ACCUSES_MAX,
    ADDRESS_BYTES_MAX,
    DIGEST_MAX,
    HEARS_MAX,
    MARK_BYTES,
    PEER_ID_BYTES_MAX,
    TARGETS_TOLD_MAX,
    Heard,
    Heartbeat,
)

_HEARD: Final = struct.Struct(f">{MARK_BYTES}sQH")
HEARD_BYTES: Final = _HEARD.size
DIGESTS_REMEMBERED: Final = 16  # as packed: all blocks of a tick but the first say the same
_FIELDS: Final = 7

_check_peer: Final = name_of(PEER_ID_BYTES_MAX)
_check_count: Final = count_of(0)

_INTEGER: Final = 9  # the longest msgpack forms, as in codec.py
_LENGTH: Final = 3
HEARTBEAT_BYTES_MAX: Final = (
    1
    + (_LENGTH + PEER_ID_BYTES_MAX)
    + 2 * _INTEGER
    + (_LENGTH + ADDRESS_BYTES_MAX)
    + 1
    + (_LENGTH + HEARS_MAX * HEARD_BYTES)
    + (_LENGTH + ACCUSES_MAX * MARK_BYTES)
)
DIGEST_BYTES_MAX: Final = 1 + DIGEST_MAX * HEARTBEAT_BYTES_MAX + _LENGTH + TARGETS_TOLD_MAX * MARK_BYTES


@functools.lru_cache(DIGESTS_REMEMBERED)
def pack_digest(digest: tuple[Heartbeat, ...]) -> list[list[object]]:
    """The value of key "l", not to be changed. Raises DecodeError if no receiver would take it."""
    packed: list[list[object]] = [
        [
            entry.peer,
            entry.incarnation,
            entry.heartbeat,
            entry.address,
            entry.left,
            None if entry.hears is None else b"".join([_HEARD.pack(*heard) for heard in entry.hears]),
            b"".join(entry.accuses),
        ]
        for entry in digest
    ]
    read_digest("digest", packed)
    return packed


def read_marks(name: str, value: object, count_max: int = TARGETS_TOLD_MAX) -> tuple[bytes, ...]:
    """Cut MARK_BYTES each. Raises DecodeError."""
    marks = _items(name, value, MARK_BYTES, count_max)
    return tuple([marks[start : start + MARK_BYTES] for start in range(0, len(marks), MARK_BYTES)])


def read_digest(name: str, value: object) -> tuple[Heartbeat, ...]:
    """The heartbeats. Raises DecodeError naming the field."""
    if not isinstance(value, list) or len(value) > DIGEST_MAX:
        raise malformed(name, value, f"a list of at most {DIGEST_MAX} heartbeats")
    return tuple(_read_heartbeat(f"{name}[{index}]", entry) for index, entry in enumerate(value))


def _read_heartbeat(name: str, entry: object) -> Heartbeat:
    if not isinstance(entry, list) or len(entry) < _FIELDS:
        raise malformed(name, entry, f"a list of {_FIELDS}")
    peer, incarnation, heartbeat, address, left, hears, accuses = entry[:_FIELDS]
    if not isinstance(left, bool):
        raise malformed(f"{name} left", left, "true or false")
    return Heartbeat(
        _check_peer(f"{name} peer", peer),
        _check_count(f"{name} incarnation", incarnation),
        _check_count(f"{name} heartbeat", heartbeat),
        check_address(f"{name} address", address),
        left,
        None if hears is None else _read_hears(f"{name} hears", hears),
        read_marks(f"{name} accuses", accuses, ACCUSES_MAX),
    )


def _read_hears(name: str, value: object) -> tuple[Heard, ...]:
    return tuple(starmap(Heard, _HEARD.iter_unpack(_items(name, value, HEARD_BYTES, HEARS_MAX))))


def _items(name: str, value: object, item_bytes: int, count_max: int) -> bytes:
    """Items of equal length, one after another."""
    if not isinstance(value, bytes) or len(value) % item_bytes or len(value) > count_max * item_bytes:
        raise malformed(name, value, f"at most {count_max} times {item_bytes} bytes")
    return value
