"""What every way of travelling guarantees (wire.transport.Transport), over each way: see conformance.py."""

from collections.abc import AsyncIterator

import pytest

from tests.wire.conformance import SEED, BehindNat, Dialled, Network, Simulated
from tests.wire.test_websocket_transport import nothing_is_left_behind  # noqa: F401  # autouse
from wire import FaultPlan, LinkFaults, Uniform, cut, link_rng

HARSH = LinkFaults(drop=0.3, delay_s=Uniform(0.0, 0.2), duplicate=0.25, reorder=0.3, reorder_window_s=0.2)
PLAN = FaultPlan(links={("a", "b"): HARSH}, windows=(cut("a", "cut off", 0.0),))
MESSAGES = 80


@pytest.fixture(params=[Simulated, Dialled, BehindNat])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    network: Network = request.param(PLAN)
    yield network
    await network.close()


@pytest.fixture(params=[Dialled, BehindNat])
async def sockets(request: pytest.FixtureRequest) -> AsyncIterator[Dialled]:
    """Those that have sockets, which can be stuffed, cut in the middle of a message, and left behind."""
    network: Dialled = request.param(FaultPlan())
    yield network
    await network.close()


async def test_the_plan_decides_what_is_lost_late_doubled_and_overtaken(network: Network) -> None:
    """The same seed, the same decisions, whatever the messages travel on. DESIGN 3."""
    rng = link_rng(SEED, "a", "b")
    decided = [PLAN.deliveries("a", "b", 0.0, rng) for _ in range(MESSAGES)]
    due = sorted((delay_s, sequence) for sequence, delays in enumerate(decided, 1) for delay_s in delays)
    assert 0 < len(due) != MESSAGES
    for name in ("a", "b"):
        await network.start(name)
    network.link("a", "b")
    began = network.now()
    for sequence in range(1, MESSAGES + 1):
        network.send("a", ["b"], sequence, block=sequence)
    inbox = network.inbox("b")
    await network.until(lambda: len(inbox.sequences) == len(due))
    assert sorted(inbox.sequences) == sorted(sequence for _, sequence in due), "lost and doubled"
    assert network.lost("a") == decided.count(())
    assert all(came - began >= delay_s - 1e-9 for came, (delay_s, _) in zip(inbox.times, due, strict=True)), (
        "late"
    )
    last_due = {sequence: delay_s for delay_s, sequence in due}
    first_due = {sequence: delay_s for delay_s, sequence in reversed(due)}
    overtaken = 0
    for index, earlier in enumerate(inbox.sequences):
        for later in inbox.sequences[index + 1 :]:
            assert first_due[earlier] < last_due[later] + 0.1, "in the order of the plan"
            overtaken += later < earlier
    assert overtaken > MESSAGES


async def test_cut_links_and_both_directions_at_once(network: Network) -> None:
    names = ("c", "d", "cut off", "a")
    for name in names:
        await network.start(name)
    for source, target in (("c", "d"), ("d", "c"), ("a", "cut off"), ("a", "c")):
        network.link(source, target)
    for sequence in range(1, 51):
        network.send("c", ["d"], sequence, block=sequence)
        network.send("d", ["c"], sequence, block=sequence)
        network.send("a", ["cut off"], sequence, block=sequence)
    ordered = list(range(1, 51))
    await network.until(lambda: network.inbox("c").sequences == network.inbox("d").sequences == ordered)
    await network.until(lambda: network.lost("a") == 50)
    assert network.inbox("cut off").sequences == []
    assert set(network.inbox("c").senders) == {"d"}


async def test_a_target_that_never_was_hinders_nobody(network: Network) -> None:
    for name in ("c", "d"):
        await network.start(name)
    network.link("c", "d")
    network.send("c", ["nobody", "d"], 1)
    await network.until(lambda: network.inbox("d").sequences == [1] and network.undelivered("c") == 1)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["on the same port", "elsewhere"])
