"""Heartbeats: who is believed alive, who hears whom, and what lies and sleep can do to that."""

from __future__ import annotations

from typing import Any

import pytest

from peer.liveness import (
    GAPS_OF_SILENCE,
    HEARING_TICKS,
    HEARSAY_TICKS,
    LIVES_MAX,
    OWN_BEATS_MAX,
    PATIENCE_MAX,
    RETOLD_TICKS,
    TOLD,
    UNHEARD_FACTOR,
    Liveness,
    News,
)
from peer.lives import FLAPS_MAX, GAP_DECAY, RISES_WANTED
from wire import Heard, Heartbeat, peer_mark
from wire.messages import AGE_TICKS_MAX, HEARS_MAX

EXPIRE_TICKS = 10.0
ALIVE = News("a", 0, alive=True)
HUGE = 2**64 - 1


def liveness(ticks: int = 0) -> Liveness:
    """That of b, which ticks once a second, so many times so far."""
    found = Liveness("b", 0, expire_ticks=EXPIRE_TICKS, tick_s=1.0)
    beat(found, ticks)
    return found


def beat(found: Liveness, ticks: int) -> float:
    for _ in range(ticks):
        found.beat(found.heartbeat + 1.0)
    return float(found.heartbeat)


def says(heartbeat: int, peer: str = "a", incarnation: int = 0, **more: Any) -> Heartbeat:
    return Heartbeat(peer, incarnation, heartbeat, **more)


def heard(of: str, heartbeat: int, age: int = 0) -> Heard:
    return Heard(peer_mark(of), heartbeat, age)


def risen(found: Liveness, peer: str = "a", times: int = RISES_WANTED, first: int = 1) -> list[News]:
    """The peer itself speaks, one tick after another."""
    news: list[News] = []
    for number in range(first, first + times):
        news = found.hear(says(number, peer), 1.0, beat(found, 1))
    return news


def told(found: Liveness) -> tuple[Heartbeat, ...]:
    return found.digest("b:1", left=False, accuses=())


# ---- who is believed


def test_one_message_proves_nothing() -> None:
    found = liveness()
    assert risen(found, times=RISES_WANTED - 1) == []
    assert found.hear(says(2), 1.0, beat(found, 1)) == [], "the same heartbeat again is no rise"
    assert found.hear(says(1), 1.0, beat(found, 1)) == [], "nor is a late one"
    assert found.hear(says(3), 1.0, beat(found, 1)) == [ALIVE]


def test_others_words_prove_as_much_of_who_is_not_heard() -> None:
    found = liveness(1)
    news = [
        found.hear_of([says(number), says(number, "b")], "teller", beat(found, 1))
        for number in (4, 4, 5, 3, 6)
    ]
    assert news == [[], [], [], [], [ALIVE]]
    assert "b" not in found.lives, "nobody tells an agent of itself"


@pytest.mark.parametrize("speaks_itself", [True, False])
def test_time_proves_a_peer_not_the_number_of_its_messages(*, speaks_itself: bool) -> None:
    """Found by review: who flapped was believed again as fast as it could send."""
    found = liveness(1)

    def hear(number: int) -> list[News]:
        if speaks_itself:
            return found.hear(says(number), 1.0, float(found.heartbeat))
        return found.hear_of([says(number)], "teller", float(found.heartbeat))

    assert [hear(number) for number in range(100)] == 100 * [[]]
    assert found.lives["a"].rises == 1
    beat(found, 1)
    assert [hear(number) for number in range(100, 200)] == 100 * [[]]
    beat(found, 1)
    assert hear(200) == [ALIVE]


def test_every_loss_but_the_first_doubles_the_ticks_wanted() -> None:
    found = liveness()
    risen(found)
    first = 10
    for losses in range(1, FLAPS_MAX + 4):
        found.lost("a")
        wanted = RISES_WANTED << min(losses - 1, FLAPS_MAX)
        assert found.lives["a"].ticks_wanted() == wanted
        if losses < 4:
            assert risen(found, times=wanted - 1, first=first) == []
            assert risen(found, times=1, first=first + wanted) == [ALIVE]
            first += 2 * wanted
    found.steady("a")
    assert found.lives["a"].ticks_wanted() == RISES_WANTED


