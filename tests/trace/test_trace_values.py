"""States of agents as bytes and back: everything an agent is made of, and nothing that could run."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, deque
from typing import Any

import msgpack
import pytest
import torch

from peer.agent import Agent
from peer.events import Persist
from peer.hunt.fixed_point import FixedVector
from peer.inbox import Inbox, InboxCounters, add_shares
from peer.phase import Phase
from peer.running_sum import RunningSum
from peer.settings import AgentSettings
from peer.trace.values import REFERENCE, ValueFormatError, content, decode, encode
from wire import Heard


def again(value: object, **outside: object) -> Any:
    """Written and read; writing what was read gives the same bytes."""
    data = encode(value, outside)
    found = decode(data, outside)
    assert encode(found, outside) == data
    return found


def node(number: int) -> msgpack.ExtType:
    return msgpack.ExtType(REFERENCE, number.to_bytes(4, "little"))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(2**63), 2**64 - 1, 2**64, -(2**200), 0.1, float("inf"), "ä", b"\0\xff"),
        *([], [1, [2]], (), (1, (2,)), {}, {"a": {1: None}, (1, 2): 3}, {1, 2}, frozenset({"b", "a"})),
        *(OrderedDict([("b", 1), ("a", 2)]), slice(1, None, 2), bytearray(b"x"), Phase.RUNNING),
        *(Heard(b"12345678", 3, 4), Persist(7), InboxCounters(1, 2), AgentSettings(fanout=2)),
        *(Inbox, RunningSum, add_shares, torch.float64),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_written_is_read(value: object) -> None:
    found = again(value)
    assert found == value
    assert type(found) is type(value)


def test_order_and_limits_stay() -> None:
    assert list(again({"b": 1, "a": 2})) == ["b", "a"]
    queue = again(deque([1, 2], maxlen=2))
    queue.append(3)
    assert queue == deque([2, 3], maxlen=2)


def test_equal_sets_give_equal_bytes() -> None:
    names = [f"agent-{number}" for number in range(50)]
    backwards: set[str] = set()
    for name in reversed(names):
        backwards.add(name)
    assert encode(set(names)) == encode(backwards)


def test_one_object_stays_one() -> None:
    one = [1]
    found = again({"a": one, "b": (one, [one])})
    found["a"].append(2)
    assert found["b"] == ([1, 2], [[1, 2]])


def test_what_contains_itself_still_does() -> None:
    ring: list[Any] = [1]
    ring.append({"again": (ring,)})
    found = again(ring)
    assert found[1]["again"][0] is found


def test_objects_without_their_constructors() -> None:
    inbox: Inbox[Any] = Inbox(add_shares)
    inbox.counters.received = 5
    found = again(inbox)
    assert found.counters == inbox.counters
    assert found._combine is add_shares
    assert again(FixedVector([2**70, -1])).units == [2**70, -1], "slots, too"


def test_an_attribute_that_is_not_set_stays_so() -> None:
    unset = object.__new__(FixedVector)
    unset.units = [1]
    assert not hasattr(again(unset), "finite")


def test_a_random_stream_goes_on_where_it_was() -> None:
    stream = random.Random("a")
    stream.gauss(0, 1)
    found = again({"one": stream, "two": stream})
    assert found["one"] is found["two"]
    assert [found["one"].gauss(0, 1) for _ in range(5)] == [stream.gauss(0, 1) for _ in range(5)]


def test_tensors_over_one_storage_stay_so() -> None:
    whole = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    found = again({"whole": whole, "column": whole[:, 1], "turned": whole.T, "again": whole})
    found["column"].mul_(10)
    assert found["whole"][2, 1] == 90
    assert found["turned"][1, 2] == 90
    assert found["again"] is found["whole"]
    assert found["whole"].data_ptr() % 64 == 0, "aligned as all of torch's own memory"
    assert torch.equal(whole, torch.arange(12, dtype=torch.float64).reshape(3, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64, torch.bool])
def test_tensors_of_every_kind(dtype: torch.dtype) -> None:
    for shape in ((), (0,), (3,), (2, 0, 1)):
        value = torch.ones(shape, dtype=dtype)
        found = again(value)
        assert found.dtype is dtype
        assert torch.equal(found, value)
    assert again([torch.zeros(0), torch.ones(0)])[1].shape == (0,)


def test_what_the_reader_has_is_left_out() -> None:
    problem = object()
    found = again({"problem": problem, "also": [problem]}, problem=problem)
    assert found["problem"] is problem
    assert found["also"][0] is problem


def test_content_does_not_tell_what_is_one_object() -> None:
    one, other = Persist(1), Persist(1)
    assert encode((one, one)) != encode((one, other))
    assert content((one, one)) == content((one, other))
    whole = torch.arange(6, dtype=torch.float32)
    assert content([whole[::2]]) == content([torch.tensor([0.0, 2.0, 4.0])])
    assert content(whole) != content(whole.reshape(2, 3))
    assert content(FixedVector([1])) == content(FixedVector([1]))
    assert content(FixedVector([1])) != content(FixedVector([2]))


# ---- what is refused


class Foreign:
    pass


@pytest.mark.parametrize(
    "value",
    [
        Foreign(),
        Foreign,
        print,
        test_equal_sets_give_equal_bytes,
        lambda: 0,
        iter([]),
        torch.ones(1, device="meta"),
        torch.eye(2).to_sparse(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_of_an_agent_is_not_written(value: object) -> None:
    with pytest.raises(ValueFormatError, match="a trace cannot hold"):
        encode([value])


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([["object", "os:_Environ", []]], "unknown here"),
        ([["object", "peer.nowhere:Inbox", []]], "unknown here"),
        ([["object", "peer.inbox:Nobody", []]], "unknown here"),
        ([["object", "peer.inbox:dataclass", []]], "unknown here"),
        ([["object", "peer.agent:Inbox", []]], "unknown here"),
        ([["named", "peer.inbox:Inbox", []]], "unknown here"),
        ([["enum", "peer.inbox:Inbox", "a"]], "unknown here"),
        ([["function", "main"]], "'main'"),
        ([["outside", "problem"]], "'problem'"),
        ([["pickle", b""]], "'pickle'"),
        ([["tuple", [node(0)]]], "contains itself"),
        ([["tuple", [node(9)]]], "IndexError"),
        ([["tensor", "torch.float64", node(1), 0, [9], [1]], ["storage", bytes(8)]], "out of bounds"),
        ([["object", "peer.events:Persist", [["no_such", 1]]]], "AttributeError"),
        ([["dict", [[node(1), 1]]], ["list", []]], "unhashable"),
        ([[]], "ValueError"),
    ],
)
def test_what_was_not_written_here_is_not_read(nodes: list[Any], told: str) -> None:
    with pytest.raises(ValueFormatError, match=told):
        decode(msgpack.packb([node(0), nodes]))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgpack.packb(1), msgpack.packb([1]), msgpack.packb([msgpack.ExtType(2, b""), []])],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueFormatError, match="no state of an agent"):
        decode(data)


def test_modules_are_not_loaded_for_a_file() -> None:
    name = "peer.bench.ways"
    loaded = sys.modules.pop(name, None)
    try:
        with pytest.raises(ValueFormatError, match="unknown here"):
            decode(msgpack.packb([node(0), [["class", f"{name}:Way"]]]))
        assert name not in sys.modules
    finally:
        if loaded is not None:
            sys.modules[name] = loaded


def test_an_agent_is_made_of_what_can_be_written() -> None:
    assert decode(encode(Agent)) is Agent