async def test_a_peer_that_restarts_is_reached_again(network: Network, elsewhere: bool) -> None:
    for name in ("c", "d"):
        await network.start(name)
    network.link("c", "d")
    network.send("c", ["d"], 1)
    await network.until(lambda: network.inbox("d").sequences == [1])
    if elsewhere:
        await network.move("d")
    else:
        await network.stop("d")
        network.send("c", ["d"], 2)  # the network may keep it, lose it, or never know
        await network.start("d")
    network.send("c", ["d"], 3)
    await network.until(lambda: network.inbox("d").sequences[-1] == 3)
    assert network.inbox("d").sequences in ([1, 3], [1, 2, 3])


async def test_oversized_messages_are_counted_and_the_next_arrives(sockets: Dialled) -> None:
    await sockets.start("c")
    await sockets.start("d", frame_bytes_max=2_000)
    sockets.link("c", "d")
    sockets.send("c", ["d"], 1, floats=1_000)
    await sockets.until(lambda: sockets.transports["d"].counters.rejected == {"oversized": 1})
    await sockets.until(lambda: sockets.transports["c"].per_peer["d"].route is None)
    sockets.send("c", ["d"], 2, floats=400)
    await sockets.until(lambda: sockets.inbox("d").sequences == [2])
    with pytest.raises(ValueError, match="at most 1048576"):
        sockets.send("c", ["d"], 3, floats=2**18)


async def test_newest_wins_before_a_slow_reader_which_vanishes_in_mid_body_and_returns(
    sockets: Dialled,
) -> None:
    """DESIGN 2: nothing grows, a slow neighbour slows nobody, and a newer message contains the older."""
    for name in ("c", "fast"):
        await sockets.start(name)
    sockets.link("c", "fast")
    async with sockets.stranger_pushed_to("slow", "c") as raw:
        for sequence in range(1, 101):
            sockets.send("c", ["slow", "fast"], sequence, floats=50_000)
            await sockets.until(lambda: len(sockets.inbox("fast").sequences) == sequence)  # noqa: B023
        slow = sockets.transports["c"].per_peer["slow"]
        await sockets.until(lambda: slow.sent + slow.replaced + 2 >= 100)
        assert slow.replaced > 50
        assert sockets.transports["c"]._outbox.waiting("slow") == 1
        raw.abort()
        await sockets.until(lambda: slow.unreachable_since is not None)
    assert sockets.inbox("fast").sequences == list(range(1, 101))
    await sockets.start("slow")
    sockets.link("c", "slow")
    sockets.send("c", ["slow"], 101, floats=50_000)
    await sockets.until(lambda: sockets.inbox("slow").sequences[-1:] == [101])
    assert len(sockets.inbox("slow").sequences) <= 2, "what waited, or only the newest"


async def test_a_sender_that_vanishes_in_mid_body_leaves_no_trace(sockets: Dialled) -> None:
    for name in ("c", "d"):
        await sockets.start(name)
    sockets.link("c", "d")
    receiver = sockets.transports["d"].counters
    async with sockets.stranger_pushing("half", "d") as raw:
        raw.write(b"\x82\x7e" + (1_000).to_bytes(2, "big") + bytes(500))
        sockets.send("c", ["d"], 1)
        await sockets.until(lambda: sockets.inbox("d").sequences == [1])
        received = receiver.received
    sockets.send("c", ["d"], 2)
    await sockets.until(lambda: sockets.inbox("d").sequences == [1, 2])
    assert receiver.received == received + 1
    assert receiver.rejected == {}


async def test_close_in_the_middle_of_everything_leaves_nothing_behind(sockets: Dialled) -> None:
    for name in ("c", "d"):
        await sockets.start(name)
    sockets.link("c", "d")
    sockets.link("d", "c")
    async with sockets.stranger_pushed_to("slow", "c"):
        for block in range(64):
            sockets.send("c", ["d", "slow"], 1, block=block, floats=50_000)
            sockets.send("d", ["c"], 1, block=block, floats=50_000)
        await sockets.until(lambda: bool(sockets.inbox("d").sequences))
        await sockets.stop("c")
    await sockets.stop("d")
