"""What the three sets of samples of a `peer.ModuleProblem` hold, and lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from peer.data.inputs import tensors_of
from peer.findings import Finding, Level, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from peer.data.inputs import Samples
    from peer.module_problem import ModuleProblem

VALIDATION_FEW = 30  # what is personal is learned from these alone
LARGE = 30.0  # deviation of the inputs, from which steps have to be short
ALIKE = 1e-6  # of inputs that tell nothing apart


def samples(problem: ModuleProblem) -> Iterator[Finding]:
    """Counts, scales, and classes that are in one set and not in another."""
    sets = problem.sets
    counts = ", ".join(f"{name} {len(targets)}" for name, (_, targets) in sets.items())
    few = len(problem.validation_set[1]) < VALIDATION_FEW
    yield Finding(
        Level.NOTE if few else Level.OK,
        "few samples to learn from what is personal" if few else "samples",
        counts,
        f"give {VALIDATION_FEW} validation samples or more, if there are any" if few else "",
    )
    for name, inputs in tensors_of(sets["train"][0]).items():
        if inputs.is_floating_point():
            yield from _scale(name, inputs)
    if problem.classes is not None:
        yield from _classes(sets, problem.classes)
    if problem.test_set is None:
        yield Finding(
            Level.NOTE,
            "no test samples",
            "whether learning together is better than alone will not be known",
            "give test samples to all agents",
        )


def missing(problem: ModuleProblem) -> Iterator[Finding]:
    """Numbers that are none: in which set, in which columns, in how many rows."""
    odd = [
        told
        for name, (inputs, targets) in problem.sets.items()
        for what, tensor in {**tensors_of(inputs), "targets": targets}.items()
        if tensor.is_floating_point() and (told := _rows(f"{name} {what}", tensor))
    ]
    if odd:
        yield Finding(
            Level.PROBLEM,
            "infinite or missing values",
            listed(odd),
            "fill them in, and say with a column of its own where they were missing",
        )


def _rows(name: str, tensor: Tensor) -> str:
    """How many of its rows have one that is not finite, and in which columns; "" if none has."""
    odd = ~torch.isfinite(tensor.reshape(len(tensor), -1))
    rows = int(odd.any(dim=1).sum())
    if not rows:
        return ""
    columns = [str(column) for column in odd.any(dim=0).nonzero().flatten().tolist()]
    where = f", column{'s' * (len(columns) > 1)} {listed(columns)} counted from 0" if tensor.ndim == 2 else ""
    return f"{name} in {rows} of {len(tensor)} rows{where}"


def _scale(name: str, inputs: Tensor) -> Iterator[Finding]:
    deviation = float(inputs.to(torch.float64).std()) if inputs.numel() > 1 else 0.0
    if deviation > LARGE:
        yield Finding(
            Level.NOTE,
            f"{name} are large numbers",
            f"deviation {deviation:.3g}",
            "divide them by it: steps have to be short, and learning takes long",
        )
    elif deviation < ALIKE * (1.0 + float(inputs.abs().max())):
        yield Finding(
            Level.PROBLEM, f"all {name} are alike", f"deviation {deviation:.3g}", "look at the data"
        )


def _classes(sets: Mapping[str, Samples], outputs: int) -> Iterator[Finding]:
    found: dict[str, set[int]] = {name: set(targets.tolist()) for name, (_, targets) in sets.items()}
    beyond = sorted({label for labels in found.values() for label in labels if not 0 <= label < outputs})
    if beyond:
        yield Finding(
            Level.PROBLEM,
            f"classes that the {outputs} outputs cannot tell",
            listed(map(str, beyond)),
            f"number classes from 0 to {outputs - 1}, or give the module more outputs",
        )
    unlearned = sorted((found["validation"] | found.get("test", set())) - found["train"])
    if unlearned:
        yield Finding(
            Level.NOTE,
            "classes that this agent is asked for and has no training samples of",
            listed(map(str, unlearned)),
            "others may have some; if nobody has, draw each set from all classes",
        )
    unheard = sorted(found["train"] - found["validation"])
    if unheard:
        yield Finding(
            Level.NOTE,
            "classes that no validation sample is of",
            listed(map(str, unheard)),
            "what is personal will forget them; draw validation samples from all classes",
        )
    if not beyond and not unlearned and not unheard:
        yield Finding(Level.OK, "each set has all classes of the others", f"{len(found['train'])} classes")
