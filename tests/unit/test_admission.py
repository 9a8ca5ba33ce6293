"""What an agent refuses, by reason; and that refusing changes nothing. DESIGN, section 4."""

from __future__ import annotations

from typing import Any

import pytest

from peer.admission import EPOCH_JUMP_MAX, EPOCH_MAX
from tests.oracles.fractions import vector
from tests.unit.driving import Driver, push, start
from wire import DecodeError, RejectReason

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


def test_before_its_first_epoch_an_agent_knows_no_jump_but_a_limit() -> None:
    driver = start(founder=False)
    driver.see("a")
    with pytest.raises(DecodeError) as raised:
        driver.hear("a", epoch=EPOCH_MAX + 1)
    assert raised.value.reason is RejectReason.EPOCH_JUMP
    driver.hear("a", epoch=EPOCH_MAX)
    assert driver.agent.inbox.highest_epoch() == EPOCH_MAX
