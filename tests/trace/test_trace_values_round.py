"""Whatever the value, it is read as it was written; whatever the bytes, they are read or refused."""

from __future__ import annotations

import contextlib
from collections import deque

import torch
from hypothesis import given
from hypothesis import strategies as st

from peer.events import PeerArrived, Persist
from peer.hunt.fixed_point import FixedVector
from peer.trace.values import ValueFormatError, decode, encode
from wire import Heard

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.builds(Persist, st.integers()),
    st.builds(PeerArrived, st.text(max_size=5), st.integers()),
    st.builds(Heard, st.binary(max_size=8), st.integers(), st.integers()),
)
KEYS = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.booleans()))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(deque),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    data = encode(value)
    found = decode(data)
    assert found == value
    assert type(found) is type(value)
    assert encode(found) == data


@given(st.lists(st.integers(), max_size=5), st.data())
def test_references_keep_their_shape(numbers: list[int], data: st.DataObject) -> None:
    """Any pattern of sharing among lists stays that pattern."""
    pool: list[list[object]] = [[number] for number in numbers] or [[]]
    for one in pool:
        one.extend(data.draw(st.lists(st.sampled_from(pool), max_size=3)))
    found = decode(encode(pool))

    def pattern(lists: list[list[object]]) -> list[list[object]]:
        places = {id(one): place for place, one in enumerate(lists)}
        return [[places.get(id(one), one) for one in inner] for inner in lists]

    assert pattern(found) == pattern(pool)


@given(st.lists(st.integers()), st.booleans())
def test_exact_vectors(units: list[int], finite: bool) -> None:
    found = decode(encode(FixedVector(units, finite=finite)))
    assert (found.units, found.finite) == (units, finite)


@given(st.lists(st.floats(width=64), min_size=1), st.data())
def test_slices_of_tensors(numbers: list[float], data: st.DataObject) -> None:
    whole = torch.tensor(numbers, dtype=torch.float64)
    part = whole[data.draw(st.slices(len(numbers)).filter(lambda span: (span.step or 1) > 0))]
    found = decode(encode(part))
    assert found.numpy().tobytes() == part.numpy().tobytes(), "to the bit"


@given(VALUES, st.data())
def test_damaged_bytes_are_read_or_refused(value: object, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueFormatError):
        decode(bytes(encoded))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueFormatError):
        decode(data)
