"""What people read of an agent at the end: accuracies, relative errors, or losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from peer.baselines import never, train_alone
from peer.problem import HasLocal, HasOuterBatches, HasPrior

if TYPE_CHECKING:
    from torch import Tensor

    from peer.module_problem import ModuleProblem
    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings

Named = Mapping[str, "Tensor"]
LOSS_BATCHES = 32  # of validation batches, over which a loss is taken

ACCURACIES: Mapping[str, str] = MappingProxyType(
    {
        "local": "local only",
        "local_all": "local on train + validation",
        "shared": "shared model",
        "personal": "shared + personal",
    }
)
LOSSES: Mapping[str, str] = MappingProxyType({"initial": "before learning", "learned": "after learning"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent has come to: the input of scoring."""

    model: Named
    adjoint: Named
    hypergradient: Named
    hyperparameters: Named
    local: Named


def accuracies(
    problem: ModuleProblem,
    answer: Answer,
    settings: AgentSettings,
    ticks: int,
    stopped: Callable[[], bool] = never,
) -> dict[str, float]:
    """On its own test samples, with what it would have reached alone in as many ticks, unless stopped."""
    found = problem.metrics(answer.model, answer.hyperparameters, answer.local)
    own = {name: found[name] for name in ("shared", "personal")}
    alone: dict[str, float] = {}
    for name, with_all in (("local", False), ("local_all", True)):
        if not stopped():
            reached = train_alone(problem, settings, ticks, use_validation=with_all, stopped=stopped)
            if reached is not None:
                alone[name] = reached
    return {**alone, **own} if len(alone) == 2 else own


def losses(problem: BilevelProblem[Any], answer: Answer) -> dict[str, float]:
    """Validation losses before and after, over the same batches. `problem` has given no batch so far."""
    drawn = problem.outer_batches() if isinstance(problem, HasOuterBatches) else problem.batches()
    batches = list(islice(drawn, LOSS_BATCHES))
    local = problem.local if isinstance(problem, HasLocal) else None

    def mean(model: Named, hyperparameters: Named, own: Named) -> float:
        more = {"local": own} if local is not None else {}
        with torch.no_grad():
            found = [float(problem.outer_loss(model, hyperparameters, batch, **more)) for batch in batches]
            prior = float(problem.prior(hyperparameters)) if isinstance(problem, HasPrior) else 0.0
        return sum(found) / len(found) - prior

    return {
        "initial": mean(problem.model, problem.hyperparameters, local or {}),
        "learned": mean(answer.model, answer.hyperparameters, answer.local),
    }
