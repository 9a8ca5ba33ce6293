"""An optimizer of hyperparameters: steps of one length in every coordinate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class SignDescent(torch.optim.Optimizer):
    """signSGD (Bernstein et al. 2018): h -= lr sign(v), zero where v is at most `TEXT`, as in sign:1e-6."""

    def __init__(self, parameters: Iterable[torch.Tensor], text: str = "0") -> None:
        super().__init__(parameters, {"lr": 0.01, "least": float(text)})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; the agent sets `lr` before each."""
        assert closure is None
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    moves = tensor.grad.abs() > group["least"]
                    tensor.sub_(group["lr"] * tensor.grad.sign() * moves)
