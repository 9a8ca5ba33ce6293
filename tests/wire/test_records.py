import dataclasses

import pytest

from wire import DecodeError, PeerRecord, RejectReason
from wire.codec import U64_MAX
from wire.records import PEERS_TOLD_MAX, incompatibility, instance_label, read_record, read_told

RECORD = PeerRecord("agent-1", 3, "127.0.0.1:7700", "fields", "c0ffee")


def test_records_are_read_as_written_also_as_text() -> None:
    fields = RECORD.to_fields()
    assert read_record(fields, RECORD.address) == RECORD
    assert read_record({key: str(value) for key, value in fields.items()}, RECORD.address) == RECORD
    assert read_record(fields | {"later": [1]}, RECORD.address) == RECORD


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


def test_incompatibility_names_the_widest_difference() -> None:
    def other(**changes: object) -> PeerRecord:
        return dataclasses.replace(RECORD, peer="agent-2", **changes)

    assert incompatibility(RECORD, other()) is None
    assert incompatibility(RECORD, other(fingerprint="x")) is RejectReason.WRONG_FINGERPRINT
    assert incompatibility(RECORD, other(fingerprint="x", protocol=2)) is RejectReason.FUTURE_VERSION
    assert incompatibility(RECORD, other(swarm="x", protocol=2)) is RejectReason.WRONG_SWARM


def test_labels_are_dns_labels_and_unique() -> None:
    labels = [
        instance_label(swarm, peer)
        for swarm in ("a", "a/b", "é")
        for peer in ("x", "b/x", "é" * 32, "ü" * 32)
    ]
    assert len(set(labels)) == len(labels)
    assert all(len(label.encode()) <= 63 and "." not in label for label in labels)
    assert labels[0] == instance_label("a", "x"), "the same in every process"
