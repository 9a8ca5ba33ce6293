"""Frames: a Push as bytes, and back.

    offset  bytes  content
    0       2      magic "HP"
    2       1      version, 1 or 2
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
    o    targets          bin    version 2: whom it is for, see digest.py; not empty if there are arrays
    l    digest           array  version 2: signs of life, see digest.py
    m    averages         bin    version 2, may be missing: at most AVERAGES_MAX finite "<f8"

Every other key of its version is required; keys not in the table are ignored, so that a later release can add
some while both run in one swarm. Changing the meaning of a key needs a new version; while two are in use in a
swarm, each agent writes the highest that all it pushes to can read.
"""

import reprlib
import struct
from collections.abc import Iterator, Mapping
from typing import Final, Literal, cast

import msgpack

from wire.checks import (
    check_address,
    check_interval,
    count_of,
    floats_of,
    malformed,
    name_of,
    oversized,
    pack_floats,
)
from wire.digest import DIGEST_BYTES_MAX, pack_digest, read_digest, read_marks
from wire.errors import DecodeError, EncodeError, RejectReason
from wire.messages import (
    ADDRESS_BYTES_MAX,
    ARRAYS_MAX,
    AVERAGES_MAX,
    FINGERPRINT_BYTES_MAX,
    ITEM_BYTES,
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    Array,
    Push,
)

PROTOCOL_VERSION: Final = 2  # the newest: with targets and signs of life
PROTOCOL_OLDEST: Final = 1  # the oldest still read and written
MESSAGE_BYTES_MAX: Final = 2**20  # one block: small enough to be replaced while waiting on a slow link
HEADER_BYTES_MAX: Final = 16 * 2**10  # a third more than the largest header of this version: room for keys

_MAGIC: Final = b"HP"
_PREFIX: Final = struct.Struct("<2sBBI")
_PREFIX_BYTES: Final = _PREFIX.size
_ALIGNMENT: Final = 8
_HEADER_LENGTH_MAX: Final = 1_024  # elements of any one msgpack array or map, known or not

_Dtype = Literal["<f4", "<f8"]

_FIELDS: Final = {
    "s": "swarm",
    "f": "fingerprint",
    "p": "sender",
    "i": "incarnation",
    "e": "epoch",
    "b": "block",
    "n": "sequence",
    "t": "tick",
    "d": "tick_interval_s",
    "a": "address",
    "v": "arrays",
    "o": "targets",
    "l": "digest",
    "m": "averages",
}
_REQUIRED: Final = {1: _FIELDS.keys() - {"o", "l", "m"}, 2: _FIELDS.keys() - {"m"}}  # keys, by version

_check_swarm: Final = name_of(SWARM_BYTES_MAX)
_check_fingerprint: Final = name_of(FINGERPRINT_BYTES_MAX)
_check_sender: Final = name_of(PEER_ID_BYTES_MAX)
_check_count: Final = count_of(0)
_check_sequence: Final = count_of(1)
_check_averages: Final = floats_of(AVERAGES_MAX)


def push_bytes_overhead_max(array_count: int = ARRAYS_MAX) -> int:
    """Upper bound of `len(encode_push(push)) - bytes of its arrays` for any push of `array_count` arrays.

    So `array bytes <= MESSAGE_BYTES_MAX - push_bytes_overhead_max(k)` is a block that always fits.
    """
    integer, number, text = 9, 9, 3  # the longest msgpack forms: marker and 8 bytes; marker and 16-bit length
    keys = 14 * 2 + 1
    averages = 2 + 8 * AVERAGES_MAX
    names = 4 * text + SWARM_BYTES_MAX + FINGERPRINT_BYTES_MAX + PEER_ID_BYTES_MAX + ADDRESS_BYTES_MAX
    described = 3 + array_count * (1 + len("\xa3<f4") + integer)
    padding = (_ALIGNMENT - 1) * max(array_count, 1)
    numbers = 5 * integer + number + averages
    return _PREFIX_BYTES + keys + names + numbers + described + DIGEST_BYTES_MAX + padding


def encode_push(push: Push[Array], version: int = PROTOCOL_VERSION) -> bytes:
    """One frame: its parts in one piece."""
    return b"".join(encode_parts(push, version))


