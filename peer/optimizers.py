"""What steps an agent's model or hyperparameters: descent, a class of `torch.optim`, a part of others.

`adam`, or with arguments of the class: `rmsprop:alpha=0.9,eps=1e-6`. The learning rate is the agent's: before
each step it is set to `model_step_size`, or `hyper_step_size`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from peer.errors import SettingError
from peer.extensions import find, names
from peer.extensions.installed import check_takes_text, checked
from peer.plain_trees import from_snapshot, to_snapshot
from peer.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from peer.settings import AgentSettings
    from peer.snapshot import Plain

    MakeOptimizer: TypeAlias = Callable[[list[Tensor]], torch.optim.Optimizer]

DESCENT: Final = "descent"
POINT: Final = "optimizer"  # of `peer.extensions`, for both levels
HYPER: Final = "hyper_optimizer"  # the setting of that of the hyperparameters
RATE: Final = 0.001  # of the model, where it is left open: that of torch's classes
TRIED: Final = 0.5  # a learning rate, to see what an optimizer does
STEADY: Final = 20  # steps, until those of one gradient are of one length
SLOWER: Final = 0.01  # another rate
SETTLING: Final = 300  # steps along a zero gradient, after which it has to stand still
STILL: Final = 0.05  # of its first step
OTHERS: Final = ("Optimizer", "LBFGS", "SparseAdam", "Muon")  # for closures, sparse gradients, matrices only
CLASSES: Final = {
    name.lower(): found
    for name, found in vars(torch.optim).items()
    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and name not in OTHERS
}


def optimizer_maker(text: str, field: str = HYPER) -> MakeOptimizer | None:
    """Makes the optimizer of this name for a list of tensors; None: plain descent.

    It has been tried on two tensors. Raises `SettingError` for an unknown name, for arguments that the class
    does not take, for one that moves where the gradient is zero, as weight decay does (the answer would not
    be that of the losses), for one that has a will of its own about the rate, as Rprop has, and for the model
    (`field` "optimizer") for one whose steps depend on where they begin, as Adafactor's do.
    """
    if text == DESCENT:
        return None
    name, colon, given = text.partition(":")
    if name in CLASSES:
        return _of_torch(text, field)
    try:
        maker = find(POINT, name)
    except SettingError as error:
        raise SettingError(field, text, error.remedy) from error
    if maker is None:
        known = ", ".join([DESCENT, *sorted(CLASSES), *names(POINT)])
        raise SettingError(field, text, f"give one of {known}")
    if colon:
        check_takes_text(field, text, maker)
    made: MakeOptimizer = partial(maker, text=given) if colon else maker
    try_steps(field, text, made)
    return made


@functools.cache
def _of_torch(text: str, field: str) -> MakeOptimizer:
    """Tried once, however many agents have it."""
    name, _, given = text.partition(":")
    kind: Callable[..., torch.optim.Optimizer] = CLASSES[name]
    made: MakeOptimizer = partial(kind, **_arguments(field, text, given))
    try_steps(field, text, made)
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
        named: Snapshot[Tensor] = Snapshot({}, {"of": told_of(self._optimizer)})
        return named.within("state", kept)

    def restore(self, snapshot: Snapshot[Tensor]) -> None:
        """As in the protocol."""
        check_alike(snapshot.values.get("of"), self._optimizer, "the model")
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
    """`eps=1e-6,betas=(0.9,0.99)` as keyword arguments."""
    remedy = "write arguments as in Python, such as adam:betas=(0.9,0.99),eps=1e-6"
    try:
        call = ast.parse(f"f({given})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args:
            raise SettingError(field, text, remedy)
        found = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (ValueError, SyntaxError, AssertionError) as error:
        raise SettingError(field, text, remedy) from error
    for name in found:
        if name in ("lr", "params", "maximize", "differentiable"):
            raise SettingError(field, text, f"leave {name} out: the agent sets it")
    return found


def _options(optimizer: torch.optim.Optimizer) -> dict[str, str]:
    """What it was made with, but for the rate; of one group, as there is only one."""
    return {
        name: repr(value)
        for name, value in optimizer.param_groups[0].items()
        if name not in ("params", "lr", "initial_lr")
    }


def check_alike(kept: object, optimizer: torch.optim.Optimizer | None, whose: str) -> None:
    """Whether what was kept of `told_of` an optimizer is of this one. Raises `SnapshotError`."""
    own = told_of(optimizer)
    if not isinstance(kept, dict) or not isinstance(own, dict):
        if kept != own:
            had, has = (("an optimizer" if one else "none") for one in (kept, own))
            raise SnapshotError(f"for {whose} the checkpoint has {had}, the agent {has}")
        return
    for name in sorted(set(kept) & set(own)):
        if kept[name] != own[name]:
            told = f"{name} {kept[name]} in the checkpoint, {own[name]} at the agent"
            raise SnapshotError(f"the optimizer of {whose} has {told}")


def told_of(optimizer: torch.optim.Optimizer | None) -> dict[str, Plain] | None:
    """Its class and options, as JSON can hold them; None of plain descent."""
    if optimizer is None:
        return None
    return {"class": type(optimizer).__name__, **_options(optimizer)}


class _Trial:
    """Steps of one optimizer on two tensors."""

    def __init__(self, make: MakeOptimizer, text: str, begin: float = 1.0) -> None:
        self.tensors = [torch.full(shape, begin, dtype=torch.float64) for shape in ((2,), (2, 3))]
        self._optimizer: torch.optim.Optimizer = checked(POINT, text, make(self.tensors))
        self.decay = self._optimizer.param_groups[0].get("weight_decay", 0)

    def way(self, gradient: float, rate: float = TRIED) -> float:
        """How far one step goes."""
        before = [tensor.clone() for tensor in self.tensors]
        _set_rate(self._optimizer, rate)
        for tensor in self.tensors:
            tensor.grad = torch.full_like(tensor, gradient)
        self._optimizer.step()
        return sum(float((one - was).norm()) for one, was in zip(self.tensors, before, strict=True))


def try_steps(field: str, text: str, make: MakeOptimizer) -> None:
    """Steps along zero gradients and others, at rates and from places of its own. Raises `SettingError`.

    `field` is HYPER, or POINT for the model; `text` is by what people know it.
    """
    try:
        trial = _Trial(make, text)
        drift = trial.way(0.0)
        first = trial.way(1.0)
        rest = [trial.way(0.0) for _ in range(SETTLING)][-1]
        slow = _Trial(make, text)
        fast = [slow.way(1.0) for _ in range(STEADY)][-1]
        slowed = [slow.way(1.0, TRIED * SLOWER) for _ in range(STEADY)][-1]
        elsewhere = [_Trial(make, text, begin) for begin in (1.0, 100.0)]
        near, far = ([one.way(1.0) for _ in range(STEADY)][-1] for one in elsewhere)
    except SettingError as error:
        raise SettingError(field, text, error.remedy) from error
    except Exception as error:  # it is of torch or of others, and this is how it is known to fit
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError(field, text, f"it cannot step two tensors by their gradients: {told}") from error
    for holds, remedy in (
        (not (drift and trial.decay), f"write {text.partition(':')[0]}:weight_decay=0: a loss can have it"),
        (not drift, "it moves where the gradient is zero"),
        (0 < first < math.inf, "a step along a gradient of ones leads nowhere; give another"),
        (
            rest < STILL * first,
            f"it has not come to rest {SETTLING} steps after the gradient is zero; give less momentum",
        ),
        (slowed < fast / 2, "it does not follow the learning rate that the agent sets; give another"),
        (
            field == HYPER or math.isclose(near, far, rel_tol=1e-6),
            "its steps depend on where the model is, and each agent is elsewhere; give another",
        ),
    ):
        if not holds:
            raise SettingError(field, text, remedy)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
