import dataclasses

from tests.wire.diary import ALICE, BOB, OTHER_SWARM, Diary
from wire import PEERS_KNOWN_MAX, RejectReason
from wire.known_peers import KnownPeers


def known(diary: Diary) -> KnownPeers:
    return KnownPeers(ALICE, diary.on_seen, diary.on_gone, diary.on_incompatible)


def test_each_change_is_told_once() -> None:
    diary = Diary()
    table = known(diary)
    table.heard("self", dataclasses.replace(ALICE, incarnation=9))
    table.heard("bob", BOB)
    table.heard("bob", BOB)
    moved = dataclasses.replace(BOB, address="127.0.0.1:1")
    table.heard("bob", moved)
    assert diary.seen == [BOB, moved]
    other = dataclasses.replace(BOB, fingerprint="other")
    table.heard("bob", other)
    table.heard("bob", other)
    assert diary.gone == ["bob"]
    assert diary.incompatible == [(other, RejectReason.WRONG_FINGERPRINT)]
    table.lost("bob")
    table.heard("bob", BOB)
    table.lost("bob")
    table.lost("bob")
    assert diary.seen == [BOB, moved, BOB]
    assert diary.gone == ["bob", "bob"]


def test_another_peer_under_the_same_name_takes_the_place_of_the_former() -> None:
    """A process restarted on the same port as somebody else."""
    told: list[str] = []
    table = KnownPeers(
        ALICE, lambda record: told.append(f"+{record.peer}"), lambda peer: told.append(f"-{peer}"), None
    )
    table.heard("seed", BOB)
    table.heard("seed", dataclasses.replace(BOB, peer="carol"))
    assert told == ["+bob", "-bob", "+carol"]
    table.heard("seed", dataclasses.replace(BOB, peer="dave", swarm=OTHER_SWARM))
    assert told == ["+bob", "-bob", "+carol", "-carol"]
    table.heard("seed", BOB)
    table.heard("seed", ALICE)
    assert told[4:] == ["+bob", "-bob"], "now it is this one itself"


def test_a_peer_under_two_names_is_gone_with_the_last() -> None:
    diary = Diary()
    table = known(diary)
    moved = dataclasses.replace(BOB, incarnation=2, address="127.0.0.1:1")
    table.heard("old", BOB)
    table.heard("new", moved)
    table.lost("old")
    assert (diary.seen, diary.gone) == ([BOB, moved], [])
    table.lost("new")
    assert diary.gone == ["bob"]


def test_who_is_forgotten_is_told_of_again() -> None:
    diary = Diary()
    table = known(diary)
    carol = dataclasses.replace(BOB, peer="carol")
    for _ in range(2):
        table.heard("bob", BOB)
        table.heard("carol", carol)
    assert diary.seen == [BOB, carol]
    table.forget("bob")
    table.forget("nobody")
    table.heard("bob", BOB)
    table.heard("carol", carol)
    assert diary.seen == [BOB, carol, BOB]
    table.forget("bob")
    table.lost("bob")
    assert diary.gone == [], "whoever forgot knows already"


def test_who_wants_to_hear_of_peers_only_is_told_of_no_others() -> None:
    diary = Diary()
    table = KnownPeers(ALICE, diary.on_seen, diary.on_gone, None)
    table.heard("bob", dataclasses.replace(BOB, swarm=OTHER_SWARM))
    table.heard("bob", BOB)
    assert diary.seen == [BOB]


def test_a_flood_of_names_is_bounded() -> None:
    """STYLE 11: a hostile LAN peer must not grow tables without bound."""
    diary = Diary()
    table = known(diary)
    for index in range(PEERS_KNOWN_MAX + 50):
        table.heard(f"{index}", dataclasses.replace(BOB, peer=f"peer-{index}"))
        table.heard(f"x{index}", dataclasses.replace(BOB, peer=f"peer-{index}", swarm=OTHER_SWARM))
    assert len(diary.seen) == len(diary.incompatible) == PEERS_KNOWN_MAX
    assert len(table) == 2 * PEERS_KNOWN_MAX
