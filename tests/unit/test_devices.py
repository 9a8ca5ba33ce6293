"""Where tensors are, and with how many digits the module is computed: what moves, what is in main memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import peer
from peer import tensors
from peer.data.inputs import moved
from peer.errors import ProblemError
from peer.module_problem import ModuleProblem
from peer.personalization import personalization
from peer.tensors import FlatLayout
from peer.torch_learner import TorchLearner

GENERATOR = torch.Generator().manual_seed(2)
INPUTS = torch.randn(40, 3, generator=GENERATOR)
TARGETS = (INPUTS[:, 0] > 0).long()
CPU = torch.device("cpu")
ELSEWHERE = torch.device("meta")  # a device on which nothing is computed; that things come there is seen


def network(device: torch.device = CPU) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).to(device)


def problem(module: nn.Module, device: torch.device = CPU, **more: Any) -> ModuleProblem:
    sets = [(INPUTS[a:b].to(device), TARGETS[a:b].to(device)) for a, b in ((0, 20), (20, 30), (30, 40))]
    return ModuleProblem(module, *sets, batch_size=8, **more)


@pytest.fixture
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values on the other device cannot be looked at."""
    monkeypatch.setattr(tensors, "_checked", lambda value, where: value)


@pytest.mark.usefixtures("no_checks")
def test_named_tensors_are_on_their_devices_and_flat_ones_in_main_memory() -> None:
    named = {"here": torch.ones(2, 3), "there": torch.empty(4, dtype=torch.bfloat16, device=ELSEWHERE)}
    layout = FlatLayout(named, "model")
    flat = torch.arange(10.0)
    found = layout.unflatten(flat)
    assert [tensor.device.type for tensor in found.values()] == ["cpu", "meta"]
    assert found["there"].dtype is torch.bfloat16
    assert found["here"].data_ptr() == flat.data_ptr(), "no copy where none is needed"
    layout.unflatten_into(flat * 2, found)
    assert torch.equal(found["here"], 2 * torch.arange(6.0).view(2, 3))
    same = FlatLayout({name: torch.empty_like(tensor, device=CPU) for name, tensor in named.items()}, "model")
    assert same.describe() == layout.describe(), "agents on a GPU and on none fit each other"


def test_batches_go_where_the_module_is() -> None:
    assert moved((INPUTS, INPUTS), ELSEWHERE)[0].device == ELSEWHERE  # type: ignore[index]
    assert moved(INPUTS, CPU) is INPUTS
    seen: list[torch.device] = []

    class Looks(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs.device)
            return super().forward(inputs)

    made = problem(Looks(3, 2))
    vars(made)["_device"] = ELSEWHERE
    vars(made)["_module"] = Looks(3, 2).to(ELSEWHERE)
    parameters = {name: tensor.to(ELSEWHERE) for name, tensor in made.model.items()}
    seen.clear()
    for loss in (made.inner_loss, made.outer_loss):
        assert loss(parameters, {}, next(made.batches())).device == ELSEWHERE
    assert made.plain_loss(parameters, next(made.batches())).device == ELSEWHERE
    assert made.predict(parameters, {}, INPUTS).device == ELSEWHERE
    assert made.sample_losses(parameters, {}, {}, torch.arange(3))[0].device == ELSEWHERE
    assert set(seen) == {ELSEWHERE}


def test_a_device_that_is_named_changes_nothing() -> None:
    plain, named = problem(network()), problem(network(torch.device("cpu")), torch.device("cpu"))
    one, other = (peer.simulate([made, made], ticks=60) for made in (plain, named))
    assert one.digest == other.digest


def test_personal_models_are_in_main_memory() -> None:
    made = problem(network(), personalization=personalization("logits"))
    module = made.personal_module(made.model, made.hyperparameters)
    assert {tensor.device.type for tensor in module.state_dict().values()} == {"cpu"}


# ---- precision


@pytest.mark.parametrize("chosen", ["none", "bias+class-weights", "interpolation"])
def test_derivatives_in_bfloat16_have_its_digits_and_predictions_all(chosen: str) -> None:
    """Reference: the same in float32. bfloat16 has 8 bits, 2^-8 = 4e-3."""
    full, lower = (
        problem(network(), autocast=dtype, personalization=personalization(chosen))
        for dtype in (None, torch.bfloat16)
    )
    found, wanted = TorchLearner[Any](lower), TorchLearner[Any](full)
    point = wanted.initial_model
    adjoint = torch.linspace(-1, 1, len(point))
    for _ in range(3):
        mine, theirs = (one.evaluate(point, adjoint, 0.0, adjoint) for one in (found, wanted))
        for name in ("model_gradient", "adjoint_gradient", "probe_product"):
            exact = getattr(theirs, name)
            error = float((getattr(mine, name) - exact).norm() / exact.norm())
            assert 0 < error < 0.05, name
        assert mine.model_gradient.dtype is torch.float32
    assert torch.equal(
        lower.predict(lower.model, lower.hyperparameters, INPUTS),
        full.predict(full.model, full.hyperparameters, INPUTS),
    )
    assert lower.relabelled(TARGETS[:20]).outer_loss(
        lower.model, lower.hyperparameters, next(lower.outer_batches())
    ) == lower.outer_loss(lower.model, lower.hyperparameters, next(lower.outer_batches()))


def test_what_is_learned_in_bfloat16_is_what_is_learned_in_float32_but_for_rounding() -> None:
    losses = []
    for dtype in (None, torch.bfloat16):
        made = [problem(network(), autocast=dtype, weight_decay=1e-2) for _ in range(2)]
        found = peer.simulate(made, ticks=300).agents[0]
        exact = problem(network(), weight_decay=1e-2)
        losses.append(float(exact.inner_loss(found.model, {}, (INPUTS[:20], TARGETS[:20]))))
    assert losses[0] < 0.1 < float(exact.inner_loss(exact.model, {}, (INPUTS[:20], TARGETS[:20])))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_types_that_need_losses_to_be_scaled_are_refused() -> None:
    with pytest.raises(ProblemError, match=r"autocast is torch\.float16; give torch\.bfloat16, or None"):
        problem(network(), autocast=torch.float16)


class Own(nn.Module):
    """Of a bare `nn.Sequential` nothing is compiled in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def test_a_module_that_is_compiled_in_place_keeps_its_names_and_its_derivatives() -> None:
    compiled, other_backend = Own(), Own()
    compiled.compile(backend="eager")
    one, other = (TorchLearner[Any](problem(module)) for module in (Own(), compiled))
    assert one.layout.describe() == other.layout.describe()
    point = one.initial_model
    mine, theirs = (learner.evaluate(point, point, 0.0) for learner in (one, other))
    assert torch.allclose(mine.model_gradient, theirs.model_gradient, rtol=1e-5, atol=1e-7)
    assert torch.allclose(mine.adjoint_gradient, theirs.adjoint_gradient, rtol=1e-5, atol=1e-7)
    other_backend.compile(backend="aot_eager")
    with pytest.raises(ProblemError, match=r'leave torch\.compile out, or give it backend="eager"'):
        problem(other_backend)
