import itertools
import json
import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import (
    Constant,
    Exponential,
    FaultChange,
    FaultPlan,
    FaultPlanError,
    FaultWindow,
    LinkFaults,
    LogNormal,
    Uniform,
    cut,
    link_rng,
    partition,
)
from wire.faults import DRAWS_PER_MESSAGE, LINKS_REMEMBERED, name_before_key
from wire.link_faults import FAULT_KEYS

SHAPED = FaultPlan(drop=0.3, delay_s=Exponential(0.05), duplicate=0.2, reorder=0.1, reorder_window_s=0.5)


def sent(plan: FaultPlan, count: int = 20_000, elapsed_s: float = 0.0) -> list[tuple[float, ...]]:
    rng = link_rng(1, "a", "b")
    return [plan.deliveries("a", "b", elapsed_s, rng) for _ in range(count)]


def test_without_faults_everything_arrives_at_once() -> None:
    assert sent(FaultPlan(), 10) == [(0.0,)] * 10


def test_rates_are_the_stated_ones() -> None:
    outcomes = sent(SHAPED)
    arrived = [copies for copies in outcomes if copies]
    assert 1 - len(arrived) / len(outcomes) == pytest.approx(0.3, abs=0.015)
    assert sum(len(copies) == 2 for copies in arrived) / len(arrived) == pytest.approx(0.2, abs=0.015)
    delays = list(itertools.chain.from_iterable(arrived))
    assert statistics.fmean(delays) == pytest.approx(0.05 + 0.1 * 0.25, rel=0.03)


def test_certainties() -> None:
    assert set(sent(FaultPlan(drop=1.0), 1000)) == {()}
    assert set(sent(FaultPlan(duplicate=1.0, delay_s=0.1), 1000)) == {(0.1, 0.1)}
    held = [delay for (delay,) in sent(FaultPlan(reorder=1.0, reorder_window_s=2.0, delay_s=1.0))]
    assert 1.0 <= min(held) < 1.01
    assert 2.99 < max(held) < 3.0


def test_what_is_remembered_of_a_link_ends_with_the_windows() -> None:
    """Whatever was asked before, the answer is that of a plan that was asked nothing."""
    change = FaultChange(drop=0.5)
    windows = (cut("a", "b", 2.0, 4.0), FaultWindow(1.0, 3.0, change), FaultWindow(3.0, 9.0, change, ("c",)))
    plan, times = FaultPlan(windows=windows), (0.0, 1.0, 1.5, 2.0, 3.0, 3.9, 4.0, 9.0)
    for elapsed_s in (*times, *reversed(times)):
        for source in ("a", "b", "c"):
            fresh = FaultPlan(windows=windows).faults_on(source, "b", elapsed_s)
            assert plan.faults_on(source, "b", elapsed_s) == fresh
    assert plan.faults_on("a", "b", 3.9) is None
    assert plan.faults_on("a", "b", 4.0) == LinkFaults()
    assert plan.faults_on("c", "b", 4.0) == LinkFaults(drop=0.5)


def test_no_more_links_are_remembered_than_one_swarm_has() -> None:
    plan = FaultPlan()
    for number in range(LINKS_REMEMBERED + 10):
        assert plan.faults_on("a", f"b{number}", 0.0) == LinkFaults()
    assert len(plan._known) == 10


def test_held_messages_are_overtaken() -> None:
    arrivals = [0.01 * index + copies[0] for index, copies in enumerate(sent(FaultPlan(reorder=0.2), 500))]
    assert any(earlier > later for earlier, later in itertools.pairwise(arrivals))


def test_every_message_takes_as_many_draws() -> None:
    plan = FaultPlan(
        0.5, LogNormal(0.1, 1.0), 0.5, 0.5, links={("a", "b"): LinkFaults()}, windows=(cut("c", "d", 0.0),)
    )
    for source, target in (("a", "b"), ("c", "d"), ("e", "f")):
        rng, beside = random.Random(3), random.Random(3)
        for _ in range(100):
            plan.deliveries(source, target, 0.0, rng)
            for _ in range(DRAWS_PER_MESSAGE):
                beside.random()
        assert rng.getstate() == beside.getstate()


def test_more_loss_loses_the_same_messages_and_some_more() -> None:
    little = sent(SHAPED, 2000)
    more = sent(FaultPlan(0.6, Exponential(0.05), 0.2, 0.1, 0.5), 2000)
    assert all(after in ((), before) for before, after in zip(little, more, strict=True))


