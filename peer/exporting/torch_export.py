"""The format torch-export: a program of `torch.export`, for `torch.export.load`."""

from __future__ import annotations

import io
import json
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from peer.exporting.facts import Facts
    from peer.personal_module import PersonalModule

FACTS: Final = "hyperpush.json"  # among the extra files of the program
TOLD_MAX: Final = 300  # characters of what torch says
SHOWN: Final = 3  # samples that a program is traced with: neither 0 nor 1, which torch takes for constants


def traced(module: PersonalModule, facts: Facts) -> torch.export.ExportedProgram:
    """The program of this module, for any number of samples.

    It is traced with zeros, not with samples, because a program keeps what it was traced with; where the code
    of the module stood on this machine is taken out. Raises `ProblemError` for a module that depends on
    values, or on the number of samples.
    """
    inputs = torch.zeros((SHOWN, *facts.form.shape), dtype=facts.form.dtype)
    shapes = ({0: torch.export.Dim("n")},)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch tells of its own future
            program = torch.export.export(module, (inputs,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises many kinds; whatever it is, it is of the user's own module
        what = f"the module cannot be exported for any number of samples: {told(error)}"
        remedy = "take that out of its forward, or give --format safetensors, which has its tensors only"
        raise ProblemError(f"{what}; {remedy}") from error
    for part in program.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


def write(module: PersonalModule, facts: Facts, path: Path) -> None:
    """Raises `ProblemError`."""
    program = traced(module, facts)
    written = io.BytesIO()
    torch.export.save(program, written, extra_files={FACTS: json.dumps(facts.to_text())})
    path.write_bytes(written.getvalue())


def read(path: Path, module: PersonalModule) -> Callable[[Tensor], Tensor]:
    """What the file computes, on its own."""
    del module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.export.load(io.BytesIO(path.read_bytes()))
    found: Callable[[Tensor], Tensor] = program.module()
    return found


def told(error: Exception) -> str:
    """The beginning of what somebody else's error says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:TOLD_MAX]
