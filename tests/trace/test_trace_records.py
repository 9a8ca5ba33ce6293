"""Files of records: whatever is cut off or damaged, what comes before is read."""

from __future__ import annotations

import io
from typing import Any

import pytest

from peer.trace.records import FORMAT, MAGIC, Input, Reader, TraceError, pack, pack_input

BEGINNING: dict[str, Any] = {
    "format": FORMAT,
    "hyperpush": "0.1.0",
    "first": 0,
    "threads": 1,
    "origin": {"kind": "given"},
    "made": {},
}
INPUTS = [
    Input(0, 1.0, "peer_seen", ["a", 0], {}),
    Input(1, 1.5, "handle_timer", [], {"effects": [["Compute", {}]]}),
    Input(2, 2.5, "receive", ["frame", b"bytes"], {"raised": "refused: stale"}),
]
STATE = pack("state", b"state")


def whole(first: int = 0, *others: bytes) -> bytes:
    parts = [MAGIC, pack("beginning", {**BEGINNING, "first": first}), *others]
    return b"".join([*parts, *map(pack_input, INPUTS)])


def read(data: bytes) -> tuple[list[Input], Reader]:
    reader = Reader(io.BytesIO(data))
    reader.open()
    return list(reader.inputs()), reader


def test_what_is_written_is_read() -> None:
    for data, state in ((whole(), None), (whole(7, STATE), b"state"), (whole(0, STATE), b"state")):
        inputs, reader = read(data)
        assert inputs == INPUTS
        assert reader.state == state
        assert reader.bytes_read == len(data)
        assert not reader.cut
        assert not reader.damaged


def test_wherever_it_is_cut_all_before_is_read() -> None:
    """Ends of records are where a file may end; anywhere else it says that something is missing."""
    data = whole()
    ends = [len(data)]
    for one in reversed(INPUTS):
        ends.append(ends[-1] - len(pack_input(one)))
    for length in range(ends[-1], len(data) + 1):
        inputs, reader = read(data[:length])
        assert inputs == INPUTS[: sum(end <= length for end in ends) - 1]
        assert reader.cut == (length not in ends)
        assert not reader.damaged


def test_wherever_it_is_damaged_all_before_is_read() -> None:
    data = whole()
    begin = len(data) - sum(len(pack_input(one)) for one in INPUTS)
    for place in range(begin, len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        inputs, reader = read(bytes(changed))
        assert inputs == INPUTS[: len(inputs)]
        assert len(inputs) < len(INPUTS)
        assert reader.damaged
        assert not reader.cut, "a length that is not as written is noticed before it is believed"


@pytest.mark.parametrize(
    "content",
    [(), ("input",), ("input", 3, 1.0, "leave", []), ("input", 3, 1.0, "leave", {}, {}), ("output", 3)],
)
def test_other_records_end_it(content: tuple[object, ...]) -> None:
    kind, *rest = content or ("",)
    inputs, reader = read(whole() + pack(str(kind), *rest) + pack_input(INPUTS[0]))
    assert inputs == INPUTS
    assert reader.damaged


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is no trace of hyperpush"),
        (b"PNG" * 20, "it is no trace of hyperpush"),
        (MAGIC, "its beginning is missing or damaged"),
        (MAGIC + whole()[16:40], "its beginning is missing or damaged"),
        (MAGIC + STATE, "its beginning is missing or damaged"),
        (MAGIC + pack("beginning", {"format": 2, "hyperpush": "9.0"}), "format is 2, this release reads 1; "),
        (MAGIC + pack("beginning", {"format": FORMAT}), "its beginning says too little"),
        (whole(7), "the state it begins with is damaged"),
        (MAGIC + pack("beginning", {**BEGINNING, "first": 7}), "the state it begins with is damaged"),
        (MAGIC + pack_input(INPUTS[0])[:-1] + b"\0", "its beginning is missing or damaged"),
    ],
)
def test_what_is_no_trace_of_this_release_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(TraceError, match=told):
        read(data)


def test_a_record_that_is_no_list_is_none() -> None:
    import struct
    import zlib

    content = b"\x01"
    length = (1).to_bytes(4, "little")
    record = struct.pack("<III", 1, zlib.crc32(length), zlib.crc32(content)) + content
    inputs, reader = read(whole() + record)
    assert inputs == INPUTS
    assert reader.damaged
