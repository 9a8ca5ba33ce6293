"""Inbox, table of peers, pace, out-neighbours: small tables with a limit each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.inbox import Inbox
from peer.pace import SLOWDOWN_MAX, SLOWNESS_MAX, Pace
from peer.peer_table import PeerTable
from peer.topology import BYPASS_MAX, bridges, bypassed, next_behind, out_neighbours, predecessors
from tests.unit.driving import push
from wire import PEERS_KNOWN_MAX

# ---- inbox


def test_sequences_are_compared_per_source_block_and_epoch() -> None:
    inbox: Inbox[object] = Inbox()
    for sender, block in (("a", 0), ("a", 1), ("c", 0)):
        assert inbox.put(push(sender, block=block, sequence=2), lowest_epoch=0) == "new"
        assert inbox.put(push(sender, block=block, sequence=2), lowest_epoch=0) == "stale"
        assert inbox.put(push(sender, block=block, sequence=1), lowest_epoch=0) == "stale"
    assert inbox.put(push("a", epoch=2, sequence=1), lowest_epoch=0) == "new"
    assert inbox.put(push("a", epoch=1, sequence=9), lowest_epoch=0) == "stale"
    assert inbox.put(push("c", epoch=2), lowest_epoch=3) == "stale"
    counters = inbox.counters
    assert (counters.received, counters.stale, counters.superseded) == (12, 8, 1)


def test_gaps_are_counted_from_the_first_sequence_of_an_epoch() -> None:
    inbox: Inbox[object] = Inbox()
    inbox.put(push("a", sequence=3), lowest_epoch=0)
    assert inbox.counters.gaps == 2
    inbox.put(push("a", sequence=4), lowest_epoch=0)
    assert inbox.counters.gaps == 2
    inbox.put(push("a", epoch=2, sequence=2), lowest_epoch=0)
    assert inbox.counters.gaps == 3


def test_only_the_epoch_asked_for_is_taken_and_in_a_fixed_order() -> None:
    inbox: Inbox[object] = Inbox()
    for sender, block, epoch in (("c", 1, 2), ("a", 0, 1), ("c", 0, 2), ("a", 1, 2)):
        inbox.put(push(sender, block=block, epoch=epoch, tick=block + 4), lowest_epoch=0)
    assert inbox.highest_epoch() == 2
    assert inbox.highest_tick() == 5
    assert [(one.sender, one.block) for one in inbox.take(2)] == [("a", 1), ("c", 0), ("c", 1)]
    assert inbox.take(2) == []
    assert (inbox.highest_epoch(), inbox.highest_tick()) == (0, 0)
    assert inbox.put(push("c", block=1, epoch=2), lowest_epoch=0) == "stale", "taken is not forgotten"


def test_of_two_that_wait_a_higher_epoch_replaces_and_is_not_combined() -> None:
    inbox: Inbox[object] = Inbox(lambda older, newer: pytest.fail("shares of two epochs"))
    inbox.put(push("a"), lowest_epoch=0)
    inbox.put(push("a", epoch=2), lowest_epoch=0)
    assert [one.epoch for one in inbox.take(2)] == [2]


def test_what_is_forgotten_is_free_and_may_come_again() -> None:
    inbox: Inbox[object] = Inbox()
    inbox.put(push("a"), lowest_epoch=0)
    inbox.put(push("a", block=1), lowest_epoch=0)
    inbox.put(push("c"), lowest_epoch=0)
    inbox.take(0)
    inbox.put(push("a", sequence=2), lowest_epoch=0)
    inbox.forget("a")
    assert inbox.take(1) == []
    assert inbox.put(push("a"), lowest_epoch=0) == "stale", "found by the hunt: it was still under way"
    assert inbox.put(push("a", sequence=3), lowest_epoch=0) == "new"
    assert inbox.put(push("c"), lowest_epoch=0) == "stale"
    inbox.take(2)
    assert inbox.put(push("a", epoch=2), lowest_epoch=2) == "new"
    assert set(inbox._newest) == {("a", 0)}, "nothing is kept of epochs that are over"


def test_who_only_listened_to_an_epoch_still_knows_what_was_newest_before() -> None:
    inbox: Inbox[object] = Inbox()
    inbox.put(push("a", epoch=1, sequence=5), lowest_epoch=1)
    inbox.take(1)
    assert inbox.take(9, entered=1) == []
    assert inbox.put(push("a", epoch=1, sequence=5), lowest_epoch=1) == "stale", "found by the hunt"
    assert inbox.put(push("a", epoch=1, sequence=6), lowest_epoch=1) == "new"
    inbox.take(9, entered=9)
    assert not inbox._newest


# ---- table of peers


def test_an_incarnation_never_falls_and_the_gone_come_back_only_when_seen() -> None:
    table = PeerTable()
    assert table.seen("b", 2)
    assert not table.seen("b", 2)
    assert not table.seen("b", 1)
    assert table.seen("a", 0)
    assert table.alive() == ["a", "b"]
    assert len(table) == 2
    assert table.gone("b")
    assert not table.gone("b")
    assert table.incarnation("b") is None
    assert not table.seen("b", 1), "an old message does not bring it back"
    assert table.seen("b", 2)
    assert table.incarnation("b") == 2
    assert table.seen("b", 5)
    assert table.incarnation("b") == 5


def test_late_news_does_not_remove_who_came_back() -> None:
    table = PeerTable()
    table.seen("a", 3)
    assert not table.gone("a", 2)
    assert table.alive() == ["a"]
    assert table.gone("a", 5), "whoever heard of 5 knows more"
    assert not table.gone("a", 5)
    assert not table.seen("a", 4)
    assert table.seen("a", 5)


def test_a_hostile_network_cannot_fill_the_table() -> None:
    table = PeerTable()
    for number in range(PEERS_KNOWN_MAX):
        assert table.seen(f"p{number}", 0)
    assert not table.seen("one more", 0)
    assert table.seen("p0", 1), "those who are there may still change"
    for number in range(PEERS_KNOWN_MAX):
        assert table.gone(f"p{number}")
    assert table.seen("one more", 4)
    assert table.gone("one more")
    assert table.seen("p0", 0), "the longest gone has been forgotten, its incarnation with it"
    assert not table.seen("one more", 3)


def test_who_is_heard_gets_a_place_and_those_who_tell_of_others_share_the_rest() -> None:
    table = PeerTable()
    assert table.seen("here", 0)
    assert table.seen("far", 0, "here")
    for number in range(PEERS_KNOWN_MAX - 2):
        assert not table.is_full()
        assert table.seen(f"p{number}", 0, "liar")
    assert table.is_full()
    newest = f"p{PEERS_KNOWN_MAX - 3}"
    assert table.who_makes_room("") == table.who_makes_room("here") == newest
    assert table.who_makes_room("liar") is None
    assert not table.seen(newest, 0), "it is heard itself"
    assert table.who_makes_room("") == f"p{PEERS_KNOWN_MAX - 4}"
    for number in range(PEERS_KNOWN_MAX - 2):
        table.seen(f"p{number}", 0)
    assert table.who_makes_room("") == "far"
    assert table.who_makes_room("liar") is None, "one is not more than one"
    table.gone("far")
    assert table.who_makes_room("") is None


def test_a_number_that_was_never_true_can_be_corrected_of_the_gone_only() -> None:
    table = PeerTable()
    table.seen("a", 9)
    table.correct("a", 2)
    assert table.incarnation("a") == 9
    table.gone("a")
    table.correct("a", 10)
    assert not table.seen("a", 8)
    table.correct("a", 2)
    table.correct("nobody", 2)
    assert not table.seen("a", 1)
    assert table.seen("a", 2)


# ---- pace


def test_typical_is_the_median_and_slowest_the_maximum() -> None:
    pace = Pace(1.0)
    assert (pace.typical_s(), pace.slowest_s()) == (1.0, 1.0)
    pace.heard("a", 5.0, 5.0)
    pace.heard("c", 9.0, 9.0)
    assert (pace.typical_s(), pace.slowest_s()) == (5.0, 9.0)
    pace.forget("c")
    pace.forget("nobody")
    assert (pace.typical_s(), pace.slowest_s()) == (3.0, 5.0)
    pace.heard("a", 1e9, 1e9)
    assert pace.slowest_s() == SLOWNESS_MAX


def test_nobody_is_believed_to_be_slower_than_its_heartbeats_show() -> None:
    """Found by review: one message made the shortest epoch a hundred times as long."""
    pace = Pace(1.0)
    pace.heard("a", 50.0, None)
    assert pace.slowest_s() == 1.0
    pace.heard("a", 50.0, 3.0)
    assert pace.slowest_s() == 6.0
    pace.heard("a", 3.0, 50.0)
    assert pace.slowest_s() == 3.0


def test_the_own_interval_is_measured_and_smoothed() -> None:
    pace = Pace(1.0)
    pace.ticked(100.0)
    assert pace.own_s == 1.0, "one tick is no interval"
    pace.ticked(102.0)
    assert pace.own_s == pytest.approx(1.1)
    for tick in range(200):
        pace.ticked(104.0 + 2.0 * tick)
    assert pace.own_s == pytest.approx(2.0)
    pace.ticked(1e6)
    assert pace.own_s < 4.0, "it slept"
    for tick in range(200):
        pace.ticked(1e6 + 500.0 * tick)
    assert pace.own_s == pytest.approx(500.0), "or the machine has become slow"


def test_ticks_are_as_asked_for_or_slower_where_links_are() -> None:
    """Reference: DESIGN (Pacing): more than about five ticks per delay buy nothing."""
    pace = Pace(0.1)
    assert pace.interval_s(0.4, 5.0) == 0.1
    assert pace.interval_s(1.0, 5.0) == 0.2
    assert pace.interval_s(1e9, 5.0) == 0.1 * SLOWDOWN_MAX
    assert pace.interval_s(1e9, 0.0) == 0.1
    assert pace.told_s("a") is None


# ---- out-neighbours


def drawn(own: str, peers: list[str], fanout: int = 3, epoch: int = 1) -> tuple[str, ...]:
    return out_neighbours(own, peers, fanout=fanout, swarm="swarm", epoch=epoch)


def test_small_swarms_are_complete() -> None:
    assert drawn("b", []) == ()
    assert drawn("b", ["b"]) == ()
    assert drawn("b", ["c", "a", "b"]) == ("a", "c")


@pytest.mark.parametrize("fanout", [1, 2, 5])
def test_the_ring_successor_is_always_there_and_never_the_agent_itself(fanout: int) -> None:
    """Reference: DESIGN (Neighbours): a directed ring, so strongly connected when views agree."""
    peers = [f"p{number:02}" for number in range(20)]
    for epoch in range(1, 30):
        for index, own in enumerate(peers):
            chosen = drawn(own, peers, fanout, epoch)
            assert peers[(index + 1) % 20] in chosen
            assert own not in chosen
            assert len(chosen) <= fanout
            assert list(chosen) == sorted(set(chosen))


def test_in_degrees_are_capped() -> None:
    """Every circle gives each peer one in-neighbour; the circles tried are few."""
    peers = [f"p{number:02}" for number in range(40)]
    for epoch in range(1, 20):
        chosen = [drawn(own, peers, 3, epoch) for own in peers]
        degrees = [sum(peer in targets for targets in chosen) for peer in peers]
        assert max(degrees) <= 9
        assert sum(degrees) / 40 > 2.9, "hardly ever fewer than the fanout"


def test_neighbours_are_drawn_afresh_each_epoch_and_equal_for_who_knows_the_same() -> None:
    peers = [f"p{number:02}" for number in range(20)]
    assert len({drawn("p03", peers, 3, epoch) for epoch in range(1, 20)}) > 10
    assert drawn("p03", peers) == drawn("p03", list(reversed(peers)))


def test_a_stranger_disturbs_its_neighbourhood_only() -> None:
    peers = [f"p{number:02}" for number in range(40)]
    changed = sum(drawn(own, peers) != drawn(own, [*peers, "q"]) for own in peers)
    assert changed <= 6


def test_when_circles_name_the_same_peers_again_the_draw_ends() -> None:
    """The rings tried are limited; three peers of four may be named less often than hoped, never more."""
    peers = ["a", "b", "c", "d", "e"]
    sizes = {len(drawn("a", peers, 3, epoch)) for epoch in range(1, 3000)}
    assert sizes <= {1, 2, 3}
    assert 3 in sizes


@pytest.mark.parametrize("fanout", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 3, 9, 30])
def test_predecessors_push_here_and_hardly_anybody_else_does(count: int, fanout: int) -> None:
    peers = [f"p{number:02}" for number in range(count)]
    told = pushing = 0
    for epoch in range(1, 8):
        for own in peers:
            expected = predecessors(own, peers, fanout=fanout, swarm="swarm", epoch=epoch)
            actual = {peer for peer in peers if own in drawn(peer, peers, fanout, epoch)}
            assert expected == actual if count <= fanout + 1 else expected <= actual
            told, pushing = told + len(expected), pushing + len(actual)
    assert told >= 0.75 * pushing


def test_the_next_that_is_heard_pushes_to_who_hears_none_of_those_between() -> None:
    """On the circle a b c d e; what is not said of a link is that it works."""

    def found(own: str, *cut: str) -> tuple[str, ...]:
        return bypassed(own, next_behind(own, "abcde"), lambda source, target: source + target not in cut)

    assert all(found(own) == () for own in "abcde")
    assert found("c", "de") == ("e",)
    assert found("b", "de") == (), "c is nearer"
    assert found("b", "de", "ce") == ("e",)
    assert found("c", "de", "ce") == (), "it is not heard either"
    assert found("e", "ab", "bc") == ("b",), "c hears a"
    assert found("e", "ab", "bc", "ac") == ("b", "c")
    assert found("b", "bc") == (), "its successor is drawn anyway, and left out if it is deaf"
    many = [f"p{number:02}" for number in range(40)]
    behind = next_behind("p00", many)
    assert bypassed("p00", behind, lambda source, _: source == "p00") == tuple(many[2 : 2 + BYPASS_MAX])
    assert next_behind("p38", many)[:3] == ("p39", "p00", "p01"), "a circle"


def connected(links: set[tuple[str, str]], members: str) -> bool:
    """Reference: everybody is reached from everybody, by walking."""

    def walked(start: str) -> set[str]:
        seen, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            more = {target for source, target in links if source == here} - seen
            seen |= more
            waiting += more
        return seen

    return all(walked(one) == set(members) for one in members)


@settings(max_examples=200, deadline=None)
@given(count=st.integers(2, 7), seed=st.integers(0, 10**6), share=st.floats(0.0, 0.8))
def test_with_bridges_the_circle_is_connected_if_anything_is(count: int, seed: int, share: float) -> None:
    """Whatever is cut, for good and one way: each agent finds its own part of the links that are missing."""
    members, rng = "abcdefg"[:count], random.Random(seed)
    there = {(s, t) for s in members for t in members if s != t and rng.random() >= share}
    circle = set()
    for place, source in enumerate(members):
        following = members[place + 1 :] + members[:place]
        circle |= {
            (source, target)
            for target in following
            if (source, target) in there
            and not any((source, nearer) in there for nearer in following[: following.index(target)])
        }
    added = {
        (own, target)
        for own in members
        for target in bridges(own, members, lambda source, target: (source, target) in there)
    }
    assert added <= there
    assert connected(circle | added, members) == connected(there, members)
    if all((members[place - 1], members[place]) in there for place in range(count)):
        assert not added


def test_two_pairs_that_hear_only_each_other_are_joined() -> None:
    """Found by the hunt: everybody pushed and was pushed to, and the sums of one pair never came out."""
    cut = {("d", "b"), ("a", "b"), ("a", "c")}
    found = {own: bridges(own, "abcd", lambda source, target: (source, target) not in cut) for own in "abcd"}
    assert found == {"a": (), "b": (), "c": ("b",), "d": ("c",)}
