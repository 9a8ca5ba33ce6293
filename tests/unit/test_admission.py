"""What an agent refuses, by reason; and that refusing changes nothing. DESIGN, section 4."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from peer.admission import EPOCH_GAP_MAX, EPOCH_JUMP_MAX, EPOCH_MAX, RAISES_AT_ONCE, SENDERS_MAX, EpochRate
from peer.phase import Phase
from tests.oracles.fractions import vector
from tests.unit.driving import Driver, push, start
from wire import DecodeError, RejectReason, peer_mark

ZEROS = vector(0, 0)
NAN = vector(0, 0)
NAN[1] = float("nan")


def in_epoch_five() -> Driver:
    driver = start(epoch_floor=4)
    driver.see("a", incarnation=3)
    driver.tick()
    assert driver.agent.epoch == 5
    return driver


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"swarm": "other"}, RejectReason.WRONG_SWARM, "swarm is 'other', ours 'swarm'"),
        ({"fingerprint": "m2"}, RejectReason.WRONG_FINGERPRINT, "fingerprint is 'm2', ours 'model'"),
        ({"sender": "b"}, RejectReason.OWN_MESSAGE, "sender is this agent itself"),
        ({"sender": "x"}, RejectReason.UNKNOWN_SENDER, "sender 'x' incarnation 3 is not known"),
        ({"incarnation": 2}, RejectReason.UNKNOWN_SENDER, "sender 'a' incarnation 2 is not known"),
        ({"epoch": 0}, RejectReason.EPOCH_JUMP, "epoch is 0, ours 5"),
        ({"epoch": 5 + EPOCH_JUMP_MAX + 1}, RejectReason.EPOCH_JUMP, "ours 5"),
        ({"epoch": 5 + EPOCH_JUMP_MAX + 1, "arrays": ()}, RejectReason.EPOCH_JUMP, "ours 5"),
        ({"targets": (bytes(8),)}, RejectReason.NOT_FOR_US, "what 'a' says here is for 1 others"),
        ({"targets": (bytes(8),), "arrays": ()}, RejectReason.NOT_FOR_US, "is for 1 others"),
        ({"block": 1}, RejectReason.WRONG_SHAPE, "block is 1, the model has 1"),
        ({"arrays": (ZEROS,) * 3}, RejectReason.WRONG_SHAPE, "arrays of block 0 have lengths (2, 2, 2)"),
        ({"arrays": (ZEROS, ZEROS, ZEROS, vector(0))}, RejectReason.WRONG_SHAPE, "lengths (2, 2, 2, 1)"),
        ({"arrays": (ZEROS, ZEROS, NAN, ZEROS)}, RejectReason.NON_FINITE, "block 0 are not finite"),
    ],
)
def test_messages_that_cannot_be_meant_for_this_agent_are_refused(
    fields: dict[str, Any], reason: RejectReason, told: str
) -> None:
    driver = in_epoch_five()
    with pytest.raises(DecodeError) as raised:
        driver.agent.receive(push(**{"sender": "a", "incarnation": 3, "epoch": 5, **fields}), driver.now)
    assert raised.value.reason is reason
    assert told in str(raised.value)
    assert driver.agent.inbox.counters.received == 0
    assert driver.agent.inbox.highest_epoch() == 0
    assert driver.agent.take_events() == []


def test_the_largest_jump_that_is_believed() -> None:
    driver = in_epoch_five()
    driver.hear("a", incarnation=3, epoch=5 + EPOCH_JUMP_MAX)
    assert driver.agent.inbox.highest_epoch() == 5 + EPOCH_JUMP_MAX


@pytest.mark.parametrize("fields", [{}, {"arrays": ()}])
def test_a_larger_jump_is_followed_in_steps_as_fast_as_one_sender_may_raise(fields: dict[str, Any]) -> None:
    """Found by an attack: liars had driven two groups apart by more than a jump, and they never met again."""
    driver = in_epoch_five()
    driver.hear("a", incarnation=3, epoch=5)
    driver.tick()
    far = 5 + 3 * EPOCH_JUMP_MAX + 7
    reached = []
    for tick in range(6):
        with contextlib.suppress(DecodeError):
            driver.hear("a", incarnation=3, epoch=far, sequence=tick, **fields)
        driver.tick()
        reached.append(driver.agent.epoch)
    assert reached[:3] == [5 + step * EPOCH_JUMP_MAX for step in (1, 2, 3)]
    assert reached[-1] == far
    for tick in range(6):
        with pytest.raises(DecodeError):
            driver.hear("a", incarnation=3, epoch=far + EPOCH_GAP_MAX + 1, sequence=tick, **fields)
        driver.tick()
    assert driver.agent.epoch == far


def test_before_its_first_epoch_an_agent_knows_no_jump_but_a_limit() -> None:
    driver = start(founder=False)
    driver.see("a")
    with pytest.raises(DecodeError) as raised:
        driver.hear("a", epoch=EPOCH_MAX + 1)
    assert raised.value.reason is RejectReason.EPOCH_JUMP
    driver.hear("a", epoch=EPOCH_MAX)
    assert driver.agent.inbox.highest_epoch() == EPOCH_MAX


def test_what_is_for_this_agent_among_others_is_let_in() -> None:
    driver = in_epoch_five()
    driver.hear("a", incarnation=3, epoch=5, targets=(bytes(8), peer_mark("b")))
    assert driver.agent.inbox.highest_epoch() == 5


def test_beacons_may_be_of_no_epoch_and_need_no_membership() -> None:
    driver = in_epoch_five()
    for sender, incarnation, epoch in (("a", 3, 0), ("x", 0, 6), ("a", 2, 9)):
        driver.hear(sender, incarnation=incarnation, epoch=epoch, arrays=())
    assert driver.agent.inbox.counters.received == 0
    driver.tick(2)
    assert driver.agent.epoch == 5, "strangers tell no epoch"


# ---- who raises the epoch


def note(rate: EpochRate, sender: str, epoch: int, interval_s: float, now: float) -> None:
    rate.note(push(sender, epoch=epoch), 1, interval_s, now)


def test_a_few_raises_are_free_and_then_one_in_each_interval() -> None:
    rate = EpochRate()
    accepted, epoch = [], 10
    for tenth in range(1000):
        epoch += 1
        with contextlib.suppress(DecodeError):
            note(rate, "a", epoch, 10.0, tenth / 10)
            accepted.append(tenth / 10)
        assert (rate.told == epoch) is (tenth / 10 in accepted)
    assert len(accepted) == pytest.approx(RAISES_AT_ONCE + 10, abs=1)
    assert accepted[:4] == [0.0, 0.1, 0.2, 0.3]


def test_each_sender_has_its_own_measure_and_saves_up_no_more() -> None:
    rate = EpochRate()
    for epoch in range(1, 5):
        note(rate, "a", epoch, 10.0, 0.0)
    with pytest.raises(DecodeError):
        note(rate, "a", 5, 10.0, 0.0)
    note(rate, "c", 5, 10.0, 0.0)
    note(rate, "a", 5, 10.0, 0.0)  # no raise: c has said so
    for epoch in range(6, 10):
        note(rate, "a", epoch, 10.0, 1e6)
    with pytest.raises(DecodeError):
        note(rate, "a", 10, 10.0, 1e6)
    assert rate.told == 9


def test_the_measures_of_senders_are_bounded() -> None:
    rate = EpochRate()
    for number in range(SENDERS_MAX + 5):
        note(rate, f"peer-{number}", number + 1, 10.0, 0.0)
    assert len(rate._left) == SENDERS_MAX
    assert "peer-0" not in rate._left


def test_without_an_interval_there_is_no_limit() -> None:
    rate = EpochRate()
    for epoch in range(1, 99):
        note(rate, "a", epoch, 0.0, 0.0)
    assert rate.told == 98


def test_an_agent_counts_raises_of_members_by_pushes_and_beacons() -> None:
    driver = in_epoch_five()
    for epoch in (6, 7, 8, 9):
        driver.hear("a", incarnation=3, epoch=epoch, arrays=() if epoch % 2 else (ZEROS,) * 4)
    for arrays in ((), (ZEROS,) * 4):
        with pytest.raises(DecodeError) as raised:
            driver.hear("a", incarnation=3, epoch=10, arrays=arrays)
        assert raised.value.reason is RejectReason.EPOCH_RATE
    assert driver.agent.inbox.highest_epoch() == 8


def test_a_joiner_follows_most_and_not_the_one_that_tells_an_absurd_epoch() -> None:
    """Nobody follows into 2**48, and the number would be kept for ever."""
    joiner = start(founder=False, now=0.0)
    joiner.see("a", "c", "liar")
    for tick in range(1, 14):
        with contextlib.suppress(DecodeError):  # once the joiner knows better
            joiner.hear("liar", epoch=EPOCH_MAX, sequence=tick, tick=tick)
        if tick > 1:
            for peer in ("a", "c"):
                joiner.hear(peer, epoch=3, sequence=tick, tick=tick)
        joiner.tick()
    assert joiner.agent.epoch == 3
    assert joiner.persisted == [3]


def test_a_member_takes_over_no_model_on_the_word_of_one() -> None:
    member = start()
    member.see("a", "c")
    member.hear("a", epoch=1)
    member.tick()
    member.hear("a", epoch=4, sequence=1, tick=9)
    member.tick()
    assert member.agent.phase is not Phase.LISTENING
    assert member.persisted == [1, 4]
    for peer in ("a", "c"):
        member.hear(peer, epoch=9, sequence=1, tick=20)
    member.tick()
    assert member.agent.phase is Phase.LISTENING