def test_links_have_their_own_streams_and_faults() -> None:
    assert link_rng(7, "a", "b").random() == random.Random("7/a->b").random()
    assert link_rng(7, "a", "b").random() != link_rng(7, "b", "a").random()
    plan = FaultPlan(drop=0.1, links={("a", "b"): LinkFaults(drop=0.9)})
    assert plan.faults_on("a", "b", 0.0) == LinkFaults(drop=0.9)
    assert plan.faults_on("b", "a", 0.0) == LinkFaults(drop=0.1)


def test_windows_open_and_close_and_the_last_one_wins() -> None:
    worse, worst = LinkFaults(drop=0.5), LinkFaults(drop=0.9)
    plan = FaultPlan(
        links={("a", "b"): LinkFaults(drop=0.2)},
        windows=(
            FaultWindow(10.0, 20.0, worse),
            FaultWindow(15.0, math.inf, worst, sources=("a",), targets=("b", "c")),
            cut("c", "a", 12.0, 13.0),
        ),
    )

    def drop(source: str, target: str, elapsed_s: float) -> float | None:
        faults = plan.faults_on(source, target, elapsed_s)
        return None if faults is None else faults.drop

    assert [drop("a", "b", t) for t in (0.0, 9.99, 10.0, 14.99, 15.0, 1e9)] == [0.2, 0.2, 0.5, 0.5, 0.9, 0.9]
    assert [drop("b", "a", t) for t in (9.99, 10.0, 19.99, 20.0)] == [0.0, 0.5, 0.5, 0.0]
    assert [drop("c", "a", t) for t in (11.0, 12.0, 12.99, 13.0)] == [0.5, None, None, 0.5]
    assert drop("a", "d", 16.0) == 0.5


def test_a_change_keeps_what_it_does_not_name() -> None:
    """So that "drop 0.5 from t=60s on" keeps the delay that the links have."""
    plan = FaultPlan(
        delay_s=Constant(0.02),
        bandwidth_bits_per_s=1e6,
        links={("a", "b"): LinkFaults(drop=0.1, duplicate=0.2)},
        windows=(
            cut("c", "a", 0.0, 30.0),
            FaultWindow(10.0, 40.0, FaultChange(drop=0.5)),
            FaultWindow(20.0, 40.0, FaultChange(delay_s=1.0, bandwidth_bits_per_s=math.inf), ("c", "d")),
        ),
    )
    everywhere = LinkFaults(0.5, Constant(0.02), bandwidth_bits_per_s=1e6)
    assert plan.faults_on("a", "b", 10.0) == LinkFaults(0.5, duplicate=0.2)
    assert plan.faults_on("b", "a", 10.0) == everywhere
    assert plan.faults_on("d", "a", 20.0) == LinkFaults(0.5, 1.0)
    assert plan.faults_on("c", "a", 29.9) is None
    assert plan.faults_on("c", "a", 30.0) == LinkFaults(0.5, 1.0)
    assert plan.faults_on("b", "a", 40.0) == LinkFaults(0.0, Constant(0.02), bandwidth_bits_per_s=1e6)
    every = FaultChange(0.1, 2.0, 0.3, 0.4, 5.0, 6.0)
    assert every.names == FAULT_KEYS
    assert every.applied_to(LinkFaults()) == LinkFaults(0.1, 2.0, 0.3, 0.4, 5.0, 6.0)


def test_a_name_means_its_agent_whatever_key_or_life_it_has_now() -> None:
    plan = FaultPlan(windows=(cut("agent-1", "agent-2", 0.0),))
    key = "abcdefghij234567klmn"
    for source in ("agent-1", f"agent-1-{key}", "agent-1-0123abcd", "agent-1+2"):
        assert plan.faults_on(source, f"agent-2-{key}", 0.0) is None, source
    for source in ("agent-10", "agent-1-x", "agent", f"agent-{key}", "+1", f"agent-1-{key}x"):
        assert plan.faults_on(source, "agent-2", 0.0) == LinkFaults(), source
    assert name_before_key("+1") == "+1"
    exactly = FaultPlan(windows=(cut(f"agent-1-{key}", "agent-2", 0.0),))
    assert exactly.faults_on(f"agent-1-{key}", "agent-2", 0.0) is None
    assert exactly.faults_on("agent-1", "agent-2", 0.0) == LinkFaults()


