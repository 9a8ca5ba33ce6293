"""Which personalizations there are, which go together, and what is refused, saying why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import peer
import peer.derivatives
from peer.errors import ProblemError, SettingError
from peer.options.names import PERSONALIZATION_NAMES
from peer.personalization import (
    PERSONALIZATIONS,
    ClassWeights,
    Combination,
    Head,
    Logits,
    LowRank,
    Mixture,
    NoPersonalization,
    OutputBias,
    Personalization,
    Proximal,
    combine,
    known_names,
    personalization,
)
from peer.personalization.contract import Ground, OutputChange, OwnCopy, Part
from tests.oracles.personal import CLASSES, COUNT, INPUTS, normal, tiny_module, tiny_problem, tiny_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Named = Mapping[str, Tensor]


def made(**more: Any) -> peer.ModuleProblem:
    generator = torch.Generator().manual_seed(0)
    sets = {"train": tiny_samples(generator), "validation": tiny_samples(generator)}
    return peer.ModuleProblem(**{"module": tiny_module(), **sets, **more})


# ---- names


def test_the_help_lists_all_there_are() -> None:
    assert tuple(known_names()) == PERSONALIZATION_NAMES
    assert [name.partition(":")[0].partition("[")[0] for name in PERSONALIZATION_NAMES] == list(
        PERSONALIZATIONS
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("none", "none"),
        ("head", "head"),
        ("head:1", "head"),
        ("head:2", "head:2"),
        ("own:*.bias+head", "head+own:*.bias"),
        ("lora:4+logits+sample-weights", "logits+lora:4+sample-weights"),
        ("mixture:3+class-weights", "class-weights+mixture:3"),
    ],
)
def test_a_choice_has_one_name_whatever_it_was_called(text: str, told: str) -> None:
    assert str(personalization(text)) == told
    assert str(personalization(told)) == told


def test_objects_compose_like_names() -> None:
    assert str(Mixture(3) + ClassWeights() + OutputBias()) == "bias+class-weights+mixture:3"
    assert isinstance(Mixture(3) + ClassWeights(), Combination)
    assert isinstance(NoPersonalization() + OutputBias(), OutputBias)
    assert isinstance(combine([]), NoPersonalization)
    assert str(Proximal() + (LogitsByAnotherName() + NoPersonalization())) == "mine+proximal"
    for nothing in (NoPersonalization(), Mixture(2) + ClassWeights()):
        with pytest.raises(AssertionError):
            nothing.bind(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x", "'x' is not possible; give one of none, bias, logits, class-weights, sample-weights, regul"),
        ("bias+x", "'x' is not possible; give one of none, bias"),
        ("bias+", "'' is not possible; give one of none, bias"),
        ("mixture", "'mixture' is not possible; give mixture:K with a whole number K"),
        ("mixture:", "'mixture:' is not possible; give mixture:K with a whole number K"),
        ("mixture:x", "'mixture:x' is not possible; give mixture:K with a whole number K"),
        ("mixture:-1", "'mixture:-1' is not possible; give mixture:K with a whole number K"),
        ("mixture:1", "'mixture:1' is not possible; give mixture:K with K from 2 to 64 learners"),
        ("mixture:65", "'mixture:65' is not possible; give mixture:K with K from 2 to 64 learners"),
        ("lora", "'lora' is not possible; give lora:R with a whole number R"),
        ("lora:0", "'lora:0' is not possible; give lora:R with a rank of 1 or more"),
        ("lora:1234567", "'lora:1234567' is not possible; give lora:R with a whole number R"),
        ("head:0", "'head:0' is not possible; give head:L with 1 or more last layers"),
        ("head:", "'head:' is not possible; give head[:L] with a whole number L"),
        ("own", "'own:' is not possible; give own:PATTERN, such as own:*.bias, without spaces and +"),
        ("own:a b", "'own:a b' is not possible; give own:PATTERN"),
        ("own:" + "x" * 300, "x' is not possible; give own:PATTERN"),
        ("own:1.*+proximal", "give own or proximal, not both: proximal has an own copy of a complete shared"),
        ("bias:2", "'bias:2' is not possible; bias takes no number; give bias"),
        ("none+bias", "'none+bias' is not possible; give none alone"),
        ("bias+bias", "'bias+bias' is not possible; give bias once"),
        ("lora:2+head+lora:4", "'lora:2+head+lora:4' is not possible; give lora once"),
        (
            "logits+bias",
            "'logits+bias' is not possible; give bias or logits, not both: logits has a bias alr",
        ),
        ("proximal+interpolation", "give interpolation or proximal, not both: each has an own copy of the"),
        (
            "head+proximal",
            "give head or proximal, not both: proximal has an own copy of a complete shared mo",
        ),
        (
            "interpolation+head",
            "give head or interpolation, not both: interpolation has an own copy of a com",
        ),
        (
            "lora:2+proximal",
            "give lora or proximal, not both: the own copy of proximal has personal values o",
        ),
        ("features+interpolation", "give features or interpolation, not both: the own copy of interpolation"),
    ],
)
def test_what_is_not_possible_is_refused_and_says_why(text: str, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        personalization(text)
    assert told in str(raised.value)
    assert str(raised.value).startswith("personalization: ")


# ---- of one's own


class LogitsByAnotherName(Personalization):
    name = "mine"

    def bind(self, ground: Ground) -> Part:
        return Logits().bind(ground)


class AnotherCopy(Personalization):
    name = "another"

    def bind(self, ground: Ground) -> OwnCopy:
        return Proximal().bind(ground)


class Doubled(Personalization):
    name = "doubled"

    def bind(self, ground: Ground) -> OutputChange:
        return Twice()


class Twice(OutputChange):
    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        return outputs * 2


def test_one_of_ones_own_composes_too() -> None:
    problem = made(personalization=Doubled() + OutputBias())
    inputs = next(problem.batches())[0]
    bias = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    found = problem.predict(problem.model, {"bias": bias}, inputs)
    torch.testing.assert_close(found, 2 * (tiny_module()(inputs).detach() + bias))


def test_outputs_that_change_their_shape_are_refused_by_name() -> None:
    class Narrow(Doubled):
        name = "narrow"

        def bind(self, ground: Ground) -> OutputChange:
            part = Twice()
            part.apply = lambda outputs, hyperparameters: outputs[:, :1]  # type: ignore[method-assign]
            return part

    told = rf"narrow changes the shape of outputs from \(\d+, {CLASSES}\) to \(\d+, 1\); it must stay"
    with pytest.raises(ProblemError, match=told):
        made(personalization=OutputBias() + Narrow())


def test_two_own_copies_of_whoever_are_refused() -> None:
    with pytest.raises(
        SettingError, match=r"'another\+proximal' is not possible; give one that is a OwnCopy"
    ):
        made(personalization=AnotherCopy() + Proximal())


# ---- modules and data that do not allow it


def regression(count: int = COUNT) -> tuple[Tensor, Tensor]:
    return torch.ones(count, INPUTS, dtype=torch.float64), torch.ones(count, CLASSES, dtype=torch.float64)


def linear() -> nn.Module:
    return nn.Linear(INPUTS, CLASSES).double()


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        (
            "features",
            {"module": linear()},
            "features needs normalization layers with a learned scale and shift",
        ),
        (
            "regularization",
            {},
            "regularization learns factors of weight_decay, which is 0; give a number abov",
        ),
        (
            "head",
            {"module": linear()},
            "head leaves nothing to share: there are 1 layers with learned tensors",
        ),
        ("own:.weight", {}, "3.weight, 3.bias; did you mean own:*.weight?"),
        ("own:2.*", {}, "own:2.* matches no shared tensor; there are 0.weight, 0.bias, 1.weight, 1.bias"),
        ("own:*", {}, "own:* leaves nothing to share; give a pattern that fewer tensors match"),
        ("head:3", {}, "head:3 leaves nothing to share: there are 3 layers with learned tensors"),
        (
            "lora:3",
            {},
            "lora:3 finds no shared weight of a linear or convolutional layer with both sides abo",
        ),
        (
            "lora:2+head",
            {
                "module": linear().append
                if False
                else nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3)).double()
            },
            "lora:2 finds no shared weight",
        ),
        (
            "mixture:2",
            {"train": regression(), "loss": nn.functional.mse_loss},
            "mixture is for classes: outpu",
        ),
        (
            "class-weights",
            {
                "train": (torch.ones(3, 3, dtype=torch.float64), torch.tensor([0, 1, 3])),
                "loss": lambda outputs, targets, **how: nn.functional.cross_entropy(outputs, targets, **how),
            },
            "class-weights is for classes from 0 to 2, as many as outputs; targets go from 0 to 3",
        ),
        (
            "sample-weights",
            {"loss": lambda outputs, targets: outputs.mean()},
            'the loss <lambda> has no argument "reduction"',
        ),
        (
            "class-weights",
            {"loss": nn.CrossEntropyLoss()},
            'the loss CrossEntropyLoss has no argument "reduction"',
        ),
        (
            "sample-weights",
            {"loss": lambda outputs, targets, **_: outputs.square().mean()},
            'with reduction="none" gives shape ()',
        ),
        ("sample-weights", {"loss": max}, 'the loss max has no argument "reduction"'),
        (
            "sample-weights",
            {
                "loss": lambda outputs, targets, reduction="mean": (
                    outputs.square().sum(1) if reduction == "none" else outputs.square().mean()
                )
            },
            "its mean is",
        ),
    ],
)
def test_what_a_module_or_loss_does_not_allow_is_refused(name: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(ProblemError) as raised:
        made(personalization=personalization(name), **more)
    assert told in str(raised.value)


def test_losses_of_many_outputs_a_sample_can_be_weighted() -> None:
    problem = made(
        train=regression(),
        validation=regression(),
        loss=nn.functional.mse_loss,
        personalization=personalization("sample-weights"),
    )
    batch = next(problem.batches())
    expected = nn.functional.mse_loss(tiny_module()(batch.inputs), batch.targets).detach()
    torch.testing.assert_close(problem.inner_loss(problem.model, problem.hyperparameters, batch), expected)
    assert problem.metrics(problem.model, problem.hyperparameters) == {}
    with pytest.raises(ProblemError, match="the batch has no indices; take it from batches"):
        problem.inner_loss(problem.model, problem.hyperparameters, batch[:2])


def test_convolutions_are_adapted_as_matrices() -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.Flatten(), nn.Linear(16, CLASSES)).double()
    generator = torch.Generator().manual_seed(0)
    inputs, targets = normal(generator, 5, 2, 4, 4), torch.arange(5) % CLASSES
    problem = made(
        module=module, train=(inputs, targets), validation=(inputs, targets), personalization=LowRank(2)
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in problem.local.items()}
    assert shapes == {
        "lora.0.weight.up": (4, 2),
        "lora.0.weight.down": (2, 18),
        "lora.2.weight.up": (3, 2),
        "lora.2.weight.down": (2, 16),
    }
    local = {name: normal(generator, *tensor.shape) for name, tensor in problem.local.items()}
    change = (local["lora.0.weight.up"] @ local["lora.0.weight.down"]).reshape(4, 2, 3, 3)
    with torch.no_grad():
        module[0].weight += change
        module[2].weight += local["lora.2.weight.up"] @ local["lora.2.weight.down"]
    found = problem.predict(problem.model, problem.hyperparameters, inputs, local)
    torch.testing.assert_close(found, module(inputs).detach())


def test_tensors_that_are_frozen_are_nobodys_own() -> None:
    module = tiny_module()
    module[1].weight.requires_grad_(False)
    assert set(made(module=module, personalization=LowRank(1)).local) == {
        "lora.3.weight.up",
        "lora.3.weight.down",
    }
    module[3].weight.requires_grad_(False)
    module[3].bias.requires_grad_(False)
    assert set(made(module=module, personalization=Head()).local) == {"head.1.bias"}


# ---- modules that do not stand still, or have no second derivative


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.inner(inputs, inputs, inputs, need_weights=False)[0].mean(1))


class Recurrent(nn.Module):
    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.inner = nn.LSTM(INPUTS, 4, batch_first=True, **more)
        self.out = nn.Linear(4, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.inner(inputs)[0][:, -1])


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


class Around(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


def counts(inputs: Tensor, module: list[nn.Module]) -> Tensor:
    module[0].count += 1  # type: ignore[operator]
    return inputs


def counting() -> nn.Module:
    layer = Around(lambda inputs: counts(inputs, [layer]))
    layer.register_buffer("count", torch.zeros(()))
    return nn.Sequential(linear(), layer)


def sequences(*shape: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, *shape, generator=generator)
    both = inputs, torch.arange(4) % CLASSES
    return {"train": both, "validation": both}


def test_recurrent_layers_and_what_is_frozen_are_learned() -> None:
    torch.testing.assert_close(*_outputs(Recurrent(), sequences(5, INPUTS)))
    frozen = nn.Sequential(linear(), nn.BatchNorm1d(CLASSES).double(), nn.Dropout(0.5)).eval()
    torch.testing.assert_close(*_outputs(frozen, {}))
    whole = nn.Sequential(linear(), nn.BatchNorm1d(CLASSES, track_running_stats=False).double())
    torch.testing.assert_close(*_outputs(whole, {}))


def test_a_module_is_not_blamed_for_what_another_thread_draws() -> None:
    """Found by a run of all tests: once, a network without anything random was refused."""
    draws = iter([True, True])

    def meanwhile(inputs: Tensor) -> Tensor:
        if next(draws, False):
            torch.rand(())
        return inputs * 1.0

    made(module=nn.Sequential(linear(), Around(meanwhile)))
    assert not next(draws, False)


def _outputs(module: nn.Module, more: dict[str, Any]) -> tuple[Tensor, Tensor]:
    problem = made(module=module, personalization=Mixture(2) + OutputBias(), **more)
    inputs = next(problem.batches())[0]
    first = {k.removeprefix("mixture.0."): t for k, t in problem.model.items() if k.startswith("mixture.0.")}
    sure = {"mixture.weights": problem.hyperparameters["mixture.weights"] - torch.tensor([0.0, 1e9])}
    found = problem.predict(problem.model, {**problem.hyperparameters, **sure}, inputs)
    return found, torch.func.functional_call(module, first, (inputs,)).log_softmax(1).detach()


@pytest.mark.parametrize(
    ("module", "more", "told"),
    [
        (
            Recurrent(num_layers=2, dropout=0.5),
            sequences(5, INPUTS),
            "module inner (LSTM) draws from torch's global random stream; set its dropout to 0",
        ),
        (
            nn.Sequential(linear(), nn.RReLU()),
            {},
            "module 1 (RReLU) draws from torch's global random stream; freeze it with eval()",
        ),
        (
            nn.Sequential(linear(), Around(lambda inputs: inputs * torch.rand(()))),
            {},
            "Sequential draws from torch's global random stream; take that out",
        ),
        (
            nn.Sequential(linear(), nn.InstanceNorm1d(2, track_running_stats=True)),
            {},
            "module 1 (InstanceNorm1d) keeps running statistics",
        ),
        (counting(), {}, "Sequential changes its buffer 1.count when it is called; freeze it with eval()"),
        (
            nn.Sequential(linear(), Around(lambda inputs: (inputs, inputs))),
            {},
            "Sequential returns tuple instead of a tensor",
        ),
        (nn.Sequential(linear(), Around(Once.apply)), {}, "module 1 (Around) cannot be differentiated twice"),
        (
            nn.Sequential(linear(), Around(lambda inputs: inputs.detach())),
            {},
            "inner_loss does not depend on",
        ),
        (
            nn.Sequential(linear(), Around(lambda inputs: inputs.exp_().add_(1))),
            {},
            "a loss cannot be differentiated twice: one of the variables needed for gradient",
        ),
        (
            linear(),
            {"loss": lambda outputs, _: Once.apply(outputs).exp().mean()},
            "a loss cannot be differenti",
        ),
        (Attention(), sequences(5, 8), "module inner (MultiheadAttention) cannot be differentiated twice"),
        (Attention(), sequences(5, 8), "take the plain kernel of attention: attn_implementation='eager'"),
        (
            nn.Sequential(linear(), Around(lambda inputs: inputs.exp_().add_(1))),
            {},
            "; leave out what works in place, such as x += 1 or inplace=True",
        ),
    ],
)
def test_modules_that_cannot_be_learned_are_refused(module: nn.Module, more: Any, told: str) -> None:
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    sets = {"train": tiny_samples(torch.Generator().manual_seed(0)), **more}
    arguments = {"module": module, "validation": sets["train"], **sets}
    stream = torch.get_rng_state()
    with pytest.raises(ProblemError) as raised:
        peer.ModuleProblem(**arguments)
    assert told in str(raised.value)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())


class Looked(nn.Module):
    """A frozen table before a layer that is differentiable once."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, INPUTS, dtype=torch.float64).requires_grad_(False)
        self.last = linear()

    def forward(self, numbers: Tensor) -> Tensor:
        return self.last(Once.apply(self.table(numbers) + self.last.weight[0]))


