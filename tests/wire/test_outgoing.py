import random

import pytest

from wire import FaultPlan, LinkFaults, Outbox, Uniform, cut
from wire.counters import LinkCounters, TransportCounters
from wire.live_faults import LiveFaults
from wire.outgoing import (
    HELD_BYTES_MAX,
    HELD_FRAMES_MAX,
    LOOK_AGAIN_S,
    REDIAL_S,
    RETRY_DELAY_S_MAX,
    RETRY_DELAY_S_MIN,
    FaultModel,
    OutgoingLink,
)


class Bench:
    """A link with its outbox and counters."""

    def __init__(self, plan: FaultModel | None = None) -> None:
        self.outbox = Outbox()
        self.totals = TransportCounters()
        self.counters = LinkCounters()
        self.link = OutgoingLink(
            "a",
            "b",
            outbox=self.outbox,
            plan=plan,
            rng=random.Random(1),
            counters=self.counters,
            totals=self.totals,
        )

    def put(self, frame: bytes, block: int = 0) -> None:
        self.outbox.put("b", block, frame)

    def drain(self, now: float) -> list[bytes]:
        return list(iter(lambda: self.link.next_frame(now, now), None))


def test_without_a_plan_the_slots_are_taken_in_order() -> None:
    bench = Bench()
    bench.put(b"old")
    bench.put(b"new")
    bench.put(b"other", block=1)
    assert bench.drain(0.0) == [b"new", b"other"]
    assert bench.link.wake_at(0.0) is None


def test_a_delayed_frame_is_held_until_due_while_newer_ones_are_taken() -> None:
    """DESIGN 3: the same fault plan shapes real and simulated links, so delay must not mean "replaced"."""
    bench = Bench(FaultPlan(delay_s=1.0))
    bench.put(b"first")
    assert bench.drain(10.0) == []
    bench.put(b"second")
    assert bench.drain(10.5) == []
    assert bench.link.wake_at(0.0) == 11.0
    assert bench.drain(11.0) == [b"first"]
    assert bench.drain(11.5) == [b"second"]
    assert bench.link.wake_at(0.0) is None


def test_lost_and_doubled_frames() -> None:
    bench = Bench(FaultPlan(drop=1.0))
    bench.put(b"x")
    assert bench.drain(0.0) == []
    assert bench.totals.lost_by_faults == 1
    assert bench.totals.unsent == bench.counters.unsent == 0
    bench = Bench(FaultPlan(duplicate=1.0, delay_s=Uniform(0.0, 1.0)))
    bench.put(b"x")
    assert bench.drain(0.0) == []
    assert bench.drain(1.0) == [b"x", b"x"]


