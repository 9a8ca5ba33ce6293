"""What every optimizer, a `torch.optim.Optimizer`, has to hold to step hyperparameters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.conformance.common import has_what_is_asked_for, name_of, takes_its_text
from peer.errors import SettingError
from peer.module_problem import ModuleProblem
from peer.optimizers import HYPER, POINT, try_steps
from peer.personalization import OutputBias
from peer.torch_learner import TorchLearner
from peer.virtual_swarm import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

TICKS: Final = 80
RATES: Final = (0.01, 0.1)


def it_has_what_is_asked_for(make: Make) -> None:
    """It is made of a list of tensors, and has what is called of `torch.optim.Optimizer`."""
    has_what_is_asked_for(POINT, make, make([torch.ones(3, dtype=torch.float64)]))


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make, [torch.ones(3, dtype=torch.float64)])


def it_steps_by_gradients_and_stands_still_without(make: Make) -> None:
    """As `peer.optimizers` looks: a step needs no loss, and a zero hypergradient moves nothing."""
    try:
        try_steps(HYPER, name_of(make), make)
    except SettingError as error:
        raise AssertionError(f"{name_of(make) or 'it'}: {error.remedy}") from error


def it_follows_the_learning_rate_that_it_is_given(make: Make) -> None:
    """Which the agent sets before each step: ten times the rate goes farther."""
    ways = []
    for rate in RATES:
        tensor = torch.ones(3, dtype=torch.float64)
        optimizer = make([tensor])
        for group in optimizer.param_groups:
            group["lr"] = rate
        tensor.grad = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        optimizer.step()
        ways.append(float((tensor - 1.0).norm()))
    assert ways[1] > 2 * ways[0], f"rates {RATES} lead {ways[0]:.3g} and {ways[1]:.3g} far"


def it_goes_on_from_a_checkpoint_bit_for_bit(make: Make) -> None:
    """All that it remembers is in `state_dict`."""
    one, other = (TorchLearner(_problem(), make) for _ in range(2))
    model, adjoint = one.initial_model, torch.zeros_like(one.initial_model)

    def step(learner: TorchLearner[Any]) -> torch.Tensor:
        learner.evaluate(model, adjoint, 0.1)
        learner.finish_tick(0.05)
        return next(iter(learner.hyperparameters.values())).clone()

    for _ in range(4):
        step(one)
    other.restore(one.snapshot())
    for number in range(3):
        assert torch.equal(step(one), step(other)), f"step {number + 1} after a checkpoint is another"


def agents_learn_with_it(make: Make) -> None:
    """Validation falls, and all stays finite."""
    problems = [_problem(seed) for seed in range(3)]
    found = simulate(
        problems, ticks=TICKS, hyper_step_size=None, make_optimizer=partial(make), evaluate_every=0
    )
    for problem, agent in zip(problems, found.agents, strict=True):
        bias = agent.hyperparameters["bias"]
        assert torch.isfinite(bias).all(), "hyperparameters are not finite"
        with torch.no_grad():
            without, learned = (
                float(problem.outer_loss(agent.model, hyper, problem.validation_set))
                for hyper in (problem.hyperparameters, agent.hyperparameters)
            )
        assert learned < without, (
            f"the validation loss is {learned:.4g}, without what it learned {without:.4g}"
        )


def _problem(seed: int = 0) -> ModuleProblem:
    """Many of one class here, which a bias finds out."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    targets = torch.where(torch.rand(40, generator=generator) < 0.8, seed % 3, torch.arange(40) % 3)
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Linear(3, 3, bias=False).double()
    layer.weight.data.zero_()
    samples = (inputs[:20], targets[:20]), (inputs[20:], targets[20:])
    return ModuleProblem(layer, *samples, personalization=OutputBias())


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    it_steps_by_gradients_and_stands_still_without,
    it_follows_the_learning_rate_that_it_is_given,
    it_goes_on_from_a_checkpoint_bit_for_bit,
    agents_learn_with_it,
)
