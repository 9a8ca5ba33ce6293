"""Who was found and never heard is told of: ever more rarely, by turns, and not without bound."""

from __future__ import annotations

import pytest

from peer.introductions import (
    HEARSAY_MAX,
    HEARSAY_OF_ONE_MAX,
    HEARSAY_TICKS,
    SELDOM,
    SELDOMER_TICKS,
    Introductions,
    is_introduction,
)
from peer.liveness import Liveness
from peer.lives import Life
from tests.unit.test_membership import View
from wire import PEERS_KNOWN_MAX, Heard, Heartbeat


class Teller:
    """Introductions, and the liveness that they are told with."""

    def __init__(self, *found: str) -> None:
        self.introductions = Introductions()
        self.liveness = Liveness("b", 0, expire_ticks=10.0, tick_s=1.0)
        for peer in found:
            self.introductions.found(peer, f"{peer}:1", 0)

    def told(self) -> list[str]:
        """In one message."""
        return [one.peer for one in self.introductions.next_told(self.liveness)]

    def ticks(self, count: int) -> list[str]:
        """In one message of each of so many own ticks."""
        found = []
        for _ in range(count):
            self.liveness.beat(float(self.liveness.heartbeat + 1))
            found += self.told()
        return found


def introduction(peer: str, address: str = "") -> Heartbeat:
    return Heartbeat(peer, 0, 0, address)


def test_each_is_told_in_turn_with_where_it_listens() -> None:
    teller = Teller("x", "y")
    assert teller.introductions.next_told(teller.liveness) == (introduction("x", "x:1"),)
    assert [teller.told() for _ in range(2)] == [["y"], ["x"]]
    assert Teller().told() == []


def test_only_words_without_any_sign_of_life_introduce_somebody() -> None:
    assert is_introduction(introduction("x", "x:1"))
    assert not is_introduction(Heartbeat("x", 0, 1))
    assert not is_introduction(Heartbeat("x", 0, 0, left=True))
    assert not is_introduction(Heartbeat("x", 0, 0, hears=()))
    assert not is_introduction(Heartbeat("x", 0, 0, hears=(Heard(bytes(8), 1, 1),)))


def test_who_was_found_is_told_of_for_ever_and_ever_more_rarely() -> None:
    teller = Teller("x")
    assert len(teller.ticks(SELDOMER_TICKS - 1)) == SELDOMER_TICKS - 1
    assert len(teller.ticks(SELDOMER_TICKS)) == pytest.approx(SELDOMER_TICKS / 2, abs=1)
    teller.ticks(SELDOM * SELDOMER_TICKS)
    assert len(teller.ticks(100 * SELDOM)) == 100
    teller.introductions.found("x", "x:2", teller.liveness.heartbeat)
    assert len(teller.ticks(50)) == 50, "found again"


def test_who_is_heard_or_believed_is_not_introduced_any_more() -> None:
    teller = Teller("x", "y", "z", "u")
    teller.liveness.lives |= {
        "x": Life(0, 0.0, heard_at=1.0),
        "y": Life(0, 0.0, heartbeat=7),  # one has heard of it, but nobody is sure
        "z": Life(0, 0.0, is_believed=True),
    }
    assert [teller.told() for _ in range(3)] == [["y"], ["u"], ["y"]]


def test_what_others_tell_is_passed_on_for_a_while_only() -> None:
    teller = Teller()
    assert teller.introductions.told(introduction("x", "x:1"), "a", 0)
    assert teller.ticks(HEARSAY_TICKS)
    assert not teller.introductions.told(introduction("x"), "a", HEARSAY_TICKS), "it keeps its place"
    assert teller.ticks(2 * SELDOM) == []
    assert teller.introductions.told(introduction("x"), "a", HEARSAY_TICKS), "and may have another one then"


def test_there_is_room_for_so_many_names_and_each_member_has_a_share_of_it() -> None:
    introductions = Introductions()
    counts = {"a": 0, "c": 0}
    for number in range(HEARSAY_OF_ONE_MAX + 2):
        for member in counts:
            counts[member] += introductions.told(introduction(f"{member}-{number}"), member, 0)
    assert counts == {"a": HEARSAY_OF_ONE_MAX, "c": HEARSAY_OF_ONE_MAX}
    many = sum(
        introductions.told(introduction(f"more-{number}"), f"m-{number}", 0) for number in range(HEARSAY_MAX)
    )
    assert many == HEARSAY_MAX - 2 * HEARSAY_OF_ONE_MAX


