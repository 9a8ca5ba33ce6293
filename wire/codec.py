"""Frames: a Push as bytes, and back.

    offset  bytes  content
    0       2      magic "HP"
    2       1      version, now 1
    3       1      flags, now 0; a flag we do not know changes the layout, so it is a future version
    4       4      length of the header, unsigned little-endian
    8       ...    header: a msgpack map, table below
    ...     0-7    zeros up to a multiple of 8 from the start of the frame
    ...     ...    the arrays in order, each starting at a multiple of 8; zeros between, none behind the last

    key  field            type   range
    s    swarm            str    1 .. SWARM_BYTES_MAX bytes, printable
    f    fingerprint      str    1 .. FINGERPRINT_BYTES_MAX bytes, printable
    p    sender           str    1 .. PEER_ID_BYTES_MAX bytes, printable
    i    incarnation      int    0 .. 2**64 - 1
    e    epoch            int    0 .. 2**64 - 1
    b    block            int    0 .. 2**64 - 1
    n    sequence         int    1 .. 2**64 - 1
    t    tick             int    0 .. 2**64 - 1
    d    tick_interval_s  float  finite, above 0
    a    address          str    "" or HOST:PORT, at most ADDRESS_BYTES_MAX bytes
    v    arrays           array  at most ARRAYS_MAX of [dtype, count], dtype "<f4" or "<f8"

Every key is required; keys not in the table are ignored, so that a later release can add some while both run
in one swarm. Changing the meaning of a key needs a new version.
"""

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeVar, cast

import msgpack

from wire.errors import AddressError, DecodeError, EncodeError, RejectReason
from wire.messages import (
    ADDRESS_BYTES_MAX,
    ARRAYS_MAX,
    FINGERPRINT_BYTES_MAX,
    ITEM_BYTES,
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    Array,
    Push,
    name_problem,
    parse_address,
)

PROTOCOL_VERSION: Final = 1
MESSAGE_BYTES_MAX: Final = 2**20  # one block: small enough to be replaced while waiting on a slow link
HEADER_BYTES_MAX: Final = 16 * 2**10  # ten times the largest header of this version: room for later keys
U64_MAX: Final = 2**64 - 1

_MAGIC: Final = b"HP"
_PREFIX_BYTES: Final = 8
_ALIGNMENT: Final = 8
_HEADER_LENGTH_MAX: Final = 1_024  # elements of any one msgpack array or map, known or not

_Dtype = Literal["<f4", "<f8"]
_Field = TypeVar("_Field")


def push_bytes_overhead_max(array_count: int = ARRAYS_MAX) -> int:
    """Upper bound of `len(encode_push(push)) - bytes of its arrays` for any push of `array_count` arrays.

    So `array bytes <= MESSAGE_BYTES_MAX - push_bytes_overhead_max(k)` is a block that always fits.
    """
    integer, number, text = 9, 9, 3  # the longest msgpack forms: marker and 8 bytes; marker and 16-bit length
    keys = 11 * 2 + 1
    names = 4 * text + SWARM_BYTES_MAX + FINGERPRINT_BYTES_MAX + PEER_ID_BYTES_MAX + ADDRESS_BYTES_MAX
    described = 3 + array_count * (1 + len("\xa3<f4") + integer)
    padding = (_ALIGNMENT - 1) * max(array_count, 1)
    return _PREFIX_BYTES + keys + names + 5 * integer + number + described + padding


