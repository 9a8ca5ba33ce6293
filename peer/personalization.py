"""What is personal about a personal model: hyperparameters, which everybody's validation loss teaches.

A personalization says what its hyperparameters are and how they change the outputs of the shared model. Both
losses and the prediction see the changed outputs; the shared model is fitted by everybody under their own
hyperparameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    Named = Mapping[str, Tensor]


class Personalization(Protocol):
    """A way to make a shared model personal."""

    def hyperparameters(self, outputs: Tensor) -> Named:
        """Initial hyperparameters, for outputs of shape (samples, outputs); with them nothing is changed."""

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        """The personal outputs, of the same shape; twice differentiable in both arguments."""


class NoPersonalization:
    """Everybody uses the shared model as it is."""

    def hyperparameters(self, outputs: Tensor) -> Named:  # noqa: ARG002  (there are none)
        """None."""
        return {}

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:  # noqa: ARG002  (there are none)
        """The same outputs."""
        return outputs


class OutputBias:
    """A personal bias on every output: what is common here and rare elsewhere."""

    def hyperparameters(self, outputs: Tensor) -> Named:
        """`bias`, zeros of shape (outputs,)."""
        return {"bias": torch.zeros_like(outputs[0])}

    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        """Outputs plus bias."""
        return outputs + hyperparameters["bias"]


PERSONALIZATIONS: Mapping[str, Callable[[], Personalization]] = {
    "none": NoPersonalization,
    "bias": OutputBias,
}


def personalization(name: str) -> Personalization:
    """The personalization of this name. Raises `SettingError` listing the known ones."""
    try:
        return PERSONALIZATIONS[name]()
    except KeyError:
        raise SettingError("personalization", name, f"give one of {', '.join(PERSONALIZATIONS)}") from None
