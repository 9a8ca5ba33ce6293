"""How long a joiner listens, and to whom."""

from __future__ import annotations

import pytest

from peer.admission import EPOCH_JUMP_MAX, EPOCH_MAX
from peer.joining import Listening
from tests.unit.driving import push, settings
from wire import PEERS_KNOWN_MAX

# Seconds: 8 to hear somebody, 2 to listen, 10 until silence is believed; an epoch lasts at least 30.
CHOSEN = settings(listen_s_max=8.0, listen_ticks=2.0, expire_ticks=10.0)
EPOCH_S_MIN = 30.0


def listening(founding_epoch: int = 1) -> Listening[object]:
    return Listening(CHOSEN, founding_epoch, 100.0)


def ends_at(joiner: Listening[object], *, blocks: int = 1, members: int = 0) -> float:
    """Seconds after it began, in steps of a quarter."""
    quarter = next(q for q in range(2000) if joiner.is_over(blocks, 1.0, EPOCH_S_MIN, members, 100.0 + q / 4))
    return quarter / 4


def test_who_hears_nobody_waits_for_so_long_and_no_longer() -> None:
    assert ends_at(listening()) == 8.0
    assert ends_at(listening(), members=3) == 8.0


def test_who_comes_back_to_members_gives_them_time_to_begin_an_epoch() -> None:
    assert ends_at(listening(founding_epoch=2), members=3) == 8.0 + EPOCH_S_MIN + 10.0
    assert ends_at(listening(founding_epoch=2)) == 8.0


def test_while_beacons_show_a_living_swarm_none_is_founded() -> None:
    """They will push when their epoch has lasted for its time."""
    joiner = listening()
    joiner.swarm_seen(107.0)
    assert ends_at(joiner) == 17.25, "the last beacon is too long ago"
    for second in range(40):
        joiner.swarm_seen(100.0 + second)
    assert ends_at(joiner) == 8.0 + EPOCH_S_MIN + 10.0


@pytest.mark.parametrize(("senders", "over"), [((("a", 0), ("c", 0)), 8.0), ((("a", 0), ("a", 1)), 5.0)])
def test_every_block_is_heard_for_a_while(senders: tuple[tuple[str, int], ...], over: float) -> None:
    joiner = listening()
    for second, (sender, block) in enumerate(senders):
        joiner.hear(push(sender, block=block), 103.0 + second)
    joiner.swarm_seen(104.0)
    assert ends_at(joiner, blocks=2) == over, "from the first on; or it makes do with some"


def test_where_several_take_part_the_word_of_one_is_compared_with_that_of_another() -> None:
    """Found by the hunt: who heard a liar first began with what it told, and was not believed afterwards."""
    joiner = listening()
    joiner.hear(push("liar"), 102.0)
    joiner.told("liar", 3)
    assert ends_at(joiner) == 4.0, "nobody else is known"
    joiner.told("a", 3)
    joiner.told("c", 0)
    assert ends_at(joiner) == 8.0, "a may not push to this one at all"
    joiner.hear(push("a"), 103.5)
    assert ends_at(joiner) == 4.0


def test_the_newest_of_each_sender_and_block_counts_and_a_new_epoch_starts_anew() -> None:
    joiner = listening()
    for sequence in (1, 2):
        joiner.hear(push("a", sequence=sequence), 103.0)
    assert [one.sequence for one in joiner.heard.values()] == [2]
    joiner.restart()
    assert joiner.heard == {}
    assert ends_at(joiner) == 8.0
    joiner.hear(push("a"), 104.0)
    joiner.begin(106.0)
    assert joiner.heard == {}
    assert ends_at(joiner) == 14.0


def test_an_epoch_is_believed_in_proportion_to_what_most_say() -> None:
    joiner = listening()
    assert joiner.believable() == EPOCH_MAX, "nobody has said anything"
    for peer, epoch in (("a", 7), ("c", 9), ("d", 2**47), ("e", 0)):
        joiner.told(peer, epoch)
    assert joiner.believable() == 8 + EPOCH_JUMP_MAX, "less than a whole leap"
    joiner.told("c", 2**47)
    assert joiner.believable() == 2**47 + EPOCH_JUMP_MAX - 1, "two of three; the last word of each counts"
    joiner.begin(101.0)
    assert joiner.believable() == EPOCH_MAX


def test_who_only_listens_is_no_swarm_to_wait_for_and_a_crowd_is_forgotten() -> None:
    joiner = listening(founding_epoch=2)
    for number in range(PEERS_KNOWN_MAX + 7):
        joiner.told(f"p{number}", 0)
    assert len(joiner._said) == PEERS_KNOWN_MAX
    assert ends_at(joiner, members=PEERS_KNOWN_MAX) == 8.0
    assert ends_at(joiner, members=PEERS_KNOWN_MAX + 1) == 8.0 + EPOCH_S_MIN + 10.0, "one of them learns"
