"""The agent as a state machine, by plain calls: the phase table of `peer.agent`, line by line."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from peer.admission import EPOCH_GAP_MAX, EPOCH_JUMP_MAX
from peer.agent import GOODBYES, SLEEP_TICKS
from peer.events import (
    Compute,
    EpochEntered,
    HyperRateLowered,
    LinkDeaf,
    ListeningStarted,
    NonFiniteStep,
    PeerArrived,
    PeerDeparted,
    PeerQuarantined,
    Persist,
    Send,
)
from peer.hyper_schedule import COOL_DOWN_STEPS, SMOOTHING_TICKS
from peer.learner import Evaluation, HyperReport
from peer.phase import Phase
from peer.plausibility import HISTORY_MIN
from peer.solver import SPACING_CHECK_TICKS
from tests.oracles.fractions import FractionAlgebra, FractionLearner, vector
from tests.unit.driving import start
from wire import DecodeError, Heard, Heartbeat, RejectReason, peer_mark
from wire.messages import TARGETS_TOLD_MAX

HALF = Fraction(1, 2)


def estimate_of(driver: Any) -> list[Fraction]:
    return list(driver.agent.solver.model.estimate)


# ---- ticks


def test_a_founder_makes_its_epoch_durable_before_it_computes_and_computes_before_it_sends() -> None:
    driver = start()
    driver.see("a", "c")
    agent = driver.agent
    assert agent.phase is Phase.LISTENING
    deadline = agent.next_deadline()
    assert deadline is not None
    driver.perform()
    agent.handle_timer(deadline)
    effects = agent.take_effects()
    assert [type(effect) for effect in effects] == [Persist, Compute]
    assert effects[0] == Persist(1)
    assert agent.phase is Phase.RUNNING
    assert isinstance(effects[1], Compute)
    assert agent.next_deadline() is None, "one computation at a time"
    agent.handle_timer(deadline + 100)
    assert agent.take_effects() == []
    agent.computed(effects[1].work(), deadline + 0.5)
    (send,) = agent.take_effects()
    assert isinstance(send, Send)
    assert send.targets == ("a", "c")
    assert (send.push.sender, send.push.epoch, send.push.sequence, send.push.tick) == ("b", 1, 1, 1)
    assert send.push.address == "b:1"
    assert agent.next_deadline() == deadline + 1


def test_nothing_happens_before_the_deadline() -> None:
    driver = start()
    agent = driver.agent
    deadline = agent.next_deadline()
    assert deadline is not None
    agent.handle_timer(deadline - 1e-9)
    assert agent.take_effects() == []
    assert agent.ticks == 0


def test_an_agent_alone_learns_and_sends_nothing() -> None:
    driver = start()
    driver.tick(400)
    assert driver.sent == []
    assert driver.persisted == [1]
    assert float(estimate_of(driver)[0]) == pytest.approx(1, abs=1e-6)
    assert float(driver.agent.solver.adjoint.estimate[0]) == pytest.approx(-1, abs=1e-6)


def test_there_is_no_backlog_of_ticks_when_the_machine_cannot_keep_up() -> None:
    driver = start()
    driver.tick()
    driver.agent.handle_timer(100.0)
    (compute,) = driver.agent.take_effects()
    driver.agent.computed(compute.work(), 103.0)
    assert driver.agent.next_deadline() == 103.0
    assert driver.agent.ticks == 2
    listener = start(founder=False, listen_s_max=1000.0)
    listener.agent.handle_timer(100.0)
    assert listener.agent.next_deadline() == 100.0


def test_intervals_are_drawn_within_the_jitter() -> None:
    driver = start(tick_jitter=0.5)
    times = []
    for _ in range(200):
        driver.tick()
        times.append(driver.now)
    intervals = [later - earlier for earlier, later in pairwise(times)]
    assert 0.5 <= min(intervals) < 0.55
    assert 1.45 < max(intervals) <= 1.5


def test_the_measured_interval_is_told_to_others() -> None:
    driver = start()
    driver.see("a")
    driver.tick(2)
    assert driver.sent[-1][1].tick_interval_s == 1.0
    for _ in range(60):
        driver.now = driver.agent.next_deadline() + 1.0
        driver.agent.handle_timer(driver.now)
        driver.perform()
    assert driver.sent[-1][1].tick_interval_s == pytest.approx(1.0, abs=0.1)
    for _ in range(60):
        driver.now = driver.agent.next_deadline() + 2.0  # the machine cannot keep up
        driver.agent.handle_timer(driver.now)
        driver.perform()
    assert driver.sent[-1][1].tick_interval_s == pytest.approx(2.0, abs=0.1)


def test_metrics_are_computed_now_and_then_and_kept_in_between() -> None:
    class Scored(FractionLearner):
        def metrics(self, model: Any) -> dict[str, float]:
            return {"first": float(model[0])}

    driver = start(learner=Scored(vector(1, 1), vector(1, 1), vector(0, 0)), evaluate_every=3)
    seen = []
    for _ in range(5):
        driver.tick()
        seen.append(dict(driver.agent.progress.report.metrics))
    assert seen[:2] == [{}, {}]
    assert seen[2]
    assert seen[2] == seen[3] == seen[4]


# ---- what is heard


def test_of_one_link_and_block_the_newest_message_wins() -> None:
    """Reference: DESIGN (8), (Newest wins)."""
    driver = start()
    driver.see("a")
    driver.tick()
    before = list(driver.agent.solver.model.mass.held)
    driver.hear("a", sequence=3, arrays=(vector(8, 8), vector(5, 5), vector(0, 0), vector(0, 0)))
    driver.hear("a", sequence=2, arrays=(vector(9, 9), vector(7, 7), vector(0, 0), vector(0, 0)))
    driver.hear("a", sequence=4, arrays=(vector(2, 2), vector(6, 6), vector(0, 0), vector(0, 0)))
    held = list(driver.agent.solver.model.mass.held)
    assert held == before, "nothing is absorbed between two ticks"
    pushes = driver.agent.inbox.take(1)
    assert [one.sequence for one in pushes] == [4]
    counters = driver.agent.inbox.counters
    assert (counters.received, counters.stale, counters.gaps, counters.superseded) == (3, 1, 2, 1)


def test_equal_sequences_count_once() -> None:
    """Reference: DESIGN (8): a duplicate adds nothing."""
    once, twice = start(), start()
    for driver, copies in ((once, 1), (twice, 2)):
        driver.see("a")
        driver.tick()
        for _ in range(copies):
            driver.hear("a", arrays=(vector(1, 1), vector(4, 4), vector(2, 2), vector(3, 3)))
            driver.tick()
    assert once.agent.inbox.counters.stale == 0
    assert twice.agent.inbox.counters.stale == 1
    ledgers = [driver.agent.solver.model.mass.received for driver in (once, twice)]
    assert {key: list(value) for key, value in ledgers[0].items()} == {
        key: list(value) for key, value in ledgers[1].items()
    }


def test_shares_that_wait_together_both_count() -> None:
    """With `push-sum-shares` a newer message does not contain the older."""
    driver = start(solver="push-sum-shares")
    driver.see("a")
    driver.tick()
    value, weight = driver.agent.solver.model.value, driver.agent.solver.model.weight
    held = list(value.held), list(weight.held)
    for sequence in (1, 2):
        arrays = (vector(1, 2), vector(HALF), vector(0, 0), vector(0))
        driver.hear("a", sequence=sequence, arrays=arrays)
    (waiting,) = driver.agent.inbox.take(1)
    assert waiting.sequence == 2
    assert [list(array) for array in waiting.arrays[:2]] == [[2, 4], [1]]
    driver.agent.solver.model.absorb("a", slice(0, 2), waiting.arrays[:2])
    assert list(value.held) == [held[0][0] + 2, held[0][1] + 4]
    assert list(weight.held) == [held[1][0] + 1]


def test_a_higher_incarnation_takes_the_place_of_the_lower_when_it_has_risen() -> None:
    """What the old one held is gone at once; the new one has to show that it stays."""
    driver = start()
    driver.see("a")
    driver.tick()
    for tick in (1, 2):
        with pytest.raises(DecodeError):
            driver.hear("a", incarnation=2, tick=tick)
        assert driver.agent.peers.alive() == []
        driver.tick()
    driver.hear("a", incarnation=2, tick=3)
    driver.perform()
    changes = [event for event in driver.events if isinstance(event, PeerDeparted | PeerArrived)]
    assert changes[-2:] == [PeerDeparted("a"), PeerArrived("a", 2)]


def test_a_departed_peer_is_forgotten_and_its_messages_refused() -> None:
    driver = start()
    driver.see("a", "c")
    driver.tick()
    driver.hear("a")
    driver.agent.peer_gone("a", driver.now)
    driver.agent.peer_gone("a", driver.now)
    driver.perform()
    assert driver.kinds(PeerDeparted) == [PeerDeparted("a")]
    assert driver.agent.inbox.take(1) == []
    assert driver.agent.peers.alive() == ["c"]


def test_an_agent_does_not_see_itself() -> None:
    driver = start("b")
    driver.see("b", "a", "a")
    driver.perform()
    assert driver.events == [PeerArrived("a", 0)]


# ---- epochs


def test_the_next_epoch_is_entered_when_heard_of_and_warms_up() -> None:
    driver = start()
    driver.see("a")
    driver.tick()
    driver.hear("a", epoch=2, arrays=(vector(4, 4), vector(0, 0), vector(0, 0), vector(0, 0)))
    before = driver.agent.solver.model.stepped
    driver.tick()
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "heard of it", ("a",))
    assert driver.persisted == [1, 2]
    assert driver.agent.phase is Phase.WARMING_UP
    model = driver.agent.solver.model
    assert list(model.estimate) == [(own + 4) / 2 for own in before], "it averages"
    assert list(model.stepped) == list(model.estimate), "and does not step"
    assert driver.sent[-1][1].sequence == 1, "sequences start afresh"
    entered = driver.now
    driver.tick_until(entered + 3)
    assert driver.agent.phase is Phase.WARMING_UP
    driver.tick()
    assert driver.agent.phase is Phase.RUNNING
    assert list(model.stepped) != list(model.estimate)


def test_a_warm_up_is_counted_in_the_time_of_a_typical_peer() -> None:
    """Reference: DESIGN (Warm-up): a fast agent among slow ones waits for them."""
    driver = start()
    driver.see("a", "c")
    driver.tick()
    for tick, epoch in ((1, 1), (2, 2)):
        for sender in ("a", "c"):
            driver.hear(sender, epoch=epoch, sequence=tick, tick=tick, tick_interval_s=4.0)
        driver.tick(4)
    entered = driver.now - 3
    driver.tick_until(entered + 12)
    assert driver.agent.phase is Phase.WARMING_UP
    driver.tick()
    assert driver.agent.phase is Phase.RUNNING


def test_without_warm_up_a_new_epoch_steps_at_once() -> None:
    driver = start(warm_up_ticks=0.0)
    driver.see("a")
    driver.tick()
    driver.hear("a", epoch=2)
    driver.tick()
    assert driver.agent.phase is Phase.RUNNING


def test_who_is_more_than_one_epoch_behind_listens_first() -> None:
    driver = start()
    driver.see("a")
    driver.tick()
    sent = len(driver.sent)
    driver.hear("a", epoch=3, arrays=(vector(6, 6), vector(0, 0), vector(5, 5), vector(0, 0)))
    driver.tick()
    assert driver.agent.phase is Phase.LISTENING
    assert driver.kinds(ListeningStarted) == [ListeningStarted(3)]
    assert driver.persisted == [1], "nothing is entered while listening"
    assert len(driver.sent) == sent
    driver.tick(2)
    assert driver.agent.phase is Phase.WARMING_UP
    assert driver.kinds(EpochEntered)[-1].epoch == 3
    assert estimate_of(driver) == [6, 6]
    assert list(driver.agent.solver.adjoint.estimate) == [5, 5]


def test_a_founder_that_is_told_nonsense_founds_no_second_time() -> None:
    """It is led far ahead, twice, then hears that most are where it was: that epoch is not for it again."""
    driver = start(listen_s_max=50.0)
    driver.see("liar", "other", "honest")
    driver.tick()
    assert driver.persisted == [1]
    driver.hear("liar", epoch=1 + EPOCH_JUMP_MAX)
    driver.tick()
    assert driver.agent.phase is Phase.LISTENING
    driver.hear("liar", epoch=1 + 2 * EPOCH_JUMP_MAX, sequence=2)
    driver.tick()
    for peer in ("honest", "other"):
        driver.hear(peer, epoch=1)
    driver.tick()
    assert driver.agent.epoch == 0, "none is believed"
    for sequence in range(2, 30):
        for peer in ("honest", "other"):
            driver.hear(peer, epoch=2, sequence=sequence)
        driver.tick()
    assert driver.persisted == [1, 2]


@pytest.mark.parametrize("leaps", [1, 2, 3])
def test_who_is_farther_behind_than_is_followed_at_once_listens_leap_by_leap(leaps: int) -> None:
    """Found by the hunt: a liar had led the others far ahead, and who came back alone was led less far."""
    driver = start(listen_s_max=50.0)
    driver.see("a")
    driver.tick(2)
    there = 1 + leaps * EPOCH_JUMP_MAX + 500
    for sequence in range(1, 20):
        with contextlib.suppress(DecodeError):
            driver.hear("a", epoch=there, sequence=sequence)
        driver.tick()
    steps = [1 + number * EPOCH_JUMP_MAX for number in range(1, leaps + 1)]
    assert [event.epoch for event in driver.kinds(ListeningStarted)] == [*steps, there]
    assert driver.persisted == [1, there]


def test_nobody_is_kept_from_learning_by_leap_after_leap() -> None:
    """By one that tells it of ever higher epochs, and pushes nothing."""
    driver = start(listen_s_max=5.0)
    driver.see("liar")
    ticks = 0
    for number in range(1, 200):
        with contextlib.suppress(DecodeError):
            driver.hear("liar", epoch=driver.agent.epoch + EPOCH_JUMP_MAX, sequence=number, arrays=())
        driver.agent.peer_seen("liar", 0, driver.now)
        driver.tick()
        ticks = max(ticks, driver.agent.ticks)
    assert len(driver.persisted) > 2, "it is led"
    assert ticks > 5 * len(driver.persisted), "and learns between two leaps"


def test_what_was_entered_is_not_entered_again_however_joining_ends() -> None:
    """Led ahead, then back to the number that it founded, where it had been already."""
    driver = start(listen_s_max=50.0)
    driver.see("liar")
    driver.agent.peer_gone("liar", driver.now)
    driver.tick()
    driver.see("liar")
    driver.tick()
    assert driver.persisted == [1, 2]
    driver.tick(8)
    with contextlib.suppress(DecodeError):
        driver.hear("liar", epoch=2 + EPOCH_JUMP_MAX, arrays=())
    driver.tick()
    assert driver.agent.phase is Phase.LISTENING
    driver.hear("liar", epoch=1, arrays=())
    driver.tick()
    assert driver.agent.epoch == 0
    for sequence in range(2, 8):
        driver.hear("liar", epoch=1, sequence=sequence)
        driver.tick()
    assert driver.persisted == [1, 2, 3]


def test_an_epoch_out_of_all_reach_is_refused_also_while_none_is_believed() -> None:
    driver = start(epoch_floor=7)
    driver.see("a")
    driver.tick()
    driver.agent.epoch = 0
    with pytest.raises(DecodeError) as raised:
        driver.hear("a", epoch=9 + EPOCH_GAP_MAX)
    assert raised.value.reason is RejectReason.EPOCH_JUMP


def test_who_was_alone_listens_to_those_who_have_come_further() -> None:
    for tick, phase in ((50, Phase.LISTENING), (1, Phase.WARMING_UP)):
        driver = start()
        driver.see("a")
        driver.tick(2)
        driver.hear("a", epoch=2, tick=tick)
        driver.tick()
        assert driver.agent.phase is phase


def test_a_lower_epoch_is_stale() -> None:
    driver = start(epoch_floor=4)
    driver.see("a")
    driver.tick()
    assert driver.persisted == [5]
    driver.hear("a", epoch=4)
    driver.tick()
    assert driver.agent.inbox.counters.stale == 1
    assert driver.agent.epoch == 5


def test_a_restart_begins_above_what_is_on_disk() -> None:
    """Reference: DESIGN (Epochs): no identity enters the same epoch twice."""
    restarted = start(founder=False, incarnation=1, epoch_floor=7)
    restarted.see("a")
    for tick in range(1, 5):
        restarted.hear("a", epoch=7, sequence=tick)
        restarted.tick()
    assert restarted.persisted == [8]
    assert restarted.kinds(EpochEntered)[-1].reason == "joined"


def test_a_restart_adopts_what_is_higher_than_what_is_on_disk() -> None:
    restarted = start(founder=False, incarnation=1, epoch_floor=7)
    restarted.see("a")
    for tick in range(1, 5):
        restarted.hear("a", epoch=11, sequence=tick)
        restarted.tick()
    assert restarted.persisted == [11]


# ---- epochs that an agent begins itself


def settled(*peers: str, **changes: Any) -> Any:
    """An agent of a swarm with these peers, which it has heard of."""
    driver = start(**changes)
    driver.see(*peers)
    driver.tick()
    for peer in peers:
        driver.hear(peer)
    driver.tick()
    return driver


def test_a_departed_out_neighbour_asks_for_a_new_epoch_but_not_at_once() -> None:
    """Reference: DESIGN (Epochs): bumps are rate-limited, here to 2 warm-ups of 3 ticks of 1 s."""
    driver = settled("a", "c")
    entered = driver.now - 1
    driver.agent.peer_gone("a", driver.now)
    driver.tick_until(entered + 6)
    assert driver.persisted == [1]
    driver.tick()
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "membership", ("c",))
    assert driver.agent.phase is Phase.WARMING_UP


def test_the_slowest_peer_sets_the_rate_of_new_epochs() -> None:
    driver = start()
    driver.see("a", "c")
    driver.tick()
    entered = driver.now
    for tick in (1, 2):
        driver.hear("a", sequence=tick, tick=tick, tick_interval_s=10.0)
        driver.tick_until(entered + 10.0 * tick)
    driver.agent.peer_gone("c", driver.now)
    driver.tick_until(entered + 60)
    assert driver.persisted == [1]
    driver.tick()
    assert driver.persisted == [1, 2]


def test_nobody_makes_the_swarm_wait_longer_than_its_heartbeats_bear_out() -> None:
    """It speaks every 10 s, so is believed to tick every 20 s: 2 warm-ups of 3 ticks are 120 s."""
    driver = start()
    driver.see("a", "c")
    driver.tick()
    entered = driver.now
    for tick in (1, 2):
        driver.hear("a", sequence=tick, tick=tick, tick_interval_s=1e12)
        driver.tick_until(entered + 10.0 * tick)
    driver.agent.peer_gone("c", driver.now)
    driver.tick_until(entered + 120)
    assert driver.persisted == [1]
    driver.tick()
    assert driver.persisted == [1, 2]


def test_a_departed_in_neighbour_asks_for_a_new_epoch() -> None:
    """Its mass is in ours, although we never pushed to it."""
    peers = [f"p{number}" for number in range(8)]
    driver = start(fanout=1)
    driver.see(*peers)
    driver.tick()
    (out,) = driver.agent.out_neighbours
    source = next(peer for peer in peers if peer != out)
    driver.hear(source)
    driver.tick()
    driver.agent.peer_gone(source, driver.now)
    driver.tick(12)
    assert driver.persisted == [1, 2]


def test_a_departed_peer_that_shared_no_mass_asks_for_nothing() -> None:
    driver = start(fanout=1)
    driver.see(*[f"p{number}" for number in range(8)])
    driver.tick()
    driver.hear("p1")
    driver.tick()
    assert driver.agent.out_neighbours == ("p0",)
    driver.agent.peer_gone("p7", driver.now)
    driver.tick(20)
    assert driver.persisted == [1]


def test_a_new_peer_that_becomes_an_out_neighbour_asks_for_a_new_epoch() -> None:
    driver = settled("a")
    driver.see("c")
    driver.tick(10)
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "membership", ("a", "c"))


def test_a_new_incarnation_of_a_partner_asks_for_a_new_epoch() -> None:
    driver = settled("a")
    driver.see("a", incarnation=1)
    driver.tick(10)
    assert driver.persisted == [1, 2]


def test_who_has_met_nobody_need_not_wait_to_change_neighbours() -> None:
    driver = start()
    driver.tick()
    driver.see("a")
    driver.tick()
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "membership", ("a",))


def test_one_change_makes_one_epoch() -> None:
    driver = settled("a", "c")
    driver.agent.peer_gone("a", driver.now)
    driver.tick(50)
    assert driver.persisted == [1, 2]


class CoarseWire(FractionAlgebra):
    def spacing(self, vector: Any) -> float:
        return 0.5


@pytest.mark.parametrize(("tolerance", "epochs"), [(0.4, [1, 2]), (0.6, [1]), (0.0, [1])])
def test_sums_too_large_for_the_wire_ask_for_a_new_epoch(tolerance: float, epochs: list[int]) -> None:
    """Reference: DESIGN (Precision): rotate when the spacing at |sigma| exceeds the tolerance; 0: never."""
    driver = start(algebra=CoarseWire(wire_denominator=16), precision_tolerance=tolerance)
    driver.see("a")
    driver.tick(SPACING_CHECK_TICKS)
    assert driver.persisted == [1]
    driver.tick()
    assert driver.persisted == epochs
    if len(epochs) == 2:
        assert driver.kinds(EpochEntered)[-1].reason == "precision"
        driver.tick(20)
        assert driver.persisted == epochs, "the next epoch starts with small sums"


def test_in_an_epoch_founded_apart_strangers_wait_for_the_next() -> None:
    """Two swarms may have founded one number: what is learned must not be averaged with a start."""
    driver = start(fanout=1)
    driver.see("c")
    driver.tick()
    driver.hear("c")
    driver.tick()
    driver.see("z")  # changes no out-neighbour: c stays the successor of b
    assert driver.agent.out_neighbours == ("c",)
    driver.tick()
    driver.hear("z", arrays=(vector(9, 9), vector(7, 7), vector(0, 0), vector(0, 0)))
    driver.tick()
    assert ("z", 0) not in driver.agent.solver.model.mass.received
    driver.tick(12)
    assert driver.persisted == [1, 2]


# ---- joining


def test_a_joiner_that_hears_nobody_begins_a_swarm_of_its_own() -> None:
    driver = start(founder=False)
    driver.tick_until(8.0)
    assert driver.persisted == []
    assert driver.agent.phase is Phase.LISTENING
    driver.tick()
    assert driver.kinds(EpochEntered) == [EpochEntered(1, "nobody heard", ())]
    assert driver.agent.phase is Phase.RUNNING
    assert driver.agent.ticks == 0
    driver.tick()
    assert driver.agent.ticks == 1


def test_a_joiner_starts_from_the_mean_of_what_it_hears() -> None:
    driver = start(founder=False)
    driver.see("a", "c")
    driver.hear("a", epoch=4, arrays=(vector(1, 2), vector(0, 0), vector(8, 8), vector(0, 0)))
    driver.hear("c", epoch=4, arrays=(vector(3, 6), vector(0, 0), vector(0, 0), vector(0, 0)))
    driver.tick()
    assert driver.agent.phase is Phase.LISTENING
    assert driver.kinds(ListeningStarted) == [ListeningStarted(4)]
    driver.tick()
    assert driver.agent.phase is Phase.LISTENING, "listen_ticks is 2"
    driver.tick()
    assert driver.agent.phase is Phase.WARMING_UP
    assert driver.kinds(EpochEntered) == [EpochEntered(4, "joined", ("a", "c"))]
    assert estimate_of(driver) == [2, 4]
    assert list(driver.agent.solver.adjoint.estimate) == [4, 4]
    assert driver.sent == []
    driver.tick()
    assert driver.sent


def test_a_joiner_that_believes_no_epoch_keeps_nothing_of_what_was_said_in_it() -> None:
    """Found by the hunt: it began with the estimate of a liar whose epoch it did not believe."""
    driver = start(founder=False)
    driver.see("liar", "a", "c")
    driver.hear("liar", epoch=9 + EPOCH_JUMP_MAX, arrays=(vector(7, 7),) * 4)
    driver.tick()
    assert driver.kinds(ListeningStarted) == [ListeningStarted(9 + EPOCH_JUMP_MAX)]
    for peer in ("a", "c"):
        driver.hear(peer, epoch=1, arrays=())
    while not driver.persisted:
        driver.tick()
    assert driver.kinds(EpochEntered)[0].reason == "nobody heard"
    assert estimate_of(driver) == [0, 0]


def test_a_joiner_waits_for_every_block() -> None:
    driver = start(founder=False, block_fraction=0.5, listen_s_max=20.0)
    driver.see("a")
    for sequence in range(1, 7):
        driver.hear("a", epoch=4, block=1, sequence=sequence, arrays=(vector(1),) * 4)
        driver.tick()
    assert driver.agent.phase is Phase.LISTENING
    driver.hear("a", epoch=4, block=0, arrays=(vector(5),) * 4)
    driver.tick()
    assert driver.agent.phase is Phase.WARMING_UP
    assert estimate_of(driver) == [5, 1]


def test_a_joiner_makes_do_with_some_blocks_in_the_end() -> None:
    driver = start(founder=False, block_fraction=0.5)
    driver.see("a")
    driver.hear("a", epoch=4, block=1, arrays=(vector(1),) * 4)
    driver.tick(10)
    assert driver.kinds(EpochEntered)[0].reason == "joined"
    assert driver.kinds(EpochEntered)[0].epoch == 4


def test_a_joiner_follows_the_swarm_to_a_higher_epoch() -> None:
    driver = start(founder=False)
    driver.see("a")
    driver.hear("a", epoch=4, arrays=(vector(100, 100),) * 4)
    driver.tick(2)
    driver.hear("a", epoch=5, arrays=(vector(1, 1),) * 4)
    driver.tick(2)
    assert driver.kinds(ListeningStarted) == [ListeningStarted(4), ListeningStarted(5)]
    assert driver.agent.phase is Phase.LISTENING
    driver.tick()
    assert driver.persisted == [5]
    assert estimate_of(driver) == [1, 1]


def test_a_newcomer_leaves_the_founding_number_behind() -> None:
    """Others may found epoch 1 at any time; what has been learned must not be averaged with their start."""
    driver = start(founder=False)
    driver.see("a")
    driver.hear("a", epoch=1)
    driver.tick(3)
    assert driver.persisted == [2]


# ---- steps that cannot be taken


class FlakyLearner(FractionLearner):
    """Every third model gradient is not a number."""

    def __init__(self) -> None:
        super().__init__(vector(1, 1), vector(1, 1), vector(0, 0))
        self.calls = 0

    def evaluate(self, model: Any, adjoint: Any, step: object, probe: Any = None) -> Evaluation[Any]:
        self.calls += 1
        found = super().evaluate(model, adjoint, step)
        if self.calls % 3:
            return found
        broken = found.model_gradient.copy()
        broken[0] = float("nan")
        return Evaluation(broken, found.adjoint_gradient, 0.0, 0.0)


def test_a_step_that_is_not_finite_is_not_taken_and_is_told() -> None:
    driver = start(learner=FlakyLearner())
    driver.see("a")
    driver.tick(2)
    model = driver.agent.solver.model
    before = list(model.stepped), list(model.gradient)
    held = sum(model.mass.held) + sum(model.mass.pushed)
    driver.tick()
    assert driver.kinds(NonFiniteStep) == [NonFiniteStep(3)]
    assert (list(model.stepped), list(model.gradient)) == before
    assert sum(model.mass.held) + sum(model.mass.pushed) == held
    assert all(isinstance(element, Fraction) for array in driver.sent[-1][1].arrays for element in array)
    driver.tick(30)
    assert len(driver.kinds(NonFiniteStep)) == 11


def test_a_gradient_that_is_not_finite_in_the_warm_up_is_told_too() -> None:
    driver = start(learner=FlakyLearner(), warm_up_ticks=50.0)
    driver.see("a")
    driver.tick()
    driver.hear("a", epoch=2)
    driver.tick(3)
    assert driver.agent.phase is Phase.WARMING_UP
    assert driver.kinds(NonFiniteStep) == [NonFiniteStep(3)]


# ---- hyper steps


class AlternatingLearner(FractionLearner):
    """Hypergradients that turn round at every step."""

    def __init__(self) -> None:
        super().__init__(vector(1, 1), vector(1, 1), vector(0, 0))
        self.rates: list[float] = []

    def finish_tick(self, hyper_step_size: float) -> HyperReport:
        self.rates.append(hyper_step_size)
        return HyperReport(1.0, alignment=-1.0)


def test_the_rate_is_lowered_and_told_when_hypergradients_alternate() -> None:
    """Reference: DESIGN (Hyper step)."""
    learner = AlternatingLearner()
    driver = start(learner=learner, hyper_step_size=0.5)
    driver.tick(COOL_DOWN_STEPS)
    assert driver.kinds(HyperRateLowered) == []
    driver.tick(2)
    assert driver.kinds(HyperRateLowered) == [HyperRateLowered(0.5, "hypergradients alternate")]
    assert learner.rates[-1] == 0.25


def test_hyper_steps_are_taken_every_so_many_ticks_and_never_in_the_warm_up() -> None:
    learner = AlternatingLearner()
    driver = start(learner=learner, hyper_step_size=0.5, hyper_every=3)
    driver.see("a")
    driver.tick(6)
    assert learner.rates == [0.0, 0.0, 0.5, 0.0, 0.0, 0.5]
    driver.hear("a", epoch=2)
    driver.tick(3)
    assert driver.agent.phase is Phase.WARMING_UP
    assert learner.rates[6:] == [0.0, 0.0, 0.0]


def test_the_residual_is_one_until_there_is_enough_to_tell_and_small_when_settled() -> None:
    driver = start()
    driver.see("a")
    driver.tick(SMOOTHING_TICKS - 1)
    assert driver.agent.progress.residual() == 1.0
    settled_one = start()
    settled_one.tick(500)
    gradient = FractionAlgebra().norm(settled_one.agent.solver.model.gradient)
    assert gradient < 1e-9, "alone, tracker and gradient are the same thing"
    assert settled_one.agent.progress.residual() < 0.02
    kept = settled_one.agent.progress.snapshot()
    back = start()
    back.agent.progress.restore(kept)
    back.agent.progress.restart()
    assert back.agent.progress.snapshot() == kept, "who comes back settled knows what a gradient is"


# ---- signs of life


def keep_hearing(driver: Any, ticks: int, *senders: str, **fields: Any) -> None:
    """One message of each sender before each tick."""
    for _ in range(ticks):
        for sender in senders:
            driver.hear(sender, sequence=driver.agent.ticks + 10, tick=driver.agent.ticks + 10, **fields)
        driver.tick()


def test_messages_say_for_whom_they_are_and_who_is_heard() -> None:
    driver = start()
    driver.see("a", "c")
    driver.tick()
    driver.hear("a", tick=7)
    driver.tick()
    targets, push = driver.sent[-1]
    assert targets == ("a", "c")
    assert push.targets == tuple(sorted((peer_mark("a"), peer_mark("c"))))
    assert push.digest[0] == Heartbeat("b", 0, 2, "b:1", False, (Heard(peer_mark("a"), 7, 1),))
    assert [heartbeat.peer for heartbeat in push.digest] == ["b", "a"]


def test_a_joiner_tells_whom_it_may_contact_that_it_lives_in_no_epoch_yet() -> None:
    driver = start(founder=False)
    driver.agent.listens_at("b:9")
    driver.agent.peer_found("a", driver.now)
    driver.tick()
    assert driver.reached == [("a", "")]
    ((targets, push),) = driver.beacons
    assert targets == ("a",)
    assert (push.epoch, push.arrays, push.targets, push.address) == (0, (), (peer_mark("a"),), "b:9")
    assert driver.agent.peers.alive() == []


def test_signs_of_life_are_believed_by_those_only_whom_they_are_for() -> None:
    """What was recorded on another link, long ago perhaps, brings nobody to life and no epoch."""
    driver = start()
    driver.see("a")
    driver.tick()
    words = [
        {"arrays": (), "epoch": 40, "digest": (Heartbeat("ghost", 3, beat),)} for beat in range(900, 906)
    ]
    for said in words:
        with pytest.raises(DecodeError) as refused:
            driver.hear("ghost", incarnation=3, targets=(peer_mark("a"), peer_mark("z")), **said)
        assert refused.value.reason == RejectReason.NOT_FOR_US
        driver.tick()
    assert driver.agent.peers.alive() == ["a"]
    assert driver.agent.epoch == 1
    for said in words:
        driver.hear("ghost", incarnation=3, targets=(peer_mark("b"),), **said)
        driver.tick()
    assert driver.agent.peers.alive() == ["a", "ghost"]


def test_goodbyes_name_all_whom_they_are_for() -> None:
    driver = start(fanout=1)
    peers = [f"peer-{number}" for number in range(TARGETS_TOLD_MAX + 5)]
    driver.see(*peers)
    driver.tick()
    driver.beacons.clear()
    driver.agent.leave(driver.now)
    driver.perform()
    told = [push.digest[0].left for targets, push in driver.beacons for _ in targets]
    assert told == [True] * (GOODBYES * len(peers))
    for targets, push in driver.beacons:
        assert push.targets == tuple(sorted(map(peer_mark, targets)))
        assert len(targets) <= TARGETS_TOLD_MAX


def test_whom_an_agent_pushes_to_needs_no_beacons() -> None:
    driver = start(fanout=1)
    driver.see("a", "c", "d")
    driver.tick(100)
    assert driver.agent.out_neighbours == ("c",)
    assert {peer for targets, _ in driver.beacons for peer in targets} == {"a", "d"}


def test_a_joiner_waits_for_a_swarm_that_beacons_show_in_the_time_of_its_slowest() -> None:
    """5 s until silence is believed, 8 s to listen, and the shortest epoch: 2 warm-ups of 3 ticks of 4 s."""
    driver = start(founder=False, expire_ticks=5.0)
    driver.see("a", "c")
    while driver.agent.phase is Phase.LISTENING:
        for sender, interval_s in (("a", 4.0), ("c", 1.0)):
            tick = int(driver.now / interval_s) + 5
            driver.hear(sender, arrays=(), epoch=4, tick=tick, tick_interval_s=interval_s)
        driver.tick()
    assert driver.now == pytest.approx(5.0 + 8.0 + 24.0, abs=2.0)


def test_the_departed_leave_no_history_of_sums() -> None:
    driver = settled("a", "c")
    assert {place[0] for place in driver.agent.solver._plausibility._links} == {"a", "c"}
    driver.agent.peer_gone("a", driver.now)
    driver.tick()
    assert {place[0] for place in driver.agent.solver._plausibility._links} == {"c"}


def test_a_goodbye_is_newer_than_anything_said_before_and_the_last_word() -> None:
    driver = start()
    driver.see("a", "c")
    driver.tick(3)
    before = driver.sent[-1][1].digest[0].heartbeat
    agent = driver.agent
    agent.handle_timer(agent.next_deadline())
    (compute,) = [effect for effect in agent.take_effects() if isinstance(effect, Compute)]
    agent.leave(4.0)
    goodbyes = agent.take_effects()
    assert len(goodbyes) == GOODBYES, "one may be lost"
    for goodbye in goodbyes:
        assert goodbye.targets == ("a", "c")
        assert goodbye.push.arrays == ()
        assert goodbye.push.digest[0].left
        assert goodbye.push.digest[0].heartbeat > before + 1
    agent.computed(compute.work(), 4.5)
    agent.handle_timer(99.0)
    assert agent.take_effects() == []
    assert agent.next_deadline() is None
    alone = start(checkpoint_s=0.0)
    alone.agent.leave(0.0)
    assert alone.agent.take_effects() == [], "nobody to say it to"


def test_who_wakes_expires_nobody_for_its_own_sleep() -> None:
    driver = start(expire_ticks=20.0)
    driver.see("a")
    keep_hearing(driver, 5, "a")
    driver.now += 10_000.0
    driver.hear("a", tick=10**6, arrays=())
    driver.tick(15)
    assert driver.kinds(PeerDeparted) == []
    driver.tick(15)
    assert driver.kinds(PeerDeparted) == [PeerDeparted("a")], "silent since it woke"


def test_a_long_computation_is_no_sleep() -> None:
    """Messages come in meanwhile; who sends none of them is silent indeed."""
    driver = start(expire_ticks=20.0)
    driver.see("a", "c")
    keep_hearing(driver, 5, "a", "c")
    agent = driver.agent
    agent.handle_timer(agent.next_deadline())
    (compute,) = [effect for effect in agent.take_effects() if isinstance(effect, Compute)]
    for second in range(60):
        assert SLEEP_TICKS > 1.0
        driver.now += 1.0
        driver.hear("a", tick=100 + second, arrays=())
    agent.computed(compute.work(), driver.now)
    driver.tick()
    assert driver.kinds(PeerDeparted) == [PeerDeparted("c")]


def test_ticks_follow_the_delay_of_links() -> None:
    driver = start(ticks_per_delay=5.0)
    driver.see("a")
    driver.tick(100)
    of_us = (Heard(peer_mark("b"), 20, 0),)
    driver.hear("a", digest=(Heartbeat("a", 0, 1, hears=of_us),), arrays=())
    trip_s = driver.now - 20.0
    driver.tick()
    before = driver.now
    driver.tick()
    assert driver.now - before == pytest.approx(trip_s / 2 / 5, rel=0.05)


# ---- epochs that others begin, or nobody does


def test_a_beacon_tells_the_epoch_to_whom_nobody_pushes() -> None:
    driver = settled("a", "c")
    driver.hear("a", epoch=2, arrays=(), tick=5)
    driver.tick()
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "heard of it", ("a", "c"))
    driver.hear("a", epoch=9, arrays=(), tick=6)
    driver.tick()
    assert driver.kinds(EpochEntered)[-1].epoch == 9, "there may be nothing to listen to"
    alone = start()
    alone.see("a")
    alone.tick()
    alone.hear("a", epoch=2, arrays=(), tick=5)
    alone.tick()
    assert alone.persisted == [1], "who has met nobody waits for a push, and listens if it is behind"


def test_an_agent_that_its_predecessors_find_deaf_asks_for_other_neighbours_ever_more_patiently() -> None:
    peers = ["a", "c", "d", "e", "f", "g"]
    driver = start(fanout=2, expire_ticks=10_000.0)
    driver.see(*peers)
    driver.tick()
    keep_hearing(driver, 1, "c")
    entered = [driver.now]
    while len(entered) < 4:
        pushing = driver.agent.membership._predecessors
        others = [peer for peer in peers if peer not in pushing]
        keep_hearing(driver, 1, *others, arrays=())
        if driver.persisted[-1] > len(entered):
            entered.append(driver.now)
            assert driver.kinds(EpochEntered)[-1].reason == "nobody pushes here"
    waits = [later - earlier for earlier, later in pairwise(entered)]
    assert waits == pytest.approx([7.0, 13.0, 25.0], abs=2.0), "6 s is the shortest epoch"
    keep_hearing(driver, 1, "c", epoch=4)
    entered = [driver.now]
    while driver.persisted[-1] == 4:
        pushing = driver.agent.membership._predecessors
        keep_hearing(driver, 1, *[peer for peer in peers if peer not in pushing], arrays=())
    assert driver.now - entered[0] == pytest.approx(7.0, abs=2.0), "somebody had pushed"


def test_a_deaf_out_neighbour_asks_for_a_new_epoch() -> None:
    driver = settled("a", "c", expire_ticks=10.0)
    for _ in range(20):
        for sender, hears in (
            ("a", ()),
            ("c", (Heard(peer_mark("b"), driver.agent.membership.liveness.heartbeat, 0),)),
        ):
            digest = (Heartbeat(sender, 0, driver.agent.ticks + 10, hears=hears),)
            driver.hear(sender, arrays=(), digest=digest)
        driver.tick()
    assert driver.kinds(LinkDeaf) == [LinkDeaf("a")]
    assert driver.kinds(EpochEntered)[-1] == EpochEntered(2, "membership", ("c",))


# ---- who is not believed


def test_a_sum_that_cannot_be_true_ends_in_quarantine_and_a_new_epoch_without_its_sender() -> None:
    """a is an in-neighbour only: what of its mass is in must go with the epoch all the same."""
    peers = ["a", "c", "d", "e", "f"]
    driver = start(fanout=1, epoch_warm_ups_min=5.0)
    driver.see(*peers)
    driver.tick()
    assert "a" not in driver.agent.out_neighbours
    for sequence in range(1, HISTORY_MIN + 1):
        driver.hear("a", sequence=sequence, arrays=(vector(1, 1), vector(sequence, 0)) * 2)
        driver.tick()
    agent = driver.agent
    driver.hear("a", sequence=5, arrays=(vector(1, 1), vector(10**9, 0)) * 2)
    driver.now = agent.next_deadline()
    agent.handle_timer(driver.now)
    (compute,) = [effect for effect in agent.take_effects() if isinstance(effect, Compute)]
    driver.hear("a", sequence=6, arrays=(vector(1, 1), vector(10**9, 0)) * 2)
    agent.computed(compute.work(), driver.now)
    driver.perform()
    with pytest.raises(DecodeError) as raised:
        driver.hear("a", sequence=7)
    assert raised.value.reason is RejectReason.QUARANTINED
    driver.tick(20)
    (quarantined,) = driver.kinds(PeerQuarantined)
    assert quarantined.peer == "a", "once, whatever else had arrived"
    assert driver.kinds(EpochEntered)[-1].reason == "membership"
    assert driver.persisted == [1, 2]
    assert driver.sent[-1][1].digest[0].accuses == (peer_mark("a"),)
    assert agent.peers.incarnation("a") == 0, "shunned, not dead"


# ---- bytes


def test_a_cap_makes_an_agent_slower_and_never_stuck() -> None:
    """Of 2 blocks of 4 float32 in 8 bytes, and beacons, to three targets; 1,000 bytes a second."""
    driver = start(block_fraction=0.5, bytes_per_second=1000.0)
    driver.see("a", "c", "d")
    driver.tick(200)
    cost = driver.agent.speaker.cost
    sent = sum(len(targets) * cost(push) for targets, push in (*driver.sent, *driver.beacons))
    assert 0.3 < sent / (200 * 1000.0) <= 1.0
    assert {push.block for _, push in driver.sent} == {0, 1}
    assert 20 < len(driver.sent) < 150
