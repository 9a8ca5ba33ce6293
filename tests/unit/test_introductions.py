"""Who was found and never heard is told of: for a while, by turns, and not without bound."""

from __future__ import annotations

from peer.introductions import INTRODUCED_MAX, INTRODUCED_TICKS, Introductions, is_introduction
from peer.lives import Life
from tests.unit.test_membership import View
from wire import PEERS_KNOWN_MAX, Heard, Heartbeat

MANY = [f"peer-{number}" for number in range(INTRODUCED_MAX + 1)]


def found(*peers: str) -> Introductions:
    introductions = Introductions()
    for peer in peers:
        assert introductions.note(peer, f"{peer}:1", 0.0)
    return introductions


def test_each_is_told_in_turn_with_where_it_listens() -> None:
    introductions = found("x", "y")
    assert [introductions.next_told() for _ in range(3)] == [
        (Heartbeat("x", 0, 0, "x:1"),),
        (Heartbeat("y", 0, 0, "y:1"),),
        (Heartbeat("x", 0, 0, "x:1"),),
    ]
    assert Introductions().next_told() == ()


def test_only_words_without_any_sign_of_life_introduce_somebody() -> None:
    assert is_introduction(Heartbeat("x", 0, 0, "x:1"))
    assert not is_introduction(Heartbeat("x", 0, 1))
    assert not is_introduction(Heartbeat("x", 0, 0, left=True))
    assert not is_introduction(Heartbeat("x", 0, 0, hears=()))
    assert not is_introduction(Heartbeat("x", 0, 0, hears=(Heard(bytes(8), 1, 1),)))


def test_who_is_heard_of_is_not_introduced_any_more() -> None:
    introductions = found("x", "y", "z")
    lives = {"x": Life(0, 0.0, heartbeat=4), "y": Life(0, 0.0)}  # y was named only
    introductions.tick(lives, 1.0, 1.0)
    assert [introductions.next_told()[0].peer for _ in range(2)] == ["y", "z"]


def test_after_so_many_ticks_nobody_is_introduced_unless_found_again() -> None:
    introductions = found("x", "y")
    introductions.note("y", "y:2", 1.0)
    introductions.tick({}, 2.0, 2.0 * INTRODUCED_TICKS)
    assert introductions.next_told() == (Heartbeat("x", 0, 0, "x:1"),)
    introductions.tick({}, 2.0, 2.0 * INTRODUCED_TICKS + 0.5)
    assert introductions.next_told() == (Heartbeat("y", 0, 0, "y:2"),)


def test_there_is_room_for_so_many_and_who_is_known_is_noted_all_the_same() -> None:
    introductions = found(*MANY[:-1])
    assert not introductions.note(MANY[-1], "", 0.0)
    assert introductions.note(MANY[0], "elsewhere:1", 0.0)
    assert introductions.next_told() == (Heartbeat(MANY[0], 0, 0, "elsewhere:1"),)


# ---- in one agent's view


def test_who_was_found_is_told_of_until_it_is_heard() -> None:
    view = View("a")
    view.members.find("x", view.now, "x:1")
    assert view.members.digest("b:1")[1:] == (Heartbeat("x", 0, 0, "x:1"),)
    view.tick()
    view.hear("x")
    view.tick()
    assert Heartbeat("x", 0, 0, "x:1") not in view.members.digest("b:1")


def test_who_is_introduced_is_contacted_where_it_listens_and_introduced_further() -> None:
    view = View("a")
    view.members.take_found()
    view.tick()
    view.hear("a", others=(Heartbeat("x", 0, 0, "x:1"),))
    assert view.members.take_found() == [("x", "x:1")]
    assert "x" in view.members.beacons(view.now, (), 0.0, 9)
    assert "x" not in view.members.liveness.lives, "a name is no sign of life"
    assert Heartbeat("x", 0, 0, "x:1") in view.members.digest("b:1")


def test_who_is_introduced_again_is_told_of_no_longer_for_it() -> None:
    """Else two agents would keep a name alive for ever by telling it to each other."""
    view = View("a", expire_ticks=1e6)
    view.tick()
    view.hear("a", others=(Heartbeat("x", 0, 0),))
    view.tick(int(INTRODUCED_TICKS) // 2)
    view.hear("a", others=(Heartbeat("x", 0, 0),))
    view.tick(int(INTRODUCED_TICKS) // 2 + 1)
    assert "x" not in [told.peer for told in view.members.digest("b:1")]


def test_strangers_introduce_nobody_and_nobody_introduces_us_to_ourselves() -> None:
    view = View("a")
    view.members.take_found()
    view.tick()
    view.hear("stranger", others=(Heartbeat("x", 0, 0),))
    view.hear("a", others=(Heartbeat("b", 0, 0),))
    assert view.members.take_found() == [("stranger", "")]


def test_a_flood_of_introductions_makes_nobody_give_way() -> None:
    view = View("a")
    view.tick()
    view.hear("a", others=tuple(Heartbeat(peer, 0, 0) for peer in MANY))
    assert [peer for peer, _ in view.members.take_found()] == ["a", *MANY[:-1]], "no more than so many"
    crowd = View("a")
    for number in range(PEERS_KNOWN_MAX - 1):
        crowd.members.find(f"c-{number}", crowd.now, "")
    crowd.members.take_found()
    crowd.tick(int(INTRODUCED_TICKS) + 1)
    crowd.members.name("a", 0, crowd.now)
    crowd.hear("a", others=(Heartbeat("x", 0, 0),))
    assert "x" not in [peer for peer, _ in crowd.members.take_found()]
