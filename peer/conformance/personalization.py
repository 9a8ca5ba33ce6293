"""What every `peer.personalization.contract.Personalization` has to hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from peer.conformance.common import has_what_is_asked_for, takes_its_text
from peer.conformance.watching import Watched
from peer.derivatives import Losses, derivatives
from peer.errors import ProblemError, SettingError
from peer.module_problem import ModuleProblem
from peer.personalization import NoPersonalization, OutputBias
from peer.torch_learner import TorchLearner
from peer.virtual_swarm import simulate
from wire import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.derivatives import Derivatives
    from peer.personalization import Personalization

    Make = Callable[[], Personalization]
    Named = Mapping[str, Tensor]

INPUTS, HIDDEN, CLASSES, SAMPLES, AGENTS = 4, 5, 3, 30, 3
TICKS: Final = 60
DIFFERENCE: Final = 1e-5
RISE: Final = 0.05  # of a validation loss that begins near 1.1
WRONG: Final = 1e-5  # relative to what it is; differences are good to about 1e-9


def _problem(personalization: Personalization, seed: int = 0, **options: Any) -> ModuleProblem:
    """A small network of float64 that tells classes apart."""
    generator, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):  # layers draw their first parameters from the global stream
        norm = nn.LayerNorm(HIDDEN)
        layers = nn.Linear(INPUTS, HIDDEN), norm, nn.Tanh(), nn.Linear(HIDDEN, CLASSES)
        model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        parameter.data = 0.3 * _random(parameter.shape, shared)
    norm.weight.data += 1.0
    truth = _random((INPUTS, CLASSES), shared)

    def samples() -> tuple[Tensor, Tensor]:
        inputs = _random((SAMPLES, INPUTS), generator)
        return inputs, (inputs @ truth + 0.3 * _random((CLASSES,), generator)).argmax(1)

    options = {"weight_decay": 0.01, **options}
    return ModuleProblem(
        model, samples(), samples(), samples(), personalization=personalization, seed=seed, **options
    )


def it_has_what_is_asked_for(make: Make) -> None:
    """It can be bound to a module and data."""
    personalization = make()
    has_what_is_asked_for("personalization", make, personalization)
    _problem(personalization)


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make)


def it_has_a_name_that_people_can_write(make: Make) -> None:
    """`str` is what goes into records and errors; `+` joins several."""
    told = str(make())
    assert told, "str() is empty"
    assert told.isprintable(), f"str() is {told!r}: not printable"
    assert "+" not in told, f"str() is {told!r}: + joins several personalizations"
    assert not any(sign.isspace() for sign in told), f"str() is {told!r}: it has spaces"
    assert told == str(make()), "two that are made alike have different names"
    assert make().chosen, "chosen is empty"


def it_binds_alike_each_time(make: Make) -> None:
    """Equal modules and data give equal beginnings, nothing is drawn, and the module stays as it was."""
    before = torch.get_rng_state()
    one, other = (_problem(make()) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()), "binding draws from torch's global random stream"
    for name in ("model", "hyperparameters", "local"):
        first, second = getattr(one, name), getattr(other, name)
        assert list(first) == list(second), f"{name}: {list(first)} and {list(second)} for equal problems"
        for key in first:
            assert torch.equal(first[key], second[key]), f"{name} {key!r} differs between equal problems"
            assert torch.isfinite(first[key]).all(), f"{name} {key!r} does not begin finite"
    plain = _problem(OutputBias())
    for key, parameter in one.module.named_parameters():
        assert torch.equal(parameter, dict(plain.module.named_parameters())[key]), f"it changed {key!r}"


def it_draws_nothing_and_leaves_what_it_is_given(make: Make) -> None:
    """Each method of its parts: tensors are changed by being replaced, random streams not at all."""
    watched = Watched(make())
    problem = _problem(watched)
    batch, outer = next(iter(problem.batches())), next(iter(problem.outer_batches()))
    model, hyperparameters, local = _near(problem, 5)
    own = getattr(problem, "local_loss", None)
    watched.watching = True
    with torch.no_grad():
        problem.predict(model, hyperparameters, problem.test_set[0] if problem.test_set else batch[0], local)
        problem.inner_loss(model, hyperparameters, batch, local)
        problem.outer_loss(model, hyperparameters, outer, local)
        if own is not None:
            own(model, hyperparameters, batch, local)
    problem.meaning(problem.hyperparameters)


def it_begins_as_no_change(make: Make) -> None:
    """Unless it says `changes_at_first`: outputs and training loss are at first those of the module."""
    personalization = make()
    if any(one.changes_at_first for one in personalization.chosen):
        return
    plain, problem = _problem(NoPersonalization()), _problem(personalization)
    found, wanted = (
        (
            one.predict(one.model, one.hyperparameters, one.training_set[0], one.local),
            one.inner_loss(one.model, one.hyperparameters, next(iter(one.batches())), one.local),
        )
        for one in (problem, plain)
    )
    for what, new, old in zip(("outputs", "the training loss"), found, wanted, strict=True):
        off = float((new - old).detach().abs().max())
        assert off < WRONG, (
            f"{what} are changed before anything is learned, by {off:.2g}; if that has to be, give it an "
            "attribute changes_at_first = True"
        )


def every_hyperparameter_has_an_effect(make: Make) -> None:
    """On a loss, or on what the model or local variables are trained to. DESIGN (2)."""
    problem = _problem(make(), prior_deviation=math.inf)
    point, adjoints = _near(problem, 3), _near(problem, 4)
    found = _derivatives(problem, point, adjoints[::2])
    idle = [key for key, slope in found.hypergradient.items() if not bool(slope.any())]
    assert not idle, f"hyperparameter {idle[0]!r} changes nothing: all its derivatives are zero"


def its_variables_have_its_name(make: Make) -> None:
    """So that those of several never collide."""
    personalization = make()
    problem = _problem(personalization)
    begins = tuple(one.name for one in personalization.chosen)
    for key in (*problem.hyperparameters, *problem.local):
        assert key.startswith(begins), f"{key!r} does not begin with {' or '.join(begins)}"


def its_derivatives_are_those_of_its_losses(make: Make) -> None:
    """Of both orders, beside differences; what is detached or rounded shows here. DESIGN (2), (3)."""
    problem = _problem(make())
    generator = torch.Generator().manual_seed(2)

    def near(named: Named) -> Named:
        return {key: one + 0.1 * _like(one, generator) for key, one in named.items()}

    point = near(problem.model), near(problem.hyperparameters), near(problem.local)
    adjoints = near(problem.model), near(problem.local)
    found = _derivatives(problem, point, adjoints)
    wanted = (found.adjoint_gradient, found.hypergradient, found.local_adjoint_gradient)
    signs = (1.0, -1.0, 1.0)
    words = ("the model", "the hyperparameters", "the local variables")
    for place, (gradient, sign, word) in enumerate(zip(wanted, signs, words, strict=True)):
        way = {key: _like(one, generator) for key, one in point[place].items()}
        if not way:
            continue
        ahead, behind = (
            _adjoint_loss(problem, _moved(point, place, way, step), adjoints)
            for step in (DIFFERENCE, -DIFFERENCE)
        )
        difference = (ahead - behind) / (2 * DIFFERENCE)
        told = sign * _dot(gradient, way)
        scale = max(abs(difference), abs(told), 1e-3)
        assert abs(difference - told) < WRONG * scale, (
            f"along a direction of {word} the derivative is {told:.6g}, by differences {difference:.6g}: is "
            "something detached, in place, or not differentiable twice?"
        )


def what_people_are_shown_is_finite(make: Make) -> None:
    """`meaning`, `sample_weights`, and outputs in the shape of the module's."""
    problem = _problem(make())
    for name, shown in problem.meaning(problem.hyperparameters).items():
        assert name.isprintable(), f"meaning has the name {name!r}"
        assert torch.isfinite(shown).all(), f"meaning {name!r} is not finite"
    outputs = problem.predict(problem.model, problem.hyperparameters, problem.training_set[0], problem.local)
    assert outputs.shape == (SAMPLES, CLASSES), f"outputs have the shape {tuple(outputs.shape)}"
    assert torch.isfinite(outputs).all(), "outputs are not finite where learning begins"
    module = problem.personal_module(problem.model, problem.hyperparameters, problem.local)
    with torch.no_grad():
        assert torch.allclose(module(problem.training_set[0]), outputs), "personal_module computes otherwise"


