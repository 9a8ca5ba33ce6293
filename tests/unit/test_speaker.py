"""What an agent says: names and targets on its messages, and what they cost."""

from __future__ import annotations

import dataclasses

import pytest

from peer.admission import Identity
from peer.orders import BlockPush
from peer.speaker import BEACON_BYTES, BEACON_SHARE, Speaker
from tests.oracles.fractions import vector
from tests.unit.driving import settings
from wire import Array, Heard, Heartbeat, Push, encode_push, peer_mark

ME = Identity("b", "swarm", "model", 3, "b:1")
NEWS = tuple(
    Heartbeat(peer, 0, 9, f"{peer}:7700", False, (Heard(b"8 bytes.", 4, 2),) * 3, (b"8 bytes.",))
    for peer in ("b", "a", "c")
)


def speaker(**changes: object) -> Speaker[object]:
    return Speaker(ME, settings(**changes), 0.0)


def beacon(of: Speaker[object]) -> Push[object]:
    return of.beacon(epoch=4, tick=7, tick_interval_s=0.5, digest=NEWS)


def test_a_beacon_carries_the_sender_s_name_and_signs_of_life_only() -> None:
    said = beacon(speaker())
    assert (said.sender, said.swarm, said.fingerprint, said.incarnation) == ("b", "swarm", "model", 3)
    assert (said.epoch, said.tick, said.tick_interval_s, said.address) == (4, 7, 0.5, "b:1")
    assert (said.arrays, said.targets, said.digest) == ((), (), NEWS)


def test_blocks_are_for_their_targets_and_only_the_first_tells_news_of_others() -> None:
    blocks = [
        BlockPush(block, sequence, (vector(block),) * 4) for block, sequence in ((5, 2), (0, 9), (1, 1))
    ]
    marks = tuple(sorted((peer_mark("c"), peer_mark("a"))))
    said = Speaker.pushes(beacon(speaker()), ("c", "a"), blocks)
    assert [(push.block, push.sequence) for push in said] == [(5, 2), (0, 9), (1, 1)]
    assert [push.arrays for push in said] == [block.arrays for block in blocks]
    assert {push.targets for push in said} == {marks}
    assert [push.digest for push in said] == [NEWS, NEWS[:1], NEWS[:1]]
    assert {push.sender for push in said} == {"b"}


@pytest.mark.parametrize(("wire_dtype", "dtype", "size"), [("float32", "<f4", 4), ("float64", "<f8", 8)])
def test_costs_are_those_of_the_wire(wire_dtype: str, dtype: str, size: int) -> None:
    """Never less than the frame itself; more by what an envelope and a socket may add."""
    of = speaker(wire_dtype=wire_dtype)
    for count in (0, 1000):
        targets = (b"8 bytes.",) * 3 if count else ()
        arrays = (Array(dtype, bytes(count * size)),) * 4 if count else ()
        frame = encode_push(dataclasses.replace(beacon(of), arrays=arrays, targets=targets))
        vectors = (range(count),) * 4 if count else ()
        cost = of.cost(dataclasses.replace(beacon(of), arrays=vectors, targets=targets))
        assert len(frame) <= cost <= len(frame) + 400


def test_signs_of_life_and_blocks_share_the_budget_and_starve_neither() -> None:
    of = speaker(bytes_per_second=4.0 * BEACON_BYTES)
    push = dataclasses.replace(beacon(of), arrays=(range(1000),))
    assert of.blocks_affordable(1000, 1, 3, 0.0) == 0
    beacons = blocks = 0
    sent = 0
    for second in range(1, 2001):
        for _ in range(of.beacons_affordable(4, float(second))):
            of.spend(beacon(of), 1)
            sent += of.cost(beacon(of))
            beacons += 1
        for _ in range(of.blocks_affordable(1000, 1, 3, float(second))):
            of.spend(push, 3)
            sent += 3 * of.cost(push)
            blocks += 1
    assert beacons > 1500
    assert blocks > 250
    assert 0.8 < sent / (2000 * 4.0 * BEACON_BYTES) <= 1.0


def test_without_a_cap_all_is_affordable() -> None:
    of = speaker()
    of.spend(beacon(of), 10**9)
    assert of.beacons_affordable(4, 0.0) == 4
    assert of.blocks_affordable(10**6, 9, 3, 0.0) == 9
    assert 0 < BEACON_SHARE < 0.5