def test_a_cut_link_passes_nothing_and_only_one_way() -> None:
    plan = FaultPlan(windows=(cut("a", "b", 5.0),))
    rng = random.Random(0)
    assert plan.deliveries("a", "b", 4.9, rng) == (0.0,)
    assert plan.deliveries("a", "b", 5.0, rng) == ()
    assert plan.deliveries("b", "a", 5.0, rng) == (0.0,)


def test_a_partition_cuts_between_groups_only() -> None:
    plan = FaultPlan(windows=partition([["a", "b"], ["c"], ["d"]], 1.0, 2.0))
    side = {"a": 0, "b": 0, "c": 1, "d": 2, "elsewhere": None}
    for source, target in itertools.permutations(side, 2):
        apart = None not in (side[source], side[target]) and side[source] != side[target]
        assert (plan.faults_on(source, target, 1.5) is None) == apart, (source, target)
        assert plan.faults_on(source, target, 2.0) == LinkFaults()


BAD_PLANS: list[tuple[Callable[[], object], str]] = [
    (lambda: FaultPlan(drop=1.5), "drop = 1.5: must be a number from 0 to 1"),
    (lambda: FaultPlan(drop=math.nan), "drop = nan"),
    (lambda: FaultPlan(drop="0.3"), "drop = '0.3'"),
    (lambda: FaultPlan(duplicate=-0.1), "duplicate = -0.1"),
    (lambda: LinkFaults(reorder=2), "reorder = 2"),
    (lambda: FaultChange(drop=2.0), "drop = 2.0: must be a number from 0 to 1"),
    (lambda: FaultChange(bandwidth_bits_per_s=0.5), "write 256kbit"),
    (lambda: LinkFaults(bandwidth_bits_per_s=math.inf), "bandwidth_bits_per_s = inf"),
    (lambda: FaultPlan(bandwidth_bits_per_s="256kbit"), "bandwidth_bits_per_s = '256kbit'"),
    (lambda: LinkFaults(reorder_window_s=-1), "reorder_window_s = -1"),
    (lambda: LinkFaults(reorder_window_s=math.inf), "reorder_window_s = inf"),
    (lambda: FaultPlan(delay_s=-0.02), "delay_s = -0.02"),
    (lambda: FaultPlan(delay_s="20ms"), "parse_delay"),
    (lambda: FaultPlan(links={("a",): LinkFaults()}), "give (source, target)"),
    (lambda: FaultPlan(links={"ab": LinkFaults()}), "links key = 'ab'"),
    (lambda: FaultPlan(links={("a", ""): LinkFaults()}), "must not be empty"),
    (lambda: FaultPlan(links={("a", 3): LinkFaults()}), "must be text"),
    (lambda: FaultPlan(links={("a", "b"): None}), "to cut a link use cut()"),
    (lambda: FaultPlan(windows=[0.5]), "windows = 0.5: give FaultWindow"),
    (lambda: FaultWindow(-1.0, 2.0, None), "start_s = -1.0"),
    (lambda: FaultWindow(0.0, math.nan, None), "end_s = nan"),
    (lambda: FaultWindow(2.0, 2.0, None), "end_s = 2.0: not after start_s"),
    (lambda: FaultWindow(0.0, 1.0, 0.5), "faults = 0.5"),
    (lambda: FaultWindow(0.0, 1.0, None, sources=()), "sources = ()"),
    (lambda: FaultWindow(0.0, 1.0, None, targets=["a"]), "targets = ['a']"),
    (lambda: partition([["a"]], 0, 1), "at least two groups"),
    (lambda: partition([["a"], ["a", "b"]], 0, 1), "a peer is named twice"),
    (lambda: partition([["a"], []], 0, 1), "not empty"),
]


@pytest.mark.parametrize(("build", "message"), BAD_PLANS)
def test_a_plan_that_cannot_be_meant_names_field_value_and_remedy(
    build: Callable[[], object], message: str
) -> None:
    with pytest.raises(FaultPlanError) as caught:
        build()
    assert message in str(caught.value)
    assert ";" in str(caught.value) or "give" in str(caught.value) or "must" in str(caught.value)


