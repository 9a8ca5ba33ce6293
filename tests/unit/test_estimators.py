"""Every estimator against its dense counterpart, and schedules. Names of papers: see `peer.estimators`."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import re
import struct
from typing import Any

import pytest
import torch
from torch import Tensor

import peer
from peer.errors import SettingError
from peer.estimators import Direct, JacobianPush, Neumann, SwarmProducts, Tracking
from peer.estimators.choice import EstimatorChoice, choose
from peer.estimators.jacobian_push import stationary_weights
from peer.estimators.learning import Moment, Plan, learn_in_rounds
from peer.estimators.training import Continuous, Exact, PushSumSGP, Rounds, learn
from peer.lockstep import RATES, Graph, LockstepNetwork, make_graph
from peer.logistic import LogisticProblem, LogisticSolution, mixture, solve
from tests.oracles.dense import DenseNetwork, pack
from tests.oracles.hypergradients import DenseLosses
from tests.paper.networks import PersonalHead, biased_module, make

AGENTS = 3
PERFECT = make_graph(AGENTS)
STOCHASTIC = make_graph(AGENTS, rates=RATES, seed=1)
# Links both ways and always up, in a row: shares that are not symmetric, weights that are not equal.
ROW = Graph(((1,), (0, 2), (1,)), torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.float64))


@functools.cache
def setup() -> tuple[list[LogisticProblem], LogisticSolution, DenseLosses]:
    problems = mixture(AGENTS, 3, decay=0.05)
    truth = solve(problems)
    return problems, truth, DenseLosses.of(problems, truth.model, "weights", "decay")


def at_the_solution() -> SwarmProducts:
    problems, truth, _ = setup()
    products = SwarmProducts(problems)
    products.models = truth.model.expand_as(products.models).clone()
    return products


def estimate(estimator: Any, network: LockstepNetwork, updates: int) -> Tensor:
    products = at_the_solution()
    state = estimator.init(products)
    for _ in range(updates):
        state = estimator.update(state, products, network)
    return torch.cat(estimator.hypergradients(state, products))


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def test_the_dense_losses_have_the_truth_of_the_problem() -> None:
    _, truth, dense = setup()
    assert relative(torch.cat(dense.truth()), torch.cat(truth.hypergradients)) < 1e-12


# ---- neumann


@pytest.mark.parametrize("depth", [1, 2, 7, 40])
@pytest.mark.parametrize("step_size", [1.0, 3.0])
def test_neumann_with_exact_averages_is_the_truncated_series(depth: int, step_size: float) -> None:
    """Reference: arXiv 2210.02129v3: one push averages exactly where all hear all."""
    found = estimate(Neumann(1, step_size), LockstepNetwork(PERFECT), depth)
    assert relative(found, torch.cat(setup()[2].truncated_series(step_size, depth))) < 1e-12


def test_neumann_converges_to_the_truth_on_links_known_to_be_down() -> None:
    """Reference: the same; with few pushes the noise of the averages stays, with many it does not."""
    _, truth, _ = setup()
    exact = torch.cat(truth.hypergradients)
    many = relative(estimate(Neumann(40, 4.0), LockstepNetwork(STOCHASTIC), 120), exact)
    few = relative(estimate(Neumann(1, 4.0), LockstepNetwork(STOCHASTIC), 120), exact)
    assert many < 1e-7 < 1e-3 < few


def test_silent_losses_break_neumann() -> None:
    exact = torch.cat(setup()[1].hypergradients)
    network = LockstepNetwork(make_graph(AGENTS, rates=(0.6, 0.6)), known=False)
    assert not relative(estimate(Neumann(40, 4.0), network, 120), exact) < 0.05


# ---- direct


def test_direct_is_the_derivative_of_the_outer_loss_alone() -> None:
    network = LockstepNetwork(PERFECT)
    quadratics = [peer.QuadraticProblem.random(torch.Generator().manual_seed(s)) for s in range(3)]
    products = SwarmProducts(quadratics)
    estimator = Direct()
    state = estimator.update(estimator.init(products), products, network)
    for problem, found in zip(quadratics, estimator.hypergradients(state, products), strict=True):
        h = problem.hyperparameters["h"]
        assert torch.allclose(found, problem.regularization @ h - problem.outer_hyper_linear)
    assert network.messages == 0


# ---- jacobian-push


def dense_recursion(step: JacobianPush, mixing: Tensor, weights: Tensor, updates: int) -> Tensor:
    """The docstring of `peer.estimators.jacobian_push`, line by line, with matrices of the whole swarm."""
    _, _, dense = setup()
    A, B, c = dense.backwards_step(mixing, weights, step.step_size)
    direct = torch.cat(dense.direct)
    u, s, v = c, c, direct
    for _ in range(updates):
        v = step.alpha * (v + B @ u) + (1 - step.alpha) * (direct + B @ s)
        u = A @ u
        s = step.beta * (A @ s + c) + (1 - step.beta) * (s + u)
    return v


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0), (0.9, 0.1), (0.5, 0.5)])
def test_jacobian_push_is_its_dense_recursion(alpha: float, beta: float) -> None:
    """Reference: arXiv 2210.02129v1. Links always up: nothing is drawn."""
    graph = ROW
    network = LockstepNetwork(graph)
    mixing = network.expected_mixing()
    weights = stationary_weights(mixing)
    estimator = JacobianPush(0.7, alpha, beta)
    for updates in (1, 2, 30):
        exact = dense_recursion(estimator, mixing, weights, updates)
        assert relative(estimate(estimator, LockstepNetwork(graph), updates), exact) < 1e-12


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0), (0.9, 0.1)])
def test_jacobian_push_settles_at_the_whole_series(alpha: float, beta: float) -> None:
    _, _, dense = setup()
    graph = ROW
    mixing = LockstepNetwork(graph).expected_mixing()
    limit = dense.backwards_limit(mixing, stationary_weights(mixing), 0.7)
    found = estimate(JacobianPush(0.7, alpha, beta), LockstepNetwork(graph), 600)
    assert relative(found, limit) < 1e-8


def test_jacobian_push_is_off_in_the_order_of_its_step() -> None:
    """Agents of SGP agree only so far, and so do its derivatives; half the step, half the error."""
    _, truth, dense = setup()
    exact = torch.cat(truth.hypergradients)
    mixing = LockstepNetwork(STOCHASTIC).expected_mixing()
    weights = stationary_weights(mixing)
    errors = [relative(dense.backwards_limit(mixing, weights, a), exact) for a in (0.4, 0.2, 0.1)]
    assert errors[0] > 1e-3
    for larger, smaller in itertools.pairwise(errors):
        assert 1.7 < larger / smaller < 2.3


def test_jacobian_push_is_right_on_average() -> None:
    """One update over drawn links: the mean over draws is the dense step with expected shares."""
    mixing = LockstepNetwork(STOCHASTIC).expected_mixing()
    exact = dense_recursion(JacobianPush(0.7, 1.0, 0.0), mixing, stationary_weights(mixing), 1)
    draws = torch.stack(
        [estimate(JacobianPush(0.7, 1.0, 0.0), LockstepNetwork(STOCHASTIC, seed=s), 1) for s in range(300)]
    )
    error = (draws.mean(0) - exact).abs() / (draws.std(0) / math.sqrt(len(draws)))
    assert float(draws.std(0).min()) > 0, "links are drawn"
    assert float(error.max()) < 4, "standard errors"


def test_jacobian_push_refuses_links_that_go_one_way() -> None:
    network = LockstepNetwork(make_graph(AGENTS, fanout=1))
    with pytest.raises(peer.SettingError, match=r"graph: 'a link from . to . and none back' is not possible"):
        estimate(JacobianPush(0.1), network, 1)


def test_stationary_weights_are_those_of_push_sum() -> None:
    mixing = LockstepNetwork(make_graph(5, fanout=2, rates=RATES)).expected_mixing()
    weights = torch.ones(5, dtype=torch.float64)
    for _ in range(300):
        weights = mixing @ weights
    assert torch.allclose(stationary_weights(mixing), weights)


# ---- tracking


@pytest.mark.parametrize("known", [True, False])
def test_tracking_is_exact_on_both_kinds_of_links(known: bool) -> None:
    """Reference: DESIGN (4)-(9), one stream in lock-step."""
    network = LockstepNetwork(make_graph(AGENTS, rates=(0.6, 0.6)), known=known)
    found = estimate(Tracking(3.0, 0.3), network, 250)
    assert relative(found, torch.cat(setup()[1].hypergradients)) < 1e-10


# ---- products


@pytest.mark.slow
def test_products_by_autograd_are_those_of_the_dense_network() -> None:
    """A module without closed forms; all its samples in every batch."""
    problems = make(biased_module, AGENTS)
    network = DenseNetwork(problems)
    w = network.solve(network.hypers)
    products = SwarmProducts(problems)
    products.models = w.expand_as(products.models) + 1e-4
    Exact().train(products, LockstepNetwork(PERFECT), 1)
    assert torch.allclose(products.models, w.expand_as(products.models), atol=1e-9)
    adjoint = network.adjoint(w, network.hypers).shared
    assert float(products.adjoint_gradients(adjoint.expand_as(products.models)).mean(0).norm()) < 1e-8
    curved = products.hessian_vectors(adjoint.expand_as(products.models)).mean(0)
    assert torch.allclose(curved, products.outer_gradients().mean(0), atol=1e-8)
    found = products.hypergradients(adjoint.expand_as(products.models))
    for ours, exact in zip(found, network.hypergradients(w, network.hypers), strict=True):
        assert torch.allclose(ours, exact, atol=1e-8)


class OwnOuterBatches:
    """What is validated on alternates, and training batches count up: who asks draws once."""

    def __init__(self) -> None:
        self.model = {"x": torch.ones(1, dtype=torch.float64)}
        self.hyperparameters = {"h": torch.ones(1, dtype=torch.float64)}

    def inner_loss(self, model: Any, hyper: Any, batch: float) -> Tensor:
        return batch * (model["x"].square() * hyper["h"]).sum() / 2

    def outer_loss(self, model: Any, hyper: Any, batch: float) -> Tensor:
        return batch * model["x"].sum()

    def batches(self) -> Any:
        yield from range(1, 100)

    def outer_batches(self) -> Any:
        yield from range(1000, 1100)


def test_a_product_belongs_to_one_batch() -> None:
    """H u is a difference of two derivatives: on two batches it would carry the outer loss's difference."""
    products = SwarmProducts([OwnOuterBatches(), OwnOuterBatches()])
    vectors = torch.full((2, 1), 2.0, dtype=torch.float64)
    assert products.hessian_vectors(vectors).tolist() == [[2.0], [2.0]]
    assert products.hessian_vectors(vectors).tolist() == [[4.0], [4.0]], "the next batch"
    assert products.outer_gradients().tolist() == [[1002.0], [1002.0]]


