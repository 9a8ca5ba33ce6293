"""What a problem's losses do: always the same, with a gradient for everything, twice differentiable."""

from __future__ import annotations

import itertools
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from peer.checkup.trees import copies_of, leaves_of, same, where_unlike
from peer.errors import ProblemError
from peer.findings import Finding, Level, listed
from peer.module_problem import ModuleProblem
from peer.problem import HasLocal, HasOuterBatches
from peer.torch_learner import TorchLearner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from peer.problem import BilevelProblem

BATCHES = 3  # looked at
NEARBY = 0.01  # from where the model begins

INNER, OUTER = "inner_loss", "outer_loss"


def beginnings(
    problem: BilevelProblem[Any], again: BilevelProblem[Any], other: BilevelProblem[Any]
) -> Iterator[Finding]:
    """Whether the same arguments give the same problem, and all agents the same model."""
    unlike = [
        f"{name}{where}"
        for name in ("model", "hyperparameters")
        if (where := where_unlike(getattr(problem, name), getattr(again, name))) is not None
    ]
    if unlike:
        yield Finding(
            Level.PROBLEM,
            "asked twice for the same agent, problem() begins elsewhere",
            listed(unlike),
            "call torch.manual_seed(seed) before the module is made",
        )
    elif (where := where_unlike(problem.model, other.model)) is not None:
        yield Finding(
            Level.PROBLEM,
            "models of different agents begin with different numbers",
            f"model{where}",
            "draw the model with `seed` alone, not with `shard`: averages of unlike networks are none",
        )
    else:
        yield Finding(Level.OK, "all models begin equal", f"{_numel(problem.model):,} numbers")


def order(problem: BilevelProblem[Any], again: BilevelProblem[Any]) -> Iterator[Finding]:
    """Whether batches come in an order that can be reproduced."""
    streams: list[tuple[str, Callable[[BilevelProblem[Any]], Iterator[Any]]]] = [
        ("batches", lambda of: iter(of.batches()))
    ]
    if isinstance(problem, HasOuterBatches):
        streams.append(("outer_batches", lambda of: iter(of.outer_batches())))  # type: ignore[attr-defined]
    seen = compared = 0
    for name, batches in streams:
        pairs = zip(islice(batches(problem), BATCHES), islice(batches(again), BATCHES), strict=False)
        for number, (one, other) in enumerate(pairs):
            seen += 1
            compared += any(True for _ in leaves_of(one))
            where = where_unlike(one, other)
            if where is not None:
                yield Finding(
                    Level.PROBLEM,
                    "the order of the data cannot be reproduced",
                    f"{name}(), batch {number}: {where} is another the second time",
                    "shuffle with a torch.Generator seeded with `seed` and `shard`",
                )
                return
    if seen < BATCHES * len(streams):
        yield Finding(
            Level.PROBLEM,
            "batches come to an end",
            f"after {seen} of {BATCHES * len(streams)}",
            "yield them without end: agents decide when to stop",
        )
        return
    if compared < seen:
        yield Finding(
            Level.NOTE,
            "whether batches come in an order that can be reproduced is not known",
            f"{seen - compared} of {seen} hold no tensors, arrays, numbers or texts that could be compared",
        )
        return
    yield Finding(Level.OK, "batches come in an order that can be reproduced", f"{seen} compared")


def behaviour(problem: BilevelProblem[Any]) -> Iterator[Finding]:
    """Whether both losses are finite, always the same for the same arguments, and leave these as they are."""
    wrong = False
    for name, batch in (
        (INNER, next(iter(problem.batches()))),
        (OUTER, _outer_batch(problem)),
    ):
        before = copies_of([problem.model, problem.hyperparameters, batch])
        loss = partial(_loss, problem, name, batch)
        try:
            with torch.random.fork_rng(devices=[]):
                first, second = (loss(problem.model, problem.hyperparameters).detach() for _ in range(2))
        except Exception as error:  # whatever it is, it is of the user's own code
            wrong = True
            yield Finding(Level.PROBLEM, f"{name} fails", f"{type(error).__name__}: {error}")
            continue
        after = [leaf for _, leaf in leaves_of([problem.model, problem.hyperparameters, batch])]
        if first.numel() != 1:
            wrong = True
            yield Finding(
                Level.PROBLEM,
                f"{name} is not one number",
                f"a tensor of shape {tuple(first.shape)}",
                "return the mean over the batch",
            )
        elif not bool(torch.isfinite(first).all()):
            wrong = True
            yield Finding(
                Level.PROBLEM,
                f"{name} is no number at the start",
                f"{float(first.reshape(-1)[0])}",
                "look for missing values in the data, and for logarithms and roots of nothing",
            )
        elif not same(first, second):
            wrong = True
            yield Finding(
                Level.PROBLEM,
                f"{name} of the same batch is another each time",
                f"{float(first):.6g}, then {float(second):.6g}",
                "take out what is drawn at random, such as dropout, or call eval() on the module",
            )
        if not all(map(same, before, after)):
            wrong = True
            yield Finding(
                Level.PROBLEM,
                f"{name} changes its arguments",
                "a tensor is not what it was before the call",
                "leave out operations in place on what the loss is given",
            )
    if not wrong:
        yield Finding(Level.OK, "losses are finite, reproducible, and change nothing", "each computed twice")


