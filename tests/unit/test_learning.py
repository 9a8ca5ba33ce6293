"""The task side of an agent: layouts, problems from modules, derivatives, the learner and its optimizer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peer.data_position import ShuffledBatches
from peer.derivatives import Losses, derivatives
from peer.errors import ProblemError, SettingError
from peer.hyper_watch import HyperWatch
from peer.module_problem import ModuleProblem
from peer.module_scores import accuracy
from peer.personalization import NoPersonalization, OutputBias, personalization
from peer.problem import BilevelProblem
from peer.quadratic import QuadraticProblem
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import FlatLayout, from_array, to_array
from peer.torch_learner import TorchLearner

Named = Mapping[str, Tensor]


def samples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator), torch.randint(0, 2, (count,), generator=generator)


def small_module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


class Toy:
    """inner (x - h)^2 / 2 + (z - x)^2 / 2, outer x^2 / 2 + z; counts the batches it gives."""

    def __init__(self, *, local: bool = False, bad: bool = False) -> None:
        self.model: Named = {"x": torch.ones(2, dtype=torch.float64)}
        self.hyperparameters: Named = {"h": torch.zeros(2, dtype=torch.float64)}
        self.bad = bad
        if local:
            self.local: Named = {"z": torch.zeros(2, dtype=torch.float64)}

    def inner_loss(
        self, model: Named, hyperparameters: Named, batch: float, local: Named | None = None
    ) -> Tensor:
        loss = (model["x"] - hyperparameters["h"]).square().sum() / 2 * batch
        return loss if local is None else loss + (local["z"] - model["x"]).square().sum() / 2

    def outer_loss(
        self, model: Named, hyperparameters: Named, batch: float, local: Named | None = None
    ) -> Tensor:
        loss = model["x"].square().sum() / 2
        return loss if local is None else loss + local["z"].sum()

    def batches(self) -> Iterator[float]:
        return itertools.repeat(float("nan") if self.bad else 1.0)


# ---- layouts and wire arrays


def test_a_layout_puts_mixed_tensors_in_one_vector_and_back() -> None:
    named = {"a": torch.ones(2, 3, dtype=torch.float16), "b": torch.full((), 2.0, dtype=torch.float64)}
    layout = FlatLayout(named, "model")
    flat = layout.flatten(named)
    assert flat.dtype == torch.float64
    assert flat.tolist() == [1.0] * 6 + [2.0]
    back = layout.unflatten(flat)
    assert {name: (t.shape, t.dtype) for name, t in back.items()} == {
        name: (t.shape, t.dtype) for name, t in named.items()
    }
    assert layout.describe() == "a:(2, 3):torch.float16;b:():torch.float64"
    assert FlatLayout({"h": torch.ones(1, dtype=torch.bfloat16)}, "model").dtype == torch.float32


def test_an_empty_layout_is_an_empty_vector() -> None:
    assert FlatLayout({}, "hyperparameters").flatten({}).shape == (0,)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([1.0], "model['x'] is list; give a floating-point tensor"),
        (torch.ones(1, dtype=torch.int64), "model['x'] is torch.int64; give a floating-point tensor"),
        (torch.tensor([float("nan")]), "model['x'] has infinite or NaN elements; give finite initial values"),
    ],
)
def test_what_is_no_finite_floating_point_tensor_is_refused(value: Any, told: str) -> None:
    with pytest.raises(ProblemError) as raised:
        FlatLayout({"x": value}, "model")
    assert str(raised.value) == told


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wire_arrays_bring_back_the_same_numbers(dtype: torch.dtype) -> None:
    vector = torch.randn(5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    array = to_array(vector)
    assert array.count == 5
    again = from_array(array)
    assert torch.equal(again, vector)
    assert again.dtype == dtype
    writable = from_array(type(array)(array.dtype, memoryview(bytearray(array.data))))
    assert torch.equal(writable, vector)


def test_the_algebra_of_tensors() -> None:
    algebra = TensorAlgebra("float32")
    vector = torch.tensor([3.0, -4.0], dtype=torch.float64)
    assert algebra.norm(vector) == 5.0
    assert algebra.zeros(2).dtype == algebra.ones(2).dtype == torch.float64
    rounded = algebra.to_wire(vector / 3)
    assert rounded.dtype == torch.float32
    assert algebra.to_mass(rounded).dtype == torch.float64
    assert algebra.spacing(vector) == 2.0**-21
    assert TensorAlgebra("float64").spacing(vector) == 2.0**-50
    assert algebra.is_finite(torch.full((3,), 3e38))  # the sum overflows, the elements are finite
    assert not algebra.is_finite(torch.tensor([1.0, float("inf")]))
    assert not algebra.is_finite(torch.tensor([float("inf"), float("-inf")]))
    copy = algebra.copy(vector)
    copy[0] = 0.0
    assert vector[0] == 3.0
    wire = TensorAlgebra("float64").to_wire(vector)
    wire[0] = 0.0
    assert vector[0] == 3.0


# ---- derivatives


def evaluate_toy(**losses: Any) -> Any:
    toy = Toy()
    adjoint = {"x": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    chosen = {
        "inner": lambda x, h, z: toy.inner_loss(x, h, 1.0),
        "outer": lambda x, h, z: toy.outer_loss(x, h, 1.0),
    }
    at = toy.model, toy.hyperparameters, {}
    return derivatives(Losses(**{**chosen, **losses}), *at, adjoint, {}, probe={"x": 2 * adjoint["x"]})


def test_derivatives_of_a_toy_are_those_on_paper() -> None:
    """Reference: DESIGN (2) with f = (x - h)^2 / 2, F = x^2 / 2 at x = 1, h = 0, p = (1, 2)."""
    found = evaluate_toy()
    assert found.model_gradient["x"].tolist() == [1.0, 1.0]
    assert found.adjoint_gradient["x"].tolist() == [0.0, 1.0]
    assert found.hypergradient["h"].tolist() == [1.0, 2.0]
    assert found.probe_product["x"].tolist() == [2.0, 4.0]
    assert (found.training_loss, found.validation_loss) == (1.0, 1.0)


def test_losses_linear_in_everything_have_no_second_derivatives() -> None:
    found = evaluate_toy(inner=lambda x, h, z: x["x"].sum(), outer=lambda x, h, z: torch.zeros(()))
    assert found.model_gradient["x"].tolist() == [1.0, 1.0]
    assert found.adjoint_gradient["x"].tolist() == [0.0, 0.0]
    assert found.probe_product["x"].tolist() == [0.0, 0.0]
    assert found.hypergradient["h"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ({"inner": lambda x, h, z: x["x"]}, "inner_loss returned (2,); return one number"),
        ({"outer": lambda x, h, z: 1.0}, "outer_loss returned float; return one number"),
        ({"inner": lambda x, h, z: torch.ones(())}, "inner_loss does not depend on x"),
    ],
)
def test_losses_that_cannot_be_learned_from_are_refused(losses: Any, told: str) -> None:
    with pytest.raises(ProblemError) as raised:
        evaluate_toy(**losses)
    assert told in str(raised.value)


def test_closed_form_products_of_quadratics_agree_with_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    problem = QuadraticProblem.random(generator, dimension=5, hyper_dimension=2)
    x, p = ({"x": torch.randn(5, generator=generator, dtype=torch.float64)} for _ in range(2))
    h = {"h": torch.randn(2, generator=generator, dtype=torch.float64)}
    found = problem.derivatives(x, h, p)
    losses = Losses(
        inner=lambda x, h, z: problem.inner_loss(x, h), outer=lambda x, h, z: problem.outer_loss(x, h)
    )
    expected = derivatives(losses, x, h, {}, p, {})
    assert next(problem.batches()) is None
    for part in ("model_gradient", "adjoint_gradient", "hypergradient"):
        for name, tensor in getattr(expected, part).items():
            torch.testing.assert_close(getattr(found, part)[name], tensor, rtol=1e-12, atol=1e-12)
    assert found.training_loss == pytest.approx(expected.training_loss, rel=1e-12)
    assert found.validation_loss == pytest.approx(expected.validation_loss, rel=1e-12)


@pytest.mark.parametrize(
    "field", ["inner_hessian", "inner_linear", "outer_hessian", "outer_linear", "coupling"]
)
def test_quadratics_whose_parts_do_not_fit_are_refused(field: str) -> None:
    parts = {
        "inner_hessian": torch.eye(3),
        "inner_linear": torch.ones(3),
        "coupling": torch.ones(3, 2),
        "outer_hessian": torch.eye(3),
        "outer_linear": torch.ones(3),
    }
    QuadraticProblem(**parts)
    parts[field] = torch.ones(7)
    with pytest.raises(ProblemError, match="has shape"):
        QuadraticProblem(**parts)


# ---- the learner


def test_a_learner_averages_hypergradients_over_local_steps_and_steps_once() -> None:
    learner = TorchLearner(Toy())
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for adjoint in (zero, 2 * one):
        learner.evaluate(one, adjoint, 0.1)
    report = learner.finish_tick(0.5)
    assert learner.hypergradient["h"].tolist() == [1.0, 1.0]
    assert learner.hyperparameters["h"].tolist() == [-0.5, -0.5]
    assert report.norm == pytest.approx(2**0.5)
    learner.evaluate(one, zero, 0.1)
    learner.finish_tick(0.0)
    assert learner.hyperparameters["h"].tolist() == [-0.5, -0.5]
    assert learner.problem.hyperparameters["h"].tolist() == [0.0, 0.0]  # the user's tensors stay as they are


def test_a_tick_without_evaluation_changes_nothing() -> None:
    learner = TorchLearner(Toy())
    assert learner.finish_tick(1.0).norm == 0.0
    assert learner.hyperparameters["h"].tolist() == [0.0, 0.0]


def test_any_optimizer_steps_the_hyperparameters_at_the_rate_of_the_agent() -> None:
    learner = TorchLearner(Toy(), lambda tensors: torch.optim.Adam(tensors, lr=123.0))
    learner.evaluate(torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64), 0.1)
    learner.finish_tick(0.25)
    assert learner.hyperparameters["h"].tolist() == pytest.approx([-0.25, -0.25], rel=1e-6)


def test_local_variables_and_their_adjoint_descend() -> None:
    """Reference: DESIGN (3): s = z - x, and s_z q + r_z p - F_z = q - p - 1 at z = 0, q = 0."""
    learner = TorchLearner(Toy(local=True))
    one = torch.ones(2, dtype=torch.float64)
    learner.evaluate(one, 3 * one, 0.5)
    assert learner.local["z"].tolist() == [0.5, 0.5]
    assert learner.local_adjoint["z"].tolist() == [2.0, 2.0]


def test_a_gradient_that_is_not_finite_moves_nothing_private() -> None:
    learner = TorchLearner(Toy(local=True, bad=True))
    one = torch.ones(2, dtype=torch.float64)
    found = learner.evaluate(one, one, 0.5)
    assert not torch.isfinite(found.model_gradient).any()
    learner.finish_tick(1.0)
    assert torch.isfinite(learner.hyperparameters["h"]).all()
    assert torch.isfinite(learner.local["z"]).all()
    assert torch.isfinite(learner.local_adjoint["z"]).all()


def test_problems_without_metrics_or_hyperparameters_are_fine() -> None:
    toy = Toy()
    toy.hyperparameters = {}
    toy.inner_loss = lambda model, hyperparameters, batch: model["x"].square().sum()  # type: ignore[method-assign,assignment]
    learner = TorchLearner(toy)
    one = torch.ones(2, dtype=torch.float64)
    learner.evaluate(one, one, 0.1)
    assert learner.finish_tick(1.0).norm == 0.0
    assert learner.metrics(one) == {}


def test_metrics_are_given_the_local_variables() -> None:
    class Scored(Toy):
        def metrics(self, model: Named, hyperparameters: Named, local: Named) -> Mapping[str, float]:
            return {"z": float(local["z"].sum())}

    assert TorchLearner(Scored(local=True)).metrics(torch.ones(2, dtype=torch.float64)) == {"z": 0.0}


def test_an_empty_model_is_refused() -> None:
    toy = Toy()
    toy.model = {}
    with pytest.raises(ProblemError, match="model is empty; give at least one tensor to learn"):
        TorchLearner(toy)


def test_the_watch_tells_noise_from_alternation_and_from_circling() -> None:
    generator = torch.Generator().manual_seed(0)
    noise, flipping, circling = HyperWatch(), HyperWatch(), HyperWatch()
    reports: dict[str, list[Any]] = {"noise": [], "flipping": [], "circling": []}
    for step in range(300):
        angle = torch.tensor(2 * torch.pi * step / 60, dtype=torch.float64)
        reports["noise"].append(noise.see(torch.randn(8, generator=generator, dtype=torch.float64)))
        reports["flipping"].append(flipping.see(torch.full((2,), (-1.0) ** step, dtype=torch.float64)))
        reports["circling"].append(circling.see(torch.stack([angle.cos(), angle.sin()])))
    assert not any(report.reversed for report in reports["noise"])
    assert abs(sum(report.alignment for report in reports["noise"])) / 300 < 0.1
    assert all(report.alignment == pytest.approx(-1) for report in reports["flipping"][1:])
    assert sum(report.reversed for report in reports["circling"]) >= 5
    assert HyperWatch().see(torch.zeros(2, dtype=torch.float64)).norm == 0.0


def test_a_vanishing_hypergradient_has_no_direction() -> None:
    watch = HyperWatch()
    for _ in range(3):
        report = watch.see(torch.zeros(2, dtype=torch.float64))
    assert (report.alignment, report.reversed) == (0.0, False)


# ---- problems from modules


def test_a_module_becomes_a_problem_and_stays_as_it_is() -> None:
    module = small_module()
    before = [parameter.clone() for parameter in module.parameters()]
    problem = ModuleProblem(module, samples(5), samples(4, 1), samples(6, 2), personalization=OutputBias())
    assert isinstance(problem, BilevelProblem)
    assert set(problem.model) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert problem.hyperparameters["bias"].tolist() == [0.0, 0.0]
    learner = TorchLearner(problem)
    found = learner.evaluate(learner.initial_model, learner.initial_model, 0.1)
    assert torch.isfinite(found.adjoint_gradient).all()
    assert set(learner.metrics(learner.initial_model)) == {"shared", "personal"}
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


def test_frozen_parameters_are_used_but_neither_learned_nor_sent() -> None:
    module = small_module()
    frozen = next(module.parameters()).requires_grad_(False)
    problem = ModuleProblem(module, samples(5), samples(4))
    assert set(problem.model) == {"0.bias", "2.weight", "2.bias"}
    before = problem.inner_loss(problem.model, {}, next(problem.batches()))
    with torch.no_grad():
        frozen.add_(1.0)
    assert problem.inner_loss(problem.model, {}, next(problem.batches())) != before


def test_local_variables_and_closed_form_products_do_not_go_together() -> None:
    class Both(Toy):
        def derivatives(self, model: Named, hyperparameters: Named, adjoint: Named) -> Any:
            raise AssertionError

    with pytest.raises(ProblemError, match="no closed-form derivatives; leave one out"):
        TorchLearner(Both(local=True))


def test_a_bias_that_decides_shows_in_the_personal_accuracy_only() -> None:
    inputs, _ = samples(6)
    test = (inputs, torch.ones(6, dtype=torch.int64))
    problem = ModuleProblem(small_module(), samples(5), samples(4), test, personalization=OutputBias())
    found = problem.metrics(problem.model, {"bias": torch.tensor([0.0, 100.0])})
    assert found["personal"] == 1.0
    assert found["shared"] == accuracy(small_module()(inputs).detach(), test[1])


def test_without_test_samples_there_are_no_metrics_and_without_bias_no_hyperparameters() -> None:
    problem = ModuleProblem(small_module(), samples(5), samples(4))
    assert problem.metrics(problem.model, {}) == {}
    assert problem.hyperparameters == {}
    assert isinstance(personalization("none"), NoPersonalization)
    with pytest.raises(SettingError, match="personalization: 'x' is not possible; give one of none, bias"):
        personalization("x")


def test_weight_decay_is_half_the_squared_length() -> None:
    plain, decayed = (
        ModuleProblem(small_module(), samples(5), samples(4), weight_decay=decay) for decay in (0.0, 0.5)
    )
    batch = next(plain.batches())
    squares = sum(float(tensor.square().sum()) for tensor in plain.model.values())
    difference = decayed.inner_loss(plain.model, {}, batch) - plain.inner_loss(plain.model, {}, batch)
    assert float(difference) == pytest.approx(0.25 * squares, rel=1e-5)
    assert torch.equal(decayed.outer_loss(plain.model, {}, batch), plain.outer_loss(plain.model, {}, batch))


def test_batches_use_every_sample_once_per_permutation() -> None:
    inputs, targets = torch.arange(10.0), torch.arange(10)
    drawn = list(itertools.islice(ShuffledBatches((inputs, targets), 4, seed=0), 4))
    assert [len(batch[0]) for batch in drawn] == [4] * 4
    first = torch.cat([drawn[0][1], drawn[1][1]])
    assert len(first.unique()) == 8
    assert all(torch.equal(batch[0].long(), batch[1]) for batch in drawn)
    whole = next(ShuffledBatches((inputs, targets), 10, seed=0))
    assert torch.equal(whole[0], inputs)
    problem = ModuleProblem(small_module(), samples(5), samples(4, 1))
    assert len(next(problem.all_batches())[0]) == 9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"module": nn.Sequential(nn.Linear(3, 2), nn.LazyBatchNorm1d())},
            "module 1 (LazyBatchNorm1d) keeps running",
        ),
        (
            {"module": nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))},
            "module 1 (Dropout) draws from torch's",
        ),
        (
            {"module": nn.BatchNorm1d(3, affine=False)},
            "BatchNorm1d has no parameters that require a gradient",
        ),
        ({"module": nn.Tanh()}, "Tanh has no parameters that require a gradient; nothing is to learn"),
        ({"module": nn.Linear(4, 2)}, "the module does not accept train inputs"),
        ({"train": samples(0)}, "train has 0 inputs and 0 targets; give equal numbers above 0"),
        ({"validation": (torch.ones(3, 3), torch.ones(2))}, "validation has 3 inputs and 2 targets"),
        ({"test": samples(0)}, "test has 0 inputs"),
        ({"batch_size": 0}, "batch_size is 0; give 1 or more samples"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; give 0 or a number above it"),
    ],
)
def test_modules_and_samples_that_cannot_be_learned_are_refused(change: dict[str, Any], told: str) -> None:
    arguments = {"module": small_module(), "train": samples(5), "validation": samples(4), **change}
    with pytest.raises(ProblemError) as raised:
        ModuleProblem(**arguments)
    assert told in str(raised.value)