def test_local_variables_are_refused() -> None:
    problems = make(PersonalHead, 2)
    with pytest.raises(peer.ProblemError, match=r"problems\[0\] has local inner variables \(head\)"):
        SwarmProducts(problems)


# ---- schedules


def test_push_sum_sgp_is_near_the_minimum_and_nearer_with_smaller_steps() -> None:
    _, truth, _ = setup()
    errors = []
    for step_size in (1.0, 0.1):
        products = SwarmProducts(setup()[0])
        solver = PushSumSGP(step_size)
        for rounds in (200, 1000):
            solver.train(products, LockstepNetwork(ROW), rounds)
        errors.append(relative(products.models, truth.model.expand_as(products.models)))
    assert errors[1] < errors[0] / 3 < 0.1


def optimum_of(problems: list[peer.QuadraticProblem], products: SwarmProducts) -> float:
    found = torch.cat(products.hyperparameters)
    return relative(found, torch.cat(peer.bilevel_solution(problems)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "schedule"),
    [
        (Neumann(1, 0.7), Rounds(training_rounds=1, updates=150)),
        (Tracking(0.5, 0.5), Rounds(training_rounds=1, updates=60)),
        (Tracking(0.5, 0.5), Continuous(hyper_every=10)),
    ],
    ids=["neumann in rounds", "tracking in rounds", "tracking continuously"],
)
def test_hyperparameters_reach_the_bilevel_solution(estimator: Any, schedule: Any) -> None:
    """The optimum has a closed form; training is exact here."""
    problems = [
        peer.QuadraticProblem.random(
            torch.Generator().manual_seed(s), dimension=3, hyper_dimension=2, condition=3.0
        )
        for s in range(3)
    ]
    products, _ = learn(
        problems,
        estimator,
        LockstepNetwork(PERFECT),
        inner=Exact(),
        schedule=schedule,
        hyper_steps=60,
        hyper_step_size=0.2,
    )
    assert optimum_of(problems, products) < 1e-3


