"""What a member announces is judged by what its link, all links and the agent itself have seen so far."""

from __future__ import annotations

import json
from typing import Any

import pytest

from peer.plausibility import ESTIMATE_MARGIN, HISTORY_MIN, LINK_MARGIN, OWN_MARGIN, Claim, Plausibility
from peer.snapshot import Snapshot, SnapshotError


def objection(
    judge: Plausibility, source: str = "a", block: int = 0, stream: int = 0, **what: Any
) -> str | None:
    """And what there is no objection to is believed."""
    plain: dict[str, Any] = {"growth": 1.0, "missed": 1, "estimate": 1.0}
    claim = Claim(**{**plain, **what})
    found = judge.objection(source, block, stream, claim)
    if found is None:
        judge.believe(source, block, stream, claim)
    return found


def experienced(messages: int = HISTORY_MIN, *sources: str) -> Plausibility:
    judge = Plausibility()
    judge.own(0, 0.0, 1.0)
    for source in sources or ("a", "c"):
        for _ in range(messages):
            assert objection(judge, source) is None
    return judge


@pytest.mark.parametrize(("field", "margin"), [("growth", LINK_MARGIN), ("estimate", ESTIMATE_MARGIN)])
def test_more_than_the_margin_is_not_believed(field: str, margin: float) -> None:
    judge = experienced()
    assert objection(judge, **{field: margin}) is None
    judge = experienced()
    found = objection(judge, block=0, **{field: 1.1 * margin})
    assert found is not None
    assert ("jumps by 110 in 1 messages" if field == "growth" else "has length 1.1e+03") in found
    assert objection(judge, **{field: 1.1 * margin}) == found, "what is refused is no history"


def test_an_estimate_is_measured_by_all_that_was_ever_seen() -> None:
    """Found by the hunt: while all only averaged it hardly moved; then it went the whole way at once."""
    judge = Plausibility()
    for _ in range(4 * HISTORY_MIN):
        assert objection(judge, "a", estimate=0.00647) is None
    judge.own(0, 1.0, 0.16)
    assert objection(judge, "a", estimate=0.894) is None
    assert objection(judge, "a", estimate=1.1 * ESTIMATE_MARGIN * 0.894) is not None


def test_who_does_not_know_its_own_steps_judges_no_estimate() -> None:
    """Found by a test under load: the swarm had hardly moved, and went the whole way before this agent."""
    judge = Plausibility()
    for _ in range(2 * HISTORY_MIN):
        assert objection(judge, "a", estimate=2.34e-5) is None
    judge.own(0, 1.0, 0.0)
    assert objection(judge, "a", estimate=1.68) is None
    assert objection(judge, "a", growth=1.1 * OWN_MARGIN) is not None
    judge.own(0, 1.0, 20.0)
    assert objection(judge, "a", estimate=1.1 * ESTIMATE_MARGIN * 20.0) is not None


def test_an_honest_sum_jumps_after_a_cut() -> None:
    """Reference: the issue: messages missed times the largest share seen, with a margin."""
    judge = experienced()
    assert objection(judge, growth=5000.0, missed=50) is None
    judge = experienced()
    assert objection(judge, growth=5100.0, missed=50) is not None
    assert objection(judge, growth=101.0, missed=0) is not None, "no message was missed, nor less than none"


def test_what_other_links_have_brought_is_believed_of_this_one() -> None:
    judge = experienced(HISTORY_MIN, "a")
    assert objection(judge, "c", growth=1e6) is None, "a link without history is not judged by it"
    assert objection(judge, "a", growth=9e5) is None
    judge = experienced(HISTORY_MIN - 1, "a")
    assert objection(judge, "a", growth=1e6) is None


def test_blocks_and_streams_have_a_history_of_their_own() -> None:
    judge = experienced()
    assert objection(judge, block=1, growth=1e9) is None
    assert objection(judge, stream=1, growth=1e9) is None


@pytest.mark.parametrize("field", ["growth", "estimate"])
def test_nobody_is_out_of_all_proportion_to_the_agent_itself(field: str) -> None:
    judge = Plausibility()
    assert objection(judge, **{field: 1e12}) is None, "where nothing is known"
    judge.own(0, 2.0, 2.0)
    judge.own(0, 0.1, 0.1)
    assert objection(judge, **{field: 2.0 * OWN_MARGIN}) is None
    assert objection(judge, **{field: 2.1 * OWN_MARGIN}) is not None
    assert objection(judge, stream=1, **{field: 1e12}) is None


