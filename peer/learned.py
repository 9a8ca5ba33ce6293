"""What one agent has learned, apart from itself: copies, for whoever asks once it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from wire import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What one agent has come to; tensors are copies."""

    id: PeerId
    model: Mapping[str, Tensor]
    adjoint: Mapping[str, Tensor]
    hypergradient: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    local: Mapping[str, Tensor]
    ticks: int
    epoch: int
    residual: float
    metrics: Mapping[str, float]  # of the problem, at the end


def copies(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """That nobody else changes."""
    return {name: tensor.detach().clone() for name, tensor in named.items()}