def test_sums_of_a_series_do_not_go_with_moving_models() -> None:
    for estimator in (Neumann(1), JacobianPush(0.1)):
        with pytest.raises(
            peer.SettingError, match=r"schedule: 'continuous' is not possible; .* give Rounds"
        ):
            learn(
                setup()[0],
                estimator,
                LockstepNetwork(PERFECT),
                inner=PushSumSGP(0.1),
                schedule=Continuous(),
                hyper_steps=1,
                hyper_step_size=0.1,
            )


class Parabola:
    """Its gradient vanishes at (1, 0), from where one way leads down if `bends` is below 0."""

    def __init__(self, bends: float) -> None:
        self._bends = bends
        self.model = {"x": torch.zeros(2, dtype=torch.float64)}
        self.hyperparameters = {"h": torch.ones((), dtype=torch.float64)}

    def inner_loss(self, model: Any, hyperparameters: Any, batch: Any) -> torch.Tensor:
        x, y = model["x"]
        return (x - hyperparameters["h"]).square() + self._bends * y.square()

    def outer_loss(self, model: Any, hyperparameters: Any, batch: Any) -> torch.Tensor:
        return model["x"].square().sum()

    def batches(self) -> Any:
        return itertools.repeat(None)


def test_a_saddle_is_not_taken_for_a_minimum() -> None:
    with pytest.raises(peer.ProblemError, match="no minimum; use SGP"):
        Exact().train(SwarmProducts([Parabola(-1.0)] * 3), LockstepNetwork(PERFECT), 1)


