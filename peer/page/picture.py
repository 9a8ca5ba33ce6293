"""What a page shows of an agent's hyperparameters: numbers, or where there are many, how they are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from peer.problem import HasMeaning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from peer.problem import BilevelProblem

NUMBERS_MAX: Final = 64  # bars that can be told apart
PICTURES_MAX: Final = 32  # of one agent: a factor for each tensor of a deep network would fill the page
CURVES_MAX: Final = 16  # of one picture over time
SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def pictures(problem: BilevelProblem[Any], hyperparameters: Mapping[str, Tensor]) -> list[dict[str, object]]:
    """[{"name", "shape", "numbers" or "quantiles"}], of PICTURES_MAX tensors at most; equal in JSON.

    `numbers` are all of them, in order, up to NUMBERS_MAX; beyond that `quantiles` has those at SHARES.
    """
    return [
        {"name": name, "shape": list(tensor.shape), **_numbers(tensor)}
        for name, tensor in _shown(problem, hyperparameters)
    ]


def curves(problem: BilevelProblem[Any], hyperparameters: Mapping[str, Tensor]) -> dict[str, float]:
    """The same over time: "NAME#INDEX", or where that would be too many, "NAME#p50" and others."""
    found: dict[str, float] = {}
    for name, tensor in _shown(problem, hyperparameters):
        if tensor.numel() <= CURVES_MAX:
            found |= {f"{name}#{index}": number for index, number in enumerate(tensor.flatten().tolist())}
        else:
            quantiles = _quantiles(tensor)
            found |= {f"{name}#p{100 * share:.0f}": at for share, at in zip(SHARES, quantiles, strict=True)}
    return found


def _shown(
    problem: BilevelProblem[Any], hyperparameters: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    meaning = problem.meaning(hyperparameters) if isinstance(problem, HasMeaning) else hyperparameters
    for name in list(meaning)[:PICTURES_MAX]:
        if meaning[name].numel():
            yield name, meaning[name].detach()


def _numbers(tensor: Tensor) -> dict[str, object]:
    if tensor.numel() <= NUMBERS_MAX:
        return {"numbers": tensor.flatten().tolist()}
    return {"quantiles": _quantiles(tensor)}


def _quantiles(tensor: Tensor) -> list[float]:
    """By sorting: `torch.quantile` takes no more than 16 million numbers."""
    ordered = torch.sort(tensor.flatten().to(torch.float64)).values
    places = [round(share * (len(ordered) - 1)) for share in SHARES]
    return [float(ordered[place]) for place in places]