def test_a_frozen_layer_is_not_what_cannot_be_differentiated() -> None:
    samples = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ProblemError, match=r"^module Looked \(Looked\) cannot be differentiated twice"):
        peer.ModuleProblem(Looked(), samples, samples)


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (
            torch.zeros(6, dtype=torch.int32),
            "validation targets are int32; the loss wants whole numbers from 0 to",
        ),
        (torch.zeros(6), "validation targets are float32; the loss wants"),
        (torch.zeros(6, 1, dtype=torch.int64), "validation targets have shape (6, 1); the loss wants"),
        (torch.arange(1, 7).clamp(max=CLASSES), f"validation targets go from 1 to {CLASSES}; the loss wants"),
        (torch.full((6,), -1), "validation targets go from -1 to -1; the loss wants"),
    ],
)
def test_classes_that_cross_entropy_does_not_take_are_refused(targets: Tensor, told: str) -> None:
    train = tiny_samples(torch.Generator().manual_seed(0))
    with pytest.raises(ProblemError) as raised:
        peer.ModuleProblem(linear(), train, (train[0][:6], targets))
    assert str(raised.value).startswith(told)
    assert "; the loss wants whole numbers from 0 to 2, int64" in str(raised.value)


def test_classes_that_it_does_take_are_not() -> None:
    train = tiny_samples(torch.Generator().manual_seed(0))
    inputs = train[0][:6]
    some = torch.arange(6) % CLASSES
    ignoring = nn.CrossEntropyLoss(ignore_index=-1)
    peer.ModuleProblem(linear(), train, (inputs, some.to(torch.uint8)), personalization="bias")
    peer.ModuleProblem(linear(), train, (inputs, nn.functional.one_hot(some, CLASSES).double()))
    peer.ModuleProblem(linear(), train, (inputs, torch.where(some > 0, some, -1)), loss=ignoring)
    with pytest.raises(ProblemError, match="validation targets go from 4 to 4"):
        peer.ModuleProblem(linear(), train, (inputs, torch.where(some > 0, 4, -1)), loss=ignoring)
    single = nn.Sequential(linear(), nn.Flatten(0))
    peer.ModuleProblem(single, train, train, loss=lambda outputs, _: outputs.square().mean())