@pytest.mark.parametrize(
    ("frame_bytes", "held"), [(1, HELD_FRAMES_MAX), (HELD_BYTES_MAX // 4 + 1, 3), (HELD_BYTES_MAX + 1, 0)]
)
def test_what_a_plan_delays_is_bounded_and_lost_beyond(frame_bytes: int, held: int) -> None:
    bench = Bench(FaultPlan(delay_s=1.0))
    frame = bytes(frame_bytes)
    for _ in range(held + 5):
        bench.put(frame)
        assert bench.drain(0.0) == []
    assert bench.totals.lost_by_faults == 5
    assert len(bench.drain(1.0)) == held
    bench.put(frame[:1])
    assert bench.drain(1.0) == []
    assert bench.drain(2.0) == [frame[:1]], "the place is free again"


def test_dialling_backs_off_to_a_bound_and_starts_again_after_a_success() -> None:
    bench = Bench()
    waits, now = [], 100.0
    for _ in range(8):
        assert bench.link.retry_at <= now
        bench.link.dialled(now)
        bench.link.failed(now, "refused")
        waits.append(bench.link.retry_at - now)
        now = bench.link.retry_at
    assert waits == pytest.approx(
        [0.2, 0.4, 0.8, 1.6, 3.2, RETRY_DELAY_S_MAX, RETRY_DELAY_S_MAX, RETRY_DELAY_S_MAX]
    )
    assert (bench.counters.unsent, bench.totals.unsent) == (8, 8)
    assert bench.counters.unreachable_since == 100.0
    bench.link.dialled(now)
    bench.link.succeeded(b"frame", "dialled")
    assert bench.link.retry_at == now + RETRY_DELAY_S_MAX
    bench.link.dialled(now)
    assert bench.link.retry_at == now + RETRY_DELAY_S_MIN
    assert bench.counters == LinkCounters(
        bytes_sent=5, sent=1, unsent=8, last_error="refused", route="dialled"
    )
    assert (bench.totals.sent, bench.totals.bytes_sent) == (1, 5)
    bench.link.failed(now, "reset")
    bench.link.moved()
    assert bench.link.retry_at < 0


def test_a_narrow_link_takes_the_next_frame_when_the_last_has_passed() -> None:
    """DESIGN 2: newest wins while the link is busy; a lost frame keeps it busy as well."""
    for drop in (0.0, 1.0):
        bench = Bench(FaultPlan(bandwidth_bits_per_s=8_000.0, drop=drop, delay_s=0.25))
        bench.put(bytes(500))
        bench.put(b"1", block=1)
        assert bench.drain(0.0) == []
        assert bench.link.wake_at(0.0) == (0.5 if drop else 0.25)
        bench.put(b"2", block=1)
        assert bench.drain(0.3) == [bytes(500)][: not drop]
        assert bench.link.wake_at(0.3) == 0.5
        assert bench.drain(0.499) == []
        bench.drain(0.5)
        assert bench.drain(0.75) == [b"2"][: not drop]
        assert bench.totals.lost_by_faults == 2 * drop


def test_a_link_that_is_widened_or_cut_does_not_wait_for_what_was() -> None:
    faults = LiveFaults(FaultPlan(bandwidth_bits_per_s=1.0))
    bench = Bench(faults)
    bench.put(bytes(1_000))
    assert bench.drain(0.0) == [bytes(1_000)]
    bench.put(b"next")
    assert bench.drain(1.0) == []
    assert bench.link.wake_at(1.0) == 1.0 + LOOK_AGAIN_S, "8,000 s, unless somebody changes it"
    faults.set("b", LinkFaults(), 1.5)
    assert bench.drain(2.0) == [b"next"]
    bench = Bench(FaultPlan(bandwidth_bits_per_s=1.0, windows=(cut("a", "b", 0.0),)))
    for frame in (b"1", b"2"):
        bench.put(frame)
        assert bench.drain(0.0) == []
    assert bench.totals.lost_by_faults == 2


def test_beside_a_reverse_websocket_dialling_is_rare() -> None:
    link = Bench().link
    assert link.dial_at(beside_reverse=True) < 0
    link.dialled(100.0)
    assert link.dial_at(beside_reverse=True) == 100.0 + REDIAL_S
    assert link.dial_at(beside_reverse=False) == link.retry_at == 100.0 + RETRY_DELAY_S_MIN
    link.moved()
    assert link.dial_at(beside_reverse=True) < 0


def test_who_is_unreachable() -> None:
    bench = Bench()
    bench.link.stranded(1.0)
    assert bench.counters == LinkCounters(), "nothing was to be sent"
    bench.put(b"x")
    bench.link.stranded(2.0)
    assert (bench.counters.unreachable_since, bench.counters.unsent) == (2.0, 0)
    assert bench.drain(3.0) == [b"x"], "it has waited"
    bench.link.succeeded(b"x", "reverse")
    assert (bench.counters.unreachable_since, bench.counters.route) == (None, "reverse")
    bench.link.failed(4.0, "reset", other_way=True)
    assert (bench.counters.unsent, bench.counters.unreachable_since, bench.counters.route) == (1, None, None)
