"""The envelope by example; tests/properties/test_envelope.py says what holds of all frames."""

import dataclasses
from collections.abc import Callable

import pytest

from wire import MESSAGE_BYTES_MAX, U64_MAX, DecodeError, EncodeError, RejectReason, decode_push, encode_push
from wire.envelope import (
    COUNTERS_REMEMBERED,
    SEALED_OVERHEAD,
    SENDERS_REMEMBERED,
    Opener,
    ReplayMark,
    Sealer,
    _derive,
)
from wire.errors import CounterError
from wire.keys import KeyRing, SigningIdentity, SwarmKey, peer_name
from wire.messages import Push

OLD, NEW, FOREIGN = (KeyRing.new(bytes([number]) * 32) for number in (1, 2, 3))
ALICE, BOB = (SigningIdentity(bytes([number]) * 32) for number in (4, 5))
SESSION = bytes(range(16))

# Magic, version, flags, key id; public key; incarnation; session; counter; encrypted "frame", signature; tag.
GOLDEN_HEX = """
    4853 01 00 3c969d75
    ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c
    0700000000000000
    000102030405060708090a0b0c0d0e0f
    0100000000000000
    1deb95854d
    56ab42b20df3e468dee27ebd7575914c678c70c079efa150b3b11322e7b0fe31
    193fc293c3362f3c82acb1be11b0e6f398c4c8b8da615936654f77e10c6b6cb2
    2397894c0afc33b2b9b4057a5b1719fc
"""


def sealer(
    ring: KeyRing = OLD, identity: SigningIdentity = ALICE, incarnation: int = 7, session: bytes = SESSION
) -> Sealer:
    return Sealer(ring, identity, incarnation, session)


def opener(ring: KeyRing = OLD, allowed: frozenset[str] | None = None) -> Opener:
    return Opener(ring, allowed, {})


def refused(opener: Opener, sealed: bytes) -> RejectReason:
    before = opener.marks()
    with pytest.raises(DecodeError) as caught:
        opener.open(sealed)
    assert opener.marks() == before, "what is refused leaves no trace"
    return caught.value.reason


def changed(sealed: bytes, offset: int, part: bytes) -> bytes:
    return sealed[:offset] + part + sealed[offset + len(part) :]


def twin_of(key: SwarmKey, other: SwarmKey) -> KeyRing:
    """A ring with the secret of `other` under the id of `key`."""
    twin = dataclasses.replace(other)
    object.__setattr__(twin, "key_id", key.key_id)
    return KeyRing((twin,))


def test_golden_frame() -> None:
    """These bytes are the protocol: a change here needs a new ENVELOPE_VERSION."""
    golden = bytes.fromhex(GOLDEN_HEX)
    assert sealer().seal(b"frame") == golden
    assert sealer().seal(b"fr", b"", memoryview(bytearray(b"ame"))) == golden, "in parts it is the same frame"
    opened = opener().open(golden)
    assert bytes(opened.frame) == b"frame"
    assert opened[1:] == (ALICE.fingerprint, 7, 1)
    assert opened.frame.readonly
    assert len(golden) == len(b"frame") + SEALED_OVERHEAD


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda sealed: b"HP" + sealed[2:], RejectReason.UNENCRYPTED),
        (lambda _: b"HP", RejectReason.UNENCRYPTED),
        (lambda _: b"", RejectReason.MALFORMED),
        (lambda sealed: b"HX" + sealed[2:], RejectReason.MALFORMED),
        (lambda sealed: sealed[: SEALED_OVERHEAD - 1], RejectReason.MALFORMED),
        (lambda sealed: sealed + bytes(MESSAGE_BYTES_MAX), RejectReason.OVERSIZED),
        (lambda sealed: changed(sealed, 2, b"\2"), RejectReason.FUTURE_VERSION),
        (lambda sealed: changed(sealed, 3, b"\1"), RejectReason.FUTURE_VERSION),
        (lambda sealed: changed(sealed, 2, b"\0"), RejectReason.MALFORMED),
        (lambda sealed: changed(sealed, 4, b"none"), RejectReason.WRONG_KEY),
        (lambda sealed: changed(sealed, 8, BOB.public), RejectReason.WRONG_KEY),
        (lambda sealed: sealed[:-1], RejectReason.WRONG_KEY),
        (lambda sealed: sealed + b"\0", RejectReason.WRONG_KEY),
    ],
)
def test_each_reason_to_refuse(spoil: Callable[[bytes], bytes], reason: RejectReason) -> None:
    assert refused(opener(), spoil(sealer().seal(b"frame"))) == reason