def it_goes_on_from_a_checkpoint_bit_for_bit(make: Make) -> None:
    """All that moves is in hyperparameters and local variables, and none of it elsewhere."""
    one, other = (TorchLearner(_problem(make())) for _ in range(2))
    model = one.initial_model.clone()
    adjoint = torch.full_like(model, 0.1)
    for _ in range(3):
        one.evaluate(model, adjoint, 0.01)
        one.finish_tick(0.01)
    other.restore(one.snapshot())
    first, second = (learner.evaluate(model, adjoint, 0.01) for learner in (one, other))
    assert torch.equal(first.model_gradient, second.model_gradient), "gradients differ after a checkpoint"
    assert torch.equal(first.adjoint_gradient, second.adjoint_gradient), (
        "gradients of the adjoint differ after a checkpoint"
    )
    one.finish_tick(0.01)
    other.finish_tick(0.01)
    for key, tensor in one.hyperparameters.items():
        assert torch.equal(tensor, other.hyperparameters[key]), f"hyperparameters {key!r} differ after it"


def agents_learn_with_it_over_links_that_lose(make: Make) -> None:
    """Everything stays finite, equal seeds give equal bits, and validation does not end above its start."""
    runs = [
        simulate(
            [_problem(make(), seed) for seed in range(AGENTS)],
            faults=FaultPlan(drop=0.2),
            ticks=TICKS,
            hyper_step_size=None,
            evaluate_every=0,
        )
        for _ in range(2)
    ]
    assert runs[0].digest == runs[1].digest, (
        "two equal simulations differ: is anything drawn, or kept between?"
    )
    for seed, agent in enumerate(runs[0].agents):
        problem = _problem(make(), seed)
        for name in ("model", "adjoint", "hyperparameters", "local"):
            for key, tensor in getattr(agent, name).items():
                assert torch.isfinite(tensor).all(), f"{name} {key!r} is not finite after {TICKS} ticks"
        batch = problem.validation_set
        with torch.no_grad():
            first = problem.outer_loss(problem.model, problem.hyperparameters, batch, problem.local)
            last = problem.outer_loss(agent.model, agent.hyperparameters, batch, agent.local)
        assert last <= first + RISE, f"validation loss rose from {float(first):.3g} to {float(last):.3g}"


