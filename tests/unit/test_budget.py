"""A cap on bytes makes an agent slower, never stuck."""

from __future__ import annotations

import pytest

from peer.budget import ByteBudget


def test_without_a_cap_everything_may_be_sent() -> None:
    budget = ByteBudget(0.0, 5.0)
    budget.spend(1e12)
    assert budget.affordable(10**9, 7, 5.0) == 7


def test_what_is_not_spent_is_saved_but_not_for_more_than_is_wanted_at_once() -> None:
    budget = ByteBudget(100.0, 5.0)
    assert budget.affordable(50, 3, 5.0) == 0
    assert budget.affordable(50, 3, 5.9) == 1
    assert budget.affordable(50, 3, 6.0) == 2
    assert budget.affordable(50, 3, 99.0) == 3
    budget.spend(150)
    assert budget.affordable(50, 3, 99.0) == 0, "nothing more was saved"
    assert budget.affordable(0, 3, 99.0) == 0


@pytest.mark.parametrize("message_bytes", [10, 10**3, 10**7])
def test_the_rate_is_kept_whatever_the_length_and_every_turn_comes(message_bytes: int) -> None:
    rate, seconds = 1000.0, 50_000
    budget, sent = ByteBudget(rate, 0.0), 0
    for second in range(1, seconds + 1):
        messages = budget.affordable(message_bytes, 200, float(second))
        budget.spend(messages * message_bytes)
        sent += messages * message_bytes
    assert sent == pytest.approx(rate * seconds, rel=0.25 if message_bytes == 10**7 else 0.01)
    assert sent <= rate * seconds


def test_messages_longer_than_expected_are_paid_back() -> None:
    budget = ByteBudget(100.0, 0.0)
    assert budget.affordable(50, 1, 1.0) == 1
    budget.spend(450)
    assert budget.affordable(50, 1, 2.0) == 0
    assert budget.affordable(50, 1, 5.4) == 0
    assert budget.affordable(50, 1, 5.6) == 1