def encode_push(push: Push[Array]) -> bytes:
    """One frame. The same push always gives the same bytes, and decode_push gives the push back.

    Raises EncodeError naming the field if a receiver would refuse it; the length of the frame is the caller's
    business, see push_bytes_overhead_max.
    """
    header: dict[str, object] = {
        "s": push.swarm,
        "f": push.fingerprint,
        "p": push.sender,
        "i": push.incarnation,
        "e": push.epoch,
        "b": push.block,
        "n": push.sequence,
        "t": push.tick,
        "d": float(push.tick_interval_s),
        "a": push.address,
        "v": [[array.dtype, array.count] for array in push.arrays],
    }
    try:
        _read_header(header)
    except DecodeError as error:
        raise EncodeError(str(error)) from None
    packed = cast("bytes", msgpack.packb(header, use_bin_type=True))
    parts: list[bytes | memoryview] = [
        _MAGIC,
        bytes((PROTOCOL_VERSION, 0)),
        len(packed).to_bytes(4, "little"),
        packed,
    ]
    offset = _PREFIX_BYTES + len(packed)
    for index, array in enumerate(push.arrays):
        array_bytes = memoryview(array.data).nbytes
        if array_bytes % ITEM_BYTES[array.dtype]:
            raise EncodeError(f"array {index} has {array_bytes} bytes: not a whole number of {array.dtype}")
        padding = -offset % _ALIGNMENT
        parts += (bytes(padding), array.data)
        offset += padding + array_bytes
    return b"".join(parts)


def decode_push(
    frame: bytes | bytearray | memoryview, *, message_bytes_max: int = MESSAGE_BYTES_MAX
) -> Push[Array]:
    """Read one frame; `arrays` are read-only views of it, so it must not change while they live.

    Whatever the bytes, the only exception is DecodeError; nothing much larger than the frame is allocated.
    """
    view = memoryview(frame).cast("B").toreadonly()
    if len(view) > message_bytes_max:
        raise _oversized("frame length", len(view), message_bytes_max)
    header_end = _read_prefix(view)
    push = _read_header(_unpack_header(view[_PREFIX_BYTES:header_end]))
    arrays = tuple(_cut_arrays(view, header_end, push.arrays))
    return Push(
        push.swarm,
        push.fingerprint,
        push.sender,
        push.incarnation,
        push.epoch,
        push.block,
        push.sequence,
        push.tick,
        push.tick_interval_s,
        push.address,
        arrays,
    )


def _read_prefix(view: memoryview) -> int:
    """Offset where the header ends; it lies within the frame."""
    if len(view) < _PREFIX_BYTES:
        raise _malformed("frame length", len(view), f"at least {_PREFIX_BYTES} bytes")
    magic = bytes(view[:2])
    if magic != _MAGIC:
        raise _malformed("magic", magic, repr(_MAGIC))
    version, flags = view[2], view[3]
    if version > PROTOCOL_VERSION or flags:
        raise DecodeError(
            RejectReason.FUTURE_VERSION,
            f"version is {version} with flags {flags:#04x}: this release reads up to version "
            f"{PROTOCOL_VERSION} with flags 0x00",
        )
    if version < 1:
        raise _malformed("version", version, "at least 1")
    header_bytes = int.from_bytes(view[4:8], "little")
    if header_bytes > HEADER_BYTES_MAX:
        raise _oversized("header length", header_bytes, HEADER_BYTES_MAX)
    if header_bytes > len(view) - _PREFIX_BYTES:
        raise _malformed("header length", header_bytes, f"at most {len(view) - _PREFIX_BYTES} in this frame")
    return _PREFIX_BYTES + header_bytes


def _refuse_extension(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code}")


