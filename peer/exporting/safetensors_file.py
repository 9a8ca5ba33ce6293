"""The format safetensors: all tensors that outputs depend on, and in words how.

    learners.K.NAME   state of the module, NAME as `module.load_state_dict` wants it; of every learner of a
                      mixture, K from 0; without one, of learner 0. What is personal about weights is merged
    personal.NAME     what outputs are changed by, such as personal.logits.bias

The metadata have a formula: y_k are outputs of the module with the tensors of learner k, y the personal ones,
and what is called NAME there is the tensor personal.NAME.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import safetensors.torch
from torch import Tensor

from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from peer.exporting.facts import Facts
    from peer.personal_module import PersonalModule


def write(module: PersonalModule, facts: Facts, path: Path) -> None:
    """Raises `ProblemError` if a personalization of somebody's own does not say what it does to outputs."""
    if not all(facts.formulas):
        raise ProblemError(
            f"{facts.personalization} changes outputs, and gives no formula that tensors could come with: "
            "set `formula` on its part, or give --format torch-export"
        )
    state = module.state_dict()  # tensors of it may share memory, which the format does not know
    others = [name for name, kept in state.items() if not isinstance(kept, Tensor)]
    if others:
        raise ProblemError(f"its state has {others[0]}, which is no tensor; give --format torch-export")
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    path.write_bytes(safetensors.torch.save(tensors, metadata=facts.to_text()))


def read(path: Path, module: PersonalModule) -> Callable[[Tensor], Tensor]:
    """What a module of this kind computes with the tensors of the file, and with nothing of its own."""
    found = copy.deepcopy(module)
    for tensor in found.state_dict().values():
        tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
    found.load_state_dict(safetensors.torch.load(path.read_bytes()))
    return found