def test_a_personalization_may_be_given_by_name() -> None:
    train = tiny_samples(torch.Generator().manual_seed(0))
    named = peer.ModuleProblem(linear(), train, train, personalization="bias+class-weights")
    assert set(named.hyperparameters) == {"bias", "class-weights.score"}
    assert not peer.ModuleProblem(linear(), train, train).hyperparameters
    with pytest.raises(peer.SettingError, match="bais"):
        peer.ModuleProblem(linear(), train, train, personalization="bais")


def test_a_problem_of_ones_own_is_told_in_the_same_words() -> None:
    def loss(model: Named, hyperparameters: Named, local: Named) -> Tensor:
        return Once.apply(model["x"]).square().sum()

    one = {"x": torch.ones(2)}
    losses = peer.derivatives.Losses(loss, loss)
    with pytest.raises(
        ProblemError, match="a loss cannot be differentiated twice: a function of it is marked"
    ):
        peer.derivatives.derivatives(losses, one, {}, {}, one, {}, search_graph=True)
    silent = peer.derivatives.derivatives(losses, one, {}, {}, one, {})
    assert silent.adjoint_gradient["x"].tolist() == [-4.0, -4.0], "without a Hessian: hence the search"


def test_memory_that_ends_is_no_fault_of_the_loss() -> None:
    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            return inputs.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no more")

    def loss(model: Named, hyperparameters: Named, local: Named) -> Tensor:
        return Full.apply(model["x"]).sum()

    one = {"x": torch.ones(2)}
    with pytest.raises(torch.OutOfMemoryError):
        peer.derivatives.derivatives(peer.derivatives.Losses(loss, loss), one, {}, {}, one, {})


def test_training_alone_knows_nothing_personal() -> None:
    """With whatever is personal, it comes to the same accuracy to the last bit."""
    from peer.baselines import train_alone

    settings = peer.AgentSettings(model_step_size=0.3)
    reached = {
        train_alone(tiny_problem(name), settings, 20, use_validation=both)
        for both in (True,)
        for name in ("none", "mixture:3+logits", "head", "proximal+sample-weights", "lora:1+bias")
    }
    assert len(reached) == 1
    plain = made()  # without decay
    inputs, targets, _ = batch = next(plain.batches())
    expected = nn.functional.cross_entropy(tiny_module()(inputs), targets)
    torch.testing.assert_close(plain.plain_loss(plain.parameters, batch), expected.detach())


def test_a_compiled_module_is_refused_with_what_to_do_and_an_eager_one_is_welcome() -> None:
    with pytest.raises(ProblemError, match=r'leave torch\.compile out, or give it backend="eager"'):
        made(module=torch.compile(linear(), backend="aot_eager"))
    made(module=torch.compile(linear(), backend="eager"))