def encode_parts(push: Push[Array], version: int = PROTOCOL_VERSION) -> list[bytes | memoryview]:
    """One frame in parts; the arrays are not copied. The same push always gives the same bytes, and
    decode_push gives the push back.

    In version 1 it is without targets, signs of life and averages. Raises EncodeError naming the field if a
    receiver would refuse it; the length of the frame is the caller's business, see push_bytes_overhead_max.
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
    if version > 1:
        header["o"] = b"".join(push.targets)
        header["l"] = []
        if push.averages:
            header["m"] = pack_floats(push.averages)
    try:
        _read_header(header, version)
        if version > 1:
            header["l"] = pack_digest(push.digest)
    except DecodeError as error:
        raise EncodeError(str(error)) from None
    packed = cast("bytes", msgpack.packb(header, use_bin_type=True))
    parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, version, 0, len(packed)), packed]
    offset = _PREFIX_BYTES + len(packed)
    for index, array in enumerate(push.arrays):
        array_bytes = memoryview(array.data).nbytes
        if array_bytes % ITEM_BYTES[array.dtype]:
            raise EncodeError(f"array {index} has {array_bytes} bytes: not a whole number of {array.dtype}")
        padding = -offset % _ALIGNMENT
        parts += (bytes(padding), array.data)
        offset += padding + array_bytes
    return parts


def decode_push(
    frame: bytes | bytearray | memoryview, *, message_bytes_max: int = MESSAGE_BYTES_MAX
) -> Push[Array]:
    """Read one frame; `arrays` are views of it, which are read-only if it is.

    Whatever the bytes, the only exception is DecodeError; nothing much larger than the frame is allocated.
    """
    view = memoryview(frame).cast("B")
    if len(view) > message_bytes_max:
        raise oversized("frame length", len(view), message_bytes_max)
    version, header_end = _read_prefix(view)
    push = _read_header(_unpack_header(view[_PREFIX_BYTES:header_end]), version)
    return push.with_arrays(tuple(_cut_arrays(view, header_end, push.arrays)))


def _read_prefix(view: memoryview) -> tuple[int, int]:
    """Version, and offset where the header ends; it lies within the frame."""
    if len(view) < _PREFIX_BYTES:
        raise malformed("frame length", len(view), f"at least {_PREFIX_BYTES} bytes")
    magic, version, flags, header_bytes = _PREFIX.unpack_from(view)
    if magic != _MAGIC:
        raise malformed("magic", magic, repr(_MAGIC))
    if version > PROTOCOL_VERSION or flags:
        raise DecodeError(
            RejectReason.FUTURE_VERSION,
            f"version is {version} with flags {flags:#04x}: this release reads up to version "
            f"{PROTOCOL_VERSION} with flags 0x00",
        )
    if version < PROTOCOL_OLDEST:
        raise malformed("version", version, f"at least {PROTOCOL_OLDEST}")
    if header_bytes > HEADER_BYTES_MAX:
        raise oversized("header length", header_bytes, HEADER_BYTES_MAX)
    if header_bytes > len(view) - _PREFIX_BYTES:
        raise malformed("header length", header_bytes, f"at most {len(view) - _PREFIX_BYTES} in this frame")
    return version, _PREFIX_BYTES + header_bytes


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
        raise malformed("header", header, "a map")
    return header


def _read_header(
    header: Mapping[object, object] | Mapping[str, object], version: int
) -> Push[tuple[_Dtype, int]]:
    """Check every field; the arrays of the result are (dtype, count)."""
    fields = cast("Mapping[object, object]", header)
    if not fields.keys() >= _REQUIRED[version]:
        key = min(_REQUIRED[version] - fields.keys())
        raise DecodeError(RejectReason.MALFORMED, f"header field {_FIELDS[key]!r} (key {key!r}) is missing")
    arrays = _check_arrays("arrays", fields["v"])
    targets = read_marks("targets", fields["o"]) if version > 1 else ()
    if version > 1 and arrays and not targets:
        raise malformed("targets", targets, "whom the arrays are for")
    return Push(
        swarm=_check_swarm("swarm", fields["s"]),
        fingerprint=_check_fingerprint("fingerprint", fields["f"]),
        sender=_check_sender("sender", fields["p"]),
        incarnation=_check_count("incarnation", fields["i"]),
        epoch=_check_count("epoch", fields["e"]),
        block=_check_count("block", fields["b"]),
        sequence=_check_sequence("sequence", fields["n"]),
        tick=_check_count("tick", fields["t"]),
        tick_interval_s=check_interval("tick_interval_s", fields["d"]),
        address=check_address("address", fields["a"]),
        arrays=arrays,
        targets=targets,
        digest=read_digest("digest", fields["l"]) if version > 1 else (),
        averages=_check_averages("averages", fields["m"]) if version > 1 and "m" in fields else (),
    )


def _check_arrays(name: str, value: object) -> tuple[tuple[_Dtype, int], ...]:
    if not isinstance(value, list) or len(value) > ARRAYS_MAX:
        raise malformed(name, value, f"a list of at most {ARRAYS_MAX} arrays")
    described: list[tuple[_Dtype, int]] = []
    for index, entry in enumerate(value):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise malformed(f"{name}[{index}]", entry, "[dtype, count]")
        dtype, count = entry
        if dtype not in ITEM_BYTES:
            raise DecodeError(
                RejectReason.WRONG_DTYPE,
                f"{name}[{index}] has dtype {reprlib.repr(dtype)}: expected '<f4' or '<f8'",
            )
        described.append((cast("_Dtype", dtype), _check_count(f"{name}[{index}] count", count)))
    return tuple(described)


def _cut_arrays(view: memoryview, offset: int, described: tuple[tuple[_Dtype, int], ...]) -> Iterator[Array]:
    """Slice the arrays out of the frame; padding is zero and the last array ends the frame."""
    for index, (dtype, count) in enumerate(described):
        start = offset + -offset % _ALIGNMENT
        end = start + count * ITEM_BYTES[dtype]
        if end > len(view):
            raise malformed("frame length", len(view), f"at least {end} for arrays[{index}] to fit")
        if start > offset and any(view[offset:start]):
            raise malformed(f"padding before arrays[{index}]", bytes(view[offset:start]), "zeros")
        yield Array(dtype, view[start:end])
        offset = end
    if offset != len(view):
        raise malformed("frame length", len(view), f"{offset}, where the last array ends")