def test_what_discovery_finds_has_a_bound_of_its_own() -> None:
    teller = Teller(*(f"x-{number}" for number in range(PEERS_KNOWN_MAX + 3)))
    assert teller.introductions.told(introduction("y"), "a", 0)
    assert teller.told() == ["x-3"], "the oldest have made room"


# ---- in one agent's view


def test_who_was_found_is_told_of_until_it_is_heard() -> None:
    view = View("a")
    view.members.find("x", view.now, "x:1")
    assert view.members.digest("b:1")[1:] == (introduction("x", "x:1"),)
    view.tick()
    view.hear("x")
    assert introduction("x", "x:1") not in view.members.digest("b:1")


def test_what_anybody_may_have_announced_is_contacted_and_not_told() -> None:
    view = View("a")
    view.members.take_found()
    view.members.find("x", view.now, "x:1", introduce=False)
    assert view.members.take_found() == [("x", "x:1")]
    assert len(view.members.digest("b:1")) == 1


def test_who_is_introduced_is_contacted_where_it_listens_and_introduced_further() -> None:
    view = View("a")
    view.members.take_found()
    view.tick()
    view.hear("a", others=(introduction("x", "x:1"),))
    assert view.members.take_found() == [("x", "x:1")]
    assert "x" in view.members.beacons(view.now, (), 0.0, 9)
    assert "x" not in view.members.liveness.lives, "a name is no sign of life"
    assert introduction("x", "x:1") in view.members.digest("b:1")


def test_who_is_introduced_again_is_told_of_no_longer_for_it() -> None:
    """Else two agents would keep a name alive for ever by telling it to each other."""
    view = View("a", expire_ticks=1e6)
    view.tick()
    view.hear("a", others=(introduction("x"),))
    view.tick(HEARSAY_TICKS // 2)
    view.hear("a", others=(introduction("x"),))
    told = []
    for _ in range(HEARSAY_TICKS):
        view.tick()
        told += [one.peer for one in view.members.digest("b:1")]
    assert "x" in told
    assert "x" not in told[-20:]


def test_strangers_introduce_nobody_and_nobody_introduces_us_to_ourselves() -> None:
    view = View("a")
    view.members.take_found()
    view.tick()
    view.hear("stranger", others=(introduction("x"),))
    view.hear("a", others=(introduction("b"),))
    assert view.members.take_found() == [("stranger", "")]


def test_a_flood_of_introductions_with_hearsay_of_them_takes_a_share_only() -> None:
    """Hearsay of a name does not make room for the next one."""
    view = View("a", "c")
    view.members.take_found()
    names = [f"x-{number}" for number in range(200)]
    for tick in range(20):
        view.tick()
        some = names[10 * tick : 10 * tick + 5]
        view.hear("a", others=(*map(introduction, some), *(Heartbeat(name, 0, 1) for name in some)))
    assert len(view.members.take_found()) == HEARSAY_OF_ONE_MAX
    view.hear("c", others=(introduction("honest"),))
    assert view.members.take_found() == [("honest", "")]


def test_where_all_contacts_are_taken_a_dead_one_makes_room() -> None:
    view = View("a")
    for number in range(PEERS_KNOWN_MAX):
        view.members.find(f"x-{number}", view.now, introduce=False)
    view.members.take_found()
    view.tick()
    view.hear("a", others=(introduction("honest"),))
    assert ("honest", "") in view.members.take_found()


def test_a_beat_is_measured_by_whoever_tells_of_the_peer_now() -> None:
    """It was heard itself at ten beats a second; now others tell of one in ten seconds."""
    view = View("a", "c")
    life = view.members.liveness.lives["c"]
    for beat in range(1, 20):
        view.now += 0.1
        view.members.tick(view.now, (), 0.0)
        view.hear("c", 10 * beat)
    assert life.rough_beat_s() == life.beat_s() == pytest.approx(0.01)
    for number in range(60):
        view.tick(10)
        view.hear("a", others=(Heartbeat("c", 0, 1000 + number, hears=()),))
    assert life.rough_beat_s() == pytest.approx(10.0, rel=0.1)
    assert life.beat_s() == pytest.approx(0.01)
