import contextlib
import dataclasses
import math
import struct

import msgpack
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import (
    ADDRESS_BYTES_MAX,
    ARRAYS_MAX,
    FINGERPRINT_BYTES_MAX,
    HEADER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    U64_MAX,
    Array,
    DecodeError,
    EncodeError,
    Heard,
    Heartbeat,
    Push,
    RejectReason,
    decode_push,
    encode_push,
    push_bytes_overhead_max,
)
from wire.digest import pack_digest
from wire.messages import (
    ACCUSES_MAX,
    AGE_TICKS_MAX,
    AVERAGES_MAX,
    DIGEST_MAX,
    HEARS_MAX,
    TARGETS_TOLD_MAX,
)

PUSH_1 = Push(
    swarm="fields",
    fingerprint="c0ffee",
    sender="agent-1",
    incarnation=3,
    epoch=300,
    block=2,
    sequence=70_000,
    tick=2**40,
    tick_interval_s=0.25,
    address="192.0.2.7:7700",
    arrays=(Array("<f4", struct.pack("<3f", 1.0, -2.5, 0.0)), Array("<f8", struct.pack("<d", math.pi))),
)
# Prefix, the keys s f p i e b n t d a v, padding to 112, three <f4, padding to 128, one <f8.
PUSH_1_HEX = """
    4850 01 00 65000000 8b
    a173 a66669656c6473
    a166 a6633066666565
    a170 a76167656e742d31
    a169 03
    a165 cd012c
    a162 02
    a16e ce00011170
    a174 cf0000010000000000
    a164 cb3fd0000000000000
    a161 ae3139322e302e322e373a37373030
    a176 92 92a33c663403 92a33c663801
    000000
    0000803f 000020c0 00000000
    00000000
    182d4454fb210940
"""
SMALLEST = Push("s", "f", "p", 0, 0, 0, 1, 0, 1.0, "", ())
SMALLEST_1_HEX = """
    4850 01 00 2d000000 8b
    a173a173 a166a166 a170a170 a16900 a16500 a16200 a16e01 a17400 a164cb3ff0000000000000 a161a0 a17690
"""
SMALLEST_HEX = """
    4850 02 00 34000000 8d
    a173a173 a166a166 a170a170 a16900 a16500 a16200 a16e01 a17400 a164cb3ff0000000000000 a161a0 a17690
    a16fc400 a16c90
"""
PUSH = dataclasses.replace(
    PUSH_1,
    targets=(b"target-1", b"target-2"),
    digest=(
        Heartbeat("agent-1", 3, 300, "192.0.2.7:7700", False, (Heard(b"hears-it", 258, 3),), (b"liar-one",)),
        Heartbeat("b", 0, 1, left=True),
    ),
)
# As in version 1 with o and l behind, padding to 208, three <f4, padding to 224, one <f8.
PUSH_HEX = """
    4850 02 00 c1000000 8d
    a173 a66669656c6473
    a166 a6633066666565
    a170 a76167656e742d31
    a169 03
    a165 cd012c
    a162 02
    a16e ce00011170
    a174 cf0000010000000000
    a164 cb3fd0000000000000
    a161 ae3139322e302e322e373a37373030
    a176 92 92a33c663403 92a33c663801
    a16f c410 7461726765742d31 7461726765742d32
    a16c 92
      97 a76167656e742d31 03 cd012c ae3139322e302e322e373a37373030 c2
         c412 68656172732d6974 0000000000000102 0003 c408 6c6961722d6f6e65
      97 a162 00 01 a0 c3 c0   c400
    00000000000000
    0000803f 000020c0 00000000
    00000000
    182d4454fb210940
"""


@pytest.mark.parametrize(
    ("push", "version", "golden"),
    [
        (PUSH_1, 1, PUSH_1_HEX),
        (SMALLEST, 1, SMALLEST_1_HEX),
        (PUSH, 2, PUSH_HEX),
        (SMALLEST, 2, SMALLEST_HEX),
    ],
)
def test_golden_frames(push: Push[Array], version: int, golden: str) -> None:
    """These bytes are the protocol: a change here needs a new PROTOCOL_VERSION."""
    assert encode_push(push, version).hex(" ") == bytes.fromhex(golden).hex(" ")
    assert decode_push(bytes.fromhex(golden)) == push


