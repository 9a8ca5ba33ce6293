"""Wrong labels, planted to see whether they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def wrong_labels(
    targets: Tensor, classes: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`targets` (n,) int64 with a share of them, at least one, set to another class; and which, rising.

    Every other class is equally likely, whether the agent has it or not. `classes` is 2 or more.
    """
    count = min(len(targets), max(1, round(share * len(targets))))
    rows = torch.randperm(len(targets), generator=generator)[:count].sort().values
    shifts = torch.randint(1, classes, (count,), generator=generator)
    changed = targets.clone()
    changed[rows] = (targets[rows] + shifts) % classes
    return changed, rows


def area_under_curve(scores: Tensor, marked: Tensor) -> float:
    """How likely a marked score is the higher one of a pair with another: 1 always, 0.5 by chance.

    That is the area under the receiver operating characteristic (Mann and Whitney's U over all pairs); equal
    scores count half. `scores` (n,), `marked` (n,) bool. NaN if all are marked, or none.

    >>> import torch
    >>> from peer.influence import area_under_curve
    >>> area_under_curve(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, False, True]))
    1.0
    """
    high, low = scores[marked], scores[~marked].sort().values
    if not len(high) or not len(low):
        return float("nan")
    below = torch.searchsorted(low, high, right=False)
    not_above = torch.searchsorted(low, high, right=True)
    return float((below + not_above).sum()) / 2 / (len(high) * len(low))
