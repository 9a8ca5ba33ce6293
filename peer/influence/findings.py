"""What is known of the training samples of one agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from peer.influence.harms import harms
from peer.influence.wrong_labels import area_under_curve
from peer.personalization.sample_weights import NAME as SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from peer.module_problem import ModuleProblem

    Named = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Findings:
    """Of n samples. `rank_by` (n,) float64: the higher, the more a sample harms."""

    agent: str
    problem: ModuleProblem
    harms: Tensor  # (n,) float64, see `peer.influence.harms`
    weights: Tensor  # (n,): how much each counts in the training loss, 1 in the mean
    rank_by: Tensor
    was: Mapping[int, int] = field(default_factory=dict)  # true labels of planted wrong ones, by sample

    @property
    def by_weights(self) -> bool:
        """Whether `rank_by` comes from learned weights."""
        return self.rank_by is not self.harms

    @property
    def planted(self) -> Tensor:
        """Which labels are wrong on purpose: (n,) bool."""
        marked = torch.zeros(len(self.harms), dtype=torch.bool)
        marked[list(self.was)] = True
        return marked


class Place(NamedTuple):
    """One sample of one agent."""

    agent: int  # in the list of findings
    row: int  # in the agent's training set


def findings_of(
    agent: str,
    problem: ModuleProblem,
    *,
    model: Named,
    adjoint: Named,
    hyperparameters: Named,
    local: Named,
    local_adjoint: Named,
    was: Mapping[int, int] | None = None,
) -> Findings:
    """From what an agent has come to.

    Samples are ranked by the weights that it has learned, if it has any of single samples: those come from
    all derivatives along its way, and what harms fades while it learns. Else by the derivative where it is.
    """
    found = harms(problem, model, adjoint, hyperparameters, local, local_adjoint)
    learned = hyperparameters.get(SCORES)
    rank_by = found if learned is None or not bool(learned.any()) else -learned.detach().to(torch.float64)
    weights = problem.sample_weights(hyperparameters).detach()
    return Findings(agent, problem, found, weights, rank_by, was or {})


def ranked(findings: Sequence[Findings]) -> list[Place]:
    """All samples of all agents, the most harmful first."""
    places = [Place(agent, row) for agent, one in enumerate(findings) for row in range(len(one.harms))]
    values = torch.cat([one.rank_by for one in findings])
    return [places[place] for place in values.argsort(descending=True, stable=True).tolist()]


def found_again(findings: Sequence[Findings]) -> dict[str, Any]:
    """How well planted wrong labels are found, at the agents that have any. Empty without."""
    areas = {
        one.agent: area_under_curve(one.rank_by, one.planted)
        for one in findings
        if one.was and len(one.was) < len(one.harms)
    }
    if not areas:
        return {}
    wrong = sum(len(one.was) for one in findings)
    first = ranked(findings)[:wrong]
    hits = sum(place.row in findings[place.agent].was for place in first)
    values = list(areas.values())
    return {
        "agents": len(areas),
        "planted": wrong,
        "samples": sum(len(one.harms) for one in findings),
        "area_under_curve": sum(values) / len(values),
        "least": min(values),
        "most": max(values),
        "among_first": hits,
        "by_agent": areas,
    }
