"""How good outputs are on test samples: accuracies, what somebody brings, and R² of what is no class."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from peer.data.inputs import each, rows_of
from peer.errors import ProblemError

if TYPE_CHECKING:
    from peer.data.inputs import Inputs, Samples

ACCURACY: Final = "accuracy"
TRIED: Final = 64  # test samples on which metrics are tried
ROWS: Final = 4096  # test samples that are computed with at once

Plain = Callable[[Tensor, Tensor], Any]  # outputs and targets of all test samples -> one number


@runtime_checkable
class Accumulating(Protocol):
    """A metric as torchmetrics has them."""

    def update(self, outputs: Tensor, targets: Tensor, /) -> object:
        """Take some samples."""

    def compute(self) -> Any:
        """The number, over all samples since the last reset."""

    def reset(self) -> object:
        """Forget them."""


Metric = Plain | Accumulating


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest output is the target."""
    return float((outputs.argmax(dim=1) == targets).to(torch.float64).mean())


def r2(outputs: Tensor, targets: Tensor) -> float:
    """1 - squared misses / squared deviations from the mean of each output; NaN where targets are equal."""
    misses = (targets - outputs).to(torch.float64).square().sum()
    deviations = (targets - targets.mean(0)).to(torch.float64).square().sum()
    return float(1 - misses / deviations) if deviations > 0 else math.nan


def measured(name: str, metric: Metric, outputs: Tensor, targets: Tensor) -> float:
    """What the metric says. Raises `ProblemError` if that is not one number."""
    if isinstance(metric, Accumulating):
        metric.reset()
        metric.update(outputs, targets)
        found = metric.compute()
        metric.reset()
    else:
        found = metric(outputs, targets)
    if isinstance(found, Tensor) and found.numel() == 1:
        found = found.item()
    if isinstance(found, bool) or not isinstance(found, int | float):
        shape = (
            f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        )
        raise ProblemError(f"the metric {name} gives {shape}; let it give one number, such as an average")
    return float(found)


def chosen(
    given: Mapping[str, Metric] | None, test: Samples | None, predict: Callable[[Inputs], Tensor]
) -> dict[str, Metric]:
    """The metrics of these samples: accuracy for classes, and those given; R² where nothing is given.

    All are tried on a few of the samples. Those that accumulate are copied: agents of one process, each in a
    thread, would mix theirs. Raises `ProblemError` naming a metric that cannot be used.
    """
    if test is None:
        if given:
            raise ProblemError(f"metrics has {', '.join(given)}, but there are no test samples; give some")
        return {}
    inputs, targets = rows_of(test, slice(TRIED))
    with torch.no_grad():
        outputs = predict(inputs).to(targets.device)
    found = {
        name: copy.deepcopy(metric) if isinstance(metric, Accumulating) else metric
        for name, metric in (given or {}).items()
    }
    for name, metric in found.items():
        if name in (ACCURACY, "shared", "personal"):
            raise ProblemError(f"metrics has {name!r}, which is there for classes; give it another name")
        try:
            measured(name, metric, outputs, targets)
        except ProblemError:
            raise
        except Exception as error:  # whatever it is, it is of the user's own code
            told = " ".join(f"{type(error).__name__}: {error}".split())
            shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} {targets.dtype}"
            raise ProblemError(f"the metric {name} fails for {shapes}: {told}") from error
    if not targets.is_floating_point() and targets.dim() == 1:
        return {ACCURACY: accuracy, **found}
    if given is None and targets.is_floating_point() and targets.shape == outputs.shape:
        return {"r2": r2}
    return found


def scores(metrics: Mapping[str, Metric], outputs: Mapping[str, Tensor], targets: Tensor) -> dict[str, float]:
    """`shared` and `personal` of each, NAME.shared but for accuracies; NaN where there are no outputs."""
    return {
        which if name == ACCURACY else f"{name}.{which}": (
            measured(name, metric, outputs[which], targets) if which in outputs else math.nan
        )
        for name, metric in metrics.items()
        for which in ("shared", "personal")
    }


def in_pieces(forward: Callable[[Inputs], Tensor], inputs: Inputs, count: int) -> Tensor:
    """Outputs for so many samples, ROWS of them at a time, without a graph."""
    with torch.no_grad():
        if count <= ROWS:
            return forward(inputs)
        pieces = (slice(start, start + ROWS) for start in range(0, count, ROWS))
        return torch.cat([forward(each(inputs, lambda tensor: tensor[rows])) for rows in pieces])  # noqa: B023  (called at once)
