"""What samples do to everybody's validation loss, against fully solving the problem again."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import peer
from peer.influence import area_under_curve, harms, wrong_labels
from peer.influence.findings import Place, findings_of, found_again, ranked
from peer.influence.harms import _along
from peer.personalization import personalization
from tests.oracles.dense import DenseNetwork, unpack

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, CLASSES = 6, 3


def problem_of(seed: int, personal: str, without: int | None = None) -> peer.ModuleProblem:
    """Strongly convex: a linear classifier with weight decay, in float64, all samples in every batch."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(3 * SAMPLES, 2, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (3 * SAMPLES,), generator=generator)
    kept = [row for row in range(SAMPLES) if row != without]
    module = (
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, CLASSES)) if "head" in personal else nn.Linear(2, CLASSES)
    )
    module = module.double()
    with torch.no_grad():
        drawn = torch.Generator().manual_seed(7)
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=drawn, dtype=torch.float64) / 2)
    return peer.ModuleProblem(
        module,
        (inputs[kept], targets[kept]),
        (inputs[SAMPLES:], targets[SAMPLES:]),
        personalization=personalization(personal),
        weight_decay=0.3,
    )


class Leaning:
    """A problem in which one training sample counts a little more or less."""

    def __init__(self, problem: peer.ModuleProblem, row: int, more: float) -> None:
        self._problem, self._row, self._more = problem, torch.tensor([row]), more / problem.training_samples
        if hasattr(problem, "local_loss"):
            self.local_loss = self._local_loss

    def __getattr__(self, name: str) -> Any:
        if name == "local_loss":
            raise AttributeError(name)
        return getattr(self._problem, name)

    def inner_loss(self, model: Any, hyperparameters: Any, batch: Any, local: Any = None) -> Tensor:
        own = self._problem.local if local is None else local
        one = self._problem.sample_losses(model, hyperparameters, own, self._row)[0].sum()
        return self._problem.inner_loss(model, hyperparameters, batch, own) + self._more * one

    def _local_loss(self, model: Any, hyperparameters: Any, batch: Any, local: Any) -> Tensor:
        one = self._problem.sample_losses(model, hyperparameters, local, self._row)[1].sum()
        return self._problem.local_loss(model, hyperparameters, batch, local) + self._more * one


def found_by(network: DenseNetwork, agent: int) -> Tensor:
    problem = network.problems[agent]
    w = network.solve(network.hypers)
    x, *zs = network.split(w)
    adjoint = network.adjoint(w, network.hypers)
    own = lambda vector: unpack(vector, problem.local)  # noqa: E731
    return harms(
        problem,
        unpack(x, problem.model),
        unpack(adjoint.shared, problem.model),
        problem.hyperparameters,
        own(zs[agent]),
        own(adjoint.local[agent]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("personal", ["class-weights", "proximal", "head"])
def test_harms_are_derivatives_of_everybodys_validation_loss(personal: str) -> None:
    """Reference: DESIGN (2), (3), against central differences of the fully solved problem."""
    problems: list[Any] = [problem_of(seed, personal) for seed in range(2)]
    network = DenseNetwork(problems)
    found = found_by(network, 1)
    w = network.solve(network.hypers)
    for row in (0, SAMPLES - 1):
        values = []
        for more in (1e-4, -1e-4):
            leaning = DenseNetwork([problems[0], Leaning(problems[1], row, more)])
            values.append(float(leaning.objective(leaning.solve(network.hypers, start=w), network.hypers)))
        slope = len(problems) * (values[0] - values[1]) / 2e-4
        assert float(found[row]) == pytest.approx(slope, rel=1e-4, abs=1e-7), row


@pytest.mark.slow
def test_samples_are_really_removed_and_the_model_trained_anew() -> None:
    """The derivative says which removals help, and nearly by how much."""
    problems: list[Any] = [problem_of(seed, "none") for seed in range(3)]
    network = DenseNetwork(problems)
    found = found_by(network, 0)
    before = float(network.objective(network.solve(network.hypers), network.hypers))
    changes = []
    for row in range(SAMPLES):
        fewer: list[Any] = [problem_of(0, "none", without=row), *problems[1:]]
        smaller = DenseNetwork(fewer)
        # its mean is over fewer samples: all others count a little more
        expected = -float(found[row]) + (float(found.sum()) - float(found[row])) / (SAMPLES - 1)
        after = float(smaller.objective(smaller.solve(smaller.hypers), smaller.hypers))
        changes.append((expected, len(problems) * (after - before)))
    told, real = torch.tensor(changes).T
    assert float(torch.corrcoef(torch.stack([told, real]))[0, 1]) > 0.95
    assert int(told.argmin()) == int(real.argmin())


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = DenseNetwork([problem_of(seed, "proximal") for seed in range(2)])
    whole = found_by(network, 0)
    monkeypatch.setattr(sys.modules["peer.influence.harms"], "CHUNK", 4)
    assert torch.allclose(found_by(network, 0), whole, rtol=1e-12)


def test_what_losses_do_not_depend_on_changes_none() -> None:
    variable = {"x": torch.ones(2, requires_grad=True)}
    assert _along(torch.ones(3), variable, variable).tolist() == [0.0, 0.0, 0.0]


# ---- wrong labels, planted and found again


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12))
def test_the_area_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([score for score, _ in pairs], dtype=torch.float64)
    marked = torch.tensor([mark for _, mark in pairs])
    wins = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, is_marked in pairs
        for other, is_too in pairs
        if is_marked and not is_too
    ]
    found = area_under_curve(scores, marked)
    assert found == pytest.approx(sum(wins) / len(wins)) if wins else math.isnan(found)