def test_a_minimum_is_found_without_a_message() -> None:
    products, network = (
        SwarmProducts([Parabola(bends) for bends in (1.0, 2.0, -0.5)]),
        LockstepNetwork(PERFECT),
    )
    Exact().train(products, network, 1)
    assert torch.allclose(products.models, torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64))
    assert network.messages == 0


def test_no_minimum_is_said() -> None:
    inputs, labels = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.0, 1.0])
    products = SwarmProducts([LogisticProblem(inputs, labels, inputs, labels)])
    with pytest.raises(peer.ProblemError, match="Newton's method finds no minimum"):
        Exact().train(products, LockstepNetwork(PERFECT), 1)


@pytest.mark.parametrize(
    ("make_it", "field"),
    [
        (lambda: Neumann(0), "rounds"),
        (lambda: Neumann(1, 0.0), "step_size"),
        (lambda: JacobianPush(math.inf), "step_size"),
        (lambda: JacobianPush(0.1, alpha=1.5), "alpha"),
        (lambda: JacobianPush(0.1, beta=-0.5), "beta"),
        (lambda: Tracking(-1.0), "step_size"),
        (lambda: Tracking(1.0, 1.0), "momentum"),
        (lambda: PushSumSGP(0.0), "step_size"),
    ],
)
def test_settings_out_of_range_are_named(make_it: Any, field: str) -> None:
    with pytest.raises(peer.SettingError, match=f"{field}: .* is not possible; give"):
        make_it()


def test_pack_is_in_the_order_of_the_model() -> None:
    """The oracle's and the estimators' flat vectors are the same."""
    problem = setup()[0][0]
    assert torch.equal(pack(problem.model), SwarmProducts([problem]).models[0])


# ---- by the names that people give


@pytest.mark.parametrize(
    ("estimator", "schedule", "found"),
    [
        ("tracking", None, EstimatorChoice("tracking", 1, 10)),
        ("tracking:3", "rounds:7", EstimatorChoice("tracking", 1, 3, 7)),
        ("neumann", None, EstimatorChoice("neumann", 10, 10, 10)),
        ("neumann:2", "rounds", EstimatorChoice("neumann", 2, 10, 10)),
        ("neumann:2:30", "rounds:1", EstimatorChoice("neumann", 2, 30, 1)),
        ("jacobian-push:5", None, EstimatorChoice("jacobian-push", 1, 5, 10)),
        ("direct", None, EstimatorChoice("direct")),
        ("direct", "continuous", EstimatorChoice("direct")),
    ],
)
def test_names_say_which_estimator_it_is(
    estimator: str, schedule: str | None, found: EstimatorChoice
) -> None:
    choice = choose(estimator, schedule)
    assert choice == found
    assert choice.is_of_agents == (estimator == "tracking")
    made = choice.make(0.1, 0.5)
    assert type(made).__name__.lower() == found.name.replace("-", "")
    assert isinstance(choice.schedule(3), Continuous) == (found.training_rounds is None)
    assert choice.rounds_per_step(3) == (found.training_rounds or 3)


@pytest.mark.parametrize(
    ("estimator", "schedule", "said"),
    [
        ("newmann", None, "give one of tracking, neumann:S:M, jacobian-push:M, direct"),
        ("neumann:0", None, "give neumann:rounds:updates, whole numbers from 1 up"),
        ("neumann:1:2:3", None, "give neumann:rounds:updates, whole numbers"),
        ("direct:1", None, "give direct, whole numbers"),
        ("jacobian-push:x", None, "give jacobian-push:updates"),
        ("neumann", "continuous", "neumann sums up a series at one model"),
        ("direct", "rounds:0", "give continuous, or rounds:N"),
        ("direct", "continuous:3", "give continuous, or rounds:N"),
        ("direct", "never", "give continuous, or rounds:N"),
    ],
)
def test_what_is_no_estimator_is_refused(estimator: str, schedule: str | None, said: str) -> None:
    with pytest.raises(SettingError, match=re.escape(said)):
        choose(estimator, schedule)