def test_version_1_leaves_out_what_it_does_not_know() -> None:
    assert decode_push(encode_push(PUSH, 1)) == PUSH_1


def test_elements_of_a_heartbeat_that_a_later_release_adds_are_ignored() -> None:
    beat = ["b", 0, 1, "", True, None, b"", {"later": 1}]
    assert decode_push(framed(header_of(SMALLEST) | {"l": [beat]})).digest == (PUSH.digest[1],)


def names(bytes_max: int) -> st.SearchStrategy[str]:
    return (
        st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=bytes_max)
        .map(lambda text: text.encode()[:bytes_max].decode(errors="ignore"))
        .filter(bool)
    )


ARRAYS = st.builds(
    lambda dtype, count, data: Array(dtype, data[: count * int(dtype[2:])]),
    st.sampled_from(["<f4", "<f8"]),
    st.integers(0, 5),
    st.binary(min_size=40, max_size=40),
)
U64 = st.integers(0, U64_MAX)
MARKS = st.binary(min_size=8, max_size=8)
HEARTBEATS = st.builds(
    Heartbeat,
    st.sampled_from(["b", "é" * (PEER_ID_BYTES_MAX // 2)]),
    U64,
    U64,
    st.sampled_from(["", "host.example:7700"]),
    st.booleans(),
    st.none() | st.lists(st.builds(Heard, MARKS, U64, st.integers(0, AGE_TICKS_MAX)), max_size=3).map(tuple),
    st.lists(MARKS, max_size=3).map(tuple),
)
PUSHES = st.builds(
    Push,
    swarm=names(SWARM_BYTES_MAX),
    fingerprint=names(FINGERPRINT_BYTES_MAX),
    sender=names(PEER_ID_BYTES_MAX),
    incarnation=U64,
    epoch=U64,
    block=U64,
    sequence=st.integers(1, U64_MAX),
    tick=U64,
    tick_interval_s=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    address=st.sampled_from(["", "127.0.0.1:1", "[::1]:65535", "host.example:7700"]),
    arrays=st.lists(ARRAYS, max_size=5).map(tuple),
    targets=st.lists(MARKS, min_size=1, max_size=5).map(tuple),
    digest=st.lists(HEARTBEATS, max_size=5).map(tuple),
)


@given(PUSHES)
def test_decode_inverts_encode(push: Push[Array]) -> None:
    frame = encode_push(push)
    assert decode_push(frame) == push
    assert decode_push(bytearray(frame)) == push
    assert decode_push(memoryview(b"-" + frame)[1:]) == push


@given(PUSHES)
def test_arrays_are_aligned_read_only_views_and_fit_the_overhead(push: Push[Array]) -> None:
    frame = encode_push(push)
    start = numpy.frombuffer(frame, numpy.uint8).ctypes.data
    for array in decode_push(frame).arrays:
        assert isinstance(array.data, memoryview)
        assert array.data.readonly
        assert array.data.obj is frame
        if array.count:
            elements = numpy.frombuffer(array.data, array.dtype)
            assert (elements.ctypes.data - start) % 8 == 0
            assert len(elements) == array.count
    for array in decode_push(bytearray(frame)).arrays:
        assert isinstance(array.data, memoryview)
        assert not array.data.readonly, "whoever gives a copy may write into it"
    array_bytes = sum(len(array.data) for array in push.arrays)
    assert len(frame) - array_bytes <= push_bytes_overhead_max(len(push.arrays))


@pytest.mark.parametrize("array_count", [0, 1, 2, ARRAYS_MAX])
def test_the_longest_push_meets_the_overhead(array_count: int) -> None:
    push = Push(
        "s" * SWARM_BYTES_MAX,
        "f" * FINGERPRINT_BYTES_MAX,
        "p" * PEER_ID_BYTES_MAX,
        U64_MAX,
        U64_MAX,
        U64_MAX,
        U64_MAX,
        U64_MAX,
        1.0,
        ".".join(["a" * 63] * 4) + ":65535",
        (Array("<f4", bytes(4 * 70_001)),) * array_count,
        (bytes(8),) * TARGETS_TOLD_MAX,
        (
            Heartbeat(
                "p" * PEER_ID_BYTES_MAX,
                U64_MAX,
                U64_MAX,
                ".".join(["a" * 63] * 4) + ":65535",
                True,
                (Heard(bytes(8), 0, 0),) * HEARS_MAX,
                (bytes(8),) * ACCUSES_MAX,
            ),
        )
        * DIGEST_MAX,
        (1.0,) * AVERAGES_MAX,
    )
    assert len(push.address) == ADDRESS_BYTES_MAX
    overhead = len(encode_push(push)) - 4 * 70_001 * array_count
    assert 0.5 * push_bytes_overhead_max(array_count) < overhead <= push_bytes_overhead_max(array_count)
    assert push_bytes_overhead_max(array_count) < HEADER_BYTES_MAX


def refused(frame: bytes, **limits: int) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_push(frame, **limits)
    assert len(str(caught.value)) < 300, "a stranger's bytes must not fill our logs"
    return caught.value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    refused(data)


@given(st.binary(max_size=200))
def test_no_header_bytes_raise_anything_else(data: bytes) -> None:
    refused(b"HP\x02\x00" + len(data).to_bytes(4, "little") + data)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), U64_MAX)
    | st.floats()
    | st.binary()
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def framed(header: object, rest: bytes = b"") -> bytes:
    packed = msgpack.packb(header)
    return b"HP\x02\x00" + len(packed).to_bytes(4, "little") + packed + rest


def header_of(push: Push[Array]) -> dict[str, object]:
    frame = encode_push(push)
    header = msgpack.unpackb(frame[8 : 8 + int.from_bytes(frame[4:8], "little")])
    assert isinstance(header, dict)
    return header


@given(st.sampled_from("sfpiebntdavolm"), JUNK)
def test_no_field_raises_anything_else(key: str, junk: object) -> None:
    with contextlib.suppress(DecodeError):
        decode_push(framed(header_of(SMALLEST) | {key: junk}))


@given(st.data())
@settings(max_examples=300)
def test_bit_flips_raise_nothing_else(data: st.DataObject) -> None:
    frame = bytearray(encode_push(PUSH))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(frame) - 1), min_size=1, max_size=4)):
        frame[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(DecodeError):
        decode_push(frame)


def test_every_truncation_and_extension_is_refused() -> None:
    frame = encode_push(PUSH)
    for length in range(len(frame)):
        refused(frame[:length])
    assert "frame length" in str(refused(frame + b"\0"))


def test_versions_and_flags() -> None:
    frame = bytearray(encode_push(PUSH))
    frame[2] = 3
    assert refused(bytes(frame)).reason is RejectReason.FUTURE_VERSION
    frame[2] = 0
    assert refused(bytes(frame)).reason is RejectReason.MALFORMED
    frame[2], frame[3] = 2, 0x80
    error = refused(bytes(frame))
    assert error.reason is RejectReason.FUTURE_VERSION
    assert "0x80" in str(error)


def test_unknown_keys_are_ignored() -> None:
    """Two releases share a swarm during an upgrade: the newer may add keys."""
    assert decode_push(framed(header_of(SMALLEST) | {"new": [1, {"x": None}]})) == SMALLEST


def test_averages_travel_as_they_are_and_may_be_missing() -> None:
    told = dataclasses.replace(PUSH, averages=(1.5, -(2.0**-40), 7e99))
    assert decode_push(encode_push(told)) == told
    assert decode_push(encode_push(told, 1)).averages == ()
    assert "m" not in header_of(PUSH)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"1234567", RejectReason.MALFORMED),
        (bytes(8 * (AVERAGES_MAX + 1)), RejectReason.MALFORMED),
        ([1.0], RejectReason.MALFORMED),
        (b"\0\0\0\0\0\0\xf0\x7f", RejectReason.NON_FINITE),
    ],
)
def test_averages_that_are_none_are_refused(value: object, reason: RejectReason) -> None:
    error = refused(framed(header_of(SMALLEST) | {"m": value}))
    assert error.reason is reason
    assert "averages" in str(error)


