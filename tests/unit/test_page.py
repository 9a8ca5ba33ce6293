"""What a page shows: bounded curves, hyperparameters by what they mean, sentences, health, metrics."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from peer.event_words import sentence
from peer.events import (
    EpochEntered,
    Event,
    HyperRateLowered,
    LinkDeaf,
    LinkHeard,
    ListeningStarted,
    NonFiniteStep,
    PeerArrived,
    PeerDeparted,
    PeerQuarantined,
)
from peer.metrics import FAMILIES, NEIGHBOURS_MAX, exposition
from peer.module_problem import ModuleProblem
from peer.page.chronicle import EVENTS_MAX, TEXT_MAX, Chronicle
from peer.page.health import STALLED_S, Health, Silence, not_ready
from peer.page.history import CURVES_MAX, History
from peer.page.picture import NUMBERS_MAX, PICTURES_MAX, curves, pictures
from peer.personalization.contract import Part
from peer.personalization.registry import personalization
from peer.quadratic import QuadraticProblem
from tests.unit.test_status import BOTH, ONLY_IN, STATUS, STRANGE

# ---- curves


@given(
    st.lists(st.floats(0.01, 3.0), min_size=1, max_size=300),
    st.integers(2, 20),
)
def test_curves_reach_back_to_the_start_and_stay_bounded(steps: list[float], points_max: int) -> None:
    history = History(1.0, points_max)
    at_s, taken = 0.0, []
    for step in steps:
        at_s += step
        if history.add(at_s, {"loss": at_s}):
            taken.append(at_s)
    found = history.since()
    assert 1 <= len(found["at_s"]) <= points_max
    assert found["at_s"] == found["curves"]["loss"] == sorted(found["at_s"])
    assert set(found["at_s"]) <= set(taken)
    assert found["at_s"][-1] == taken[-1], "the newest stays"
    assert found["at_s"][0] <= taken[0] + (taken[-1] - taken[0]) / 2 + 3.0


def test_a_full_history_takes_points_half_as_often() -> None:
    history = History(1.0, 4)
    assert [history.add(float(at), {"loss": float(at)}) for at in range(6)] == [True] * 4 + [True, False]
    assert history.since()["at_s"] == [1.0, 3.0, 4.0]
    assert not history.is_due(5.9)
    assert history.is_due(6.0)


def test_curves_begin_and_pause_anywhere() -> None:
    history = History(1.0)
    history.add(0.0, {"old": 1.0})
    history.add(1.0, {"new": 2.0})
    found = history.since()["curves"]
    assert found["old"][0] == 1.0
    assert math.isnan(found["old"][1])
    assert math.isnan(found["new"][0])
    assert history.since(0.0)["curves"]["new"] == [2.0]
    assert history.since(1.0)["at_s"] == []


def test_there_are_only_so_many_curves() -> None:
    history = History(1.0)
    history.add(0.0, {str(number): 0.0 for number in range(CURVES_MAX + 5)})
    assert len(history.since()["curves"]) == CURVES_MAX


# ---- what is personal


def problem(name: str) -> ModuleProblem:
    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
    )
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    samples = torch.randn(200, 4, generator=generator), torch.arange(200) % 3
    return ModuleProblem(module, samples, samples, personalization=personalization(name), weight_decay=1e-3)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bias", {"bias of the outputs": [0.0, 0.0, 0.0]}),
        ("logits", {"scale of the outputs": [1.0] * 3, "bias of the outputs": [0.0] * 3}),
        ("class-weights", {"class weights": [1.0] * 3}),
        ("mixture:2", {"mixture: shares of the learners": [0.5, 0.5]}),
        ("interpolation", {"interpolation: share of the own model": [0.5], "interpolation.strength": [0.01]}),
        ("proximal", {"proximal.strength": [0.1]}),
        ("head", {"head.strength": [0.01]}),
        ("lora:1", {"lora.strength": [0.01]}),
        ("features", {"features.strength": [0.01]}),
    ],
)
def test_hyperparameters_are_shown_as_what_they_do(name: str, shown: dict[str, list[float]]) -> None:
    own = problem(name)
    found = pictures(own, own.hyperparameters)
    assert {one["name"]: one["numbers"] for one in found} == {
        label: pytest.approx(numbers, rel=1e-5) for label, numbers in shown.items()
    }
    assert curves(own, own.hyperparameters) == {
        f"{label}#{index}": pytest.approx(number, rel=1e-5)
        for label, numbers in shown.items()
        for index, number in enumerate(numbers)
    }


def test_a_factor_of_each_tensor_is_shown_as_a_factor() -> None:
    own = problem("regularization")
    doubled = {name: tensor + math.log(2.0) for name, tensor in own.hyperparameters.items()}
    found = pictures(own, doubled)
    assert len(found) == 6
    assert [one["numbers"] for one in found] == [[pytest.approx(2.0)]] * 6
    assert found[0]["name"] == "weight decay of 0.weight: factor"


def test_of_many_numbers_the_spread_is_shown() -> None:
    own = problem("sample-weights")
    scores = torch.zeros(200)
    scores[:20] = -10.0
    found = pictures(own, {"sample-weights.score": scores})[0]
    assert found["shape"] == [200]
    assert NUMBERS_MAX < 200
    assert found["quantiles"][0] == pytest.approx(0.0, abs=1e-6)
    assert found["quantiles"][-1] == pytest.approx(200 / 180, rel=1e-4)
    assert curves(own, {"sample-weights.score": scores}).keys() == {
        f"sample weights#p{share}" for share in (0, 10, 25, 50, 75, 90, 100)
    }


def test_a_part_of_somebody_else_is_shown_as_it_is() -> None:
    part = Part({"mine": torch.ones(2)})
    assert part.meaning({"mine": torch.zeros(2), "others": torch.ones(1)})["mine"].tolist() == [0.0, 0.0]
    assert part.meaning({"mine": torch.zeros(2), "others": torch.ones(1)}).keys() == {"mine"}


def test_what_has_no_meaning_is_shown_as_it_is() -> None:
    own = QuadraticProblem.random(torch.Generator().manual_seed(0), dimension=3, hyper_dimension=2)
    ((one,), hyperparameters) = pictures(own, own.hyperparameters), own.hyperparameters
    assert one["numbers"] == next(iter(hyperparameters.values())).tolist()
    many = {f"h{number:03}": torch.zeros(1) for number in range(PICTURES_MAX + 1)} | {"none": torch.zeros(0)}
    assert len(pictures(own, many)) == PICTURES_MAX
    assert pictures(own, {"none": torch.zeros(0)}) == []


# ---- sentences

EVENTS: list[tuple[Event, str]] = [
    (EpochEntered(3, "membership", ("b", "c")), "epoch 3: membership; pushes to b, c"),
    (EpochEntered(1, "founded", ()), "epoch 1: founded; pushes to nobody"),
    (ListeningStarted(4), "listens to epoch 4 before it takes part"),
    (PeerArrived("b", 1), "b is there"),
    (PeerArrived("b", 3), "b is there again, incarnation 3"),
    (PeerDeparted("b"), "b is gone"),
    (PeerQuarantined("b", "it jumped"), "b is quarantined: it jumped"),
    (LinkDeaf("b"), "b hears nothing of what is pushed to it"),
    (LinkHeard("b"), "b hears this agent again"),
    (
        HyperRateLowered(0.5, "it was too fast"),
        (
            "hyper step size lowered to 0.5 of what was given, or of its own choice, because it was "
            "too fast; nothing to do"
        ),
    ),
    (NonFiniteStep(7), "a gradient of tick 7 was not finite; the step was not taken"),
]


@pytest.mark.parametrize(("event", "told"), EVENTS)
def test_every_event_is_a_sentence(event: Event, told: str) -> None:
    assert sentence(event) == told


def test_no_event_is_without_a_sentence() -> None:
    assert {type(event) for event, _ in EVENTS} == set(get_args(Event))


def test_a_chronicle_forgets_its_oldest_and_counts_on() -> None:
    chronicle = Chronicle()
    chronicle.tell(0.5, "a", PeerDeparted("b"))
    assert chronicle.since(0) == [
        {"number": 1, "at_s": 0.5, "agent": "a", "kind": "PeerDeparted", "text": "b is gone"}
    ]
    for number in range(EVENTS_MAX):
        chronicle.say(float(number), "x" * (2 * TEXT_MAX))
    kept = chronicle.since(0)
    assert [one["number"] for one in kept] == list(range(2, EVENTS_MAX + 2))
    assert {(one["agent"], one["kind"], len(str(one["text"]))) for one in kept} == {("", "said", TEXT_MAX)}
    assert chronicle.since(EVENTS_MAX) == kept[-1:]


# ---- health


def test_who_makes_no_ticks_does_not_work() -> None:
    health = Health()
    health.look(0.0, {"a": 1, "b": 1, "c": 1})
    health.look(STALLED_S - 1.0, {"a": 2, "b": 1, "c": 1})
    assert health.problems() == []
    health.look(STALLED_S, {"a": 2, "b": 1, "c": None})
    assert health.problems() == [f"an agent has not gone on for {STALLED_S:.0f} s"]
    health.look(STALLED_S + 1.0, {"a": 2, "c": 1})
    assert health.problems() == [], "who is gone is not waited for, nor who had to wait"


def test_a_process_is_not_healthy_that_has_been_silent_for_two_minutes() -> None:
    silence = Silence()
    assert silence.problems(0.0, [[], ["an agent"], None]) == ["an agent"]
    assert silence.problems(STALLED_S / 2, [None, [], None]) == []
    assert silence.problems(STALLED_S, [None, [], None]) == [
        f"a process of agents has not answered for {STALLED_S:.0f} s"
    ]
    assert silence.problems(STALLED_S + 1.0, [None, [], []]) == [], "it has come back"
    assert silence.problems(1.5 * STALLED_S, [[], [], None]) == [], "silent anew"
    assert silence.problems(2.9 * STALLED_S, [[], [], None]) == [], "it may have answered meanwhile"


def test_who_learns_with_others_is_ready() -> None:
    assert not_ready([STATUS], []) == []
    deaf = dataclasses.replace(BOTH, hears=False)
    alone = dataclasses.replace(STATUS, links=(STRANGE, dataclasses.replace(BOTH, left=True)))
    assert not_ready([alone], []) == []
    assert not_ready([dataclasses.replace(STATUS, links=(deaf,))], []) == ["an agent hears nobody"]
    assert not_ready([dataclasses.replace(STATUS, phase="warming up")], ["b"]) == [
        "an agent is not there",
        "an agent is warming up",
    ]


# ---- metrics


def test_metrics_are_what_prometheus_reads() -> None:
    other = dataclasses.replace(STATUS, peer='b"\n\\', ticks_per_second=math.nan, residual=math.inf, links=())
    text = exposition([STATUS, other]).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families.keys() == {f"hyperpush_{name}" for name in FAMILIES}
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["hyperpush_ticks_total", (("agent", "agent-0"),)] == 1234
    assert samples["hyperpush_phase", (("agent", "agent-0"), ("phase", "running"))] == 1
    assert samples["hyperpush_phase", (("agent", "agent-0"), ("phase", "listening"))] == 0
    assert samples["hyperpush_rejected_messages_total", (("agent", "agent-0"), ("reason", "replayed"))] == 3
    assert samples["hyperpush_link_loss_ratio", (("agent", "agent-0"), ("peer", ONLY_IN.peer))] == 0.1
    assert samples["hyperpush_tick_interval_seconds", (("agent", "agent-0"),)] == pytest.approx(1 / 19.8)
    assert samples["hyperpush_peers", (("agent", "agent-0"), ("state", "incompatible"))] == 1
    assert ("hyperpush_residual_ratio", (("agent", other.peer),)) not in samples, "no number, no sample"
    assert ("hyperpush_tick_interval_seconds", (("agent", other.peer),)) not in samples


def test_metrics_of_the_process_are_beside_them() -> None:
    text = exposition([], ProcessCollector(registry=None)).decode()
    assert "hyperpush_ticks_total{" not in text
    assert "# HELP hyperpush_ticks_total" in text
    assert sys.platform != "linux" or "process_resident_memory_bytes" in text


def test_links_make_a_bounded_number_of_labels() -> None:
    links = tuple(dataclasses.replace(ONLY_IN, peer=f"peer-{number}") for number in range(3 * NEIGHBOURS_MAX))
    text = exposition([dataclasses.replace(STATUS, links=links)]).decode()
    assert text.count("hyperpush_link_loss_ratio{") == NEIGHBOURS_MAX
