"""A whole swarm in common rounds, from problems and a choice to results: what `simulate --estimator` runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from peer.errors import ProblemError
from peer.estimators.base import SwarmProducts
from peer.estimators.training import Learned as Trained
from peer.estimators.training import PushSumSGP, learn
from peer.lockstep import LockstepNetwork, make_graph
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import FlatLayout
from peer.tuning.curvature import LargestCurvature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.estimators.choice import EstimatorChoice
    from peer.problem import BilevelProblem

CURVATURE_PRODUCTS: Final = 8
STEP: Final = 0.5  # over the largest curvature where learning begins; it grows on the way
HYPER_STEP: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is not of the problems. Steps that are None are chosen by the curvature of the mean loss."""

    choice: EstimatorChoice
    rounds: int  # of training
    fanout: int
    drop: float = 0.0  # how often a link is down in a round
    known: bool = True  # whether its sender knows
    seed: int = 0
    hyper_every: int = 1  # rounds
    step_size: float | None = None
    momentum: float = 0.0  # of the adjoint
    hyper_step_size: float = HYPER_STEP

    @property
    def hyper_steps(self) -> int:
        """At least one."""
        return max(1, self.rounds // self.choice.rounds_per_step(self.hyper_every))


@dataclass(frozen=True, slots=True)
class Result:
    """What one agent has come to; named tensors in the dtypes of its problem."""

    model: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    hypergradient: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Moment:
    """The swarm after a hyper step; by agent, in the order of the problems."""

    rounds: int  # of training, done
    agents: tuple[Result, ...]
    losses: tuple[tuple[float, float], ...]  # of training and validation, as they were computed last
    counts: Mapping[str, tuple[int, ...]]  # of messages, as `peer.lockstep.COUNTED` has them


@dataclass(frozen=True, slots=True)
class Learned:
    """What the swarm has come to.

    `digest`: hexadecimal SHA-256 of all models, hypergradients and hyperparameters, as little-endian float64.
    """

    agents: tuple[Result, ...]
    step_size: float  # of model, series and adjoint
    rounds: int  # of training, done
    exchanges: int  # rounds of messages
    messages: int  # put on links
    bytes: int
    digest: str


def learn_in_rounds(
    problems: Sequence[BilevelProblem[Any]],
    plan: Plan,
    stopped: Callable[[float, Moment], bool] = lambda share, moment: False,  # noqa: ARG005
) -> Learned:
    """Train by stochastic gradient push, and descend with the hyperparameters along the estimates.

    `stopped` is told after each hyper step which share is done, and where all are. Raises `SettingError`, and
    `ProblemError` for problems with local variables, or where steps are to be chosen and nothing bends.
    """
    agents = len(problems)
    graph = make_graph(agents, fanout=plan.fanout, rates=(1.0 - plan.drop,) * 2, seed=plan.seed)
    network = LockstepNetwork(graph, known=plan.known, seed=plan.seed)
    step_size = plan.step_size or STEP / _curvature(SwarmProducts(problems))
    per_step = plan.choice.rounds_per_step(plan.hyper_every)
    done = 0

    def after(steps: int, so_far: Trained) -> bool:
        nonlocal done
        done = steps * per_step
        agents = _results(problems, so_far.products, so_far.hypergradients)
        counts = {name: tuple(map(int, numbers)) for name, numbers in network.counts.items()}
        moment = Moment(done, agents, tuple(so_far.products.losses), counts)
        return stopped(steps / plan.hyper_steps, moment)

    products, hypergradients = learn(
        problems,
        plan.choice.make(step_size, plan.momentum),
        network,
        inner=PushSumSGP(step_size),
        schedule=plan.choice.schedule(plan.hyper_every),
        hyper_steps=plan.hyper_steps,
        hyper_step_size=plan.hyper_step_size,
        stopped=after,
    )
    found = _results(problems, products, hypergradients)
    counts = network.rounds, network.messages, network.bytes
    digest = _digest([*products.models, *hypergradients, *products.hyperparameters])
    return Learned(found, step_size, done, *counts, digest)


def _results(
    problems: Sequence[BilevelProblem[Any]], products: SwarmProducts, hypergradients: Sequence[Tensor]
) -> tuple[Result, ...]:
    model = FlatLayout(problems[0].model, "model")
    found = []
    for number, problem in enumerate(problems):
        hyper = FlatLayout(problem.hyperparameters, "hyperparameters")
        found.append(
            Result(
                model.unflatten(products.models[number]),
                hyper.unflatten(products.hyperparameters[number]),
                hyper.unflatten(hypergradients[number]),
            )
        )
    return tuple(found)


def _digest(vectors: Sequence[Tensor]) -> str:
    found = hashlib.sha256()
    for vector in vectors:
        found.update(vector.numpy().astype("<f8").tobytes())
    return found.hexdigest()


def _curvature(products: SwarmProducts) -> float:
    """The largest of the mean training loss, where learning begins; costs no messages: all is compared."""
    agents = len(products.models)
    largest: LargestCurvature[Tensor] = LargestCurvature(TensorAlgebra("float64"))
    start = products.model_gradients().mean(0)
    while largest.probes < CURVATURE_PRODUCTS:
        direction = largest.direction(lambda: start)
        if direction is not None:
            largest.take(products.hessian_vectors(direction.expand(agents, -1).clone()).mean(0))
        elif not bool(torch.any(start)):
            break
    if not largest.value > 0.0:
        raise ProblemError("the mean training loss does not bend where learning begins; give model_step_size")
    return largest.value
