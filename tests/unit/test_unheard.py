"""Messages lost in a row, counted by out-neighbour."""

from __future__ import annotations

import pytest

from peer.unheard import IN_VAIN, Unheard


@pytest.mark.parametrize(("limit", "wanted"), [(60.0, IN_VAIN), (5.0, 5)])
def test_what_is_sent_counts_until_a_newer_message_is_heard(limit: float, wanted: int) -> None:
    unheard = Unheard(limit)
    unheard.only(("a", "c"))
    for number in range(1, wanted + 1):
        assert not unheard.is_long("a")
        unheard.sent(("a", "stranger"))
        assert unheard.is_long("a") is (number == wanted)
    assert not unheard.is_long("c")
    unheard.heard("a", 3)
    assert not unheard.is_long("a")
    for _ in range(wanted):
        unheard.sent(("a",))
    unheard.heard("a", 3)
    assert unheard.is_long("a"), "the same word again says nothing new"


def test_of_those_that_stay_nothing_is_forgotten_and_of_others_nothing_kept() -> None:
    unheard = Unheard(2.0)
    unheard.only(("a", "c"))
    unheard.sent(("a", "c"))
    unheard.heard("c", 7)
    unheard.only(("a", "d"))
    unheard.sent(("a", "d"))
    assert (unheard.is_long("a"), unheard.is_long("d")) == (True, False)
    unheard.only(("c",))
    unheard.heard("c", 1)
    unheard.sent(("c",))
    assert not unheard.is_long("c")