def plan_of(estimator: str, schedule: str | None = None, **changes: Any) -> Plan:
    plain: dict[str, Any] = {
        "choice": choose(estimator, schedule),
        "rounds": 30,
        "fanout": AGENTS - 1,
        "drop": 0.0,
        "known": True,
        "seed": 0,
        "hyper_every": 1,
    }
    return Plan(**{**plain, **changes})


@pytest.mark.parametrize(
    ("estimator", "exchanges"),
    [("direct", 30), ("neumann:2:5", 30 + 3 * 10), ("jacobian-push:4", 30 + 3 * 4), ("tracking", 60)],
)
def test_a_swarm_learns_in_rounds_and_messages_are_counted(estimator: str, exchanges: int) -> None:
    shares: list[float] = []
    moments: list[Moment] = []

    def after(share: float, moment: Moment) -> bool:
        shares.append(share)
        moments.append(moment)
        return False

    problems = make(biased_module, AGENTS)
    found = learn_in_rounds(problems, plan_of(estimator), after)
    assert (found.rounds, found.exchanges) == (30, exchanges)
    assert found.messages == exchanges * AGENTS * (AGENTS - 1)
    assert found.bytes > 8 * found.messages
    assert shares[-1] == 1.0
    assert len(shares) == (30 if estimator in ("direct", "tracking") else 3)
    assert [one.rounds for one in moments] == list(range(30 // len(shares), 31, 30 // len(shares)))
    last = moments[-1]
    assert (sum(last.counts["sent"]), sum(last.counts["bytes"])) == (found.messages, found.bytes)
    assert all(math.isfinite(loss) for losses in last.losses for loss in losses)
    for seen, one in zip(last.agents, found.agents, strict=True):
        assert all(torch.equal(seen.model[key], one.model[key]) for key in one.model)
    assert found.digest == learn_in_rounds(problems, plan_of(estimator)).digest
    for problem, one in zip(problems, found.agents, strict=True):
        batch = next(iter(problem.batches()))
        before = float(problem.inner_loss(problem.model, problem.hyperparameters, batch))
        assert float(problem.inner_loss(one.model, one.hyperparameters, batch)) < before
        assert one.hypergradient.keys() == problem.hyperparameters.keys()


def test_learning_in_rounds_can_be_stopped_and_steps_can_be_given() -> None:
    found = learn_in_rounds(make(biased_module, AGENTS), plan_of("direct", step_size=0.125), lambda *_: True)
    assert (found.rounds, found.step_size) == (1, 0.125)


def test_the_digest_is_of_models_hypergradients_and_hyperparameters() -> None:
    problems = make(biased_module, AGENTS)
    one, two = (learn_in_rounds(problems, plan_of("direct", step_size=step)) for step in (0.125, 0.0625))
    assert one.digest != two.digest
    vectors = [
        tensor.double().reshape(-1)
        for part in ("model", "hypergradient", "hyperparameters")
        for agent in one.agents
        for tensor in getattr(agent, part).values()
    ]
    numbers = [float(number) for vector in vectors for number in vector]
    assert one.digest == hashlib.sha256(struct.pack(f"<{len(numbers)}d", *numbers)).hexdigest()


def test_rows_of_another_shape_are_refused_in_words() -> None:
    products = at_the_solution()
    wrong = products.models[0]
    told = re.escape(f"have the shape {tuple(wrong.shape)}, wanted {tuple(products.models.shape)}, a row")
    for ask in (products.hypergradients, products.adjoint_gradients, products.hessian_vectors):
        with pytest.raises(peer.ProblemError, match=told):
            ask(wrong)


def test_where_nothing_bends_steps_have_to_be_given() -> None:
    flat = make(biased_module, AGENTS)
    for problem in flat:
        problem.inner_loss = lambda model, hyper, batch, local=None: (
            0.0
            * sum(  # type: ignore[method-assign]
                tensor.sum() for tensor in model.values()
            )
        )
    with pytest.raises(peer.ProblemError, match="does not bend where learning begins; give model_step_size"):
        learn_in_rounds(flat, plan_of("direct"))
