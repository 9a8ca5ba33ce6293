"""The personal model of an agent as a module that stands by itself: what predicts, and what is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from peer.batch_norms import with_ordinary_layers
from peer.data.inputs import Inputs, applied
from peer.errors import ProblemError
from peer.module_copies import copy_sharing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.personalization.composition import Composition

    Named = Mapping[str, Tensor]


class PersonalModule(nn.Module):
    """Inputs (n, ...) to personal outputs (n, ...), from copies of all that they depend on, in main memory.

    Adapters and own copies are merged into the weights, which is exact: they are what the module computes
    with. What changes outputs is applied to them. Its state has

        learners.K.NAME   of the module, NAME as in the state of the module; K is 0 without a mixture
        personal.NAME     hyperparameters that outputs depend on, such as personal.logits.bias

    Called in several threads at once it is still right: no call changes anything.
    """

    def __init__(
        self, module: nn.Module, composition: Composition, parameters: Named, hyperparameters: Named
    ) -> None:
        """`parameters`: what `composition.personal` gives. The module must not be computed with meanwhile.

        Raises `ProblemError` if the module cannot be copied.
        """
        super().__init__()
        self.learners = nn.ModuleList(_with(module, own) for own in composition.by_learner(parameters))
        self.personal = nn.Module()
        self._names = [name for part in composition.finishing for name in part.hyperparameters]
        for name in self._names:
            _put(self.personal, name, hyperparameters[name].detach().cpu().clone())
        self._finished = composition.finished
        first = [] if len(self.learners) > 1 else ["y = y_0"]
        found = [part.formula for part in composition.finishing]  # "" for one that has none
        self.formulas = [*first, *found]

    def forward(self, inputs: Inputs) -> Tensor:
        """Personal outputs."""
        own = {name: self.personal.get_buffer(name) for name in self._names}
        return self._finished([applied(learner, inputs) for learner in self.learners], own)


def _with(module: nn.Module, parameters: Named) -> nn.Module:
    """A copy of the module with these parameters, which learns no more; what is frozen is shared with it."""
    frozen = [one for one in module.parameters() if not one.requires_grad and one.device.type == "cpu"]
    try:
        found = copy_sharing(module, frozen)
    except Exception as error:  # whatever it is, it is of the user's own module
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ProblemError(f"{type(module).__name__} cannot be copied: {told}") from error
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name in parameters:
                parameter.copy_(parameters[name])
    return with_ordinary_layers(found.cpu()).requires_grad_(False)


def _put(holder: nn.Module, name: str, tensor: Tensor) -> None:
    """As a buffer, whose name has a module for every word before the last."""
    *path, last = name.split(".")
    for word in path:
        if not hasattr(holder, word):
            holder.add_module(word, nn.Module())
        holder = holder.get_submodule(word)
    holder.register_buffer(last, tensor)
