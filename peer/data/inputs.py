"""Inputs of samples: one tensor, or several that belong together, as a module takes them.

    Tensor             module(inputs)
    tuple of tensors   module(*inputs)
    dict of tensors    module(**inputs)

Row i of all of them, and of the targets, is sample i.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from peer.errors import ProblemError

if TYPE_CHECKING:
    from torch import nn

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
Samples = tuple[Inputs, Tensor]  # inputs, each (n, ...), and targets (n, ...)


def tensors_of(inputs: Inputs) -> dict[str, Tensor]:
    """All of them by what people call them: `inputs`, `inputs[0]`, `inputs['mask']`."""
    if isinstance(inputs, Tensor):
        return {"inputs": inputs}
    if isinstance(inputs, Mapping):
        return {f"inputs[{name!r}]": tensor for name, tensor in inputs.items()}
    return {f"inputs[{place}]": tensor for place, tensor in enumerate(inputs)}


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return tuple(change(tensor) for tensor in inputs)


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """On this device; not copied where they are there."""
    return each(inputs, lambda tensor: tensor.to(device))


def rows_of(samples: Samples, rows: Tensor | slice) -> Samples:
    """Some of these samples."""
    inputs, targets = samples
    return each(inputs, lambda tensor: tensor[rows]), targets[rows]


def joined(one: Samples, other: Samples) -> Samples:
    """These samples and then those, which are alike."""
    following = iter(tensors_of(other[0]).values())
    inputs = each(one[0], lambda tensor: torch.cat([tensor, next(following)]))
    return inputs, torch.cat([one[1], other[1]])


def called(module: nn.Module, tensors: Mapping[str, Tensor], inputs: Inputs) -> object:
    """What the module makes of them with these tensors in the place of its own."""
    if isinstance(inputs, Mapping):
        return torch.func.functional_call(module, dict(tensors), (), dict(inputs))
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    return torch.func.functional_call(module, dict(tensors), arguments)


def applied(module: nn.Module, inputs: Inputs) -> Tensor:
    """What the module makes of them with tensors of its own; it must be one tensor."""
    if isinstance(inputs, Tensor):
        found = module(inputs)
    else:
        found = module(**inputs) if isinstance(inputs, Mapping) else module(*inputs)
    assert isinstance(found, Tensor)
    return found


def one_tensor(inputs: Inputs, asker: str) -> Tensor:
    """The inputs, which must be one tensor. Raises `ProblemError` for the asker."""
    if isinstance(inputs, Tensor):
        return inputs
    told = f"{asker} takes inputs that are one tensor; here they are {', '.join(tensors_of(inputs))}"
    raise ProblemError(f"{told}; put them into one, and take it apart in the module")


def described(inputs: Inputs) -> str:
    """Shapes and dtypes, for errors."""
    return ", ".join(
        f"{name} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors_of(inputs).items()
    )
