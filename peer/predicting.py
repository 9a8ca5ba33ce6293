"""What an agent's personal model is asked and answers: samples in, outputs out. Pure.

Samples come as JSON, {"inputs": [[...], ...]}, or as a .npy array, in the shape of those that the agent
learns from. Numbers become those of its samples if these can hold them; nothing else is converted. Whatever
comes is looked at first: it is finite, it fits, and it takes no more memory than the caps say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import torch

from peer.baselines import never
from peer.data.inputs import one_tensor
from peer.data.npy import read_npy
from peer.errors import ProblemError, SettingError
from peer.fault_words import brief
from peer.jsonable import jsonable
from peer.problem_details import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from peer.data.inputs import Samples

    Named = Mapping[str, Tensor]

BODY_BYTES_MAX: Final = 16 * 2**20  # 21,000 images of 28 x 28 bytes, as .npy
JSON_BYTES_MAX: Final = 2 * 2**20  # to read it takes 20 times as much, and holds all threads
SAMPLES_MAX: Final = 16_384  # at once: many small samples make outputs that are larger than they are
OUTPUTS_MAX: Final = 2**22  # numbers in one answer: 16 MiB of float32
JSON_OUTPUTS_MAX: Final = 2**19  # likewise, as JSON: 10 MiB of text
ROWS: Final = 256  # that are computed with at a time, so that what is between layers stays small
MODULE_TOLD_MAX: Final = 300  # characters of what somebody's own module says
_NUMPY: Final = {torch.bfloat16: "float32"}  # what numpy lacks, and what holds it


@runtime_checkable
class HasPersonalModel(Protocol):
    """A problem whose personal model can be asked, such as `peer.ModuleProblem`."""

    def personal_module(self, model: Named, hyperparameters: Named, local: Named | None = None) -> nn.Module:
        """From inputs (n, ...) to outputs (n, ...); copies, so that learning goes on beside it."""

    @property
    def training_set(self) -> Samples:
        """Inputs and targets; the inputs show what samples are like."""

    @property
    def classes(self) -> int | None:
        """How many the outputs tell apart; None if they are no scores of classes."""


@dataclass(frozen=True, slots=True)
class Form:
    """What one sample is like."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, inputs: Tensor) -> Form:
        """That of these, shape (n, ...)."""
        return cls(tuple(inputs.shape[1:]), inputs.dtype)

    def __str__(self) -> str:
        sides = "".join(f", {side}" for side in self.shape)
        return f"numbers of {str(self.dtype).removeprefix('torch.')} in shape (n{sides})"


@dataclass(frozen=True, slots=True)
class PersonalModel:
    """The personal model of one agent as it was at one tick. Any thread may ask it."""

    peer: str
    tick: int
    epoch: int
    module: nn.Module
    form: Form
    classes: int | None

    def predict(self, inputs: Tensor, stopped: Callable[[], bool] = never) -> Tensor:
        """Outputs for inputs of this form, on the CPU.

        Raises `SettingError` if the module refuses them, `RefusalError` if there would be too many (413), or
        once `stopped`, which is asked now and then, says that nobody waits for them (503).
        """
        found = []
        count = 0
        with torch.no_grad():
            for rows in torch.split(inputs, ROWS):
                if stopped():
                    raise RefusalError(503, "inputs", f"{len(inputs)} samples", "ask again")
                try:
                    found.append(self.module(rows))
                except Exception as error:  # whatever it is, it is of the user's own module
                    told = " ".join(f"{type(error).__name__}: {error}".split())[:MODULE_TOLD_MAX]
                    remedy = f"the agent's module does not take them: {told}"
                    raise SettingError("inputs", str(tuple(inputs.shape)), remedy) from error
                count += found[-1].numel()
                if count > OUTPUTS_MAX:
                    raise _too_many(len(inputs), f"{OUTPUTS_MAX} outputs")
        return torch.cat(found)

    def chosen(self, outputs: Tensor) -> list[int] | None:
        """The class of the largest output for each sample; None if outputs are no scores of classes."""
        if self.classes is None or outputs.dim() != 2:
            return None
        found: list[int] = outputs.argmax(dim=1).tolist()
        return found

    def told(self) -> dict[str, object]:
        """Which model it is, for whoever asked."""
        return {"tick": self.tick, "epoch": self.epoch, "peer": self.peer}


def personal_model(
    problem: object, model: Named, hyperparameters: Named, local: Named, *, peer: str, tick: int, epoch: int
) -> PersonalModel:
    """A copy that stands by itself, of these values. Raises `RefusalError` (501) if the problem has none."""
    kind = type(problem).__name__
    if not isinstance(problem, HasPersonalModel):
        remedy = "it has no model of inputs and outputs to ask: ask an agent whose task has a module"
        raise RefusalError(501, "task", kind, remedy)
    try:
        form = Form.of(one_tensor(problem.training_set[0], "a prediction"))
        module = problem.personal_module(model, hyperparameters, local)
    except ProblemError as error:
        raise RefusalError(501, "task", kind, str(error)) from error
    return PersonalModel(peer, tick, epoch, module, form, problem.classes)