RATES = st.floats(0.0, 1.0)
FAULTS = st.builds(
    LinkFaults,
    drop=RATES,
    delay_s=st.floats(0.0, 10.0) | st.sampled_from([Constant(0.02), Uniform(0.0, 1.0), LogNormal(0.05, 0.5)]),
    duplicate=RATES,
    reorder=RATES,
    reorder_window_s=st.floats(0.0, 10.0),
    bandwidth_bits_per_s=st.none() | st.floats(1.0, 1e15),
)
CHANGES = st.builds(
    FaultChange,
    drop=st.none() | RATES,
    delay_s=st.none() | st.floats(0.0, 10.0) | st.just(Exponential(0.05)),
    bandwidth_bits_per_s=st.none() | st.floats(1.0, 1e15) | st.just(math.inf),
)
PEERS = st.none() | st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
WINDOWS = st.builds(
    FaultWindow,
    st.floats(0.0, 10.0),
    st.floats(11.0, 20.0) | st.just(math.inf),
    st.none() | FAULTS | CHANGES,
    PEERS,
    PEERS,
)
LINKS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), FAULTS, max_size=3)


@given(FAULTS, LINKS, st.lists(WINDOWS, max_size=3).map(tuple))
@settings(max_examples=50)
def test_plans_survive_json(
    faults: LinkFaults, links: dict[tuple[str, str], LinkFaults], windows: tuple[FaultWindow, ...]
) -> None:
    plan = FaultPlan(
        **{name: getattr(faults, name) for name in faults.to_dict()}, links=links, windows=windows
    )
    again = FaultPlan.from_dict(json.loads(json.dumps(plan.to_dict(), allow_nan=False)))
    assert again == plan
    assert hash(again) == hash(plan)


def test_a_plan_may_be_written_briefly() -> None:
    plan = FaultPlan.from_dict(
        {"drop": 0.3, "delay_s": "exponential:50ms", "windows": [{"start_s": 5, "end_s": 9, "faults": None}]}
    )
    assert plan == FaultPlan(0.3, Exponential(0.05), windows=(FaultWindow(5.0, 9.0, None),))
    slow = {"delay_s": "20ms", "bandwidth_bits_per_s": "64kbyte"}
    wide = {"bandwidth_bits_per_s": None}
    assert FaultChange.from_dict(slow) == FaultChange(delay_s=Constant(0.02), bandwidth_bits_per_s=512e3)
    assert FaultChange.from_dict(slow).applied_to(LinkFaults(0.1)) == LinkFaults.from_dict(
        slow | {"drop": 0.1}
    )
    assert FaultChange.from_dict(wide) == FaultChange(bandwidth_bits_per_s=math.inf)
    assert LinkFaults.from_dict(wide) == LinkFaults()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dorp": 0.3}, "plan key 'dorp': unknown; known are drop, delay_s"),
        ({"drop": "much"}, "drop = 'much'"),
        ({"drop": None}, "drop = None"),
        ({"drop": 10**400}, "drop = 1000"),
        ({"delay_s": "20"}, "delay = '20'"),
        ({"delay_s": [1]}, "delay_s = [1]"),
        ({"links": {"a": 1}}, "links = {'a': 1}: give a list"),
        ({"links": [3]}, "links = 3: give a table"),
        ({"links": [{"source": "a", "drop": 1}]}, "a peer name must be text"),
        ({"links": [{"source": "a", "target": "b"}] * 2}, "given twice"),
        ({"links": [{"source": "a", "target": "b", "lag": 1}]}, "faults key 'lag': unknown"),
        ({"windows": [{"start_s": 1}]}, "faults is missing"),
        ({"windows": [{"start_s": 1, "faults": None, "change": {}}]}, "or change beside it"),
        ({"windows": [{"start_s": 1, "change": None}]}, "change = None: give a table"),
        ({"windows": [{"start_s": 1, "change": {"dorp": 1}}]}, "faults key 'dorp': unknown"),
        ({"bandwidth_bits_per_s": "wide"}, "bandwidth = 'wide'"),
        ({"bandwidth_bits_per_s": True}, "bandwidth_bits_per_s = True"),
        ({"windows": [{"faults": None}]}, "start_s is missing"),
        ({"windows": [{"start_s": 1, "faults": None, "peers": []}]}, "window key 'peers': unknown"),
        ({"windows": [{"start_s": 1, "faults": 0.3}]}, "faults = 0.3: give a table"),
        ({"windows": [{"start_s": 1, "faults": None, "sources": "a"}]}, "sources = 'a'"),
    ],
)
def test_a_bad_dictionary_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(FaultPlanError) as caught:
        FaultPlan.from_dict(values)
    assert message in str(caught.value)


def test_a_plan_is_not_changed_through_what_it_was_made_of() -> None:
    links = {("a", "b"): LinkFaults(drop=1.0)}
    plan = FaultPlan(links=links)
    links.clear()
    assert plan.faults_on("a", "b", 0.0) == LinkFaults(drop=1.0)
