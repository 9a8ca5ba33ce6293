"""What every `peer.estimators.base.HypergradientEstimator` has to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from peer.conformance.common import has_what_is_asked_for, nothing_changed, takes_its_text
from peer.errors import ProblemError
from peer.estimators.base import SwarmProducts
from peer.lockstep import LockstepNetwork, make_graph
from peer.quadratic import QuadraticProblem, closed_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from peer.estimators.base import HypergradientEstimator

    Given = HypergradientEstimator[Any]
    Make = Callable[..., HypergradientEstimator[Any]]

AGENTS: Final = 4
STEP, MOMENTUM = 0.1, 0.5  # the curvature of these problems is at most about 5
UPDATES: Final = 400
EXACT: Final = 1e-2  # relative, after so many updates where everybody hears everybody


def _problems(seed: int = 0) -> list[QuadraticProblem]:
    generator = torch.Generator().manual_seed(seed)
    return [QuadraticProblem.random(generator) for _ in range(AGENTS)]


def _at_the_model(problems: Sequence[QuadraticProblem]) -> SwarmProducts:
    products = SwarmProducts(problems)
    products.models = closed_form(problems).model.repeat(AGENTS, 1)
    return products


def _estimated(
    make: Make, problems: Sequence[QuadraticProblem], network: LockstepNetwork, updates: int
) -> tuple[Tensor, ...]:
    products = _at_the_model(problems)
    estimator = make(step_size=STEP, momentum=MOMENTUM)
    state = estimator.init(products)
    for _ in range(updates):
        state = estimator.update(state, products, network)
    return estimator.hypergradients(state, products)


def _everybody() -> LockstepNetwork:
    return LockstepNetwork(make_graph(AGENTS))


class _Nobody(LockstepNetwork):
    """Links that are there, and never up."""

    def deliver(self, numbers: int) -> tuple[Tensor, Tensor]:
        delivered, copies = super().deliver(numbers)
        return torch.zeros_like(delivered), torch.zeros_like(copies)


def it_has_what_is_asked_for(make: Make) -> None:
    """Its methods can be called one after the other, on one row for each agent."""
    estimator = make(step_size=STEP, momentum=MOMENTUM)
    has_what_is_asked_for("estimator", make, estimator)
    products, network = _at_the_model(_problems()), _everybody()
    state = estimator.init(products)
    _look(estimator, state, products, "init")
    _look(estimator, estimator.update(state, products, network), products, "update")


def _look(estimator: Given, state: Any, products: SwarmProducts, after: str) -> None:
    """At what it gives with the state that it has come to."""
    try:
        found: object = estimator.hypergradients(state, products)
    except ProblemError as error:
        raise AssertionError(f"with the state that {after} gave, {error}") from error
    shape = f" of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else ""
    assert isinstance(found, tuple), (
        f"hypergradients gave one {type(found).__name__}{shape} after {after}, wanted a tuple of one "
        "tensor for each agent"
    )


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make, step_size=STEP, momentum=MOMENTUM)


def it_draws_nothing_and_leaves_what_it_is_given(make: Make) -> None:
    """Global random streams, models and hyperparameters, in each of its methods."""
    products, network = _at_the_model(_problems()), _everybody()
    given = products.models, products.hyperparameters
    with nothing_changed("what makes it", *given):
        estimator = make(step_size=STEP, momentum=MOMENTUM)
    with nothing_changed("init", *given):
        state = estimator.init(products)
    for _ in range(2):
        with nothing_changed("update", *given):
            state = estimator.update(state, products, network)
        with nothing_changed("hypergradients", *given):
            estimator.hypergradients(state, products)


def it_gives_one_hypergradient_for_every_agent(make: Make) -> None:
    """Flat, in the length of its hyperparameters, finite from the first moment on."""
    problems = _problems()
    for updates in (0, 1, 5):
        found = _estimated(make, problems, _everybody(), updates)
        assert len(found) == AGENTS, f"{len(found)} hypergradients for {AGENTS} agents"
        for number, (one, problem) in enumerate(zip(found, problems, strict=True)):
            wanted = tuple(problem.hyperparameters["h"].shape)
            assert tuple(one.shape) == wanted, f"agent {number}: {tuple(one.shape)} instead of {wanted}"
            assert torch.isfinite(one).all(), f"agent {number}: not finite after {updates} updates"


def it_says_whether_models_must_stand_still(make: Make) -> None:
    """`standing`; and it leaves models and hyperparameters to whoever trains."""
    assert isinstance(make(step_size=STEP, momentum=MOMENTUM).standing, bool), "standing is not True or False"
    problems = _problems()
    products = _at_the_model(problems)
    models, network = products.models.clone(), _everybody()
    estimator = make(step_size=STEP, momentum=MOMENTUM)
    state = estimator.update(estimator.init(products), products, network)
    before = network.messages
    estimator.hypergradients(state, products)
    assert network.messages == before, "hypergradients sends messages: that belongs into update"
    assert torch.equal(models, products.models), "it moves the models"


def equal_networks_give_equal_bits(make: Make) -> None:
    """Nothing is drawn but by the network."""
    found = []
    for _ in range(2):
        graph = make_graph(AGENTS, rates=(0.5, 0.9), seed=3)
        found.append(_estimated(make, _problems(), LockstepNetwork(graph, seed=4), 5))
    assert all(map(torch.equal, *found)), "two equal runs differ"


def agents_learn_of_each_other_by_messages_only(make: Make) -> None:
    """Where no message arrives, another agent's data change nothing here."""
    estimates = []
    for seed in (0, 1):
        problems = [_problems()[0], *_problems(seed)[1:]]
        products = SwarmProducts(problems)
        products.models = torch.ones_like(products.models)
        estimator = make(step_size=STEP, momentum=MOMENTUM)
        state, network = estimator.init(products), _Nobody(make_graph(AGENTS))
        for _ in range(3):
            state = estimator.update(state, products, network)
        estimates.append(estimator.hypergradients(state, products)[0])
    assert torch.equal(*estimates), "agent 0 knows other agents' data, and no message has reached it"


def it_is_exact_where_everybody_hears_everybody(make: Make) -> None:
    """Or says that it is not, by an attribute `biased` that is True."""
    if getattr(make(step_size=STEP, momentum=MOMENTUM), "biased", False):
        return
    problems = _problems()
    truth = closed_form(problems).hypergradients
    found = _estimated(make, problems, _everybody(), UPDATES)
    scale = max(float(one.norm()) for one in truth)
    error = max(float((one - wanted).norm()) for one, wanted in zip(found, truth, strict=True)) / scale
    assert error < EXACT, (
        f"after {UPDATES} updates it is off by {error:.2g} of the longest hypergradient; if that has to be, "
        "give it an attribute biased = True"
    )


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    it_draws_nothing_and_leaves_what_it_is_given,
    it_gives_one_hypergradient_for_every_agent,
    it_says_whether_models_must_stand_still,
    equal_networks_give_equal_bits,
    agents_learn_of_each_other_by_messages_only,
    it_is_exact_where_everybody_hears_everybody,
)
