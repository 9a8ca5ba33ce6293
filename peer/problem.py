"""What a task must offer to be learned by a swarm: the contract `BilevelProblem` (DESIGN, section 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from peer.derivatives import Derivatives

Named = Mapping[str, "Tensor"]
BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)
BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


@runtime_checkable
class BilevelProblem(Protocol[BatchT]):
    """One agent's task: private data, an inner (training) and an outer (validation) loss. Inherit nothing.

    The swarm minimises the mean of the inner losses over `model`; each agent minimises the mean of
    everybody's outer losses over its own `hyperparameters`, which the model depends on.

    * `model`: named initial tensors of any floating dtype; equal names, shapes and dtypes at all agents, and
      they should be equal numbers. Flattened in the order of the dictionary.
    * `hyperparameters`: named initial tensors of this agent; may be empty; never leave it.
    * `inner_loss`, `outer_loss`: a scalar tensor, mean over the batch; the inner one twice differentiable.
      What they are given is written over later: whoever wants to keep it makes a copy.
    * `batches()`: an endless iterator of training batches, of any type; called once.

    Optional members, looked up by name:

    * `outer_batches()`: the same for validation batches. Without it `outer_loss` is given the training batch.
    * `local`: named initial tensors of inner variables that never leave the agent. With it, both losses are
      called with a further keyword argument `local`.
    * `local_loss(model, hyperparameters, batch, local)`: what the local variables minimise, if it is not the
      inner loss (DESIGN (3)).
    * `derivatives(model, hyperparameters, adjoint)`: closed-form products instead of autograd.
    * `prior(hyperparameters)`: the part of `outer_loss` that is no loss of samples, of shape (). What is told
      as validation loss is without it.
    * `metrics(model, hyperparameters)`: named floats for people, such as test accuracies. With `local`, those
      are given as keyword argument `local`.
    """

    @property
    def model(self) -> Named: ...  # noqa: D102  (see above)
    @property
    def hyperparameters(self) -> Named: ...  # noqa: D102  (see above)
    def inner_loss(self, model: Named, hyperparameters: Named, batch: BatchT) -> Tensor: ...  # noqa: D102  (above)
    def outer_loss(self, model: Named, hyperparameters: Named, batch: BatchT) -> Tensor: ...  # noqa: D102  (above)
    def batches(self) -> Iterator[BatchT]: ...  # noqa: D102  (see above)


@runtime_checkable
class HasOuterBatches(Protocol[BatchT_co]):
    """A problem with its own iterator of validation batches."""

    def outer_batches(self) -> Iterator[BatchT_co]: ...  # noqa: D102  (see above)


@runtime_checkable
class HasLocal(Protocol):
    """A problem with local inner variables."""

    @property
    def local(self) -> Named: ...  # noqa: D102  (see above)


@runtime_checkable
class HasLocalLoss(Protocol[BatchT_contra]):
    """A problem whose local variables minimise a loss of their own."""

    def local_loss(  # noqa: D102  (documented in BilevelProblem)
        self, model: Named, hyperparameters: Named, batch: BatchT_contra, local: Named
    ) -> Tensor: ...


@runtime_checkable
class HasDerivatives(Protocol):
    """A problem that knows its products in closed form."""

    def derivatives(  # noqa: D102  (documented in BilevelProblem)
        self, model: Named, hyperparameters: Named, adjoint: Named
    ) -> Derivatives: ...


@runtime_checkable
class HasMeaning(Protocol):
    """A problem whose hyperparameters stand for something that people understand better."""

    def meaning(self, hyperparameters: Named) -> Named:
        """Numbers by what they are called; they are only shown."""


@runtime_checkable
class HasPrior(Protocol):
    """A problem whose outer loss has a part of the hyperparameters alone, which is no loss of validation."""

    def prior(self, hyperparameters: Named) -> Tensor: ...  # noqa: D102  (see above)


@runtime_checkable
class HasMetrics(Protocol):
    """A problem that can be scored."""

    def metrics(self, model: Named, hyperparameters: Named) -> Mapping[str, float]: ...  # noqa: D102  (above)
