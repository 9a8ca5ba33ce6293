"""The truth about quadratics: what is to vanish vanishes there, by the problems' own products."""

from __future__ import annotations

import torch

from peer.quadratic import QuadraticProblem, bilevel_solution, closed_form

ROUNDING = 1e-12


def swarm() -> list[QuadraticProblem]:
    generator = torch.Generator().manual_seed(5)
    return [QuadraticProblem.random(generator, dimension=4) for _ in range(3)]


def test_the_closed_form_is_where_both_gradients_vanish_in_the_mean() -> None:
    problems = swarm()
    truth = closed_form(problems)
    found = [
        one.derivatives({"x": truth.model}, one.hyperparameters, {"x": truth.adjoint}) for one in problems
    ]
    for name in ("model_gradient", "adjoint_gradient"):
        assert float(torch.stack([getattr(one, name)["x"] for one in found]).mean(0).norm()) < ROUNDING
    for one, hypergradient in zip(found, truth.hypergradients, strict=True):
        assert torch.allclose(one.hypergradient["h"], hypergradient, atol=ROUNDING)


def test_at_the_solution_no_hyperparameter_would_better_anything() -> None:
    problems = swarm()
    solution = bilevel_solution(problems)
    truth = closed_form(problems, solution)
    assert max(float(one.norm()) for one in truth.hypergradients) < ROUNDING
    assert truth.objective < closed_form(problems).objective