def gradients(problem: BilevelProblem[Any]) -> Iterator[Finding]:
    """Which parts of the model no loss depends on, but for what weight decay makes of everything."""
    if isinstance(problem, ModuleProblem):
        problem = problem.without_weight_decay()
    found = {
        name: _without_gradient(problem, name, [_outer_batch(problem)] if name == OUTER else _first(problem))
        for name in (INNER, OUTER)
    }
    idle = [name for name in problem.model if name in found[INNER] and name in found[OUTER]]
    untrained = [name for name in problem.model if name in found[INNER] and name not in found[OUTER]]
    if idle:
        yield Finding(
            Level.PROBLEM,
            "parameters get no gradient from either loss",
            listed(idle),
            "use them, or freeze them with requires_grad_(False): then they are not sent either",
        )
    if untrained:
        yield Finding(
            Level.PROBLEM,
            "parameters get no gradient from the training loss, and are not learned",
            listed(untrained),
            "let the training loss depend on them, or make them hyperparameters",
        )
    if not idle and not untrained:
        yield Finding(Level.OK, "every parameter gets a gradient", f"{len(problem.model)} tensors")


def derivatives(problem: BilevelProblem[Any], seed: int = 0) -> Iterator[Finding]:
    """Whether losses can be differentiated twice, and all hyperparameters have an effect."""
    try:
        learner = TorchLearner(problem)
        generator = torch.Generator().manual_seed(seed)
        point, adjoint = (
            torch.randn(learner.layout.size, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        found = learner.evaluate(learner.initial_model.to(torch.float64), adjoint, 0.0)
        vectors = (found.model_gradient, found.adjoint_gradient)
        finite = all(bool(torch.isfinite(vector).all()) for vector in vectors)
        for own in (learner.local, learner.local_adjoint):  # zeros may hide an effect
            for name, tensor in own.items():
                own[name] = tensor + NEARBY * torch.randn(tensor.shape, generator=generator).to(tensor)
        learner.evaluate(learner.initial_model + NEARBY * point, adjoint, 0.0)
    except (ProblemError, RuntimeError) as error:
        yield Finding(Level.PROBLEM, "losses cannot be differentiated twice", str(error))
        return
    if not finite:
        yield Finding(
            Level.PROBLEM,
            "derivatives at the start are no numbers",
            "infinite or NaN",
            "look for roots and norms of nothing, whose slope is infinite",
        )
        return
    yield Finding(Level.OK, "losses can be differentiated twice", "in one pass, as agents do it")
    learner.finish_tick(0.0)
    idle = [name for name, tensor in learner.hypergradient.items() if not bool(tensor.any())]
    if not learner.hyperparameters:
        yield Finding(Level.NOTE, "nothing is this agent's own", "the problem has no hyperparameters")
    elif idle:
        yield Finding(
            Level.PROBLEM,
            "hyperparameters change nothing",
            listed(idle),
            "let a loss depend on them, or leave them out",
        )
    else:
        told = ", ".join(f"{name}: {t.numel()}" for name, t in learner.hyperparameters.items())
        yield Finding(Level.OK, "every hyperparameter has an effect", told)


def _without_gradient(problem: BilevelProblem[Any], name: str, batches: list[Any]) -> set[str]:
    idle = set(problem.model)
    generator = torch.Generator().manual_seed(0)
    for batch, nearby in itertools.product(batches, (0.0, NEARBY)):  # layers of zeros hide those before them
        leaves = {
            key: (tensor.detach() + nearby * torch.randn(tensor.shape, generator=generator).to(tensor))
            for key, tensor in problem.model.items()
        }
        for leaf in leaves.values():
            leaf.requires_grad_()
        loss = _loss(problem, name, batch, leaves, problem.hyperparameters)
        if not loss.requires_grad:
            continue
        slopes = torch.autograd.grad(loss.reshape(()), list(leaves.values()), materialize_grads=True)
        idle -= {key for key, slope in zip(leaves, slopes, strict=True) if bool(slope.any())}
    return idle


def _loss(
    problem: BilevelProblem[Any],
    name: str,
    batch: Any,
    model: Mapping[str, Tensor],
    hyperparameters: Mapping[str, Tensor],
) -> Tensor:
    keywords: dict[str, Any] = {}
    if isinstance(problem, HasLocal):
        keywords = {"local": problem.local} if problem.local else {}
    found: Tensor = getattr(problem, name)(model, hyperparameters, batch, **keywords)
    return found


def _first(problem: BilevelProblem[Any]) -> list[Any]:
    return list(islice(iter(problem.batches()), BATCHES))


def _outer_batch(problem: BilevelProblem[Any]) -> Any:
    return next(iter(problem.outer_batches() if isinstance(problem, HasOuterBatches) else problem.batches()))


def _numel(named: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in named.values())