def test_patience_with_who_flaps_is_counted_in_time_however_rarely_it_is_heard() -> None:
    """Found by the hunt: a peer heard by beacons alone was held off for ten times as long, for an hour."""
    found = liveness()
    risen(found)
    for _ in range(6):
        found.lost("a")
    wanted = found.lives["a"].ticks_wanted()
    assert wanted == RISES_WANTED << 5
    believed = [found.hear(says(10 + turn), 1.0, beat(found, 12)) == [ALIVE] for turn in range(12)]
    assert believed == [False] * (wanted // 12) + [True] * (12 - wanted // 12)
    slow = liveness()
    risen(slow)
    for _ in range(6):
        slow.lost("a")
    slow.tick_s = 0.1  # nor by one that ticks slower than most
    assert risen(slow, times=10, first=10) == []
    assert risen(slow, times=1, first=20) == [ALIVE], "after 9.5 s"


def test_a_goodbye_is_believed_at_once_and_passed_on() -> None:
    found = liveness()
    risen(found)
    assert found.hear(says(4, left=True), 1.0, 4.0) == [News("a", 0, alive=False)]
    assert told(found)[1].left
    assert found.hear(says(4), 1.0, 5.0) == [], "what was said before is late"
    assert found.hear(says(5), 1.0, 6.0) == [], "who comes back has to rise again"
    assert not found.lives["a"].left


def test_a_new_incarnation_ends_the_old_one_and_has_to_rise_itself() -> None:
    found = liveness()
    risen(found)
    ended = found.hear(says(0, incarnation=1), 1.0, beat(found, 1))
    assert ended == [News("a", 0, alive=False)]
    assert found.hear(says(9), 1.0, beat(found, 1)) == [], "late, of the old one"
    assert found.hear(says(1, incarnation=1), 1.0, beat(found, 1)) == []
    assert found.hear(says(2, incarnation=1), 1.0, beat(found, 1)) == [News("a", 1, alive=True)]


# ---- what others say does not overrule the peer itself


@pytest.mark.parametrize(
    "lie",
    [
        says(9, left=True),
        says(HUGE),
        says(HUGE, left=True),
        says(1, incarnation=HUGE),
        says(1, incarnation=7, left=True),
        says(9, hears=()),
    ],
)
@pytest.mark.parametrize("later", [0, HEARSAY_TICKS + 1])
def test_no_lie_locks_out_who_can_be_heard(lie: Heartbeat, later: int) -> None:
    """The lie is told all the time; the peer is heard every tick, or again after a while."""
    found = liveness()
    hears = (heard("b", 1),)
    for number in (1, 2, 3):
        found.hear(says(number, hears=hears), 1.0, beat(found, 1))
    now = beat(found, later)
    if not later:
        assert found.hear_of([lie], "teller", now) == []
        assert found.lives["a"].hears == hears, "in its own words"
    news: list[News] = []
    for number in range(4, 4 + 2 * RISES_WANTED):
        found.hear_of([lie], "teller", now)
        news = found.hear(says(number, hears=hears), 1.0, now := beat(found, 1))
    assert news == [ALIVE]
    life = found.lives["a"]
    assert (life.incarnation, life.heartbeat, life.hears) == (0, number, hears)


def test_of_who_is_heard_others_confirm_only_that_it_lives() -> None:
    found = liveness()
    risen(found)
    now = beat(found, 5)
    assert found.hear_of([says(50, hears=())], "teller", now) == []
    assert found.silence("a", 1.0, now) == 0.0
    assert (found.lives["a"].heartbeat, found.lives["a"].hears) == (50, None)
    assert told(found)[1] == says(3), "words and heartbeats passed on belong together"
    assert found.hear_of([says(51, left=True)], "teller", now + 1.0) == []
    assert found.silence("a", 1.0, now) == 0.0, "a goodbye confirms nothing"
    assert found.lives["a"].rose_at == now
    now = beat(found, HEARSAY_TICKS - 5)
    now = beat(found, 1)
    assert found.hear_of([says(51, hears=())], "teller", now) == [ALIVE], (
        "not heard for long: others may say more"
    )
    assert found.lives["a"].hears == ()
    assert told(found)[1] == says(51, hears=())


def test_false_news_of_the_dead_counts_no_more_after_a_while() -> None:
    """One member told of an absurd heartbeat; the peer is only known by others."""
    found = liveness(1)
    found.hear_of([says(HUGE, incarnation=5)], "teller", 1.0)
    now = beat(found, HEARING_TICKS)
    assert found.hear_of([says(4)], "teller", now) == []
    assert found.lives["a"].incarnation == 5
    found.lost("a")
    now = beat(found, 1)
    news = [found.hear_of([says(number)], "teller", beat(found, 1)) for number in (5, 6, 7)]
    assert news == [[], [], [ALIVE]]


def test_a_few_false_heartbeats_of_nobody_are_forgotten_too() -> None:
    """Found by the hunt: a liar told twice of a later life, which nobody came to believe in; it stayed."""
    found = liveness()
    risen(found)
    assert found.hear_of([says(1, incarnation=2**40)], "liar", beat(found, HEARSAY_TICKS + 1)) != []
    found.hear_of([says(HUGE, incarnation=2**40)], "liar", beat(found, 1))
    assert found.lives["a"].rises
    beat(found, HEARING_TICKS)
    news = [found.hear_of([says(number)], "teller", beat(found, 1)) for number in (105, 106, 107, 108)]
    assert news[-1] == [ALIVE]


def test_news_that_comes_seldom_is_believed_in_the_end() -> None:
    """Found by the hunt: a fast agent forgot a slow one from word to word, and never knew of it."""
    found = liveness()
    news = [
        found.hear_of([says(number)], "teller", beat(found, HEARING_TICKS + 50)) for number in (5, 45, 85)
    ]
    assert news == [[], [], [ALIVE]]


def test_nobody_falls_behind_what_it_said_itself_or_who_must_know() -> None:
    found = liveness()
    found.hear(says(1, incarnation=3), 1.0, 0.0)
    found.name("c", 2, 0.0)
    found.lost("a")
    now = beat(found, HEARING_TICKS + 1)
    assert found.hear_of([says(9, incarnation=2), says(9, "c", incarnation=1)], "teller", now) == []
    found.name("a", 1, now)
    assert (found.lives["a"].incarnation, found.lives["c"].incarnation) == (3, 2)
    found.name("a", 4, now)
    assert (found.lives["a"].incarnation, found.lives["a"].heartbeat) == (4, -1)


# ---- silence


def test_silence_is_measured_in_expire_ticks_and_the_longest_gaps() -> None:
    found = liveness()
    for number, now in ((1, 0.0), (2, 2.0), (3, 3.0)):
        found.hear(says(number), 1.0, now)
    limit_s = EXPIRE_TICKS * 0.5 + GAPS_OF_SILENCE * 2.0 * GAP_DECAY
    assert found.silence("a", 0.5, 3.0) == 0.0
    assert found.silence("a", 0.5, 3.0 + limit_s) == pytest.approx(1.0)
    found.lost("a", silently=True)
    assert found.silence("a", 0.5, 3.0 + limit_s) == pytest.approx(0.5), "a false alarm costs patience"
    found.hear(says(4), 1.0, 1000.0)
    assert found.lives["a"].gap_s == 2.0 * GAP_DECAY, "the time it was dead is no gap"
    for _ in range(9):
        found.lost("a", silently=True)
    assert found.lives["a"].patience == PATIENCE_MAX
    found.hear(says(0, incarnation=1), 1.0, 1001.0)
    assert found.lives["a"].patience == 1.0, "that was a death, no false alarm"
    assert found.silence("nobody", 0.5, 9.0) == 0.0


def test_who_was_named_but_never_heard_is_believed_for_longer() -> None:
    found = liveness()
    found.name("a", 0, 5.0)
    assert found.silence("a", 1.0, 5.0 + UNHEARD_FACTOR * EXPIRE_TICKS) == 1.0
    found.name("a", 0, 10.0)
    assert found.silence("a", 1.0, 10.0) == 0.0, "named again"
    risen(found)
    before = found.lives["a"].rose_at
    found.name("a", 0, 99.0)
    assert found.lives["a"].rose_at == before, "from then on its heartbeat counts"


def test_an_interval_of_zero_expires_nobody_unheard() -> None:
    found = liveness()
    found.name("a", 0, 0.0)
    assert found.silence("a", 0.0, 1e9) == 0.0


def test_who_slept_blames_nobody_for_it_and_forgets_no_later_death() -> None:
    """An hour's sleep; c is heard on waking, before the clock is looked at."""
    found = liveness()
    hears = (heard("b", 1),)
    for peer in ("a", "c"):
        found.hear(says(1, peer, hears=hears), 1.0, beat(found, 1))
    found.hear(says(2, "c", hears=hears), 1.0, 3600.0)
    found.slept(3598.0, 3600.5)
    assert found.silence("a", 1.0, 3600.5) < 0.2
    assert found.lives["c"].rose_at == 3600.5, "not in an hour"
    assert found.unheard_s("c", 0.0, 1.0) == 0.0, "nothing was sent meanwhile that could have been heard"


# ---- who hears whom


def test_words_that_were_under_way_for_long_make_no_peer_deaf() -> None:
    """Found by the hunt: news that came through others seemed to say that nothing was heard meanwhile."""
    found = liveness(20)
    for number in (1, 2, 3):
        found.hear_of([says(number, hears=(heard("b", 12, age=2),))], "teller", 30.0)
    assert found.unheard_s("a", 3.0, 5.0) == 10.0, "2 of its ticks, of 5 s as far as is known"
    found.hear(says(4, hears=(heard("b", 12, age=2),)), 1.0, 30.0)
    found.hear(says(14, hears=(heard("b", 12, age=12),)), 1.0, 40.0)
    assert found.unheard_s("a", 3.0, 5.0) == 12.0, "its ticks take 1 s"


def test_who_is_heard_by_whom_is_known_from_their_own_words() -> None:
    found = liveness(3)
    assert found.is_heard_by("c", "a", 9.0), "a is not known"
    found.hear(says(1), 1.0, 3.0)
    assert found.is_heard_by("c", "a", 9.0), "it does not say"
    found.hear(says(2, hears=(heard("c", 5, age=9), heard("b", 2, age=10))), 1.0, 3.0)
    assert found.is_heard_by("c", "a", 9.0)
    assert not found.is_heard_by("d", "a", 9.0)
    assert not found.is_heard_by("b", "a", 9.0), "too long ago"
    assert found.is_heard_by("b", "a", 10.0)


def test_a_peer_is_deaf_for_as_long_as_its_own_words_say() -> None:
    found = liveness(20)
    assert found.unheard_s("a", 3.0, 1.0) == 0.0
    found.hear(says(1), 1.0, 30.0)
    assert found.unheard_s("a", 3.0, 1.0) == 0.0, "version 1 does not say"
    found.hear(says(2, hears=(heard("c", 9),)), 1.0, 30.0)
    assert found.unheard_s("a", 3.0, 1.0) == 27.0
    found.hear(says(3, hears=(heard("c", 9), heard("b", 12, age=99))), 1.0, 31.0)
    assert found.unheard_s("a", 3.0, 1.0) == 19.0, "since what was sent at 12"
    assert found.unheard_s("a", 15.0, 1.0) == 16.0
    assert found.unheard_s("a", 32.0, 1.0) == 0.0, "it has said nothing since"
    found.hear_of([says(9)], "teller", 60.0)
    assert found.unheard_s("a", 3.0, 1.0) == 19.0, "that others hear it is not its word"
    assert found.heard_of_us("a") == heard("b", 12, age=99)
    assert found.heard_of_us("nobody") is None
    assert found.hears_us("a", 12.0)
    assert not found.hears_us("a", 12.5), "its words are of what was sent at 12"
    assert not found.hears_us("nobody", -99.0)


def test_an_agent_hears_whom_it_heard_itself_and_lately() -> None:
    found = liveness()
    risen(found)
    found.hear_of([says(5, "c")], "teller", 3.0)
    assert found.hears("a", 0.0)
    assert not found.hears("c", 99.0)
    assert not found.hears("nobody", 99.0)
    assert told(found)[0].hears == (heard("a", 3),)
    beat(found, HEARING_TICKS)
    assert not found.hears("a", HEARING_TICKS - 1)
    assert told(found)[0].hears == (heard("a", 3, HEARING_TICKS),)
    beat(found, 1)
    assert told(found)[0].hears == ()


def test_round_trips_are_measured_from_what_peers_say_of_hearing_us() -> None:
    found = liveness(100)
    assert found.typical_delay_s() == 0.0
    found.hear(says(1, hears=(heard("b", 90, age=3),)), 2.0, 100.0)
    assert found.typical_delay_s() == pytest.approx(2.0), "sent at 90, waited for 3 of its ticks of 2 s"
    found.hear(says(1, hears=(heard("b", 91),)), 2.0, 200.0)
    assert found.lives["a"].round_trip_s == pytest.approx(4.0), "nothing new"
    found.hear(says(2, hears=(heard("b", 90, age=0),)), 2.0, 114.0)
    assert found.lives["a"].round_trip_s == pytest.approx(4.0 + 0.1 * 20.0)
    for number, of_us in ((3, (heard("b", 90, AGE_TICKS_MAX),)), (4, (heard("b", 999),)), (5, ()), (6, None)):
        found.hear(says(number, hears=of_us), 2.0, 100.0)
    assert found.lives["a"].round_trip_s == pytest.approx(6.0), "too old, never sent, not heard, unsaid"
    found.hear(says(7, hears=(heard("b", 100, age=9),)), 1e300, 100.0)
    assert found.lives["a"].round_trip_s == pytest.approx(5.4), "whatever it says, never below zero"


# ---- what is told, and limits


def test_the_digest_tells_of_all_in_turn_and_stops_when_there_is_no_word() -> None:
    found = liveness(1)
    peers = [f"p{number}" for number in range(7)]
    for peer in peers:
        found.hear(says(3, peer, address=f"{peer}:1", accuses=(b"8 bytes.",)), 1.0, 1.0)
    seen = []
    for _ in range(4):
        beat(found, 1)
        digest = told(found)
        assert len(digest) == TOLD
        assert digest[0].peer == "b"
        seen += digest[1:]
    assert {one.peer for one in seen[:7]} == set(peers)
    assert seen[0] == says(3, "p0", address="p0:1", accuses=(b"8 bytes.",))
    found.name("named", 0, 1.0)
    found.hear(says(4, "p0"), 1.0, 5.0)
    assert found.lives["p0"].address == "p0:1", "the address stays when none is told"
    beat(found, RETOLD_TICKS - 1)
    assert {one.peer for _ in range(9) for one in told(found)} == {"b", "p0"}
    beat(found, 2)
    assert {one.peer for _ in range(9) for one in told(found)} == {"b"}


def test_nobody_s_crowd_crowds_out_the_news_of_others() -> None:
    """Found by review: names that one member made up filled nearly all that was passed on."""
    found = liveness()
    peers: list[str] = []
    for number in range(1, 61):
        now = beat(found, 1)
        found.hear(says(number, "near"), 1.0, now)
        found.hear_of([says(number, f"ghost{ghost}") for ghost in range(200)], "liar", now)
        found.hear_of([says(number, f"far{peer}") for peer in range(3)], "near", now)
        peers += [heartbeat.peer for heartbeat in told(found)[1:]]
    assert len(peers) == 60 * (TOLD - 1)
    assert peers.count("near") == 60
    assert [peers.count(f"far{peer}") for peer in range(3)] == [20, 20, 20]


def test_what_the_agent_says_of_itself() -> None:
    own = liveness(5).digest("b:1", left=True, accuses=(b"8 bytes.",))
    assert own == (Heartbeat("b", 0, 5, "b:1", True, (), (b"8 bytes.",)),)


def test_no_crowd_grows_what_is_remembered_or_told() -> None:
    found = liveness(1)
    risen(found, "real", first=1)
    now = beat(found, 2)
    for number in range(LIVES_MAX + 9):
        found.hear_of([says(1, f"fake{number}")], "teller", now)
    assert len(found.lives) == LIVES_MAX
    assert "real" in found.lives
    assert f"fake{LIVES_MAX + 8}" not in found.lives, "there is no room for hearsay"
    for number in range(LIVES_MAX):
        found.hear(says(1, f"liar{number}"), 1.0, now)
    assert len(found.lives) == LIVES_MAX
    assert "real" in found.lives, "who is believed stays"
    assert f"liar{LIVES_MAX - 1}" in found.lives, "who speaks itself is given room"
    digest = told(found)
    assert len(digest) == TOLD
    assert len(digest[0].hears or ()) == HEARS_MAX
    beat(found, HEARING_TICKS + 1)
    found.hear_of([says(1, "late")], "teller", now)
    assert "late" in found.lives, "the longest silent makes room"
    beat(found, OWN_BEATS_MAX)
    assert len(found._beat_at) == OWN_BEATS_MAX


def test_neither_a_crowd_of_strangers_nor_one_of_hearsay_keeps_strangers_out() -> None:
    """Found by review: two newcomers at once drove out one another for ever, while ghosts stayed."""
    found = liveness()
    for number in range(1, RISES_WANTED + 1):
        now = beat(found, 1)
        found.hear_of([says(number, f"ghost{ghost}") for ghost in range(LIVES_MAX)], "liar", now)
    found.name("named", 0, now)
    for number in range(1, RISES_WANTED + 1):
        now = beat(found, 1)
        found.hear_of([says(9 + number, f"ghost{ghost}") for ghost in range(LIVES_MAX)], "liar", now)
        news = [found.hear(says(number, peer), 1.0, now) for peer in ("c", "d")]
    assert news == [[News("c", 0, alive=True)], [News("d", 0, alive=True)]]
    for number in range(2 * LIVES_MAX):
        found.hear(says(1, f"stranger{number}"), 1.0, now)
    assert len(found.lives) == LIVES_MAX
    assert {"named", "c", "d"} <= set(found.lives)
    assert sum(peer.startswith("ghost") for peer in found.lives) > LIVES_MAX // 3, "most may be honest"
    everybody = liveness()
    for number in range(LIVES_MAX):
        everybody.name(f"p{number}", 0, 0.0)
        everybody.lives[f"p{number}"].rose_on = number
    everybody.hear(says(1, "one more"), 1.0, 0.0)
    assert set(everybody.lives) == {*(f"p{number}" for number in range(1, LIVES_MAX)), "one more"}


def test_the_interval_of_heartbeats_is_measured() -> None:
    found = liveness()
    found.hear(says(1), 1.0, 10.0)
    assert found.lives["a"].beat_s() is None
    found.hear(says(1), 1.0, 11.0)
    assert found.lives["a"].beat_s() is None, "the same again"
    for number in range(100):
        found.hear(says(5 + 4 * number), 1.0, 12.0 + number)
    assert found.lives["a"].beat_s() == pytest.approx(0.25, rel=1e-2), "three of four messages were lost"
    found.hear(says(1, incarnation=1), 1.0, 200.0)
    assert found.lives["a"].beat_s() is None


def test_a_clock_that_was_set_makes_no_heartbeat_slow() -> None:
    """Found by the hunt: it jumped, the link was cut for ever, and the peer seemed to tick every 50 s."""
    found = liveness()
    for number in range(1, 5):
        found.hear(says(number), 1.0, float(number))
    found.slept(647.0, 651.4)
    found.hear(says(5), 1.0, 651.4)
    found.hear(says(6), 1.0, 652.4)
    assert found.lives["a"].beat_s() == pytest.approx(1.0)


def test_a_clock_that_was_set_makes_no_trip_long() -> None:
    """Found by the hunt: links that seemed to take six minutes made an agent tick every 20 s."""
    found = liveness(100)
    found.slept(645.0, 745.5)
    found.hear(says(1, hears=(heard("b", 99),)), 1.0, 746.0)
    assert found.typical_delay_s() == 0.0, "sent before"
    found.beat(746.5)
    found.hear(says(2, hears=(heard("b", 101),)), 1.0, 747.5)
    assert found.typical_delay_s() == pytest.approx(0.5), "sent since then"


def test_who_is_known_by_others_and_does_not_say_whom_it_hears_seems_deaf() -> None:
    """Found by review: a ghost without words was pushed to for ever."""
    found = liveness()
    for number in (1, 2, 3):
        found.hear_of([says(number)], "liar", now := beat(found, 1))
    assert found.unheard_s("a", 0.0, 1.0) == now
    found.hear(says(4), 1.0, beat(found, 1))
    assert found.unheard_s("a", 0.0, 1.0) == 0.0, "of an older version"


def test_a_lie_of_a_restart_is_not_held_against_the_peer() -> None:
    found = liveness()
    risen(found)
    now = beat(found, HEARSAY_TICKS + 1)
    for number in range(RISES_WANTED):
        found.hear_of([says(number)._replace(incarnation=9)], "teller", now)
    losses = found.lives["a"].losses
    assert found.hear(says(4), 1.0, now) == [News("a", 9, alive=False)]
    assert found.lives["a"].losses == losses


def test_who_speaks_itself_is_believed_even_if_others_confirm_it_first_in_every_tick() -> None:
    """A teller that was always faster kept its peer a stranger for ever (found by hypothesis)."""
    found = liveness()
    for number in range(1, RISES_WANTED + 1):
        now = beat(found, 1)
        found.hear_of([says(24)], "teller", now)
        news = found.hear(says(number), 1.0, now)
    assert news == [ALIVE]