def test_bare_frames_are_refused_and_sealed_ones_hold_them_whole() -> None:
    push = Push("s", "f", peer_name("alice", ALICE.fingerprint), 7, 0, 0, 1, 0, 1.0, "", ())
    bare = encode_push(push)
    assert refused(opener(), bare) == RejectReason.UNENCRYPTED
    assert decode_push(opener().open(sealer().seal(bare)).frame) == push


def test_the_largest_frame_fits_and_no_larger_one_is_sealed() -> None:
    largest = bytes(MESSAGE_BYTES_MAX)
    assert opener().open(sealer().seal(largest)).frame == largest
    with pytest.raises(EncodeError, match=f"frame has {MESSAGE_BYTES_MAX + 1} bytes: at most"):
        sealer().seal(largest, b"\0")


def test_outsiders_and_other_swarms_are_told_apart_from_members() -> None:
    assert refused(opener(), sealer(FOREIGN).seal(b"frame")) == RejectReason.WRONG_KEY
    # An id can be copied, or hit by chance: it opens nothing.
    sealed = sealer(FOREIGN).seal(b"frame")
    assert refused(opener(), changed(sealed, 4, OLD.sealing.key_id)) == RejectReason.WRONG_KEY


def test_an_allow_list_lets_in_nobody_else() -> None:
    pinned = opener(allowed=frozenset({ALICE.fingerprint}))
    assert pinned.open(sealer().seal(b"frame")).fingerprint == ALICE.fingerprint
    assert refused(pinned, sealer(identity=BOB).seal(b"frame")) == RejectReason.NOT_ALLOWED
    assert refused(opener(allowed=frozenset()), sealer().seal(b"frame")) == RejectReason.NOT_ALLOWED


class Impostor(SigningIdentity):
    """A member that says it is somebody else: it has the swarm key and a public key, not the secret one."""

    def __init__(self, victim: bytes) -> None:
        super().__init__(bytes(32))
        self.public = victim  # type: ignore[misc]


@pytest.mark.parametrize(
    "victim",
    [
        ALICE.public,
        bytes(32),  # a point of small order
        b"\xff" * 32,  # no point at all
        *(bytes([number]) + b"\x55" * 31 for number in range(8)),  # about half of them are none
    ],
)
def test_a_member_cannot_speak_as_another(victim: bytes) -> None:
    forged = sealer(identity=Impostor(victim)).seal(b"frame")
    target = opener()
    assert refused(target, forged) == RejectReason.WRONG_IDENTITY
    assert target.open(sealer().seal(b"frame")), "the forged frame took nobody's counter"


def test_names_belong_to_identities() -> None:
    target, voice = opener(), sealer()
    opened = target.open(voice.seal(b"frame"))
    for wrong in ("alice", peer_name("alice", BOB.fingerprint), ALICE.fingerprint):
        with pytest.raises(DecodeError, match=f"signed by {ALICE.fingerprint}") as caught:
            target.check_sender(wrong, opened)
        assert caught.value.reason == RejectReason.WRONG_IDENTITY
    name = peer_name("alice", ALICE.fingerprint)
    for _ in range(2):
        target.check_sender(name, target.open(voice.seal(b"frame")))
    again = target.open(voice.seal(b"frame"))
    with pytest.raises(DecodeError, match="named itself") as caught:
        target.check_sender(peer_name("malice", ALICE.fingerprint), again)
    assert caught.value.reason == RejectReason.WRONG_IDENTITY
    later = target.open(sealer(incarnation=8).seal(b"frame"))
    target.check_sender(peer_name("renamed", ALICE.fingerprint), later)


def test_repeats_are_refused_and_reordering_is_not() -> None:
    target, voice = opener(), sealer()
    frames = [voice.seal(bytes([number])) for number in range(4)]
    for number in (2, 0, 3, 1):
        assert target.open(frames[number]).counter == number + 1
    assert [refused(target, frame) for frame in frames] == [RejectReason.REPLAYED] * 4


