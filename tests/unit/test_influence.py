"""What samples do to everybody's validation loss, against fully solving the problem again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import peer
from peer.influence import _along, harms
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
    monkeypatch.setattr("peer.influence.CHUNK", 4)
    assert torch.allclose(found_by(network, 0), whole, rtol=1e-12)


def test_what_losses_do_not_depend_on_changes_none() -> None:
    variable = {"x": torch.ones(2, requires_grad=True)}
    assert _along(torch.ones(3), variable, variable).tolist() == [0.0, 0.0, 0.0]
