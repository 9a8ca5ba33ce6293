"""What steps an agent's model or hyperparameters: descent, a class of `torch.optim`, a part of others.

`adam`, or with arguments of the class: `rmsprop:alpha=0.9,eps=1e-6`. The learning rate is the agent's: before
each step it is set to `model_step_size`, or `hyper_step_size`.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from peer.errors import SettingError
from peer.extensions import find, names
from peer.extensions.installed import checked
from peer.plain_trees import from_snapshot, to_snapshot
from peer.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from peer.settings import AgentSettings

    MakeOptimizer: TypeAlias = Callable[[list[Tensor]], torch.optim.Optimizer]

DESCENT: Final = "descent"
POINT: Final = "hyper_optimizer"  # of `peer.extensions`, for both levels
RATE: Final = 0.001  # of the model, where it is left open: that of torch's classes
TRIED: Final = 0.5  # a learning rate, to see what an optimizer does
SETTLING: Final = 300  # steps along a zero gradient, after which it has to stand still
STILL: Final = 0.05  # of its first step
CLASSES: Final = {
    name.lower(): found
    for name, found in vars(torch.optim).items()
    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and name != "Optimizer"
}


def optimizer_maker(text: str, field: str = POINT) -> MakeOptimizer | None:
    """Makes the optimizer of this name for a list of tensors; None: plain descent.

    It has been tried on two tensors. Raises `SettingError` for an unknown name, for arguments that the class
    does not take, for one that steps only if it may evaluate losses by itself, and for one that moves where
    the gradient is zero, as weight decay does: the answer would not be that of the losses.
    """
    if text == DESCENT:
        return None
    name, _, given = text.partition(":")
    maker: Callable[..., Any] | None = CLASSES.get(name)
    if maker is not None:
        made: MakeOptimizer = partial(maker, **_arguments(field, text, given))
    else:
        maker = find(POINT, name)
        if maker is None:
            known = ", ".join([DESCENT, *sorted(CLASSES), *names(POINT)])
            raise SettingError(field, text, f"give one of {known}")
        made = partial(maker, given) if given else maker
    _try(field, text, made)
    return made


class ModelSteps:
    """`peer.inner_optimizer.InnerOptimizer` by a `torch.optim` class, for a flat vector of these shapes.

    It sees tensors in the shapes of the model's, in float64, so that those that treat matrices as such can.
    """

    def __init__(self, make: MakeOptimizer, shapes: Sequence[torch.Size]) -> None:
        size = sum(shape.numel() for shape in shapes)
        self.origin = torch.zeros(size, dtype=torch.float64)
        self.direction = torch.zeros_like(self.origin)
        self._way = torch.zeros_like(self.origin)
        self._tensors = _shaped(self._way, shapes)
        self._optimizer = make(self._tensors)
        self._gradients = torch.zeros_like(self.origin)
        for tensor, gradient in zip(self._tensors, _shaped(self._gradients, shapes), strict=True):
            tensor.grad = gradient

    def step(self, point: Tensor, size: float, target: Tensor) -> None:
        """As in the protocol: the way of a step from zero, since a step does not depend on where one is."""
        torch.neg(self.direction, out=self._gradients)
        self._way.zero_()
        _set_rate(self._optimizer, float(size))
        self._optimizer.step()
        torch.add(point, self._way, out=target)

    def snapshot(self) -> Snapshot[Tensor]:
        """As in the protocol."""
        kept = to_snapshot(self._optimizer.state_dict()["state"])
        named: Snapshot[Tensor] = Snapshot({}, {"class": type(self._optimizer).__name__})
        return named.within("state", kept)

    def restore(self, snapshot: Snapshot[Tensor]) -> None:
        """As in the protocol."""
        kept, has = snapshot.values.get("class"), type(self._optimizer).__name__
        if kept != has:
            raise SnapshotError(f"the checkpoint's optimizer of the model is {kept}, that of the agent {has}")
        groups = self._optimizer.state_dict()["param_groups"]
        state = from_snapshot(snapshot.part("state"))
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})


def model_steps(
    settings: AgentSettings, shapes: Sequence[torch.Size]
) -> tuple[ModelSteps | None, AgentSettings]:
    """What steps a model of these shapes, None for plain descent; and the settings with its learning rate."""
    make = optimizer_maker(settings.optimizer, "optimizer")
    if make is None:
        return None, settings
    if settings.model_step_size is None:
        settings = replace(settings, model_step_size=RATE)
    return ModelSteps(make, shapes), settings


def _shaped(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Views."""
    parts = torch.split(flat, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _arguments(field: str, text: str, given: str) -> dict[str, object]:
    """`eps=1e-6,amsgrad=True` as keyword arguments."""
    found: dict[str, object] = {}
    for part in filter(None, given.split(",")):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            remedy = f"write {part!r} as an argument and its value, such as eps=1e-6"
            raise SettingError(field, text, remedy) from error
        if name.strip() in ("lr", "params", "maximize", "differentiable"):
            raise SettingError(field, text, f"leave {name.strip()} out: the agent sets it")
    return found


def _try(field: str, text: str, make: MakeOptimizer) -> None:
    """Steps along zero gradients, before and after one along another. Raises `SettingError`."""
    tensors = [torch.ones(2, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)]
    before = [tensor.clone() for tensor in tensors]
    try:
        optimizer = checked(POINT, text, make(tensors))
        _step(optimizer, tensors, 0.0)
        stays = all(map(torch.equal, tensors, before))
        _step(optimizer, tensors, 1.0)
        first = _far(tensors, before)
        for _ in range(SETTLING):
            before = [tensor.clone() for tensor in tensors]
            _step(optimizer, tensors, 0.0)
        last = _far(tensors, before)
    except SettingError as error:
        raise SettingError(field, text, error.remedy) from error
    except Exception as error:  # it is of torch or of others, and this is how it is known to fit
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError(field, text, f"it cannot step two tensors by their gradients: {told}") from error
    if not stays:
        remedy = "it moves where the gradient is zero; leave out weight decay, a loss can have it"
        raise SettingError(field, text, remedy)
    if not 0 < first < float("inf"):
        raise SettingError(field, text, "a step along a gradient of ones leads nowhere; give another")
    if not last < STILL * first:
        remedy = f"it has not come to rest {SETTLING} steps after the gradient is zero; give less momentum"
        raise SettingError(field, text, remedy)


def _far(tensors: Iterable[Tensor], before: Iterable[Tensor]) -> float:
    return sum(float((tensor - was).norm()) for tensor, was in zip(tensors, before, strict=True))


def _step(optimizer: torch.optim.Optimizer, tensors: Iterable[Tensor], gradient: float) -> None:
    _set_rate(optimizer, TRIED)
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, gradient)
    optimizer.step()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