def test_averages_that_nobody_would_read_are_not_written() -> None:
    with pytest.raises(EncodeError, match="averages"):
        encode_push(dataclasses.replace(PUSH, averages=(math.nan,)))


def test_sizes() -> None:
    frame = encode_push(PUSH)
    assert decode_push(frame, message_bytes_max=len(frame)) == PUSH
    error = refused(frame, message_bytes_max=len(frame) - 1)
    assert error.reason is RejectReason.OVERSIZED
    assert refused(bytes(MESSAGE_BYTES_MAX + 1)).reason is RejectReason.OVERSIZED
    long_header = framed(header_of(SMALLEST) | {"new": "x" * HEADER_BYTES_MAX})
    assert refused(long_header).reason is RejectReason.OVERSIZED
    beyond = b"HP\x02\x00" + (100).to_bytes(4, "little") + bytes(99)
    assert "header length is 100" in str(refused(beyond))


@pytest.mark.parametrize("extension", [b"\xd4\x05\x00", b"\xc7\x00\x01", b"\xd6\xff\x00\x00\x00\x00"])
def test_extension_types_are_refused(extension: bytes) -> None:
    packed = b"\x81\xa1z" + extension
    error = refused(b"HP\x02\x00" + len(packed).to_bytes(4, "little") + packed)
    assert "no msgpack" in str(error)


