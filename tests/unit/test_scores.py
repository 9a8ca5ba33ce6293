"""What problems measure on test samples, theirs and ours, and where it is shown."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import peer
from peer import module_scores
from peer.display import News, SafeConsole, print_outcome, summary_line
from peer.errors import ProblemError
from peer.events import PeerArrived, PeerDeparted
from peer.metrics import exposition
from peer.module_scores import r2
from peer.outcome import AgentOutcome, Kind, Outcome
from peer.personalization import personalization
from peer.run_result import frame
from peer.sinks import numbers_of
from peer.views import AgentView, Messages, mean_metrics, tick_words
from tests.unit.test_status import STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUTS = torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
CLASSES = (INPUTS[:, 0] > 0).long()
NUMBERS = INPUTS @ torch.tensor([[2.0], [-1.0]]) + 0.5


def problem(targets: Tensor = CLASSES, **more: Any) -> peer.ModuleProblem:
    regression = targets.is_floating_point()
    module = nn.Linear(2, targets.shape[1] if regression else 2)
    nn.init.constant_(module.weight, 0.1)
    nn.init.zeros_(module.bias)
    if regression:
        more = {"loss": nn.functional.mse_loss, **more}
    learned = (INPUTS[:20], targets[:20]), (INPUTS[20:], targets[20:])
    return peer.ModuleProblem(module, *learned, (INPUTS, targets), **more)


def mean_output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean() + 0 * targets.sum()


def test_a_metric_is_taken_of_the_shared_and_of_the_personal_model() -> None:
    found = problem(metrics={"mean": mean_output}, personalization=personalization("bias"))
    bias = {"bias": torch.tensor([1.0, 1.0])}
    told = found.metrics(found.model, bias)
    assert list(told) == ["shared", "personal", "mean.shared", "mean.personal"]
    assert told["mean.personal"] == pytest.approx(told["mean.shared"] + 1.0)
    assert found.relabelled(CLASSES[:20]).metrics(found.model, bias) == told


def test_without_a_complete_shared_model_only_the_personal_one_is_measured() -> None:
    found = problem(metrics={"mean": mean_output}, personalization=personalization("own:bias"))
    told = found.metrics(found.model, found.hyperparameters, found.local)
    assert math.isnan(told["shared"])
    assert math.isnan(told["mean.shared"])
    assert math.isfinite(told["mean.personal"])


def test_metrics_of_torchmetrics_accumulate_for_nobody_else() -> None:
    """Reference: the same F1 by hand."""
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.F1Score(task="multiclass", num_classes=2, average="macro")
    one, other = (problem(metrics={"f1": metric}) for _ in range(2))
    told = one.metrics(one.model, {})
    with torch.no_grad():
        predicted = one.predict(one.model, {}, INPUTS).argmax(1)
    f1 = [
        2
        * int(((predicted == label) & (label == CLASSES)).sum())
        / max(1, int((predicted == label).sum() + (label == CLASSES).sum()))
        for label in (0, 1)
    ]
    assert told["f1.personal"] == pytest.approx(sum(f1) / 2)
    assert other.metrics(one.model, {}) == told == one.metrics(one.model, {})
    assert metric._update_count == 0, "the one that was given is as it was"


def test_numbers_are_scored_by_how_much_of_their_variance_is_explained() -> None:
    found = problem(NUMBERS)
    truth = {"weight": torch.tensor([[2.0, -1.0]]), "bias": torch.tensor([0.5])}
    assert found.metrics(truth, {}) == {"r2.shared": pytest.approx(1.0), "r2.personal": pytest.approx(1.0)}
    mean = {"weight": torch.zeros(1, 2), "bias": NUMBERS.mean().reshape(1)}
    assert found.metrics(mean, {})["r2.personal"] == pytest.approx(0.0, abs=1e-5)
    assert math.isnan(r2(torch.zeros(3, 1), torch.ones(3, 1)))
    assert problem(NUMBERS, metrics={}).metrics(truth, {}) == {}
    misses = problem(
        NUMBERS, metrics={"largest": lambda outputs, targets: float((outputs - targets).abs().max())}
    )
    assert misses.metrics(truth, {})["largest.shared"] == pytest.approx(0.0, abs=1e-5)
    unlike = problem(
        NUMBERS, loss=lambda outputs, targets: (outputs.squeeze(1) - targets.squeeze(1)).square().mean()
    )
    assert list(unlike.metrics(truth, {})) == ["r2.shared", "r2.personal"]
    flat = peer.ModuleProblem(
        nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
        *(3 * [(INPUTS, NUMBERS.reshape(30, 1))]),
        loss=loss_of_sums,
    )
    assert flat.metrics(flat.model, {}) == {}, "outputs are not like targets"


def loss_of_sums(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.sum() - targets.sum()).square()


def test_many_test_samples_are_computed_with_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = problem(metrics={"mean": mean_output})
    wanted = whole.metrics(whole.model, {})
    monkeypatch.setattr(module_scores, "ROWS", 7)
    assert whole.metrics(whole.model, {}) == pytest.approx(wanted)


class Broken:
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        raise ValueError("no such\nlabel")

    def compute(self) -> float:
        return 0.0

    def reset(self) -> None: ...


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (
            {"each": lambda outputs, targets: outputs.argmax(1)},
            r"each gives a tensor of shape \(30,\); let it",
        ),
        ({"all": lambda outputs, targets: {"a": 1.0}}, "the metric all gives dict"),
        ({"yes": lambda outputs, targets: True}, "the metric yes gives bool"),
        ({"personal": mean_output}, "metrics has 'personal', which is there for classes"),
        ({"broken": Broken()}, r"broken fails for outputs \(30, 2\) .*int64: ValueError: no such label"),
    ],
)
def test_metrics_that_give_no_number_are_refused_at_the_start(metrics: Any, told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        problem(metrics=metrics)


def test_metrics_need_test_samples() -> None:
    with pytest.raises(ProblemError, match="metrics has mean, but there are no test samples"):
        peer.ModuleProblem(nn.Linear(2, 2), *(2 * [(INPUTS, CLASSES)]), metrics={"mean": mean_output})


# ---- where they are shown

MESSAGES = Messages(100, 1, 2, 80, 20, 3, 4, 5000, {})
VIEW = AgentView("a", 20, 1, "running", 0.5, 0.6, math.nan, math.nan, 0.1, 0.2, 1.0, MESSAGES)


def views(*metrics: Mapping[str, float]) -> list[AgentView]:
    return [dataclasses.replace(VIEW, metrics=one) for one in metrics]


def test_views_have_them_for_files_frames_and_lines() -> None:
    two = views({"f1.shared": 0.5, "f1.personal": 0.7}, {"f1.shared": 0.6})
    assert mean_metrics(two) == {"f1.shared": 0.55}
    assert "f1.shared 0.550" in summary_line(two)
    assert "f1" not in summary_line(views({}, {}))
    assert numbers_of(two[0])["metrics/f1.personal"] == 0.7
    pytest.importorskip("pandas")
    table = frame(two)
    assert list(table["f1.shared"]) == [0.5, 0.6]
    assert math.isnan(table["f1.personal"][1])
    assert "metrics" not in table


def test_ticks_of_a_life_before_are_told_apart() -> None:
    one, other = (dataclasses.replace(VIEW, tick=tick) for tick in (41, 300))
    assert tick_words([one, other]) == "tick 41"
    come_back = dataclasses.replace(one, ticks_before=448)
    assert summary_line([come_back]).startswith("tick 489 (41 since the start)  loss")
    assert tick_words([come_back, other]) == "tick 300 (41 since the start)"


def test_results_have_means_beside_the_scores() -> None:
    losses = {"initial": 1.0, "learned": 0.5}
    agents = [
        AgentOutcome(name, 10, 1, 0.1, losses, {}, {"r2.shared": one, "r2.personal": one + 0.1, "own": 3.0})
        for name, one in (("a", 0.2), ("b", 0.4))
    ]
    columns = {"initial": "before learning", "learned": "after learning"}
    outcome = Outcome({}, Kind.LOSS, columns, agents, 1.0, 10)
    assert outcome.metrics()["r2"] == pytest.approx({"shared": 0.3, "personal": 0.4})
    written = outcome.to_dict()
    assert written["metrics"] == outcome.metrics()
    assert written["agents"][0]["metrics"]["own"] == 3.0
    assert dataclasses.replace(outcome, agents=[]).metrics() == {}
    file = io.StringIO()
    print_outcome(SafeConsole(file=file, width=100), outcome)
    assert "test metric" in file.getvalue()
    assert "0.4" in file.getvalue()
    bare = [dataclasses.replace(agent, metrics={}) for agent in agents]
    assert "metrics" not in dataclasses.replace(outcome, agents=bare).to_dict()


def test_prometheus_gets_them_apart_from_accuracies() -> None:
    status = dataclasses.replace(STATUS, accuracies={"shared": 0.9, "personal": 0.95, "f1.shared": 0.5})
    text = exposition([status]).decode()
    assert "hyperpush_test_metric{" in text
    assert 'name="f1.shared"' in text
    assert 'model="f1.shared"' not in text


def test_a_run_measures_them_while_it_learns() -> None:
    two = [problem(NUMBERS, metrics={"r2": r2}) for _ in range(2)]
    found = peer.simulate(two, ticks=250)
    assert found.agents[0].metrics["r2.personal"] > 0.9


def test_who_comes_and_comes_back_is_told_as_who_goes_is() -> None:
    news = News()
    assert news.line("a", PeerArrived("b", 1)) == "a: b is here"
    assert news.line("a", PeerArrived("c", 1)) == "a: c is here; 1 other"
    assert news.line("a", PeerDeparted("b")) == "a: b is gone"
    assert news.line("a", PeerArrived("b", 1)) == "a: b is back; 1 other", "it was there all the time"
    assert news.line("a", PeerArrived("c", 2)) == "a: c is back; 1 other"
    together = News(arrivals=False)
    assert together.line("a", PeerArrived("b", 1)) is None
    assert together.line("a", PeerDeparted("b")) == "a: b is gone"
    assert together.line("a", PeerArrived("b", 2)) == "a: b is back"