def it_can_be_added_to_another(make: Make) -> None:
    """Or says why not, as an error that names it."""
    try:
        problem = _problem(make() + OutputBias())
    except (SettingError, ProblemError):
        return
    assert "bias" in problem.hyperparameters, "of two that were added one has gone"


def _near(problem: ModuleProblem, seed: int) -> tuple[Named, ...]:
    """Model, hyperparameters and local variables, near where they begin: zeros hide much."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        {key: one + 0.1 * _like(one, generator) for key, one in named.items()}
        for named in (problem.model, problem.hyperparameters, problem.local)
    )


def _like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return _random(tensor.shape, generator).to(tensor.dtype)


def _random(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)


def _dot(one: Named, other: Named) -> float:
    return float(sum((one[key] * other[key]).sum() for key in other))


def _moved(point: tuple[Named, ...], place: int, way: Named, step: float) -> tuple[Named, ...]:
    moved = {key: tensor + step * way[key] for key, tensor in point[place].items()}
    return tuple(moved if number == place else named for number, named in enumerate(point))


def _derivatives(
    problem: ModuleProblem, point: tuple[Named, ...], adjoints: tuple[Named, ...]
) -> Derivatives:
    train = next(iter(problem.batches()))
    outer = next(iter(problem.outer_batches()))
    own = getattr(problem, "local_loss", None)
    losses = Losses(
        inner=lambda x, h, z: problem.inner_loss(x, h, train, z),
        outer=lambda x, h, z: problem.outer_loss(x, h, outer, z),
        local=None if own is None else lambda x, h, z: own(x, h, train, z),
    )
    model, hyperparameters, local = point
    return derivatives(losses, model, hyperparameters, local, *adjoints)


def _adjoint_loss(problem: ModuleProblem, point: tuple[Named, ...], adjoints: tuple[Named, ...]) -> float:
    """r'p + s'q - F: its derivatives are those of DESIGN (3), but for the sign of the hypergradient."""
    found = _derivatives(problem, point, adjoints)
    products = _dot(found.model_gradient, adjoints[0]) + _dot(found.local_gradient, adjoints[1])
    return products - found.validation_loss


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    it_draws_nothing_and_leaves_what_it_is_given,
    it_begins_as_no_change,
    every_hyperparameter_has_an_effect,
    it_has_a_name_that_people_can_write,
    it_binds_alike_each_time,
    its_variables_have_its_name,
    its_derivatives_are_those_of_its_losses,
    what_people_are_shown_is_finite,
    it_goes_on_from_a_checkpoint_bit_for_bit,
    agents_learn_with_it_over_links_that_lose,
    it_can_be_added_to_another,
)