def test_deep_nesting_is_refused() -> None:
    packed = b"\x81\xa1z" + b"\x91" * (HEADER_BYTES_MAX - 4) + b"\x90"
    refused(b"HP\x02\x00" + len(packed).to_bytes(4, "little") + packed)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("s", "", "swarm is '': must not be empty"),
        ("s", 5, "swarm is 5: expected a string"),
        ("s", "x" * 65, "at most 64 bytes"),
        ("s", "é" * 33, "at most 64 bytes"),
        ("f", "a\nb", r"fingerprint is 'a\nb': must be printable"),
        ("p", "\x1b[2J", "must be printable"),
        ("i", -1, "incarnation is -1: expected an integer from 0"),
        ("e", True, "epoch is True"),
        ("b", 1.0, "block is 1.0"),
        ("n", 0, "sequence is 0: expected an integer from 1"),
        ("t", None, "tick is None"),
        ("d", 1, "tick_interval_s is 1: expected a finite float above 0"),
        ("d", 0.0, "tick_interval_s is 0.0"),
        ("d", -1.0, "tick_interval_s is -1.0"),
        ("d", math.nan, "tick_interval_s is nan"),
        ("d", math.inf, "tick_interval_s is inf"),
        ("a", b"x", "address is b'x': expected a string"),
        ("a", "nowhere", "address 'nowhere' has no port"),
        ("a", "[::::]:1", "no IPv6 address"),
        ("a", "a" * 64 + ".b:1", "write 1 to 63 bytes"),
        ("v", {}, "arrays is {}"),
        ("v", [["<f4", 0]] * 65, "a list of at most 64"),
        ("v", [7], "arrays[0] is 7: expected [dtype, count]"),
        ("v", [["<f4", 0], ["<f4"]], "arrays[1] is ['<f4']"),
        ("v", [[4, 0]], "arrays[0] is [4, 0]"),
        ("v", [["<f4", -1]], "arrays[0] count is -1"),
        ("v", [["<f4", 0]], "targets is (): expected whom the arrays are for"),
        ("o", b"1234567", "targets is b'1234567': expected at most 64 times 8 bytes"),
        ("o", bytes(8 * 65), "expected at most 64 times 8 bytes"),
        ("o", [], "targets is []"),
        ("l", {}, "digest is {}: expected a list of at most 12 heartbeats"),
        ("l", [0] * 13, "a list of at most 12"),
        ("l", [7], "digest[0] is 7: expected a list of 7"),
        ("l", [["b", 0, 0, "", False, b""]], "expected a list of 7"),
        ("l", [["", 0, 0, "", False, b"", b""]], "digest[0] peer is '': must not be empty"),
        ("l", [["b", -1, 0, "", False, b"", b""]], "digest[0] incarnation is -1"),
        ("l", [["b", 0, 0.5, "", False, b"", b""]], "digest[0] heartbeat is 0.5"),
        ("l", [["b", 0, 0, "nowhere", False, b"", b""]], "has no port"),
        ("l", [["b", 0, 0, "", 0, b"", b""]], "digest[0] left is 0: expected true or false"),
        ("l", [["b", 0, 0, "", False, b"x", b""]], "digest[0] hears is b'x': expected at most 24 times 18"),
        ("l", [["b", 0, 0, "", False, b"", bytes(72)]], "digest[0] accuses is"),
    ],
)
def test_each_field_is_checked_and_named(key: str, value: object, message: str) -> None:
    error = refused(framed(header_of(SMALLEST) | {key: value}))
    assert error.reason is RejectReason.MALFORMED
    assert message in str(error)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<i8", "|O", ""])
