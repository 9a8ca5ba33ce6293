import json
import random

import pytest

from wire import Constant, FaultChange, FaultPlan, FaultPlanError, LinkFaults, LiveFaults, cut, link_rng
from wire.live_faults import LIVE_CHANGES_MAX

BASE = FaultPlan(drop=0.1, delay_s=Constant(0.02), windows=(cut("a", "c", 100.0, 200.0),))


def test_a_change_holds_from_now_on_until_it_is_over() -> None:
    live = LiveFaults(BASE)
    live.set("b", FaultChange(drop=0.9), 10.0, 30.0)
    live.set(None, FaultChange(delay_s=1.0), 20.0)
    assert live.faults_on("a", "b", 9.9) == LinkFaults(0.1, Constant(0.02))
    assert live.faults_on("a", "b", 10.0) == LinkFaults(0.9, Constant(0.02))
    assert live.faults_on("a", "b", 20.0) == LinkFaults(0.9, 1.0)
    assert live.faults_on("a", "b", 40.0) == live.faults_on("a", "d", 20.0) == LinkFaults(0.1, 1.0)
    assert live.faults_on("a", "c", 150.0) is None
    assert live.plan.windows[: len(BASE.windows)] == BASE.windows


def test_a_cut_ends_by_itself_or_when_it_is_cleared() -> None:
    live = LiveFaults(BASE)
    live.set("b", None, 10.0)
    live.set("b", FaultChange(drop=0.0), 11.0)
    assert live.faults_on("a", "b", 1e6) is None
    live.set(None, FaultChange(duplicate=1.0), 12.0)
    live.clear("b")
    assert live.faults_on("a", "b", 20.0) == LinkFaults(0.1, Constant(0.02), 1.0)
    live.clear()
    assert live.plan == BASE
    live.set("b", None, 10.0, 5.0)
    live.set("b", LinkFaults(drop=0.4), 12.0, 1.0)
    assert live.faults_on("a", "b", 12.5) == LinkFaults(0.4), "a full value takes the place of the cut"
    assert live.faults_on("a", "b", 14.0) is None
    assert live.faults_on("a", "b", 15.0) == LinkFaults(0.1, Constant(0.02))


def test_as_many_draws_as_the_plan_takes_whatever_is_set() -> None:
    """The same seed decides the same, before and after: what a change leaves alone stays as it was."""
    live, plan = LiveFaults(BASE), BASE
    live.set("b", FaultChange(delay_s=5.0), 50.0, 10.0)
    one, other = link_rng(7, "a", "b"), link_rng(7, "a", "b")
    for second in range(100):
        with_change = live.deliveries("a", "b", second, one)
        without = plan.deliveries("a", "b", second, other)
        assert with_change == (tuple(5.0 for _ in without) if 50 <= second < 60 else without)
    assert one.getstate() == other.getstate()


def test_what_is_over_or_hidden_for_good_is_forgotten_and_the_rest_is_limited() -> None:
    live = LiveFaults(BASE)
    for second in range(3 * LIVE_CHANGES_MAX):
        live.set("b", FaultChange(drop=0.5), second, 10.0)
        live.set("b", FaultChange(drop=0.4, reorder=0.1), second)
        live.set(None, FaultChange(reorder=second / 1000), second)
    assert len(live.plan.windows) < 20
    live.set("b", None, 1e4, 1.0)
    live.set(None, LinkFaults(), 1e4)
    assert live.plan.windows == (*BASE.windows, *live.plan.windows[-1:]), "all of the others are hidden"
    for number in range(LIVE_CHANGES_MAX - 1):
        live.set(f"peer-{number}", None, 1e4)
    before = live.plan
    with pytest.raises(FaultPlanError, match=r"256 changes are in force.*; clear some"):
        live.set("one-more", None, 1e4)
    assert live.plan is before
    live.clear("peer-7")
    live.set("one-more", None, 1e4)
    assert live.faults_on("a", "one-more", 1e4) is None


@pytest.mark.parametrize("seed", range(20))
def test_forgetting_changes_nothing(seed: int) -> None:
    """Any sequence of changes: as if every one of them had been kept."""
    rng = random.Random(seed)
    live, kept, now = LiveFaults(BASE), BASE, 0.0
    for _ in range(40):
        now += rng.choice((0.0, 1.0, 5.0))
        to, duration_s = rng.choice((None, "b", "c")), rng.choice((None, 1.0, 10.0))
        faults = rng.choice(
            (
                None,
                LinkFaults(rng.random()),
                FaultChange(drop=rng.random()),
                FaultChange(drop=rng.random(), duplicate=0.5),
            )
        )
        live.set(to, faults, now, duration_s)
        single = LiveFaults(kept)
        single.set(to, faults, now, duration_s)
        kept = single.plan
        for target in ("b", "c", "d"):
            for later in (0.0, 0.9, 3.0, 30.0):
                assert live.faults_on("a", target, now + later) == kept.faults_on("a", target, now + later)


def test_a_peer_is_meant_by_its_name_with_and_without_its_key() -> None:
    """Found by people who set a fault under one form and cleared it under the other."""
    key = "abcde" * 4
    for given, cleared in (("box", f"box-{key}"), (f"box-{key}", "box"), ("box", "box")):
        live = LiveFaults(BASE)
        live.set(given, None, 1.0)
        live.set("fox", None, 1.0)
        assert live.clear("nobody") == 0
        assert live.clear(cleared) == 1
        assert live.faults_on("a", f"box-{key}", 2.0) is not None
        assert live.clear() == 1
    live = LiveFaults(BASE)
    live.set(f"box-{key}", FaultChange(drop=0.1), 1.0)
    live.set("box", FaultChange(drop=0.2), 2.0)
    assert len(live.plan.windows) == len(BASE.windows) + 1, "whoever is called box is covered"
    live.set(f"box-{key}", FaultChange(drop=0.3), 3.0)
    assert len(live.plan.windows) == len(BASE.windows) + 2, "another box is not"


@pytest.mark.parametrize(
    ("to", "elapsed_s", "duration_s", "told"),
    [
        ("", 1.0, None, "targets = '': a peer name must not be empty"),
        ("b", 1.0, 0.0, "would never open"),
        ("b", 1.0, float("nan"), "end_s = nan"),
        ("b", -1.0, None, "start_s = -1.0"),
    ],
)
def test_a_change_that_cannot_be_meant_changes_nothing(
    to: str, elapsed_s: float, duration_s: float | None, told: str
) -> None:
    live = LiveFaults(BASE)
    with pytest.raises(FaultPlanError) as raised:
        live.set(to, None, elapsed_s, duration_s)
    assert told in str(raised.value)
    assert live.plan is BASE


def test_as_json() -> None:
    live = LiveFaults(BASE)
    live.set("b", FaultChange(bandwidth_bits_per_s=256e3), 3.0, 4.0)
    told = json.loads(json.dumps(live.to_dict(), allow_nan=False))
    assert FaultPlan.from_dict(told["plan"]) == BASE
    assert told["live"] == [
        {
            "start_s": 3.0,
            "end_s": 7.0,
            "change": {"bandwidth_bits_per_s": 256e3},
            "sources": None,
            "targets": ["b"],
        }
    ]
