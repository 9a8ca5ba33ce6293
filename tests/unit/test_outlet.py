"""What goes out, and in whose place: the same for real and simulated links."""

from __future__ import annotations

from dataclasses import replace

from peer.events import EpochEntered, ListeningStarted
from peer.outlet import BEACON, Outlet, has_happened, sayable
from tests.unit.driving import push
from wire import Heartbeat

BEACONS = [push("a", arrays=(), digest=(Heartbeat("a", 0, number),)) for number in range(3)]
GOODBYE = push("a", arrays=(), digest=(Heartbeat("a", 0, 3, left=True),))


def test_blocks_and_beacons_replace_their_like_and_goodbyes_nothing() -> None:
    outlet = Outlet()
    assert [outlet.place(push("a", block=block)) for block in (0, 7, 0)] == [0, 7, 0]
    assert [outlet.place(beacon) for beacon in BEACONS] == [BEACON] * 3
    places = [outlet.place(GOODBYE) for _ in range(3)]
    assert len(set(places)) == 3
    assert max(places) < 0


def test_of_an_epoch_that_is_not_durable_only_signs_of_life_are_sent() -> None:
    block = push("a", epoch=5)
    assert sayable(block, 5) is block
    assert sayable(block, 4) is None
    beacon = replace(BEACONS[0], epoch=5)
    assert sayable(beacon, 5) is beacon
    assert sayable(beacon, 4) == replace(beacon, epoch=0)


def test_an_epoch_that_was_given_up_was_never_entered() -> None:
    assert has_happened(EpochEntered(5, "membership", ()), 5)
    assert not has_happened(EpochEntered(6, "membership", ()), 5)
    assert has_happened(ListeningStarted(6), 5)