def test_other_dtypes_are_refused(dtype: str) -> None:
    error = refused(framed(header_of(SMALLEST) | {"v": [[dtype, 0]]}))
    assert error.reason is RejectReason.WRONG_DTYPE


@pytest.mark.parametrize("key", list("sfpiebntdavol"))
def test_every_key_is_required(key: str) -> None:
    header = header_of(SMALLEST)
    del header[key]
    assert f"(key '{key}') is missing" in str(refused(framed(header)))


def test_an_array_beyond_the_frame_is_refused() -> None:
    error = refused(framed(header_of(SMALLEST) | {"v": [["<f4", U64_MAX]], "o": bytes(8)}))
    assert error.reason is RejectReason.MALFORMED
    assert "for arrays[0] to fit" in str(error)


def test_a_header_that_is_no_map_is_refused() -> None:
    assert "header is [1, 2]: expected a map" in str(refused(framed([1, 2])))


def test_padding_is_zero() -> None:
    frame = bytearray(encode_push(PUSH))
    frame[207] = 1
    assert "padding before arrays[0]" in str(refused(bytes(frame)))


def test_the_blocks_of_a_tick_say_the_same_once() -> None:
    """The own heartbeat is packed and checked for the first block, and for the others found again."""
    before = pack_digest.cache_info()
    digest = (PUSH.digest[0]._replace(heartbeat=10**6),)
    frames = [encode_push(dataclasses.replace(PUSH, block=block, digest=digest[:])) for block in range(4)]
    after = pack_digest.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 3)
    assert [decode_push(frame).digest for frame in frames] == [digest] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence": 0}, "sequence is 0"),
        ({"targets": (b"1234567",)}, "targets is"),
        ({"digest": PUSH.digest * DIGEST_MAX}, "digest is"),
        ({"digest": (PUSH.digest[0], Heartbeat("", 0, 0))}, "digest[1] peer is '': must not be empty"),
        ({"digest": (Heartbeat("b", -1, 0),)}, "digest[0] incarnation is -1"),
        ({"digest": (Heartbeat("b", 0, 0, "nowhere"),)}, "has no port"),
        (
            {"digest": (Heartbeat("b", 0, 0, hears=(Heard(bytes(8), 0, 0),) * (HEARS_MAX + 1)),)},
            "digest[0] hears is",
        ),
        (
            {"digest": (Heartbeat("b", 0, 0, accuses=(bytes(8),) * (ACCUSES_MAX + 1)),)},
            "digest[0] accuses is",
        ),
        ({"swarm": "x" * 65}, "swarm is"),
        ({"sender": "\ud800"}, "sender is"),
        ({"incarnation": U64_MAX + 1}, "incarnation is"),
        ({"tick_interval_s": math.inf}, "tick_interval_s is inf"),
        ({"address": "nowhere"}, "has no port"),
        ({"arrays": (Array("<f4", b""),) * (ARRAYS_MAX + 1)}, "arrays is"),
        (
            {"arrays": (Array("<f8", bytes(12)),), "targets": (bytes(8),)},
            "array 0 has 12 bytes: not a whole number of <f8",
        ),
    ],
)
def test_what_no_receiver_would_accept_is_not_encoded(change: dict[str, object], message: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_push(dataclasses.replace(SMALLEST, **change))
    assert message in str(caught.value)


def test_a_whole_number_of_seconds_is_a_float_on_the_wire() -> None:
    push = dataclasses.replace(SMALLEST, tick_interval_s=2)
    assert isinstance(decode_push(encode_push(push)).tick_interval_s, float)
