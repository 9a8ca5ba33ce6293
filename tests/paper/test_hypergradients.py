"""DESIGN (2), (3) on small networks: products, a dense solve, central differences and the swarm agree."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.derivatives import Derivatives, Losses, derivatives
from tests.oracles.dense import DenseNetwork, pack, unpack
from tests.paper.networks import OwnCopy, PersonalHead, biased_module, make
from tests.paper.swarms import relative, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

AGENTS = 3
KINDS: dict[str, Callable[..., Any]] = {
    "no local variables": biased_module,
    "personal head, joint minimum": PersonalHead,
    "own copy, loss of its own": OwnCopy,
}


@dataclass(frozen=True)
class Solved:
    """A network with held hyperparameters, fully solved."""

    problems: list[Any]
    network: DenseNetwork
    w: Tensor
    hypergradients: list[Tensor]


@functools.cache
def solved(kind: str) -> Solved:
    problems = make(KINDS[kind], AGENTS)
    network = DenseNetwork(problems)
    w = network.solve(network.hypers)
    slopes = torch.linalg.eigvals(network.jacobian(w, network.hypers)).real
    assert float(slopes.min()) > 0.01, "a minimum, and not a flat one"
    return Solved(problems, network, w, network.hypergradients(w, network.hypers))


@pytest.mark.parametrize("kind", KINDS)
def test_central_differences_of_the_fully_solved_problem(kind: str) -> None:
    """Reference: DESIGN (2), (3): v_i is n times the slope of J along h_i."""
    case = solved(kind)
    differences = case.network.central_differences(case.w, case.network.hypers)
    for exact, measured in zip(case.hypergradients, differences, strict=True):
        assert relative(measured, exact) < 1e-7


def products(case: Solved, i: int) -> Derivatives:
    """One agent's derivatives at the solution and at the dense adjoint."""
    problem, network = case.problems[i], case.network
    x, *zs = network.split(case.w)
    adjoint = network.adjoint(case.w, network.hypers)
    like = getattr(problem, "local", {})
    batch = next(problem.batches())
    outer_batch = next(problem.outer_batches()) if hasattr(problem, "outer_batches") else batch

    def bound(loss: Any, samples: Any) -> Any:
        def call(model: Any, hyper: Any, local: Any) -> Tensor:
            return loss(model, hyper, samples, local=local) if like else loss(model, hyper, samples)

        return call

    own = getattr(problem, "local_loss", None)
    return derivatives(
        Losses(
            inner=bound(problem.inner_loss, batch),
            outer=bound(problem.outer_loss, outer_batch),
            local=None if own is None else bound(own, batch),
        ),
        unpack(x, problem.model),
        problem.hyperparameters,
        unpack(zs[i], like),
        unpack(adjoint.shared, problem.model),
        unpack(adjoint.local[i], like),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_products_vanish_at_the_dense_solution_and_give_its_hypergradients(kind: str) -> None:
    """Reference: DESIGN (3), all three equations, by one backward pass per agent."""
    case = solved(kind)
    found = [products(case, i) for i in range(AGENTS)]
    for name in ("model_gradient", "adjoint_gradient"):
        mean = torch.stack([pack(getattr(one, name)) for one in found]).mean(0)
        assert float(mean.norm()) < 1e-12, name
        assert min(float(pack(getattr(one, name)).norm()) for one in found) > 1e-3, "agents disagree"
    for one, exact in zip(found, case.hypergradients, strict=True):
        assert float(pack(one.local_gradient).norm()) < 1e-12
        assert float(pack(one.local_adjoint_gradient).norm()) < 1e-12
        assert relative(pack(one.hypergradient), exact) < 1e-9


# Local variables take plain steps, so their curvature sets the pace.
PACE: dict[str, dict[str, Any]] = {
    "no local variables": {"ticks": 200},
    "personal head, joint minimum": {"ticks": 350, "local_step_size": 1.0},
    "own copy, loss of its own": {"ticks": 250, "local_step_size": 0.7},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_swarm_finds_the_same_hypergradients(kind: str) -> None:
    """Reference: DESIGN (3)-(8): local variables and their adjoint descend beside the shared ones."""
    case = solved(kind)
    result = run(case.problems, step_size=0.5, momentum=0.8, **PACE[kind])
    x, *zs = case.network.split(case.w)
    for agent, z, exact in zip(result.agents, zs, case.hypergradients, strict=True):
        assert relative(pack(agent.model), x) < 1e-6
        assert float((pack(agent.local) - z).norm()) < 1e-6
        assert relative(pack(agent.hypergradient), exact) < 1e-6
