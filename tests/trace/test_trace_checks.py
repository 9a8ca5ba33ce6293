"""Traces with right checksums and wrong values are refused in one line, or read up to there."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import pytest

from peer.trace import values
from peer.trace.checks import AGENTS_MAX, DEPTH_MAX, is_plain, is_possible, wrong_in_beginning
from peer.trace.outline import difference
from peer.trace.records import FORMAT, MAGIC, Reader, TraceError, pack
from peer.trace.replay import replay
from peer.trace.story import PeerStory
from tests.agent_traces import contents, hunted, rewritten

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = {"kind": "task", "task": "synthetic", "agents": 3, "shard": 2, "seed": 0, "personalization": "bias"}
MADE = {"peer": "agent-2", "incarnation": 0, "epoch_floor": 0, "now": 1, "founder": True, "settings": {}}
BEGINNING = {"format": FORMAT, "first": 0, "threads": 1, "wall_s": 1.7e9, "origin": ORIGIN, "made": MADE}
DEEP: Any = []
for _ in range(2 * DEPTH_MAX):
    DEEP = [DEEP]


def changed(place: str, value: object) -> dict[str, Any]:
    """The beginning with another value there."""
    part, _, name = place.rpartition(".")
    inner: dict[str, Any] = {**BEGINNING[part]} if part else {}  # type: ignore[dict-item]
    return {**BEGINNING, part: {**inner, name: value}} if part else {**BEGINNING, name: value}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("wall_s", wrong) for wrong in ("x", math.nan, math.inf, 1e300, True, [])),
        *(("threads", wrong) for wrong in (0, -1, True, 10**9)),
        *(("first", wrong) for wrong in (-1, True, 2**63)),
        ("deterministic", 3),
        *(("origin.agents", wrong) for wrong in (2**63, AGENTS_MAX + 1, 0, 3.0, "3", True)),
        *(("origin.shard", wrong) for wrong in (3, -1, AGENTS_MAX)),
        *(("origin.seed", wrong) for wrong in ("x", None, 1.5, -1, 2**63, [], b"")),
        *(("origin.task", wrong) for wrong in (None, ["synthetic"], b"synthetic")),
        *(("origin.without", wrong) for wrong in (0, [1, "x"], [True])),
        *(("made.now", wrong) for wrong in (None, math.nan, -math.inf, 1e300, "0")),
        *(("made.incarnation", wrong) for wrong in (-1, 0.5)),
        ("made.founder", 1),
        ("made.settings", []),
        ("made.peer", b"agent"),
    ],
)
def test_each_wrong_value_of_a_beginning_is_named(place: str, value: object) -> None:
    assert wrong_in_beginning(BEGINNING) is None
    beginning = changed(place, value)
    told = wrong_in_beginning(beginning)
    assert told is not None
    assert told.startswith(f"{place} is {value!r}, it has to be ")


@pytest.mark.parametrize(("name", "value"), [("python", b"3"), ("torch", DEEP), ("other", {1: 2})])
def test_what_no_trace_has_is_not_in_its_beginning(name: str, value: object) -> None:
    told = wrong_in_beginning({**BEGINNING, name: value})
    assert told is not None
    assert told.startswith(f"{name!r} is ")
    assert told.endswith("which no trace has")
    assert len(told) < 120


def test_what_is_missing_is_for_whoever_needs_it() -> None:
    assert wrong_in_beginning({"origin": {"kind": "given"}, "made": {}, "wall_s": None}) is None
    assert wrong_in_beginning({"origin": {"kind": "hunt", "shard": 5}, "made": {}}) is None


def test_a_wrong_beginning_is_refused_when_it_is_read() -> None:
    reader = Reader(io.BytesIO(MAGIC + pack("beginning", changed("origin.agents", 2**63))))
    with pytest.raises(TraceError, match=r"origin.agents is 9223372036854775808, it has to be a "):
        reader.open()


LOSS = {"loss": math.nan}
GOOD: dict[str, Any] = {"effects": [["Compute", {}]], "events": [], "raised": "x", "result": LOSS}


@pytest.mark.parametrize(
    ("number", "now", "given", "outcome"),
    [
        (-1, 1.0, [], {}),
        (True, 1.0, [], {}),
        *((0, wrong, [], {}) for wrong in (math.nan, math.inf, 1e300, True)),
        (0, 1.0, [DEEP], {}),
        *((0, 1.0, [], {"effects": wrong}) for wrong in ([[]], [["Compute"]], [[1, {}]], {}, [7], DEEP)),
        (0, 1.0, [], {"events": None}),
        (0, 1.0, [], {"raised": 7}),
        (0, 1.0, [], {"result": []}),
        (0, 1.0, [], {"result": {"loss": DEEP}}),
        (0, 1.0, [], {"result": {3: 4}}),
        (0, 1.0, [], {"others": 7}),
    ],
)
def test_inputs_that_cannot_be_end_what_is_read(
    number: int, now: float, given: list[Any], outcome: dict[str, Any]
) -> None:
    assert is_possible(3, 7, ["a", b"b", None, 1], GOOD)
    assert not is_possible(number, now, given, outcome)
    good = pack("input", 0, 0.5, "leave", [], GOOD)
    odd = pack("input", number, now, "leave", given, outcome)
    file = io.BytesIO(MAGIC + pack("beginning", BEGINNING) + good + odd + good)
    reader = Reader(file)
    reader.open()
    assert [one.now for one in reader.inputs()] == [0.5]
    assert reader.damaged


def test_only_plain_values_are_plain() -> None:
    assert is_plain({"a": [1, None, "b", 2.5, b"c", True]})
    assert not is_plain({"a": [b"c"]}, bytes_too=False)
    assert not is_plain(object())


@pytest.mark.parametrize("content", [b"\xc1", b"\x92\x01", b"\x81\x91\x01\x02", b"\x91" * 5000 + b"\x01"])
def test_a_record_of_something_else_is_damage(content: bytes) -> None:
    """No msgpack, half of it, a map with a list as key, and what is too deep."""
    import struct
    import zlib

    length = len(content).to_bytes(4, "little")
    head = struct.pack("<III", len(content), zlib.crc32(length), zlib.crc32(content))
    reader = Reader(io.BytesIO(MAGIC + pack("beginning", BEGINNING) + head + content))
    reader.open()
    assert list(reader.inputs()) == []
    assert reader.damaged


def test_differences_to_what_is_nothing_are_told() -> None:
    assert difference([[]], [["Compute", {}]]) is not None
    assert difference([[]], []) == "expected [[]], found nothing"


@pytest.fixture(scope="module")
def from_the_middle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that begins with a state."""
    folder: Path = tmp_path_factory.mktemp("hunted")
    hunted(7, folder, bytes_max=140_000, say=lambda _: None)
    return folder / "agent-0.0.1"


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("inbox", "the state it begins with is not that of an agent: AttributeError: 'int' object has no"),
        ("speaker", "the state it begins with cannot be taken: 'int' object has no attribute 'identity'"),
    ],
)
def test_the_state_of_no_agent_is_refused(attribute: str, told: str, from_the_middle: Path) -> None:
    beginning, state, inputs = contents(from_the_middle)
    assert state is not None
    learner = object()
    attributes, snapshot = values.decode(state, {"learner": learner})
    odd = values.encode([{**attributes, attribute: 7}, snapshot], {"learner": learner})
    with pytest.raises(TraceError, match=told):
        replay(rewritten(beginning, odd, inputs))


def test_a_failure_without_a_state_is_ours(from_the_middle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning, _, inputs = contents(from_the_middle.with_name("agent-0.0"))

    def fails(player: object, one: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("peer.trace.replay.Player.play", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        replay(rewritten(beginning, None, inputs))


def test_an_input_of_another_version_is_told_of_by_its_name(from_the_middle: Path) -> None:
    beginning, _, inputs = contents(from_the_middle.with_name("agent-0.0"))
    inputs[0].arguments[:] = ["agent-1"]
    odd = [type(inputs[0])(0, 0.0, "peer_praised", ["agent-1"], {})]
    told: list[str] = []
    found = replay(
        rewritten(beginning, None, odd), teller=PeerStory("agent-1"), tell=lambda _, line: told.append(line)
    )
    assert told == ["peer_praised"]
    assert found.difference is not None
    assert "peer_praised is no input of this version" in found.difference.what


def test_a_value_that_asks_for_memory_gets_none() -> None:
    import msgpack

    asks = msgpack.packb([msgpack.ExtType(values.REFERENCE, bytes(4)), [["bytearray", 2**40]]])
    with pytest.raises(values.ValueFormatError, match="TypeError"):
        values.decode(asks)
