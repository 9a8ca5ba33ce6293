"""Training in common rounds: inner solvers, schedules, and the hyperparameters' steps between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from peer.errors import ProblemError, SettingError
from peer.estimators.base import SwarmProducts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peer.estimators.base import HypergradientEstimator
    from peer.lockstep import LockstepNetwork
    from peer.problem import BilevelProblem

StateT = TypeVar("StateT")

NEWTON_STEPS_MAX = 50
STEP_RATIO = 1e-10  # of the length of a step to that of the model: Newton's method has converged


class InnerSolver(Protocol):
    """Trains the shared model while the hyperparameters stand still."""

    def train(self, products: SwarmProducts, network: LockstepNetwork, rounds: int) -> None:
        """Move `products.models` on."""


class Exact:
    """The minimiser of the mean training loss for everybody, by Newton's method: no messages, no network.

    For small models whose batches hold all samples. Raises `ProblemError` if there is no minimum to be found.
    """

    def train(self, products: SwarmProducts, network: LockstepNetwork, rounds: int) -> None:
        """To rounding, whatever `rounds` is."""
        del network, rounds
        agents, size = products.models.shape
        x = products.models.mean(0)
        for _ in range(NEWTON_STEPS_MAX):
            products.models = x.expand(agents, size).clone()
            gradient = products.model_gradients().mean(0)
            units = torch.eye(size, dtype=torch.float64)
            columns = [products.hessian_vectors(unit.expand(agents, size)).mean(0) for unit in units]
            hessian = torch.stack(columns, dim=1)
            step, failed = torch.linalg.solve_ex(hessian, gradient)[:2]
            # Of the step, not of the gradient: that vanishes also where a model grows without bound.
            if not int(failed) and float(step.norm()) < STEP_RATIO * (1 + float(x.norm())):
                if float(torch.linalg.eigvalsh(hessian)[0]) <= 0:
                    raise ProblemError(
                        "Newton's method ends where the mean training loss is no minimum; use SGP"
                    )
                return
            x = x - step
        raise ProblemError("Newton's method finds no minimum of the mean training loss; train by SGP instead")


class PushSumSGP:
    """Stochastic gradient push (Assran et al., algorithm 1): one gradient step and one push a round.

    With a constant step the models keep a bias in its order. State: value and weight of each agent.
    """

    def __init__(self, step_size: float) -> None:
        if not 0 < step_size < float("inf"):
            raise SettingError("step_size", step_size, "give a number above 0")
        self._step_size = step_size
        self._weights: Tensor | None = None

    def train(self, products: SwarmProducts, network: LockstepNetwork, rounds: int) -> None:
        """So many rounds; estimates are value / weight."""
        if self._weights is None:
            self._weights = torch.ones(len(products.models), 1, dtype=torch.float64)
        values, weights = products.models * self._weights, self._weights
        for _ in range(rounds):
            values = values - self._step_size * products.model_gradients()
            mixing = network.mixing(values.shape[1] + 1)
            values, weights = mixing @ values, mixing @ weights
            products.models = values / weights
        self._weights = weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The paper's schedule: train, estimate afresh, take a hyper step; again and again."""

    training_rounds: int  # between two hyper steps
    updates: int  # of the estimator, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuous:
    """What agents do: one round of training, one update of the standing estimate, then and when a step."""

    hyper_every: int = 1  # rounds


Schedule = Rounds | Continuous


class Learned(NamedTuple):
    """Where learning has ended, and the hypergradients of its last step, flat, of each agent."""

    products: SwarmProducts
    hypergradients: tuple[Tensor, ...]


def learn(
    problems: Sequence[BilevelProblem[Any]],
    estimator: HypergradientEstimator[StateT],
    network: LockstepNetwork,
    *,
    inner: InnerSolver,
    schedule: Schedule,
    hyper_steps: int,
    hyper_step_size: float,
    stopped: Callable[[int, Learned], bool] = lambda steps, learned: False,  # noqa: ARG005
) -> Learned:
    """Descend with all hyperparameters along the estimates; returns where that ends.

    `stopped` is asked after every hyper step, with their number and what has been learned so far. Raises
    `SettingError` for an estimator that needs standing models on the schedule `continuous`.
    """
    products = SwarmProducts(problems)
    if isinstance(schedule, Continuous) and estimator.standing:
        name = type(estimator).__name__
        raise SettingError("schedule", "continuous", f"{name} sums a series at one model; give Rounds")
    standing: StateT | None = None
    found: tuple[Tensor, ...] = ()
    for step in range(1, hyper_steps + 1):
        if isinstance(schedule, Continuous):
            state = estimator.init(products) if standing is None else standing
            for _ in range(schedule.hyper_every):
                inner.train(products, network, 1)
                state = estimator.update(state, products, network)
            standing = state
        else:
            inner.train(products, network, schedule.training_rounds)
            state = estimator.init(products)
            for _ in range(schedule.updates):
                state = estimator.update(state, products, network)
        found = estimator.hypergradients(state, products)
        _step(products, found, hyper_step_size)
        if stopped(step, Learned(products, found)):
            break
    return Learned(products, found)


def _step(products: SwarmProducts, hypergradients: tuple[Tensor, ...], step_size: float) -> None:
    products.hyperparameters = [
        h - step_size * v for h, v in zip(products.hyperparameters, hypergradients, strict=True)
    ]
