"""A `BilevelProblem` from an ordinary `torch.nn.Module`, a loss and three sets of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from peer.data_position import ShuffledBatches
from peer.errors import ProblemError
from peer.personalization import NoPersonalization

if TYPE_CHECKING:
    from peer.personalization import Personalization

# Their common base classes have no public name.
BATCH_NORMS = nn.modules.batchnorm._BatchNorm  # noqa: SLF001  (see above)
DROPOUTS = nn.modules.dropout._DropoutNd  # noqa: SLF001  (see above)

Named = Mapping[str, Tensor]
Samples = tuple[Tensor, Tensor]  # inputs (n, ...) and targets (n, ...)


class ModuleProblem:
    """Inner loss on `train`, outer loss on `validation`, metrics on `test`.

    `module` is left as it is: its parameters are copied into `model`, but for frozen ones, which are used as
    they are and never sent. `loss(outputs, targets)` gives the mean over the batch (default: cross-entropy).
    Both losses see the outputs changed by `personalization`; the inner one also has
    `weight_decay / 2 * |model|^2`. Batches are drawn without replacement, epoch by epoch, from a generator
    seeded with `seed`; sets no larger than `batch_size` are used whole.

    Raises `ProblemError` for a module with state that training changes (running statistics, dropout), for
    empty or unequal sets, and for sample tensors that do not fit the module.
    """

    def __init__(
        self,
        module: nn.Module,
        train: Samples,
        validation: Samples,
        test: Samples | None = None,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
        personalization: Personalization | None = None,
        weight_decay: float = 0.0,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        _check_module(module)
        for name, samples in (("train", train), ("validation", validation), ("test", test)):
            if samples is not None:
                _check_samples(name, samples)
        if batch_size < 1:
            raise ProblemError(f"batch_size is {batch_size}; give 1 or more samples")
        if not weight_decay >= 0:
            raise ProblemError(f"weight_decay is {weight_decay}; give 0 or a number above it")
        self._module = module
        self._train, self._validation, self._test = train, validation, test
        self._loss = loss
        self._personalization: Personalization = personalization or NoPersonalization()
        self._weight_decay = weight_decay
        self._batch_size = batch_size
        self._seed = seed
        self.model: Named = {
            name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad
        }
        try:
            with torch.no_grad():
                outputs = self._outputs(self.model, train[0][:1])
        except (RuntimeError, ValueError) as error:
            raise ProblemError(f"the module does not accept train inputs: {error}") from error
        self.hyperparameters: Named = dict(self._personalization.hyperparameters(outputs))

    def predict(self, model: Named, hyperparameters: Named, inputs: Tensor) -> Tensor:
        """Personal outputs for these inputs."""
        return self._personalization.apply(self._outputs(model, inputs), hyperparameters)

    def inner_loss(self, model: Named, hyperparameters: Named, batch: Samples) -> Tensor:
        """Training loss with weight decay."""
        loss = self._loss(self.predict(model, hyperparameters, batch[0]), batch[1])
        if self._weight_decay:
            squares = torch.stack([tensor.square().sum() for tensor in model.values()]).sum()
            loss = loss + self._weight_decay / 2 * squares
        return loss

    def outer_loss(self, model: Named, hyperparameters: Named, batch: Samples) -> Tensor:
        """Validation loss."""
        return self._loss(self.predict(model, hyperparameters, batch[0]), batch[1])

    def batches(self) -> ShuffledBatches:
        """Endless training batches."""
        return ShuffledBatches(self._train, self._batch_size, self._seed)

    def outer_batches(self) -> ShuffledBatches:
        """Endless validation batches, from a stream of their own."""
        return ShuffledBatches(self._validation, self._batch_size, self._seed + 1)

    def all_batches(self) -> ShuffledBatches:
        """Endless batches of training and validation samples together: what an agent alone could train on."""
        both = tuple(torch.cat(pair) for pair in zip(self._train, self._validation, strict=True))
        return ShuffledBatches((both[0], both[1]), self._batch_size, self._seed)

    def metrics(self, model: Named, hyperparameters: Named) -> Mapping[str, float]:
        """Test accuracy of the shared model as it is, and of the personal one.

        Nothing without a test set, or if its targets are no numbers of classes.
        """
        if self._test is None or self._test[1].is_floating_point() or self._test[1].dim() != 1:
            return {}
        inputs, targets = self._test
        with torch.no_grad():
            outputs = self._outputs(model, inputs)
            personal = self._personalization.apply(outputs, hyperparameters)
        return {"shared": accuracy(outputs, targets), "personal": accuracy(personal, targets)}

    def _outputs(self, model: Named, inputs: Tensor) -> Tensor:
        outputs = torch.func.functional_call(self._module, dict(model), (inputs,))
        assert isinstance(outputs, Tensor)
        return outputs


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of samples whose largest output is the target."""
    return float((outputs.argmax(dim=1) == targets).to(torch.float64).mean())


def _check_module(module: nn.Module) -> None:
    for name, part in module.named_modules():
        where = f"module {name or type(module).__name__} ({type(part).__name__})"
        if isinstance(part, BATCH_NORMS) and part.track_running_stats:
            raise ProblemError(f"{where} keeps running statistics; use GroupNorm or LayerNorm")
        if isinstance(part, DROPOUTS) and part.p > 0:
            raise ProblemError(f"{where} draws from torch's global random stream; set its p to 0")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ProblemError(
            f"{type(module).__name__} has no parameters that require a gradient; nothing is to learn"
        )


def _check_samples(name: str, samples: Samples) -> None:
    inputs, targets = samples
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ProblemError(
            f"{name} has {len(inputs)} inputs and {len(targets)} targets; give equal numbers above 0"
        )