def _unpack_header(view: memoryview) -> dict[object, object]:
    """The msgpack map; every limit is explicit, no hook builds objects, extension types are refused."""
    try:
        header: object = msgpack.unpackb(
            view,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_str_len=HEADER_BYTES_MAX,
            max_bin_len=HEADER_BYTES_MAX,
            max_array_len=_HEADER_LENGTH_MAX,
            max_map_len=_HEADER_LENGTH_MAX,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise DecodeError(
            RejectReason.MALFORMED, f"header of {len(view)} bytes is no msgpack: {str(error)[:80]}"
        ) from None
    if not isinstance(header, dict):
        raise _malformed("header", header, "a map")
    return header


def _read_header(header: Mapping[object, object] | Mapping[str, object]) -> Push[tuple[_Dtype, int]]:
    """Check every field; the arrays of the result are (dtype, count)."""
    fields = cast("Mapping[object, object]", header)

    def read(key: str, name: str, check: Callable[[str, object], _Field]) -> _Field:
        if key not in fields:
            raise DecodeError(RejectReason.MALFORMED, f"header field {name!r} (key {key!r}) is missing")
        return check(name, fields[key])

    return Push(
        swarm=read("s", "swarm", _name_of(SWARM_BYTES_MAX)),
        fingerprint=read("f", "fingerprint", _name_of(FINGERPRINT_BYTES_MAX)),
        sender=read("p", "sender", _name_of(PEER_ID_BYTES_MAX)),
        incarnation=read("i", "incarnation", _count_of(0)),
        epoch=read("e", "epoch", _count_of(0)),
        block=read("b", "block", _count_of(0)),
        sequence=read("n", "sequence", _count_of(1)),
        tick=read("t", "tick", _count_of(0)),
        tick_interval_s=read("d", "tick_interval_s", _check_interval),
        address=read("a", "address", _check_address),
        arrays=read("v", "arrays", _check_arrays),
    )


def _name_of(bytes_max: int) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise _malformed(name, value, "a string")
        problem = name_problem(value, bytes_max)
        if problem is not None:
            raise DecodeError(RejectReason.MALFORMED, f"{name} is {reprlib.repr(value)}: {problem}")
        return value

    return check


def _count_of(minimum: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if type(value) is not int or not minimum <= value <= U64_MAX:
            raise _malformed(name, value, f"an integer from {minimum} to {U64_MAX}")
        return value

    return check


def _check_interval(name: str, value: object) -> float:
    if not isinstance(value, float) or not math.isfinite(value) or value <= 0:
        raise _malformed(name, value, "a finite float above 0")
    return value


def _check_address(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _malformed(name, value, "a string")
    if value:
        try:
            parse_address(value)
        except AddressError as error:
            raise DecodeError(RejectReason.MALFORMED, str(error)) from None
    return value


def _check_arrays(name: str, value: object) -> tuple[tuple[_Dtype, int], ...]:
    if not isinstance(value, list) or len(value) > ARRAYS_MAX:
        raise _malformed(name, value, f"a list of at most {ARRAYS_MAX} arrays")
    described: list[tuple[_Dtype, int]] = []
    for index, entry in enumerate(value):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise _malformed(f"{name}[{index}]", entry, "[dtype, count]")
        dtype, count = entry
        if dtype not in ITEM_BYTES:
            raise DecodeError(
                RejectReason.WRONG_DTYPE,
                f"{name}[{index}] has dtype {reprlib.repr(dtype)}: expected '<f4' or '<f8'",
            )
        described.append((cast("_Dtype", dtype), _count_of(0)(f"{name}[{index}] count", count)))
    return tuple(described)


def _cut_arrays(view: memoryview, offset: int, described: tuple[tuple[_Dtype, int], ...]) -> Iterator[Array]:
    """Slice the arrays out of the frame; padding is zero and the last array ends the frame."""
    for index, (dtype, count) in enumerate(described):
        start = offset + -offset % _ALIGNMENT
        end = start + count * ITEM_BYTES[dtype]
        if end > len(view):
            raise _malformed("frame length", len(view), f"at least {end} for arrays[{index}] to fit")
        if any(view[offset:start]):
            raise _malformed(f"padding before arrays[{index}]", bytes(view[offset:start]), "zeros")
        yield Array(dtype, view[start:end])
        offset = end
    if offset != len(view):
        raise _malformed("frame length", len(view), f"{offset}, where the last array ends")


def _malformed(name: str, value: object, expected: str) -> DecodeError:
    # reprlib bounds what a stranger can put into our logs, in length and in depth.
    return DecodeError(RejectReason.MALFORMED, f"{name} is {reprlib.repr(value)}: expected {expected}")


def _oversized(name: str, value: int, maximum: int) -> DecodeError:
    return DecodeError(RejectReason.OVERSIZED, f"{name} is {value}: at most {maximum} is read")
