import dataclasses

from tests.wire.diary import ALICE, BOB, OTHER_SWARM, Diary
from wire import PEERS_KNOWN_MAX, RejectReason
from wire.known_peers import KnownPeers


def known(diary: Diary) -> KnownPeers:
    return KnownPeers(ALICE, diary.on_seen, diary.on_incompatible)


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
    assert diary.incompatible == [(other, RejectReason.WRONG_FINGERPRINT)]
    table.lost("bob")
    table.lost("bob")
    assert len(table) == 0
    table.heard("bob", BOB)
    assert diary.seen == [BOB, moved, BOB]


def test_another_peer_under_the_same_name_takes_the_place_of_the_former() -> None:
    """A process restarted on the same port as somebody else, at last as this one itself."""
    diary = Diary()
    table = known(diary)
    carol = dataclasses.replace(BOB, peer="carol")
    dave = dataclasses.replace(BOB, peer="dave", swarm=OTHER_SWARM)
    for record in (BOB, carol, dave, BOB):
        table.heard("seed", record)
        assert len(table) == 1
    assert diary.seen == [BOB, carol, BOB]
    assert diary.incompatible == [(dave, RejectReason.WRONG_SWARM)]
    table.heard("seed", ALICE)
    assert len(table) == 0


def test_who_does_not_fit_is_known_until_it_is_lost() -> None:
    table = known(Diary())
    dave = dataclasses.replace(BOB, peer="dave", swarm=OTHER_SWARM)
    table.heard("bob", BOB)
    table.heard("dave", dave)
    assert table.refused() == {"dave"}
    table.lost("dave")
    assert table.refused() == set()


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


def test_who_wants_to_hear_of_peers_only_is_told_of_no_others() -> None:
    diary = Diary()
    table = KnownPeers(ALICE, diary.on_seen, None)
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
