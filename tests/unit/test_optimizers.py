"""Optimizers of hyperparameters by name, tried before an agent has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from peer.errors import SettingError
from peer.extensions import register
from peer.optimizers import optimizer_maker
from peer.snapshot import SnapshotError
from peer.torch_learner import TorchLearner
from peer.virtual_swarm import simulate
from tests.examples.extensions.sign_descent import SignDescent
from tests.runtime.agents import quadratics


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("adam", torch.optim.Adam), ("rmsprop:alpha=0.9,eps=1e-6", torch.optim.RMSprop)),
        *(("sgd:momentum=0.9", torch.optim.SGD), ("adamw:weight_decay=0", torch.optim.AdamW)),
        *(("adam:", torch.optim.Adam), ("adagrad", torch.optim.Adagrad)),
    ],
)
def test_classes_of_torch_by_name(text: str, kind: type[torch.optim.Optimizer]) -> None:
    make = optimizer_maker(text)
    assert make is not None
    optimizer = make([torch.ones(3)])
    assert isinstance(optimizer, kind)
    given = dict(part.split("=") for part in text.partition(":")[2].split(",") if part)
    assert {name: optimizer.param_groups[0][name] for name in given} == {
        name: float(value) for name, value in given.items()
    }


def test_plain_descent_needs_none() -> None:
    assert optimizer_maker("descent") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adm", "give one of descent, adadelta, adafactor, adagrad, adam"),
        ("adam:eps=", "write 'eps=' as an argument and its value"),
        ("adam:lr=0.1", "leave lr out: the agent sets it"),
        ("adam:speed=3", "unexpected keyword argument 'speed'"),
        ("adam:eps=-1", "Invalid epsilon value"),
        ("adamw", "it moves where the hypergradient is zero; leave out weight decay"),
        ("lbfgs", "it cannot step two tensors by their gradients"),
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
        register("hyper_optimizer", "nowhere", lambda text, parameters: Nowhere(parameters, text)),
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
    with pytest.raises(SnapshotError, match="the checkpoint's optimizer is Adam, that of the agent RMSprop"):
        rmsprop.restore(kept)
    with pytest.raises(SnapshotError, match="one of checkpoint and agent has an optimizer"):
        plain.restore(kept)
    plain.restore(kept, steps=False)
    assert torch.equal(plain.hyperparameters["h"], adam.hyperparameters["h"])