# ---- what is asked


def read_json(body: bytes, form: Form) -> Tensor:
    """The inputs of {"inputs": [...]}. Raises `SettingError`."""
    if len(body) > JSON_BYTES_MAX:
        remedy = f"give at most {JSON_BYTES_MAX} bytes of JSON, or .npy, which may have {BODY_BYTES_MAX}"
        raise RefusalError(413, "body", f"{len(body)} bytes", remedy)
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError):
        raise SettingError("body", brief(body[:40]), 'give JSON such as {"inputs": [[0.5, 1]]}') from None
    if not isinstance(content, dict) or "inputs" not in content:
        remedy = 'give an object such as {"inputs": [[0.5, 1]]}, a list for each sample'
        raise SettingError("body", _kind_of(content), remedy)
    for name in content:
        if name != "inputs":
            raise SettingError(str(brief(name)), _kind_of(content[name]), "there is only inputs")
    numbers: list[int | float] = []
    shape = _gather(content["inputs"], "inputs", numbers, len(form.shape) + 1, form)
    try:
        array = np.array(numbers, dtype=np.float64)
    except OverflowError:
        raise SettingError("inputs", "a number beyond all bounds", _wanted(form)) from None
    return as_inputs(array.reshape(shape), form)


def read_array(body: bytes, form: Form) -> Tensor:
    """The inputs of a .npy file. Raises `SettingError`."""
    try:
        array = read_npy(body)
    except ValueError as error:
        raise SettingError("body", f"{len(body)} bytes", f"it {error}") from None
    return as_inputs(array, form)


def as_inputs(array: NDArray[Any], form: Form) -> Tensor:
    """An array as inputs of this form. Raises `SettingError` naming the first number that does not fit."""
    if array.dtype.kind not in "fiub":
        raise SettingError("inputs", brief(str(array.dtype)), _wanted(form))
    if array.ndim == 0 or array.shape[1:] != form.shape:
        raise SettingError("inputs", brief(f"shape {array.shape}"), _wanted(form))
    if len(array) == 0:
        raise SettingError("inputs", "no samples", "give one or more")
    if len(array) > SAMPLES_MAX:
        raise _too_many(len(array), f"{SAMPLES_MAX} samples")
    wanted = np.dtype(_NUMPY.get(form.dtype, str(form.dtype).removeprefix("torch.")))
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(wanted)
    right = np.isfinite(found) if wanted.kind == "f" else found == array
    if not right.all():
        place = tuple(int(index) for index in np.argwhere(~right)[0])
        where = "".join(f"[{index}]" for index in place)
        raise SettingError(f"inputs{where}", array[place].item(), _range(wanted))
    return torch.from_numpy(np.ascontiguousarray(found)).to(form.dtype)


def _gather(given: object, where: str, numbers: list[int | float], depth: int, form: Form) -> tuple[int, ...]:
    """Put all numbers of nested lists into `numbers`; their shape. Raises `SettingError`."""
    if not isinstance(given, list):
        raise SettingError(where, _kind_of(given), _wanted(form))
    if depth == 1:
        for row, one in enumerate(given):
            if type(one) is not float and type(one) is not int:  # true is no number
                raise SettingError(f"{where}[{row}]", _kind_of(one), _wanted(form))
        numbers += given
        return (len(given),)
    shape: tuple[int, ...] | None = None
    for row, one in enumerate(given):
        found = _gather(one, f"{where}[{row}]", numbers, depth - 1, form)
        if shape is not None and found != shape:
            raise SettingError(f"{where}[{row}]", f"shape {found} after {shape}", _wanted(form))
        shape = found
    return len(given), *(shape or (0,) * (depth - 1))


def _wanted(form: Form) -> str:
    return f"give {form}"


def _range(wanted: np.dtype[Any]) -> str:
    if wanted.kind == "f":
        return f"give finite numbers that {wanted} can hold"
    if wanted.kind == "b":
        return "give 0 or 1"
    limits = np.iinfo(wanted)
    return f"give whole numbers from {limits.min} to {limits.max}"


def _kind_of(value: object) -> object:
    """A value that is not large, or what it is."""
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else brief(value)


def _too_many(samples: int, most: str) -> RefusalError:
    return RefusalError(413, "inputs", f"{samples} samples", f"at most {most} at once: give fewer samples")


# ---- what is answered


def json_content(personal: PersonalModel, outputs: Tensor) -> dict[str, object]:
    """{"outputs", "classes", "model"}; raises `RefusalError` (413) if that would be too long."""
    if outputs.numel() > JSON_OUTPUTS_MAX:
        remedy = f"at most {JSON_OUTPUTS_MAX} outputs as JSON: give fewer samples, or accept .npy"
        raise RefusalError(413, "inputs", f"{len(outputs)} samples", remedy)
    plain = outputs.tolist()
    told = plain if bool(torch.isfinite(outputs).all()) else jsonable(plain)
    return {"outputs": told, "classes": personal.chosen(outputs), "model": personal.told()}
