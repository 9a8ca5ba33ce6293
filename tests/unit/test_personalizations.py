"""One suite for every personalization, alone and combined: gradients, products, hypergradients, state, order.

Oracles: central differences of the losses, and the dense solution of DESIGN (3).
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import peer
from peer.derivatives import derivatives
from peer.errors import ProblemError
from peer.personalization import personalization
from peer.snapshot import Snapshot
from peer.tensors import pack as to_bytes
from peer.tensors import unpack as from_bytes
from peer.torch_learner import TorchLearner
from tests.oracles.dense import DenseNetwork, pack, unpack
from tests.oracles.personal import (
    CLASSES,
    COMBINED,
    COUNT,
    SINGLE,
    WITH_LOCAL,
    bound,
    convex_module,
    descended,
    moved,
    normal,
    tiny_module,
    tiny_problem,
)
from tests.paper.swarms import relative, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.derivatives import Derivatives
    from peer.module_problem import ModuleProblem

    Named = Mapping[str, Tensor]

NAMES = (*SINGLE, *COMBINED)
WIDTH = 1e-5  # of central differences
Point = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]  # model, hyperparameters, local


def point(problem: ModuleProblem) -> Point:
    """Where nothing is special."""
    return moved(problem.model, 11), moved(problem.hyperparameters, 12), moved(problem.local, 13)


def along(named: Named, direction: Tensor, width: float) -> dict[str, Tensor]:
    return unpack(pack(named) + width * direction, named)


def slope(function: Callable[[float], float]) -> float:
    return (function(WIDTH) - function(-WIDTH)) / (2 * WIDTH)


def direction(named: Named, seed: int = 21) -> Tensor:
    return normal(torch.Generator().manual_seed(seed), len(pack(named)))


def found_at(problem: ModuleProblem, at: Point, adjoint: Named, local_adjoint: Named) -> Derivatives:
    return derivatives(bound(problem), *at, adjoint, local_adjoint)


# ---- what they are


@pytest.mark.parametrize("name", NAMES)
def test_what_is_personal_is_named_after_what_makes_it_so(name: str) -> None:
    problem = tiny_problem(name)
    assert isinstance(problem, peer.BilevelProblem)
    kinds = {word.partition(":")[0] for word in name.split("+")}
    own = {key.partition(".")[0] for key in (*problem.hyperparameters, *problem.local)}
    assert own == kinds - {"none"}
    tensors = [*problem.model.values(), *problem.hyperparameters.values(), *problem.local.values()]
    assert all(tensor.dtype is torch.float64 and bool(torch.isfinite(tensor).all()) for tensor in tensors)
    assert bool(problem.local) == bool(kinds & {word.partition(":")[0] for word in WITH_LOCAL})


def test_the_shapes_are_those_documented() -> None:
    def shapes(named: Named) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in named.items()}

    layers = shapes(tiny_problem("none").model)
    assert shapes(tiny_problem("bias").hyperparameters) == {"bias": (CLASSES,)}
    assert shapes(tiny_problem("logits").hyperparameters) == {
        "logits.log_scale": (CLASSES,),
        "logits.bias": (CLASSES,),
    }
    assert shapes(tiny_problem("class-weights").hyperparameters) == {"class-weights.score": (CLASSES,)}
    assert shapes(tiny_problem("sample-weights").hyperparameters) == {"sample-weights.score": (COUNT,)}
    regularization = tiny_problem("regularization").hyperparameters
    assert shapes(regularization) == {f"regularization.{name}": () for name in layers}
    mixture = tiny_problem("mixture:3")
    assert shapes(mixture.hyperparameters) == {"mixture.weights": (3,)}
    assert shapes(mixture.model) == {f"mixture.{k}.{name}": s for k in range(3) for name, s in layers.items()}
    head = tiny_problem("head")
    assert set(head.model) == {name for name in layers if not name.startswith("3.")}
    assert shapes(head.local) == {f"head.{name}": s for name, s in layers.items() if name.startswith("3.")}
    assert set(tiny_problem("head:2").model) == {"0.weight", "0.bias"}, "the normalization is a layer too"
    own = tiny_problem("own:*.bias")
    assert set(own.model) == {name for name in layers if not name.endswith(".bias")}
    assert shapes(own.local) == {f"own.{name}": s for name, s in layers.items() if name.endswith(".bias")}
    features = tiny_problem("features")
    assert shapes(features.local) == {"features.0.weight": (3,), "features.0.bias": (3,)}
    assert shapes(tiny_problem("lora:1").local) == {
        "lora.1.weight.up": (2, 1),
        "lora.1.weight.down": (1, 3),
        "lora.3.weight.up": (3, 1),
        "lora.3.weight.down": (1, 2),
    }
    assert shapes(tiny_problem("proximal").local) == {f"proximal.{name}": s for name, s in layers.items()}
    copied = shapes(tiny_problem("interpolation").local)
    assert copied == {f"interpolation.own.{name}": s for name, s in layers.items()}
    assert set(tiny_problem("interpolation").hyperparameters) == {
        "interpolation.weight",
        "interpolation.strength",
    }
    for name in ("head", "own:*.bias", "features", "lora:1", "proximal"):
        assert shapes(tiny_problem(name).hyperparameters) == {f"{name.partition(':')[0]}.strength": ()}


@pytest.mark.parametrize("name", [name for name in NAMES if "mixture" not in name])
def test_at_first_nothing_is_changed(name: str) -> None:
    problem, plain = tiny_problem(name), tiny_problem("none")
    inner, outer = next(plain.batches()), next(plain.outer_batches())
    own = {"local": problem.local} if problem.local else {}
    expected = plain.inner_loss(plain.model, {}, inner)
    for loss in (problem.inner_loss, getattr(problem, "local_loss", problem.inner_loss)):
        torch.testing.assert_close(
            loss(problem.model, problem.hyperparameters, inner, **own), expected, rtol=1e-14, atol=0
        )
    torch.testing.assert_close(
        problem.outer_loss(problem.model, problem.hyperparameters, outer, **own),
        plain.outer_loss(plain.model, {}, outer),
        rtol=1e-14,
        atol=0,
    )
    predicted = problem.predict(problem.model, problem.hyperparameters, outer[0])
    assert torch.equal(predicted, plain.predict(plain.model, {}, outer[0]))
    scores = problem.metrics(problem.model, problem.hyperparameters)
    assert scores["personal"] == plain.metrics(plain.model, {})["personal"]
    assert (scores["shared"] == scores["personal"]) is ("head" not in name and "own" not in name)


def test_a_mixture_predicts_the_log_of_the_mixed_probabilities() -> None:
    problem = tiny_problem("mixture:3", prior_deviation=math.inf)
    inputs, targets, _ = next(problem.outer_batches())
    module = tiny_module()
    weights = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    probabilities = torch.zeros(len(inputs), CLASSES, dtype=torch.float64)
    uniform = torch.zeros_like(probabilities)
    for number, share in enumerate(weights.softmax(0)):
        prefix = f"mixture.{number}."
        own = {name.removeprefix(prefix): t for name, t in problem.model.items() if name.startswith(prefix)}
        outputs = torch.func.functional_call(module, own, (inputs,))
        probabilities += share * outputs.softmax(1)
        uniform += outputs.softmax(1) / 3
    found = problem.predict(problem.model, {"mixture.weights": weights}, inputs)
    torch.testing.assert_close(found, probabilities.log())
    loss = problem.outer_loss(problem.model, {"mixture.weights": weights}, (inputs, targets))
    torch.testing.assert_close(loss, nn.functional.nll_loss(probabilities.log(), targets))
    shared = problem.metrics(problem.model, {"mixture.weights": weights})["shared"]
    assert problem.test_set is not None
    on_test = problem.predict(problem.model, problem.hyperparameters, problem.test_set[0])
    assert shared == float((on_test.argmax(1) == problem.test_set[1]).double().mean())


def test_learners_begin_unlike_and_equal_at_all_agents() -> None:
    one, other = tiny_problem("mixture:3", seed=0), tiny_problem("mixture:3", seed=1)
    for name, tensor in one.model.items():
        assert torch.equal(tensor, other.model[name])
    for a, b in itertools.combinations(range(3), 2):
        assert not torch.equal(one.model[f"mixture.{a}.3.weight"], one.model[f"mixture.{b}.3.weight"])
    plain = tiny_problem("none").model
    for name, tensor in plain.items():
        assert torch.equal(one.model[f"mixture.0.{name}"], tensor)
        assert torch.equal(one.model[f"mixture.2.{name}"].flatten().sort()[0], tensor.flatten().sort()[0])


def test_weights_have_mean_one_over_all_samples_and_only_training_feels_them() -> None:
    problem = tiny_problem("class-weights+sample-weights", prior_deviation=math.inf)
    h = moved(problem.hyperparameters, 3)
    inputs, targets, _ = next(problem.batches())
    of_classes = 10 ** torch.tanh(h["class-weights.score"] / math.log(10))
    product = of_classes[targets] * torch.sigmoid(2 * COUNT**0.5 * h["sample-weights.score"])
    weights = problem.sample_weights(h)
    torch.testing.assert_close(weights, product / product.mean())
    assert float(weights.mean()) == pytest.approx(1.0)
    losses = nn.functional.cross_entropy(tiny_module()(inputs), targets, reduction="none").detach()
    plain = tiny_problem("none")
    decay = plain.inner_loss(plain.model, {}, (inputs, targets)) - losses.mean()
    for chosen in (torch.arange(COUNT), torch.tensor([4, 1])):
        batch = (inputs[chosen], targets[chosen], chosen)
        found = problem.inner_loss(problem.model, h, batch)
        torch.testing.assert_close(found, (weights * losses)[chosen].mean() + decay)
    outer = next(problem.outer_batches())
    assert torch.equal(problem.outer_loss(problem.model, h, outer), plain.outer_loss(plain.model, {}, outer))
    assert torch.equal(plain.sample_weights({}), torch.ones(COUNT, dtype=torch.float64))


@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_a_deviation_costs_as_much_as_the_prior_says_whatever_the_batch(deviation: float) -> None:
    """Normal, around the initial values, shared out over all validation samples."""
    problem = tiny_problem("logits", prior_deviation=deviation)
    without = tiny_problem("logits", prior_deviation=math.inf)
    h = {name: tensor + 0.3 for name, tensor in problem.hyperparameters.items()}
    inputs, targets = problem.validation_set
    for samples in (COUNT, 2):
        batch = (inputs[:samples], targets[:samples])
        cost = problem.outer_loss(problem.model, h, batch) - without.outer_loss(problem.model, h, batch)
        assert float(cost) == pytest.approx(2 * CLASSES * 0.09 / (2 * deviation**2 * COUNT))


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan])
def test_a_prior_has_a_width(deviation: float) -> None:
    with pytest.raises(ProblemError, match="give a number above 0, or inf for no prior"):
        tiny_problem("bias", prior_deviation=deviation)


# ---- derivatives


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_losses(name: str) -> None:
    problem = tiny_problem(name)
    losses = bound(problem)
    x, h, z = at = point(problem)
    zeros = {key: torch.zeros_like(tensor) for key, tensor in {**x, **z}.items()}
    found = found_at(problem, at, zeros, zeros)
    d = direction(x)
    measured = slope(lambda width: float(losses.inner(along(x, d, width), h, z)))
    assert float(pack(found.model_gradient) @ d) == pytest.approx(measured, rel=1e-6, abs=1e-9)
    own = losses.local or losses.inner
    d = direction(z)
    measured = slope(lambda width: float(own(x, h, along(z, d, width))))
    assert float(pack(found.local_gradient) @ d) == pytest.approx(measured, rel=1e-6, abs=1e-9)
    d = direction(h)  # with no adjoint the hypergradient is the direct one
    measured = slope(lambda width: float(losses.outer(x, along(h, d, width), z)))
    assert float(pack(found.hypergradient) @ d) == pytest.approx(measured, rel=1e-6, abs=1e-9)
    assert found.training_loss == float(losses.inner(*at))
    assert found.validation_loss == float(losses.outer(*at))


@pytest.mark.parametrize("name", NAMES)
def test_products_are_slopes_of_the_gradients(name: str) -> None:
    """Reference: DESIGN (3): r_x' p + s_x' q - F_x, r_z' p + s_z' q - F_z, F_h - r_h' p - s_h' q."""
    problem = tiny_problem(name)
    losses = bound(problem)
    x, _, z = at = point(problem)
    p, q = moved(x, 31, 1.0), moved(z, 32, 1.0)

    def phi(x: Named, h: Named, z: Named) -> float:
        first = found_at(problem, (dict(x), dict(h), dict(z)), p, q)
        pulled = pack(first.model_gradient) @ pack(p) + pack(first.local_gradient) @ pack(q)
        return float(pulled - losses.outer(x, h, z))

    found = found_at(problem, at, p, q)
    for place, product, sign in (
        (0, found.adjoint_gradient, 1),
        (1, found.hypergradient, -1),
        (2, found.local_adjoint_gradient, 1),
    ):
        d = direction(at[place], 40 + place)

        def stepped(width: float, place: int = place, d: Tensor = d) -> float:
            return phi(*[along(one, d, width) if i == place else one for i, one in enumerate(at)])

        measured = sign * slope(stepped)
        assert float(pack(product) @ d) == pytest.approx(measured, rel=1e-6, abs=1e-8), place


@functools.cache
def solved(name: str) -> tuple[list[ModuleProblem], DenseNetwork, Tensor, list[Tensor]]:
    """Two agents at hyperparameters that are not the initial ones, fully solved."""
    problems = [tiny_problem(name, seed=i) for i in range(2)]
    for i, problem in enumerate(problems):
        problem.hyperparameters = moved(problem.hyperparameters, 50 + i)
    network = DenseNetwork(problems)
    w = network.solve(network.hypers, start=descended(problems))
    slopes = torch.linalg.eigvals(network.jacobian(w, network.hypers)).real
    assert float(slopes.abs().min()) > 1e-4, "not flat; one of a mixture is a saddle"
    return problems, network, w, network.hypergradients(w, network.hypers)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_hypergradients_are_those_of_the_dense_solution(name: str) -> None:
    """Reference: DESIGN (2), (3): by one linear solve, and by solving again at h + step and h - step."""
    problems, network, w, exact = solved(name)
    x, *zs = network.split(w)
    adjoint = network.adjoint(w, network.hypers)
    for i, problem in enumerate(problems):
        at = unpack(x, problem.model), dict(problem.hyperparameters), unpack(zs[i], problem.local)
        p, q = unpack(adjoint.shared, problem.model), unpack(adjoint.local[i], problem.local)
        found = pack(found_at(problem, at, p, q).hypergradient)
        assert relative(found, exact[i]) < 1e-8
        assert float(found.norm()) > 1e-6, "it has an influence"
    d = [direction(problem.hyperparameters, 60 + i) for i, problem in enumerate(problems)]

    def objective(width: float) -> float:
        hypers = [h + width * one for h, one in zip(network.hypers, d, strict=True)]
        return float(network.objective(network.solve(hypers, start=w), hypers))

    expected = sum(float(v @ one) for v, one in zip(exact, d, strict=True)) / len(problems)
    assert slope(objective) == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", ["interpolation", "proximal"])
def test_the_shared_model_of_an_own_copy_is_fitted_as_if_alone(name: str) -> None:
    """Reference: DESIGN (3): r independent of z."""
    problem = tiny_problem(name)
    losses = bound(problem)
    x, h, z = point(problem)
    assert torch.equal(losses.inner(x, h, z), losses.inner(x, h, moved(z, 77)))
    plain = tiny_problem("none")
    torch.testing.assert_close(losses.inner(x, h, z), bound(plain).inner(x, {}, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_LOCAL)
def test_a_swarm_finds_the_dense_hypergradients_of_local_variables(name: str) -> None:
    """Reference: DESIGN (3)-(8), with 30 % of the messages lost: (3) holds for what each kind makes of it."""
    problems = [tiny_problem(name, i, convex_module(), weight_decay=0.2) for i in range(3)]
    for problem in problems:
        firm = {
            name: torch.full_like(t, -0.5) for name, t in problem.hyperparameters.items() if "stren" in name
        }
        problem.hyperparameters = {**problem.hyperparameters, **firm}
    network = DenseNetwork(problems)
    w = network.solve(network.hypers, start=descended(problems))
    result = run(problems, ticks=200, step_size=0.6, momentum=0.7, local_step_size=0.6)
    x, *zs = network.split(w)
    for agent, z, truth in zip(result.agents, zs, network.hypergradients(w, network.hypers), strict=True):
        assert relative(pack(agent.model), x) < 1e-4
        assert relative(pack(agent.local), z) < 1e-4
        assert relative(pack(agent.hypergradient), truth) < 1e-3


# ---- state


def live(learner: TorchLearner[Any], ticks: int) -> list[object]:
    seen: list[object] = []
    for tick in range(ticks):
        found = learner.evaluate(learner.initial_model + 0.01 * tick, learner.initial_model * 0.1, 0.1)
        report = learner.finish_tick(0.05)
        seen += [found.model_gradient.tolist(), found.adjoint_gradient.tolist(), report]
        seen += [tensor.tolist() for tensor in (*learner.hyperparameters.values(), *learner.local.values())]
    return seen


def through_a_file(snapshot: Snapshot[Tensor]) -> Snapshot[Tensor]:
    return Snapshot(from_bytes(to_bytes(snapshot.arrays)), json.loads(json.dumps(snapshot.values)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_who_comes_back_goes_on_and_predicts_to_the_last_bit(name: str) -> None:
    first = TorchLearner(tiny_problem(name, batch_size=3))
    live(first, 5)
    kept = through_a_file(first.snapshot())
    second = TorchLearner(tiny_problem(name, batch_size=3))
    second.restore(kept)
    inputs = next(first.problem.outer_batches())[0]
    one, other = (
        learner.problem.predict(learner.problem.model, learner.hyperparameters, inputs, local=learner.local)
        for learner in (first, second)
    )
    assert torch.equal(one, other)
    if name != "none":
        initial = first.problem.predict(first.problem.model, first.problem.hyperparameters, inputs)
        weighs_only = all(word.partition(":")[0] in OF_TRAINING for word in name.split("+"))
        assert torch.equal(one, initial) is weighs_only, "what was learned is used"
    assert live(second, 6) == live(first, 6)


OF_TRAINING = ("class-weights", "sample-weights", "regularization")


@pytest.mark.parametrize("name", COMBINED)
def test_the_order_of_names_does_not_matter(name: str) -> None:
    words = name.split("+")
    first = tiny_problem(name)
    at = point(first)
    expected = found_at(first, at, *at[::2])
    for order in list(itertools.permutations(words))[1:6]:
        other = tiny_problem("+".join(order))
        assert list(other.hyperparameters) == list(first.hyperparameters)
        assert list(other.local) == list(first.local)
        found = found_at(other, at, *at[::2])
        for one, same in ((found.hypergradient, expected.hypergradient),):
            assert all(torch.equal(one[key], same[key]) for key in same)
        assert found.training_loss == expected.training_loss
        assert torch.equal(pack(found.adjoint_gradient), pack(expected.adjoint_gradient))
        assert str(personalization("+".join(order))) == str(personalization(name))


# ---- what they are for


def ranked_above(low: Tensor, high: Tensor) -> float:
    """Share of pairs in the right order: the area under the curve."""
    return float((low[:, None] < high[None, :]).double().mean())


@pytest.mark.slow
def test_sample_weights_find_wrong_labels() -> None:
    """Every fifth training label is wrong, validation labels are right: the wrong ones lose weight."""
    generator = torch.Generator().manual_seed(0)
    centres = 2 * normal(generator, CLASSES, 4)
    problems = []
    for _ in range(3):
        targets = torch.randint(0, CLASSES, (140,), generator=generator)
        inputs = centres[targets] + normal(generator, 140, 4)
        wrong = targets.clone()
        wrong[:40:5] = (wrong[:40:5] + 1) % CLASSES
        module = nn.Linear(4, CLASSES).double()
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        problems.append(
            peer.ModuleProblem(
                module,
                (inputs[:40], wrong[:40]),
                (inputs[40:], targets[40:]),
                personalization=personalization("sample-weights"),
                weight_decay=0.01,
                batch_size=100,
            )
        )
    result = peer.simulate(
        problems,
        ticks=150,
        hyper_step_size=2.0,
        model_step_size=0.3,
        adjoint_step_size=0.2,
        momentum=0.0,
        seed=1,
    )
    planted = torch.zeros(40, dtype=torch.bool)
    planted[::5] = True
    for problem, agent in zip(problems, result.agents, strict=True):
        weights = problem.sample_weights(agent.hyperparameters)
        assert ranked_above(weights[planted], weights[~planted]) > 0.9


def test_losses_are_those_that_the_papers_write() -> None:
    """Ditto, APFL, outputs with scale and bias, and decay per tensor, written out once more."""
    plain = bound(tiny_problem("none"))
    strength = 4 * torch.sigmoid(torch.tensor(-2.0, dtype=torch.float64))

    def prefixed(name: str) -> tuple[ModuleProblem, Point, Named]:
        problem = tiny_problem(name, prior_deviation=math.inf)
        at = point(problem)
        own = {
            key.removeprefix("proximal.").removeprefix("interpolation.own."): t for key, t in at[2].items()
        }
        return problem, at, own

    problem, (x, h, z), differences = prefixed("proximal")
    own = {name: x[name] + difference for name, difference in differences.items()}
    losses = bound(problem)
    assert losses.local is not None
    expected = plain.inner(own, {}, {}) + strength / 2 * (pack(own) - pack(x)).square().sum()
    torch.testing.assert_close(losses.local(x, h, z), expected)
    torch.testing.assert_close(losses.outer(x, h, z), plain.outer(own, {}, {}))

    problem, (x, h, z), own = prefixed("interpolation")
    losses = bound(problem)
    assert losses.local is not None
    share = torch.sigmoid(h["interpolation.weight"])
    mixed = {name: share * own[name] + (1 - share) * x[name] for name in x}
    pull = strength / 2 * (pack(own) - pack(problem.model)).square().sum()
    torch.testing.assert_close(losses.local(x, h, z), plain.inner(mixed, {}, {}) + pull)
    torch.testing.assert_close(losses.outer(x, h, z), plain.outer(mixed, {}, {}))

    problem, (x, h, z), _ = prefixed("logits")
    inputs, targets, _ = next(problem.outer_batches())
    outputs = torch.func.functional_call(tiny_module(), x, (inputs,))
    changed = outputs * h["logits.log_scale"].exp() + h["logits.bias"]
    torch.testing.assert_close(bound(problem).outer(x, h, z), nn.functional.cross_entropy(changed, targets))

    problem, (x, h, z), _ = prefixed("regularization")
    more = sum((h[f"regularization.{name}"].exp() - 1) * t.square().sum() for name, t in x.items())
    torch.testing.assert_close(bound(problem).inner(x, h, z), plain.inner(x, {}, {}) + 0.05 / 2 * more)
