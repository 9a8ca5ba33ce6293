"""What a personalization is: a choice that can be added to others, and the parts that it becomes at an agent.

A part belongs to one stage. Whatever the order in which personalizations are named, an agent's losses go
through the stages in this one:

    parameters   `Adapter`, then `OwnCopy`: what the module computes with
    ensemble     `Ensemble`: several learners, one output
    outputs      `OutputChange`
    losses       `SampleWeighting` and `DecayFactors`: of the training loss only

Parts name their hyperparameters and local variables after themselves, `lora.strength`, so that none collide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from torch import nn

Named = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Ground:
    """What an agent has before it is personal."""

    module: nn.Module
    parameters: Named  # initial values of all that is learned, of every learner
    outputs: Tensor  # of a few training samples, shape (samples, ...)
    targets: Tensor  # of all training samples
    weight_decay: float
    learners: tuple[str, ...] = ("",)  # what the names of each learner's parameters begin with
    taken: frozenset[str] = frozenset()  # parameters that are shared no more
    statistics: frozenset[str] = frozenset()  # parameters that are local variables, whatever is chosen

    def tensors(self, wanted: Callable[[nn.Module], bool]) -> dict[str, list[str]]:
        """Shared tensors of the layers that are wanted, by layer, in the order of registration."""
        found: dict[str, list[str]] = {}
        for layer, part in self.module.named_modules():
            if not wanted(part):
                continue
            names = [f"{layer}.{name}" if layer else name for name, _ in part.named_parameters(recurse=False)]
            full = [learner + name for learner in self.learners for name in names]
            if kept := [name for name in full if name in self.parameters and name not in self.taken]:
                found[layer] = kept
        return found

    def classes(self, asker: str) -> int:
        """How many classes the outputs tell apart. Raises `ProblemError` if they are not of classes."""
        outputs, targets = self.outputs, self.targets
        if outputs.dim() != 2 or targets.dim() != 1 or targets.is_floating_point():
            raise ProblemError(
                f"{asker} is for classes: outputs (samples, classes) and whole targets (samples,); here they "
                f"are {tuple(outputs.shape)} and {tuple(targets.shape)} of {targets.dtype}"
            )
        classes = outputs.shape[1]
        if not 0 <= int(targets.min()) <= int(targets.max()) < classes:
            raise ProblemError(
                f"{asker} is for classes from 0 to {classes - 1}, as many as outputs; targets go from "
                f"{int(targets.min())} to {int(targets.max())}"
            )
        return classes


class Personalization(ABC):
    """A choice of what is personal; holds no numbers of any agent. `a + b` is both.

    Inherit from it for one of your own: `name`, and a `bind` that returns the part of an agent. Those of low
    `precedence` are bound first, as others are to know of it: learners (0), tensors that leave (1).

    At first nothing is changed: at the initial hyperparameters and local variables, outputs and training loss
    are those of the module. One that cannot begin so says `changes_at_first`, as several learners do.
    """

    name: str
    precedence: int = 2
    changes_at_first: bool = False

    @abstractmethod
    def bind(self, ground: Ground) -> Part:
        """The part of one agent. Raises `ProblemError` if its module or data do not allow it."""

    @property
    def chosen(self) -> tuple[Personalization, ...]:
        """All that it is the sum of, in an order that does not depend on how it was written."""
        return (self,)

    def __add__(self, other: Personalization) -> Personalization:
        from peer.personalization.combination import combine

        return combine([*self.chosen, *other.chosen])

    def __str__(self) -> str:
        return self.name


class Part:
    """What one agent has of its own: initial hyperparameters and local inner variables, both maybe empty."""

    def __init__(self, hyperparameters: Named | None = None, local: Named | None = None) -> None:
        self.hyperparameters: Named = hyperparameters or {}
        self.local: Named = local or {}

    def meaning(self, hyperparameters: Named) -> Named:
        """What people are shown of its hyperparameters, by its name: as they are, or what they do."""
        return {name: hyperparameters[name] for name in self.hyperparameters}


class Adapter(Part, ABC):
    """Local variables that shared and local parameters minimise the training loss with, jointly.

    `penalty` must be zero at the initial local variables and must not depend on the shared model, so that
    the joint minimum of one loss is what DESIGN (3) asks for.
    """

    taken: Collection[str] = ()  # tensors that leave the shared model

    @abstractmethod
    def adapt(self, parameters: dict[str, Tensor], local: Named) -> None:
        """Put personal parameters in the place of those that are there, or lacking."""

    @abstractmethod
    def penalty(self, hyperparameters: Named, local: Named) -> Tensor:
        """What their deviation costs."""


class OwnCopy(Part, ABC):
    """An own model beside the shared one, which is fitted as if there were none."""

    @abstractmethod
    def personal(self, parameters: Named, hyperparameters: Named, local: Named) -> Named:
        """The parameters that predict."""

    @abstractmethod
    def local_loss(
        self, objective: Callable[[Named], Tensor], parameters: Named, hyperparameters: Named, local: Named
    ) -> Tensor:
        """What the local variables minimise, given the training loss as a function of parameters."""


class Ensemble(Part, ABC):
    """Several learners of one module, all shared."""

    learners: tuple[str, ...]
    shared: Named  # initial values of all learners
    formula: str = ""  # for people, y_k the outputs of learner k: "y = (y_0 + y_1) / 2"

    @abstractmethod
    def combine(self, outputs: Sequence[Tensor], hyperparameters: Named | None) -> Tensor:
        """One output of all; None: without anything personal."""


class OutputChange(Part, ABC):
    """Outputs of the same shape that are personal."""

    formula: str = ""  # for people, hyperparameters by their names: "y = y + bias"

    @abstractmethod
    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        """Twice differentiable in both arguments."""


class SampleWeighting(Part, ABC):
    """How much each training sample counts in the training loss."""

    @abstractmethod
    def log_weights(self, hyperparameters: Named) -> Tensor:
        """Up to a constant: shape (training samples,)."""


class DecayFactors(Part, ABC):
    """By what the weight decay of each parameter is multiplied."""

    @abstractmethod
    def factors(self, hyperparameters: Named) -> Named:
        """A positive number for every parameter that the module computes with."""
