import dataclasses

import pytest

from wire import PROTOCOL_VERSION, U64_MAX, DecodeError, PeerRecord, RejectReason
from wire.records import (
    ALTERNATIVES_MAX,
    HEARS_TOLD_MAX,
    KEYS_ANNOUNCED_MAX,
    PEERS_TOLD_MAX,
    incompatibility,
    instance_label,
    read_names,
    read_record,
    read_told,
)

RECORD = PeerRecord("agent-1", 3, "127.0.0.1:7700", "fields", "c0ffee")
KEY, OTHER_KEY = "0123abcd", "89abcdef"


def test_records_are_read_as_written_also_as_text() -> None:
    fields = RECORD.to_fields()
    assert read_record(fields, RECORD.address) == RECORD
    assert read_record({key: str(value) for key, value in fields.items()}, RECORD.address) == RECORD
    assert read_record(fields | {"later": [1]}, RECORD.address) == RECORD
    keyed = dataclasses.replace(RECORD, keys=(KEY, OTHER_KEY), oldest=1, protocol=7)
    assert read_record(keyed.to_fields(), RECORD.address) == keyed


def test_what_is_missing_says_the_least() -> None:
    """A record of a release that knew neither keys nor ranges of versions."""
    fields = {name: value for name, value in RECORD.to_fields().items() if name not in ("oldest", "keys")}
    read = read_record(fields, RECORD.address)
    assert (read.oldest, read.protocol, read.keys) == (PROTOCOL_VERSION, PROTOCOL_VERSION, ())
    assert read_record({**fields, "keys": None}, RECORD.address).keys == ()


def test_a_record_holds_few_addresses() -> None:
    many = tuple(f"192.0.2.1:{port}" for port in range(1, 100))
    assert read_record(RECORD.to_fields(), "a:1", many).alternatives == many[:ALTERNATIVES_MAX]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("peer", "", "announced peer is '': must not be empty"),
        ("peer", None, "announced peer is None: must be text"),
        ("peer", "x" * 65, "at most 64 bytes"),
        ("swarm", "a\x00b", "must be printable"),
        ("fingerprint", 7, "announced fingerprint is 7"),
        ("incarnation", -1, "announced incarnation is -1"),
        ("incarnation", "1.0", "announced incarnation is '1.0'"),
        ("incarnation", "٣", "announced incarnation"),
        ("incarnation", "9" * 20, "must be an integer from 0"),
        ("incarnation", "9" * 5_000, "must be an integer from 0"),
        ("incarnation", U64_MAX + 1, "must be an integer from 0"),
        ("protocol", True, "announced protocol is True"),
        ("protocol", None, "announced protocol is None"),
        ("oldest", "x", "announced oldest is 'x'"),
        ("oldest", PROTOCOL_VERSION + 1, f"must be at most protocol, {PROTOCOL_VERSION}"),
        ("keys", 7, "announced keys are 7: must be 1 to 8 ids"),
        ("keys", "0123ABCD", "announced keys are '0123ABCD'"),
        ("keys", f"{KEY},", "8 hexadecimal digits"),
        ("keys", ",".join([KEY] * (KEYS_ANNOUNCED_MAX + 1)), "must be 1 to 8 ids"),
        ("keys", "x" * 100_000, "must be 1 to 8 ids"),
    ],
)
def test_what_a_stranger_announces_is_checked(name: str, value: object, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_record({**RECORD.to_fields(), name: value}, "127.0.0.1:1")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (["a:1", 7, "nowhere", "[::::]:1", None, ["b:1"], "[::1]:2"], ("a:1", "[::1]:2")),
        (
            [f"a:{port}" for port in range(1, 200)],
            tuple(f"a:{port}" for port in range(1, PEERS_TOLD_MAX + 1)),
        ),
        ("a:1", ()),
        ({"a:1": 1}, ()),
        (None, ()),
    ],
)
def test_of_what_a_stranger_tells_only_some_addresses_are_read(told: object, read: tuple[str, ...]) -> None:
    assert read_told({"peers": told}) == read
    assert read_told({}) == ()


@pytest.mark.parametrize(
    ("told", "read"),
    [
        (["bob", 7, "", "a\x00b", ["carol"], "dave"], ("bob", "dave")),
        (["x"] * 1_000, ("x",) * HEARS_TOLD_MAX),
        ([], ()),
        ("bob", None),
    ],
)
def test_names_a_stranger_lists(told: object, read: tuple[str, ...] | None) -> None:
    assert read_names({"hears": told}, "hears") == read
    assert read_names({"hears": told}, "heard_by") is None


def other(**changes: object) -> PeerRecord:
    return dataclasses.replace(RECORD, peer="agent-2", **changes)


def test_incompatibility_names_the_widest_difference() -> None:
    later = PROTOCOL_VERSION + 1
    assert incompatibility(RECORD, other()) is None
    assert incompatibility(RECORD, other(keys=(KEY,))) is RejectReason.WRONG_KEY
    assert incompatibility(RECORD, other(fingerprint="x", keys=(KEY,))) is RejectReason.WRONG_FINGERPRINT
    future = other(fingerprint="x", protocol=later, oldest=later)
    assert incompatibility(RECORD, future) is RejectReason.FUTURE_VERSION
    assert incompatibility(RECORD, dataclasses.replace(future, swarm="x")) is RejectReason.WRONG_SWARM


@pytest.mark.parametrize(
    ("mine", "theirs", "reason"),
    [
        ((1, 2), (2, 3), None),
        ((1, 2), (3, 4), RejectReason.FUTURE_VERSION),
        ((2, 2), (1, 1), RejectReason.FUTURE_VERSION),
        ((1, 9), (4, 5), None),
    ],
)
def test_versions_that_overlap_share_a_swarm(
    mine: tuple[int, int], theirs: tuple[int, int], reason: RejectReason | None
) -> None:
    ours = other(oldest=mine[0], protocol=mine[1])
    assert incompatibility(ours, other(oldest=theirs[0], protocol=theirs[1])) is reason
    assert incompatibility(other(oldest=theirs[0], protocol=theirs[1]), ours) is reason


def test_one_common_key_is_enough() -> None:
    """A swarm changes its key without stopping: some have the old one, some both, some the new one."""
    old, both, new = other(keys=(KEY,)), other(keys=(KEY, OTHER_KEY)), other(keys=(OTHER_KEY,))
    assert incompatibility(old, both) is None
    assert incompatibility(new, both) is None
    assert incompatibility(old, new) is RejectReason.WRONG_KEY
    assert incompatibility(old, other()) is incompatibility(other(), old) is RejectReason.WRONG_KEY


def test_labels_are_dns_labels_and_unique() -> None:
    labels = [
        instance_label(swarm, peer)
        for swarm in ("a", "a/b", "é")
        for peer in ("x", "b/x", "é" * 32, "ü" * 32)
    ]
    assert len(set(labels)) == len(labels)
    assert all(len(label.encode()) <= 63 and "." not in label for label in labels)
    assert labels[0] == instance_label("a", "x"), "the same in every process"
