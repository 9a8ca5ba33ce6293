"""Optimizers of hyperparameters by name, tried before an agent has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from peer.assembly import make_agent
from peer.baselines import train_alone
from peer.errors import SettingError
from peer.extensions import register
from peer.inner_optimizer import InnerOptimizer
from peer.module_problem import ModuleProblem
from peer.optimizers import RATE, ModelSteps, optimizer_maker
from peer.orders import Orders
from peer.quadratic import QuadraticProblem, closed_form
from peer.settings import AgentSettings
from peer.snapshot import SnapshotError
from peer.torch_learner import TorchLearner
from peer.virtual_swarm import simulate
from tests.examples.extensions.sign_descent import SignDescent
from tests.runtime.agents import quadratics
from wire import FaultPlan


@pytest.mark.parametrize(
    ("text", "kind", "given"),
    [
        ("adam", torch.optim.Adam, {}),
        ("adam:", torch.optim.Adam, {}),
        ("adam:betas=(0.8, 0.9),eps=1e-6", torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-6}),
        ("sgd:momentum=0.9", torch.optim.SGD, {"momentum": 0.9}),
        ("adamw:weight_decay=0", torch.optim.AdamW, {"weight_decay": 0}),
        ("adagrad", torch.optim.Adagrad, {}),
    ],
)
def test_classes_of_torch_by_name(
    text: str, kind: type[torch.optim.Optimizer], given: dict[str, Any]
) -> None:
    make = optimizer_maker(text)
    assert make is not None
    optimizer = make([torch.ones(3)])
    assert isinstance(optimizer, kind)
    assert {name: optimizer.param_groups[0][name] for name in given} == given


def test_plain_descent_needs_none() -> None:
    assert optimizer_maker("descent") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adm", "give one of descent, adadelta, adafactor, adagrad, adam"),
        ("adam:eps=", "write arguments as in Python"),
        ("adam:lr=0.1", "leave lr out: the agent sets it"),
        ("adam:speed=3", "unexpected keyword argument 'speed'"),
        ("adam:eps=-1", "Invalid epsilon value"),
        ("adamw", "write adamw:weight_decay=0: a loss can have it"),
        ("adam:0.9", "write arguments as in Python"),
        ("adam:eps)", "write arguments as in Python"),
        ("rprop", "it does not follow the learning rate that the agent sets"),
        ("asgd", "it moves where the gradient is zero"),
        ("lbfgs", "give one of descent, adadelta"),
        ("sgd:maximize=True", "leave maximize out"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, told: str) -> None:
    with pytest.raises(SettingError) as found:
        optimizer_maker(text)
    assert told in str(found.value)
    assert str(found.value).startswith("hyper_optimizer: ")


def test_parts_of_others_are_tried_as_well() -> None:
    class Nowhere(SignDescent):
        def __init__(self, parameters: Any, text: str = "") -> None:
            super().__init__(parameters)

        def step(self, closure: Any = None) -> Any:
            del closure

    with register("hyper_optimizer", "sign", SignDescent):
        assert isinstance(optimizer_maker("sign")([torch.ones(1)]), SignDescent)  # type: ignore[misc]
    with (
        register("optimizer", "nowhere", Nowhere),
        pytest.raises(SettingError, match="leads nowhere"),
    ):
        optimizer_maker("nowhere:at all")
    with (
        register("hyper_optimizer", "none", lambda parameters: None),
        pytest.raises(SettingError, match="NoneType has no step, param_groups"),
    ):
        optimizer_maker("none")


def test_agents_step_with_it_and_say_so_before_anything_runs() -> None:
    problems = quadratics(3)
    plain, adam = (
        simulate(problems, ticks=40, hyper_step_size=0.05, hyper_optimizer=name, evaluate_every=0)
        for name in ("descent", "adam")
    )
    for one, other, problem in zip(plain.agents, adam.agents, problems, strict=True):
        ways = [(agent.hyperparameters["h"] - problem.hyperparameters["h"]).abs() for agent in (one, other)]
        assert ways[0].std() > 1e-3
        assert not torch.allclose(*ways)
    with pytest.raises(SettingError, match="hyper_optimizer: 'adamm'"):
        simulate(problems, ticks=1, hyper_optimizer="adamm")


def test_a_checkpoint_of_another_optimizer_is_refused_but_may_be_looked_at() -> None:
    (problem,) = quadratics(1)
    adam, rmsprop, plain = (
        TorchLearner(problem, None if name is None else optimizer_maker(name))
        for name in ("adam", "rmsprop", None)
    )
    adam.evaluate(adam.initial_model, adam.initial_model, 0.1)
    adam.finish_tick(0.1)
    kept = adam.snapshot()
    with pytest.raises(SnapshotError, match="has class Adam in the checkpoint, RMSprop at"):
        rmsprop.restore(kept)
    with pytest.raises(SnapshotError, match="one of checkpoint and agent has an optimizer"):
        plain.restore(kept)
    plain.restore(kept, steps=False)
    assert torch.equal(plain.hyperparameters["h"], adam.hyperparameters["h"])


@pytest.mark.parametrize(("name", "step"), [("adam", 0.01), ("adagrad", 0.3)])
def test_the_model_is_exact_with_it_over_links_that_lose(name: str, step: float) -> None:
    """Each agent scales its steps by gradients of its own: the answer does not move."""
    problems = quadratics(4)
    truth = closed_form(problems)
    found = simulate(
        problems,
        ticks=900,
        faults=FaultPlan(drop=0.3),
        optimizer=name,
        model_step_size=step,
        local_steps=2,
        wire_dtype="float64",
        evaluate_every=0,
    )
    for agent in found.agents:
        assert torch.allclose(agent.model["x"], truth.model, atol=1e-6)
        assert torch.allclose(agent.adjoint["x"], truth.adjoint, atol=1e-6)


def test_a_step_of_the_model_is_that_of_the_class() -> None:
    """In the shapes of the model, from wherever it begins, also in place."""
    shapes = [torch.Size([2, 3]), torch.Size([4])]
    steps = ModelSteps(torch.optim.Adam, shapes)
    generator = torch.Generator().manual_seed(0)
    point = torch.randn(10, generator=generator, dtype=torch.float64)
    tensors = [point[:6].reshape(2, 3).clone(), point[6:].clone()]
    adam = torch.optim.Adam(tensors, lr=0.02)
    for _ in range(5):
        gradient = torch.randn(10, generator=generator, dtype=torch.float64)
        tensors[0].grad, tensors[1].grad = gradient[:6].reshape(2, 3), gradient[6:]
        adam.step()
        steps.direction.copy_(-gradient)
        steps.step(point, 0.02, point)
        assert torch.allclose(point, torch.cat([tensor.reshape(-1) for tensor in tensors]), atol=1e-14)
    assert not steps.origin.any()


def test_the_optimizer_of_the_model_goes_on_from_a_checkpoint() -> None:
    shapes = [torch.Size([3])]
    kinds = (torch.optim.Adam, torch.optim.Adam, torch.optim.SGD)
    one, other, sgd = (ModelSteps(kind, shapes) for kind in kinds)
    ends = [torch.zeros(3, dtype=torch.float64) for _ in range(2)]
    one.direction.fill_(1.0)
    one.step(ends[0], 0.1, ends[0])
    other.restore(one.snapshot())
    ends[1].copy_(ends[0])
    for steps, end in ((one, ends[0]), (other, ends[1])):
        steps.direction.copy_(torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64))
        steps.step(end, 0.1, end)
    assert torch.equal(*ends)
    with pytest.raises(SnapshotError, match="has class Adam in the checkpoint, SGD at the agent"):
        sgd.restore(one.snapshot())


def test_an_agent_that_is_killed_goes_on_with_what_its_optimizer_knew() -> None:
    """As `peer.assembly` puts it together."""
    made = []
    for _ in range(2):
        agent, _ = make_agent(
            quadratics(1)[0],
            AgentSettings(optimizer="adam", hyper_optimizer="adam", hyper_step_size=0.1),
            peer="one",
            swarm="x",
            seed=0,
            now=0.0,
            founder=True,
        )
        made.append(agent.solver)
    orders = Orders(moving=True, copies=1, hyper_step_size=0.1, evaluate=False)
    for _ in range(30):
        made[0].tick([], orders)
    assert made[0]._settings.model_step_size == RATE
    made[1].restore(made[0].snapshot())
    assert all(isinstance(solver._optimizer, InnerOptimizer) for solver in made)
    kept, restored = (solver._optimizer.snapshot() for solver in made)  # type: ignore[union-attr]
    assert kept.values == restored.values
    assert sum(bool(one.any()) for one in kept.arrays.values()) == 3, "steps, and two averages of gradients"
    assert all(torch.equal(one, restored.arrays[name]) for name, one in kept.arrays.items())


def test_an_optimizer_that_does_not_come_to_rest_is_refused() -> None:
    with pytest.raises(SettingError, match="it has not come to rest 300 steps after") as found:
        optimizer_maker("sgd:momentum=0.999", "optimizer")
    assert found.value.field == "optimizer"


def test_training_alone_has_the_same_optimizer() -> None:
    """Else a comparison with it would flatter the swarm."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 4, generator=generator)
    targets = (inputs.sum(1) > 0).long()
    layer = torch.nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))  # the wrong way round
        layer.bias.zero_()
    parts = [(inputs[a:b], targets[a:b]) for a, b in ((0, 20), (20, 30), (30, 60))]
    problem = ModuleProblem(layer, *parts)

    def alone(**settings: Any) -> float:
        found = train_alone(problem, AgentSettings(**settings), 40, use_validation=False)
        assert found is not None
        return found

    few = {"model_step_size": 0.05, "adjoint_step_size": 0.05, "momentum": 0.0}
    assert alone(**few, optimizer="sgd") == alone(**few)
    assert alone(**few, optimizer="adam") > 0.9 > 0.6 > alone(**{**few, "model_step_size": 0.002})
    assert alone(optimizer="adam") < 0.6, "its rate is 0.001 where nothing is said"


