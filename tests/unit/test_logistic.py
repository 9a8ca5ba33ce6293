"""The paper's synthetic problem: closed forms against autograd and central differences, samples, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import peer
from peer.derivatives import Losses, derivatives
from peer.logistic import LogisticProblem, mixture, solve
from tests.oracles.dense import DenseNetwork

DECAY = 0.05


def point() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, p = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    return x, p


def test_products_agree_with_autograd() -> None:
    (problem,) = mixture(1, 3, decay=DECAY)
    x, p = ({"weights": one} for one in point())
    losses = Losses(
        inner=lambda x, h, _: problem.inner_loss(x, h), outer=lambda x, h, _: problem.outer_loss(x, h)
    )
    found = problem.derivatives(x, problem.hyperparameters, p)
    exact = derivatives(losses, x, problem.hyperparameters, {}, p, {})
    for name in ("model_gradient", "adjoint_gradient", "hypergradient"):
        for key, tensor in getattr(exact, name).items():
            assert torch.allclose(getattr(found, name)[key], tensor, rtol=1e-12, atol=1e-14), name
    assert found.training_loss == pytest.approx(exact.training_loss, rel=1e-12)
    assert found.validation_loss == pytest.approx(exact.validation_loss, rel=1e-12)


def test_gradient_and_hessian_agree_with_central_differences() -> None:
    (problem,) = mixture(1, 3, decay=DECAY)
    x, _ = point()
    step = 1e-5

    def at(x: torch.Tensor) -> Any:
        return problem.derivatives({"weights": x}, problem.hyperparameters, {"weights": x * 0})

    found = at(x)
    hessian = problem.hessian(x, DECAY)
    for i, unit in enumerate(torch.eye(6, dtype=torch.float64)):
        above, below = at(x + step * unit), at(x - step * unit)
        slope = (above.training_loss - below.training_loss) / (2 * step)
        assert slope == pytest.approx(float(found.model_gradient["weights"][i]), abs=1e-9)
        slope = (above.validation_loss - below.validation_loss) / (2 * step)
        assert slope == pytest.approx(-float(found.adjoint_gradient["weights"][i]), abs=1e-9)
        column = (above.model_gradient["weights"] - below.model_gradient["weights"]) / (2 * step)
        assert torch.allclose(column, hessian[:, i], atol=1e-9)


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_the_truth_is_that_of_the_dense_network(decay: float) -> None:
    """By the implicit function theorem, and by central differences of the fully solved problem."""
    problems = mixture(3, 5, samples=60, decay=decay)
    truth = solve(problems)
    network = DenseNetwork(problems)
    w = network.solve(network.hypers, start=truth.model + 0.01)
    assert torch.allclose(truth.model, w, atol=1e-10)
    implicit = network.hypergradients(w, network.hypers)
    slopes = network.central_differences(w, network.hypers)
    for ours, exact, slope in zip(truth.hypergradients, implicit, slopes, strict=True):
        assert torch.allclose(ours, exact, rtol=1e-10)
        assert torch.allclose(ours, slope, rtol=1e-6)
    smallest, largest = truth.curvature
    assert smallest == pytest.approx(float(torch.linalg.eigvalsh(truth.hessian).min()))
    assert largest == pytest.approx(float(torch.linalg.eigvalsh(truth.hessian).max()))


def test_equal_seeds_give_equal_samples_and_others_do_not() -> None:
    def samples(seed: int) -> torch.Tensor:
        return torch.cat([problem._inner for problem in mixture(2, seed)])

    assert torch.equal(samples(7), samples(7))
    assert not torch.equal(samples(7), samples(8))
    assert float(samples(7)[:, :-1].abs().max()) <= 1.0


def test_agents_share_rules_in_proportions_of_their_own() -> None:
    """One model per agent fits its own samples better than the common one does."""
    problems = mixture(3, 2, samples=300, decay=1e-3)
    common = solve(problems).model
    for problem in problems:
        own = solve([problem]).model
        losses = [float(problem.inner_loss({"weights": x}, problem.hyperparameters)) for x in (own, common)]
        assert losses[0] < losses[1] - 1e-3


def test_agents_learn_their_decays() -> None:
    """The problem fits `peer.simulate`; hypergradients after a few ticks are those of the solution."""
    problems = mixture(3, 5, decay=DECAY)
    truth = solve(problems)
    step = 1 / truth.curvature[1]
    found = peer.simulate(
        problems, ticks=120, model_step_size=step, adjoint_step_size=step, momentum=0.5, wire_dtype="float64"
    )
    for agent, exact in zip(found.agents, truth.hypergradients, strict=True):
        assert torch.allclose(agent.hypergradient["decay"], exact, rtol=1e-5)


INPUTS, LABELS = torch.zeros(4, 2), torch.tensor([0.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "keywords", "problem"),
    [
        ((INPUTS, LABELS[:3], INPUTS, LABELS), {}, r"inputs \(4, 2\), labels \(3,\)"),
        ((INPUTS[0], LABELS, INPUTS, LABELS), {}, r"inputs \(2,\)"),
        ((INPUTS[:0], LABELS[:0], INPUTS, LABELS), {}, "m at least 1"),
        ((INPUTS, LABELS * 2, INPUTS, LABELS), {}, "labels other than 0 and 1"),
        ((INPUTS, LABELS, INPUTS[:, :1], LABELS), {}, "outer_inputs have 1 columns, inputs 2"),
        ((INPUTS, LABELS, INPUTS, LABELS), {"decay": -1.0}, "decay = -1.0; give 0"),
        ((INPUTS, LABELS, INPUTS, LABELS), {"initial": torch.zeros(2)}, r"initial has shape \(2,\)"),
    ],
)
def test_what_does_not_fit_is_named(arguments: Any, keywords: Any, problem: str) -> None:
    with pytest.raises(peer.ProblemError, match=problem):
        LogisticProblem(*arguments, **keywords)


def test_an_initial_model_is_taken() -> None:
    initial = torch.tensor([1.0, 2.0, 3.0])
    problem = LogisticProblem(INPUTS, LABELS, INPUTS, LABELS, initial=initial)
    assert problem.model["weights"].tolist() == [1.0, 2.0, 3.0]


def test_separable_samples_without_decay_have_no_best_model() -> None:
    inputs = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]])
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    with pytest.raises(peer.ProblemError, match="no finite model is best"):
        solve([LogisticProblem(inputs, labels, inputs, labels)])
    solve([LogisticProblem(inputs, labels, inputs, labels, decay=0.01)])
