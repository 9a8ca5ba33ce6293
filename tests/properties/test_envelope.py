"""What holds of all sealed frames, whatever they carry and whatever happens to them."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import U64_MAX, DecodeError, RejectReason
from wire.envelope import COUNTERS_REMEMBERED, SEALED_OVERHEAD, Opener, Sealer, _Sender
from wire.keys import KeyRing, SigningIdentity

KEYS = [KeyRing.new(bytes([number]) * 32).sealing for number in range(1, 4)]
RING = KeyRing((KEYS[0],))
ALICE, BOB = (SigningIdentity(bytes([number]) * 32) for number in (4, 5))
SESSIONS = [bytes([number]) * 16 for number in range(8)]
FRAME_BYTES = 24
SEALED = Sealer(RING, ALICE, 7, SESSIONS[0]).seal(bytes(range(FRAME_BYTES)))

FLIPPED = [  # offset where a field ends, and what a bit flipped in it may be refused for
    (2, {RejectReason.MALFORMED}),
    (3, {RejectReason.MALFORMED, RejectReason.FUTURE_VERSION}),
    (4, {RejectReason.FUTURE_VERSION}),
    (SEALED_OVERHEAD + FRAME_BYTES, {RejectReason.WRONG_KEY}),
]


def refusal(opener: Opener, sealed: bytes) -> RejectReason | None:
    try:
        opener.open(sealed)
    except DecodeError as error:
        return error.reason
    return None


@given(st.lists(st.binary(max_size=3_000), min_size=1, max_size=4), st.integers(0, U64_MAX), st.randoms())
def test_what_is_sealed_is_opened_in_any_order(
    frames: list[bytes], incarnation: int, order: random.Random
) -> None:
    sealer, opener = Sealer(RING, ALICE, incarnation, SESSIONS[0]), Opener(RING, None, {})
    sealed = [(frame, sealer.seal(frame)) for frame in frames]
    order.shuffle(sealed)
    for frame, closed in sealed:
        opened = opener.open(memoryview(closed))
        assert (bytes(opened.frame), opened.fingerprint) == (frame, ALICE.fingerprint)
        assert opened.incarnation == incarnation
        assert len(closed) == len(frame) + SEALED_OVERHEAD


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_found(bit: int) -> None:
    opener = Opener(RING, None, {})
    for offset in range(len(SEALED)):
        spoilt = bytearray(SEALED)
        spoilt[offset] ^= 1 << bit
        fitting = next(reasons for end, reasons in FLIPPED if offset < end)
        assert refusal(opener, bytes(spoilt)) in fitting, offset
    assert opener.marks() == {}
    assert refusal(opener, SEALED) is None


@given(st.binary(max_size=400), st.integers(0, len(SEALED)))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused(noise: bytes, kept: int) -> None:
    """Also behind the beginning of a frame that was good."""
    opener = Opener(RING, None, {})
    whole = SEALED[:kept] + noise
    if whole != SEALED:
        assert refusal(opener, whole) is not None
    assert refusal(opener, noise) is not None


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=12))
def test_a_change_of_keys_interrupts_nobody(changes: list[tuple[int, bool]]) -> None:
    """Old; old and new; new and old; new: any two agents at most one step apart hear each other."""
    stages = [(0,), (0, 1), (1, 0), (1,), (1, 2), (2, 1), (2,)]
    rings = [KeyRing(tuple(KEYS[number] for number in stage)) for stage in stages]
    at = [0, 0]
    sealers = [Sealer(RING, identity, 0, SESSIONS[0]) for identity in (ALICE, BOB)]
    openers = [Opener(RING, None, {}) for _ in at]
    for agent, restarted in changes:
        if at[agent] > at[1 - agent] or at[agent] == len(stages) - 1:
            continue
        at[agent] += 1
        if restarted:
            openers[agent] = Opener(rings[at[agent]], None, openers[agent].marks())
        openers[agent].use(rings[at[agent]])
        sealers[agent].use(rings[at[agent]])
        for sealer, opener in itertools.product(sealers, openers):
            assert refusal(opener, sealer.seal(b"still heard")) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["seal", "restart", "restore", "key"]), st.integers(0, 2)), max_size=40
    )
)
def test_no_nonce_is_used_twice_with_one_key(life: list[tuple[str, int]]) -> None:
    """The bytes in front of a frame are the key's name, all that the key is derived from, and the nonce.

    A restored backup repeats incarnations; keys come and go and come back.
    """
    incarnation, starts, used = 1, itertools.count(), set()
    sealer = Sealer(RING, ALICE, incarnation, next(starts).to_bytes(16))
    for step, number in life:
        match step:
            case "seal":
                for _ in range(number + 1):
                    front = sealer.seal(b"frame")[:72]
                    assert front not in used
                    used.add(front)
            case "key":
                sealer.use(KeyRing((KEYS[number],)))
            case _:
                incarnation = incarnation + 1 if step == "restart" else max(1, incarnation - number)
                sealer = Sealer(KeyRing((KEYS[number],)), ALICE, incarnation, next(starts).to_bytes(16))


DELIVERIES = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(0, 11)),
        st.tuples(st.sampled_from(["restart receiver", "crash receiver"]), st.just(0)),
    ),
    max_size=40,
)


@given(DELIVERIES)
def test_nothing_is_taken_twice_before_and_after_restarts(deliveries: list[tuple[str, int]]) -> None:
    """Three incarnations with four frames each, delivered in any order, against a list of what may pass.

    A receiver that crashes has only the marks that it last made durable: it may take again what came since.
    """
    sealers = [Sealer(RING, ALICE, incarnation, SESSIONS[incarnation]) for incarnation in range(3)]
    frames = [sealer.seal(bytes([number])) for sealer in sealers for number in range(4)]
    opener, marks, durable = Opener(RING, None, {}), {}, (-1, 0)
    newest, floor, taken = -1, 0, set()
    for step, number in deliveries:
        incarnation, counter = number // 4, number % 4 + 1
        if step == "deliver":
            stale = incarnation < newest or (incarnation == newest and (counter <= floor or number in taken))
            expected = RejectReason.REPLAYED if stale else None
            assert refusal(opener, frames[number]) == expected
            if stale:
                continue
            if incarnation > newest:
                newest, floor, taken = incarnation, 0, set()
            taken.add(number)
            continue
        if step == "restart receiver":
            durable = newest, max([floor, *(number % 4 + 1 for number in taken)])
            marks = opener.marks()
        opener, (newest, floor), taken = Opener(RING, None, marks), durable, set()


JUMPS = st.one_of(
    st.integers(-5, 5),
    st.integers(-COUNTERS_REMEMBERED - 2, COUNTERS_REMEMBERED + 2),
    st.integers(0, U64_MAX),
)


@given(st.integers(0, U64_MAX), st.lists(JUMPS, max_size=60))
def test_the_window_agrees_with_a_set(first: int, jumps: list[int]) -> None:
    sender = _Sender(0, b"", first, 0)
    sender.note(first)
    seen = {first}
    for jump in jumps:
        counter = min(max(max(seen) + jump, 0), U64_MAX)
        stale = counter in seen or counter <= max(seen) - COUNTERS_REMEMBERED
        try:
            sender.check(0, b"", counter)
        except DecodeError:
            assert stale
        else:
            assert not stale
            sender.note(counter)
            seen.add(counter)
        assert sender.newest == max(seen)
        assert sender.seen.bit_length() <= COUNTERS_REMEMBERED