def test_for_the_model_a_step_must_not_depend_on_where_it_begins() -> None:
    assert optimizer_maker("adafactor:weight_decay=0") is not None
    with pytest.raises(SettingError, match="its steps depend on where the model is"):
        optimizer_maker("adafactor:weight_decay=0", "optimizer")


@pytest.mark.parametrize("broken", ["model", "adjoint"])
def test_a_tick_that_does_not_count_leaves_no_trace_in_the_optimizer(broken: str) -> None:
    """Moments that are NaN once stay so for ever."""

    class Broken(QuadraticProblem):
        asked = 0

        def derivatives(self, model: Any, hyperparameters: Any, adjoint: Any) -> Any:
            found = super().derivatives(model, hyperparameters, adjoint)
            self.asked += 1
            if self.asked == 20:
                gradient = {"model": found.model_gradient, "adjoint": found.adjoint_gradient}[broken]
                gradient["x"].fill_(torch.nan)
            return found

    def learn(kind: type[QuadraticProblem]) -> Any:
        problem = kind.random(torch.Generator().manual_seed(0))
        return simulate([problem], ticks=60, optimizer="adam", model_step_size=0.05, evaluate_every=0)

    whole, after = (learn(kind).agents[0].model["x"] for kind in (QuadraticProblem, Broken))
    assert torch.isfinite(after).all()
    assert (after - whole).norm() < 0.1 * whole.norm()


@pytest.mark.parametrize(
    ("kept", "agent", "told"),
    [
        ("adam", "adam:amsgrad=True", "of the model has amsgrad False in the checkpoint, True at the agent"),
        (
            "rmsprop",
            "rmsprop:momentum=0.9",
            "of the model has momentum 0 in the checkpoint, 0.9 at the agent",
        ),
        ("adam", "descent", "the checkpoint has an optimizer of the model, the agent none"),
        ("descent", "adam", "for the model the checkpoint has none, the agent an optimizer"),
    ],
)
def test_other_options_are_another_optimizer(kept: str, agent: str, told: str) -> None:
    """They crashed at the first step."""
    one, other = (
        make_agent(
            quadratics(1)[0],
            AgentSettings(optimizer=name),
            peer="one",
            swarm="x",
            seed=0,
            now=0.0,
            founder=True,
        )[0].solver
        for name in (kept, agent)
    )
    with pytest.raises(SnapshotError, match=told):
        other.restore(one.snapshot())