def test_where_only_zeros_were_seen_there_is_nothing_to_compare_with() -> None:
    judge = Plausibility()
    for _ in range(HISTORY_MIN):
        objection(judge, growth=0.0, estimate=0.0)
    assert objection(judge, growth=7.0, estimate=7.0) is None


def test_a_link_that_has_brought_nothing_but_zeros_has_no_history() -> None:
    """Found with steps that tune themselves: all models wait at zero, and not all begin to step at once."""
    judge = Plausibility()
    for _ in range(HISTORY_MIN):
        assert objection(judge, "a", growth=0.0, estimate=0.0) is None
    assert objection(judge, "c", growth=0.1, estimate=0.1) is None
    assert objection(judge, "a", growth=7.0, estimate=7.0) is None


def test_who_was_alone_is_believed_what_this_agent_has_held_itself() -> None:
    """Found by the hunt: who had settled alone pushed nearly nothing, and then met others."""
    judge = Plausibility()
    for _ in range(HISTORY_MIN):
        assert objection(judge, growth=1e-12, estimate=1e-12) is None
    judge.own(0, 5.0, 3.0)
    assert objection(judge, growth=4.9, estimate=2.9) is None


@pytest.mark.parametrize("field", ["growth", "estimate"])
def test_next_to_nothing_is_no_history(field: str) -> None:
    """Found by chaos: who hears nobody spends its mass on others, hardly moves, then comes far at once."""
    judge = Plausibility()
    judge.own(0, 5.0, 5.0)
    tiny, some = 0.9 * 5.0 / LINK_MARGIN, 1.1 * 5.0 / LINK_MARGIN
    for _ in range(HISTORY_MIN):
        assert objection(judge, "a", growth=tiny, estimate=tiny) is None
        assert objection(judge, "c", growth=some, estimate=some) is None
    assert (objection(judge, "c", **{field: 1.1 * LINK_MARGIN * 5.0}) is None) == (field == "estimate")
    assert objection(judge, "a", **{field: 1.1 * 5.0 * OWN_MARGIN}) is not None
    most = OWN_MARGIN if field == "growth" else ESTIMATE_MARGIN
    assert objection(judge, "a", **{field: 0.9 * 5.0 * most}) is None


def test_who_comes_back_settled_measures_others_by_what_it_held_before() -> None:
    """Found by the hunt: alone at its optimum after a restart, an agent took all gradients for lies."""
    judge = Plausibility()
    judge.own(0, 5.0, 3.0)
    kept = json.loads(json.dumps(judge.snapshot().values))
    back = Plausibility()
    back.restore(Snapshot({}, kept))
    back.own(0, 1e-11, 3.0)
    assert objection(back, growth=0.9) is None
    assert objection(back, growth=6.0 * OWN_MARGIN) is not None
    back.restore(Snapshot({}, {}))
    for wrong in ({"0": [1.0]}, {"0": 1.0}, {"0": ["1", 2.0]}, {"first": [1.0, 2.0]}):
        with pytest.raises(SnapshotError, match="instead of two lengths"):
            back.restore(Snapshot({}, wrong))


def test_the_gone_leave_no_history() -> None:
    judge = experienced()
    judge.forget("a")
    judge.forget("nobody")
    assert objection(judge, "a", growth=1e6) is None
    assert {place[0] for place in judge._links} == {"a", "c"}


def test_a_joiner_begins_with_no_estimate_out_of_all_proportion() -> None:
    judge = Plausibility()
    assert judge.believable(0, [0.0, 0.0]) == [True, True]
    assert judge.believable(0, [1.0, OWN_MARGIN, 1.1 * OWN_MARGIN, 0.0]) == [True, True, False, True]
    judge.own(0, 1.0, 1e-3)
    assert judge.believable(0, [1.0, 11.0]) == [True, False], "nor beside what it has held itself"
    assert judge.believable(1, [1.0, 11.0]) == [True, True]


def test_who_comes_late_brings_more_than_a_settled_link_has_ever_seen() -> None:
    """Found by the hunt: the share of a newcomer, which came by way of an agent that had settled."""
    judge = Plausibility()
    judge.own(0, 0.166, 1.0)
    for _ in range(2 * HISTORY_MIN):
        assert objection(judge, growth=0.00603) is None
    assert objection(judge, growth=0.626) is None
    assert objection(judge, growth=1.1 * LINK_MARGIN * 0.626) is not None
