"""Copies of modules that share tensors with what they are copies of."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


def copy_sharing(module: nn.Module, tensors: Iterable[Tensor]) -> nn.Module:
    """A deep copy, but that these parameters and buffers are the same ones in both."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