@given(st.integers(1, 40), st.integers(2, 10), st.floats(0.0, 1.0), st.integers(0, 99))
def test_wrong_labels_are_wrong_and_all_others_are_not(
    count: int, classes: int, share: float, seed: int
) -> None:
    targets = torch.arange(count) % classes
    changed, rows = wrong_labels(targets, classes, share, torch.Generator().manual_seed(seed))
    assert (changed != targets).nonzero()[:, 0].tolist() == rows.tolist()
    assert len(rows) == min(count, max(1, round(share * count)))
    assert 0 <= int(changed.min()) <= int(changed.max()) < classes


@pytest.mark.parametrize("personal", ["none", "sample-weights"])
def test_samples_are_ranked_by_learned_weights_if_there_are_any(personal: str) -> None:
    problem = problem_of(0, personal)
    point = {name: torch.full_like(tensor, 0.1) for name, tensor in problem.model.items()}

    def found(agent: str, was: dict[int, int], **hypers: Tensor) -> Any:
        return findings_of(
            agent,
            problem,
            model=point,
            adjoint=point,
            hyperparameters={**problem.hyperparameters, **hypers},
            local={},
            local_adjoint={},
            was=was,
        )

    fresh = found("a", {})
    assert fresh.rank_by is fresh.harms
    assert not fresh.by_weights
    assert found_again([fresh]) == {}
    assert fresh.weights.tolist() == [1.0] * SAMPLES
    if personal == "none":
        return
    scores = torch.tensor([0.0, 3.0, -5.0, 1.0, -4.0, 2.0], dtype=torch.float64)
    learned = found("b", {2: 0, 5: 1}, **{"sample-weights.score": scores})
    assert learned.by_weights
    assert ranked([learned])[:2] == [Place(0, 2), Place(0, 4)]
    assert ranked([learned])[-1] == Place(0, 1)
    assert learned.weights.argmin() == 2
    assert learned.planted.nonzero()[:, 0].tolist() == [2, 5]
    both = found_again([fresh, learned])
    assert both["by_agent"] == {"b": pytest.approx((4 + 1) / 8)}
    assert (both["agents"], both["planted"], both["samples"]) == (1, 2, 2 * SAMPLES)
    assert 1 <= both["among_first"] <= 2 or both["among_first"] == 0
    assert found_again([found("c", dict.fromkeys(range(SAMPLES), 0))]) == {}, "all are planted"


def test_other_labels_make_another_problem_and_leave_the_first_as_it_is() -> None:
    problem = problem_of(0, "class-weights")
    assert problem.classes == CLASSES
    targets = (problem.training_set[1] + 1) % CLASSES
    other = problem.relabelled(targets)
    assert other.training_set[1].equal(targets)
    assert not problem.training_set[1].equal(targets)
    assert other.hyperparameters.keys() == problem.hyperparameters.keys()
    batch = next(iter(other.batches()))
    assert float(other.inner_loss(other.model, other.hyperparameters, batch)) != float(
        problem.inner_loss(problem.model, problem.hyperparameters, next(iter(problem.batches())))
    )
    regression = peer.ModuleProblem(
        nn.Linear(2, 1), *[(torch.zeros(3, 2), torch.zeros(3, 1))] * 2, loss=nn.functional.mse_loss
    )
    assert regression.classes is None
