"""An exported file is kept only if it says what the agent says. An edge: the file system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from peer.errors import ProblemError
from peer.exporting.torch_export import told
from peer.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from peer.exporting.facts import Facts
    from peer.exporting.formats import Format
    from peer.personal_module import PersonalModule

ROUNDING: Final = 100  # times the spacing of float32 at the largest output: sums in another order, no more
BATCHES: Final = (1, 2, 7)  # samples at a time, before all the rest at once


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the outputs of a file with the agent's own."""

    difference: float  # the largest
    largest: float  # of the agent's own outputs
    samples: int
    file_bytes: int

    @property
    def allowed(self) -> float:
        """What is still rounding."""
        return ROUNDING * torch.finfo(torch.float32).eps * max(1.0, self.largest)


def export(
    way: Format,
    module: PersonalModule,
    facts: Facts,
    path: Path,
    *,
    own: Callable[[Tensor], Tensor],
    inputs: Tensor,
) -> Comparison:
    """Write `path`, if what is written gives the outputs that `own` gives, in batches of several sizes.

    Raises `ProblemError` if it does not, or if the module cannot be written so; `path` stays as it was then.
    """
    with whole_file(path) as part:
        way.write(module, facts, part)
        try:
            found = compare(way.read(part, module), own, inputs, part.stat().st_size)
        except ProblemError:
            raise
        except Exception as error:  # runtimes raise many kinds: whatever it is, it is what was written
            raise ProblemError(f"what was written does not run: {told(error)}; no file is kept") from error
        if not found.difference <= found.allowed:  # NaN neither
            apart = f"by {found.difference:.3g}, where rounding explains {found.allowed:.1g}"
            raise ProblemError(
                f"what was written differs from the agent's own outputs {apart}; no file is kept"
            )
    return found


def compare(
    written: Callable[[Tensor], Tensor], own: Callable[[Tensor], Tensor], inputs: Tensor, file_bytes: int
) -> Comparison:
    """The largest difference over all these inputs.

    Raises `ProblemError` if the agent's own outputs are not finite, or those of the file of another shape.
    """
    difference = largest = 0.0
    with torch.no_grad():
        for rows in _batches(inputs):
            expected = own(rows)
            if not bool(torch.isfinite(expected).all()):
                raise ProblemError("the agent's own outputs are not finite; let it learn, or start it anew")
            there = written(rows)
            if there.shape != expected.shape:
                shapes = f"{tuple(there.shape)} in the place of {tuple(expected.shape)}"
                raise ProblemError(f"what was written gives outputs of shape {shapes}; no file is kept")
            apart = (there.to(torch.float64) - expected.to(torch.float64)).abs().max()
            difference = float(torch.maximum(apart, apart.new_tensor(difference)))  # NaN stays
            largest = max(largest, float(expected.abs().max()))
    return Comparison(difference, largest, len(inputs), file_bytes)


def _batches(inputs: Tensor) -> Iterator[Tensor]:
    start = 0
    for count in (*BATCHES, len(inputs)):
        if start < len(inputs):
            yield inputs[start : start + count]
        start += count