def test_what_is_far_behind_the_newest_is_refused() -> None:
    target, voice = opener(), sealer()
    frames = [voice.seal(b"") for _ in range(COUNTERS_REMEMBERED + 2)]
    target.open(frames[0])
    target.open(frames[-1])
    assert refused(target, frames[0]) == RejectReason.REPLAYED
    assert refused(target, frames[1]) == RejectReason.REPLAYED, "one too late"
    assert target.open(frames[2]).counter == 3, "the last that is not"


def test_an_earlier_incarnation_and_a_copy_of_the_state_are_refused() -> None:
    """A second session with the same incarnation is of a state directory that was copied or restored."""
    target = opener()
    target.open(sealer(incarnation=6).seal(b"frame"))
    target.open(sealer(incarnation=7).seal(b"frame"))
    for incarnation in (6, 7):
        other = sealer(incarnation=incarnation, session=bytes(16))
        assert [refused(target, other.seal(b"frame")) for _ in range(3)] == [RejectReason.REPLAYED] * 3
    assert target.open(sealer(incarnation=8, session=bytes(16)).seal(b"frame")).incarnation == 8


def test_marks_refuse_replays_in_the_next_start() -> None:
    before, voice = opener(), sealer()
    frames = [voice.seal(b"") for _ in range(6)]
    for number in (0, 3):
        before.open(frames[number])
    marks = before.marks()
    assert marks == {ALICE.fingerprint: ReplayMark(7, SESSION, 4)}
    after = Opener(OLD, None, marks)
    assert [refused(after, frame) for frame in frames[:4]] == [RejectReason.REPLAYED] * 4
    assert refused(after, sealer(incarnation=6).seal(b"")) == RejectReason.REPLAYED
    assert refused(after, sealer(session=bytes(16)).seal(b"")) == RejectReason.REPLAYED
    assert [after.open(frame).counter for frame in reversed(frames[4:])] == [6, 5]


def test_senders_are_remembered_up_to_a_limit_the_latest_longest() -> None:
    marks = {f"sender-{number}": ReplayMark(0, SESSION, 1) for number in range(SENDERS_REMEMBERED + 5)}
    target = Opener(OLD, None, marks)
    assert list(target.marks()) == list(marks)[5:]
    alice, bob = sealer(), sealer(identity=BOB)
    for voice in (alice, bob, alice):
        target.open(voice.seal(b""))
    assert list(target.marks()) == [*list(marks)[7:], BOB.fingerprint, ALICE.fingerprint]


def test_a_ring_replaced_while_running() -> None:
    """Counters go on, and keys no longer in the ring open nothing, also of sessions under way."""
    target, voice = opener(), sealer()
    target.open(voice.seal(b"old"))
    both = KeyRing((NEW.sealing, OLD.sealing))
    target.use(both)
    assert target.open(voice.seal(b"still old")).counter == 2
    voice.use(both)
    assert target.open(voice.seal(b"new")).counter == 3
    target.use(NEW)
    voice.use(OLD)
    assert refused(target, voice.seal(b"old again")) == RejectReason.WRONG_KEY
    voice.use(NEW)
    assert bytes(target.open(voice.seal(b"new again")).frame) == b"new again"
    alike = twin_of(NEW.sealing, OLD.sealing)
    target.use(alike)
    voice.use(alike)
    assert target.open(voice.seal(b"another key of the same id")).counter == 6


def test_counters_end_with_u64() -> None:
    voice, target = sealer(incarnation=U64_MAX), opener()
    first = voice.seal(b"")
    voice._counters = iter((U64_MAX, U64_MAX + 1))  # type: ignore[assignment]
    last = voice.seal(b"")
    assert target.open(last)[2:] == (U64_MAX, U64_MAX)
    assert refused(target, first) == RejectReason.REPLAYED
    with pytest.raises(CounterError, match="start the agent again"):
        voice.seal(b"")


def test_a_signature_is_good_for_one_swarm_key_only() -> None:
    """Who has two keys, even of the same id, cannot carry a member's frame from one swarm into the other."""
    twin = twin_of(OLD.sealing, NEW.sealing)
    sealed = sealer().seal(b"frame")
    prefix, nonce = sealed[:72], sealed[64:72] + bytes(4)
    signed = _derive(OLD.sealing, ALICE.public, 7, SESSION).decrypt(nonce, sealed[72:], prefix)
    carried = prefix + _derive(twin.sealing, ALICE.public, 7, SESSION).encrypt(nonce, signed, prefix)
    assert refused(opener(twin), carried) == RejectReason.WRONG_IDENTITY
