"""What steps an agent's hyperparameters, by name: plain descent, a class of `torch.optim`, a part of others.

`adam`, or with arguments of the class: `rmsprop:alpha=0.9,eps=1e-6`. The learning rate is the agent's: at
each step it is set to `hyper_step_size`, or to what the agent chooses.
"""

from __future__ import annotations

import ast
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.errors import SettingError
from peer.extensions import find, names
from peer.extensions.installed import checked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    MakeOptimizer: TypeAlias = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

DESCENT: Final = "descent"
FIELD: Final = "hyper_optimizer"
TRIED: Final = 0.5  # a learning rate, to see what an optimizer does
CLASSES: Final = {
    name.lower(): found
    for name, found in vars(torch.optim).items()
    if inspect.isclass(found)
    and issubclass(found, torch.optim.Optimizer)
    and found is not torch.optim.Optimizer
}


def optimizer_maker(text: str) -> MakeOptimizer | None:
    """Makes the optimizer of this name for a list of tensors; None: plain descent.

    It has been tried on two tensors. Raises `SettingError` for an unknown name, for arguments that the class
    does not take, for one that steps only if it may evaluate losses by itself, and for one that moves where
    the hypergradient is zero, as weight decay does: the answer would not be that of the losses.
    """
    if text == DESCENT:
        return None
    name, _, given = text.partition(":")
    maker: Callable[..., Any] | None = CLASSES.get(name)
    if maker is not None:
        made: MakeOptimizer = partial(maker, **_arguments(text, given))
    else:
        maker = find(FIELD, name)
        if maker is None:
            known = ", ".join([DESCENT, *sorted(CLASSES), *names(FIELD)])
            raise SettingError(FIELD, text, f"give one of {known}")
        made = partial(maker, given) if given else maker
    _try(text, made)
    return made


def _arguments(text: str, given: str) -> dict[str, object]:
    """`eps=1e-6,amsgrad=True` as keyword arguments."""
    found: dict[str, object] = {}
    for part in filter(None, given.split(",")):
        name, sign, value = part.partition("=")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            remedy = f"write {part!r} as an argument and its value, such as eps=1e-6"
            raise SettingError(FIELD, text, remedy) from error
        if not sign or name.strip() in ("lr", "params", "maximize", "differentiable"):
            raise SettingError(FIELD, text, f"leave {name.strip()} out: the agent sets it")
    return found


def _try(text: str, make: MakeOptimizer) -> None:
    """One step along a zero hypergradient, and one along another. Raises `SettingError`."""
    tensors = [torch.ones(2, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)]
    before = [tensor.clone() for tensor in tensors]
    try:
        optimizer = checked(FIELD, text, make(tensors))
        _step(optimizer, tensors, 0.0)
        stays = all(map(torch.equal, tensors, before))
        _step(optimizer, tensors, 1.0)
    except SettingError:
        raise
    except Exception as error:  # it is of torch or of others, and this is how it is known to fit
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError(FIELD, text, f"it cannot step two tensors by their gradients: {told}") from error
    if not stays:
        remedy = "it moves where the hypergradient is zero; leave out weight decay, a loss can have it"
        raise SettingError(FIELD, text, remedy)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors) or all(
        map(torch.equal, tensors, before)
    ):
        raise SettingError(FIELD, text, "a step along a hypergradient of ones leads nowhere; give another")


def _step(optimizer: torch.optim.Optimizer, tensors: list[torch.Tensor], gradient: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = TRIED
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, gradient)
    optimizer.step()
