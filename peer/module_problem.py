"""A `BilevelProblem` from an ordinary `torch.nn.Module`, a loss and three sets of samples."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peer.batch_norms import by_batch, misses, of_all, statistics_of, with_local_statistics
from peer.data.inputs import called, moved, rows_of
from peer.derivatives import Losses
from peer.errors import ProblemError
from peer.module_checks import check_loss_per_sample, check_losses, check_module, check_targets, first_outputs
from peer.module_data import ModuleData
from peer.module_scores import accuracy, chosen, scores
from peer.personal_module import PersonalModule
from peer.personalization.composition import Composition
from peer.personalization.contract import Ground
from peer.personalization.registry import made

if TYPE_CHECKING:
    from peer.data.datasets import Columns, Data
    from peer.data.inputs import Inputs, Samples
    from peer.data_position import Batch, ShuffledBatches
    from peer.module_scores import Metric
    from peer.personalization import Personalization

Named = Mapping[str, Tensor]
Forward = Callable[[Named], Tensor]  # parameters by the module's names -> its outputs
PROBED = 2  # samples that are enough to see what a module does; one is too few for normalizations


class ModuleProblem:
    """Inner loss on `train`, outer loss on `validation`, metrics on `test`.

    Each set is a pair of tensors, inputs (n, ...) and targets (n, ...), or what `peer.data.datasets.read`
    takes: any data set with an index, a `DataLoader`, a dictionary of columns, of which `columns` says which
    are what. Several inputs, a tuple or a dictionary, are positional and keyword arguments of the module.

    `module` is left as it is: its parameters are copied, but for frozen ones, which are used as they are and
    never sent. `loss(outputs, targets)` gives the mean over the batch (default: cross-entropy); with
    personal weights it must take `reduction="none"` as well and then give one loss per sample. The training
    loss also has `weight_decay / 2 * |parameters|^2`. `metrics` are functions of (outputs, targets) of all
    test samples that give one number, or objects with `update`, `compute` and `reset`, as torchmetrics has;
    without any R² is taken of numbers. `personalization` says what is personal, by name as in commands or as
    an object of `peer.personalization`, and thereby what `model`, `hyperparameters` and `local` are; by
    default nothing is. Hyperparameters are believed to be within
    `prior_deviation` of their initial values until validation samples say otherwise (`outer_loss`); inf:
    nothing is believed. Batches are drawn without replacement, epoch by epoch, from a generator seeded
    with `seed`; sets no larger than `batch_size` (default: that of a `DataLoader`, else 64) are used whole.

    Batches go to the device of the module; samples may lie elsewhere. With `autocast=torch.bfloat16` the
    module is computed in that where torch thinks it safe, in losses alone: gradients have three digits or so.

    Running statistics of BatchNorm are local variables, which never leave (`peer.batch_norms`), or constants
    once frozen by `eval()`, as other layers have to be that keep some or draw at random. Raises
    `ProblemError` for those that are not, for a loss that autograd cannot differentiate twice, for empty or
    unequal sets, and for sample tensors that do not fit the module.
    """

    local_loss: Callable[[Named, Named, Batch, Named], Tensor]  # only where there is an own copy

    def __init__(
        self,
        module: nn.Module,
        train: Data,
        validation: Data,
        test: Data | None = None,
        *,
        columns: Columns | None = None,
        metrics: Mapping[str, Metric] | None = None,
        loss: Callable[..., Tensor] = nn.functional.cross_entropy,
        personalization: Personalization | str | None = None,
        weight_decay: float = 0.0,
        prior_deviation: float = 1.0,
        batch_size: int | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        check_module(module)
        self._given_module, module = module, with_local_statistics(module)
        if autocast not in (None, torch.bfloat16):
            remedy = "give torch.bfloat16, or None: other types need losses that are scaled"
            raise ProblemError(f"autocast is {autocast}; {remedy}")
        if not weight_decay >= 0:
            raise ProblemError(f"weight_decay is {weight_decay}; give 0 or a number above it")
        if not prior_deviation > 0:
            raise ProblemError(
                f"prior_deviation is {prior_deviation}; give a number above 0, or inf for no prior"
            )
        self._module = module
        self._data = ModuleData.of(train, validation, test, columns, batch_size, seed)
        self._loss = loss
        self._weight_decay = weight_decay
        self._prior_deviation = prior_deviation
        self._autocast = autocast
        self._statistics = statistics_of(module)
        named = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}
        self.parameters: Named = {  # of the module, before anything is personal
            name: tensor for name, tensor in named.items() if name not in self._statistics
        }
        self._device = next(iter(self.parameters.values())).device
        inputs, targets = rows_of(self._data.train, slice(PROBED))
        outputs = first_outputs(module, named, moved(inputs, self._device))
        check_targets(loss, outputs, self._data.sets())
        kept = frozenset(self._statistics)
        ground = Ground(module, named, outputs, self._data.train[1], weight_decay, statistics=kept)
        self._personalization = made(personalization)
        self._outputs = outputs.shape[1] if outputs.dim() > 1 else 1
        composition = Composition(self._personalization, ground)
        self._composition = composition
        self.model: Named = composition.model
        self.hyperparameters: Named = composition.hyperparameters
        self.local: Named = composition.local
        if composition.has_own_copy or self._statistics:
            self.local_loss = self._own_loss
        self._given_metrics = metrics
        self._metrics = chosen(
            metrics, self._data.test, lambda some: self.predict(self.model, self.hyperparameters, some)
        )
        if composition.weighs:
            check_loss_per_sample(loss, outputs, targets.to(outputs.device))
        self._check_twice_differentiable()

    # ---- what is asked of a problem

    def inner_loss(
        self, model: Named, hyperparameters: Named, batch: Batch | Samples, local: Named | None = None
    ) -> Tensor:
        """Training loss with weight decay; with what the local variables of adapters cost."""

        def objective(parameters: Named) -> Tensor:
            return self._objective(parameters, hyperparameters, batch)

        return self._composition.inner_loss(objective, model, hyperparameters, local or self.local)

    def _own_loss(self, model: Named, hyperparameters: Named, batch: Batch, local: Named) -> Tensor:
        if self._statistics:
            inputs = moved(batch[0], self._device)
            return misses(self._module, self._composition.shared(model, local), inputs)

        def objective(parameters: Named) -> Tensor:
            return self._objective(parameters, hyperparameters, batch)

        return self._composition.local_loss(objective, model, hyperparameters, local)

    def outer_loss(
        self, model: Named, hyperparameters: Named, batch: Batch | Samples, local: Named | None = None
    ) -> Tensor:
        """Validation loss of what predicts, and the `prior`."""
        outputs = self._personal(self._learning(batch[0]), model, hyperparameters, local)
        loss = self._loss(outputs, batch[1].to(outputs.device))
        if not hyperparameters or self._prior_deviation == math.inf:
            return loss
        return loss + self.prior(hyperparameters).to(loss.dtype)

    def prior(self, hyperparameters: Named) -> Tensor:
        """What the deviation of hyperparameters costs: |h - h_0|^2 / (2 prior_deviation^2 n), shape ().

        n validation samples times the outer loss is, where the loss is a negative log-likelihood, that of the
        posterior for normal deviations. With many samples it does not matter; with few, hyperparameters would
        otherwise learn these by heart.
        """
        initial = self.hyperparameters
        squares = [(tensor - initial[name]).square().sum() for name, tensor in hyperparameters.items()]
        width = 2 * self._prior_deviation**2 * len(self._data.validation[1])
        return torch.stack(squares).sum() / width if squares else torch.zeros(())

    def batches(self) -> ShuffledBatches:
        """Endless training batches."""
        return self._data.batches()

    def outer_batches(self) -> ShuffledBatches:
        """Endless validation batches, from a stream of their own."""
        return self._data.outer_batches()

    def metrics(
        self, model: Named, hyperparameters: Named, local: Named | None = None
    ) -> Mapping[str, float]:
        """On test samples: accuracies, `shared` of the shared model as it is, `personal` of what predicts.

        `shared` is without anything personal: learners of a mixture count equally. It is NaN where a part of
        the model is in no one's shared model, as with a personal head: any number would be of another model.
        There are no accuracies if targets are no numbers of classes. Of each further metric `NAME.shared` and
        `NAME.personal`. Nothing without a test set.
        """
        if self._data.test is None:
            return {}
        outputs = {
            "personal": self._data.tested(lambda some: self.predict(model, hyperparameters, some, local))
        }
        if self._composition.is_complete:
            plain = self._composition.plain_outputs
            own = local or self.local  # statistics
            outputs["shared"] = self._data.tested(lambda some: plain(self._forward(some), model, own))
        return scores(self._metrics, outputs, self._data.test[1])

    # ---- for people and comparisons

    def predict(
        self, model: Named, hyperparameters: Named, inputs: Inputs, local: Named | None = None
    ) -> Tensor:
        """Personal outputs for these inputs; without `local`, as the local variables are initially."""
        return self._personal(self._forward(inputs), model, hyperparameters, local)

    def meaning(self, hyperparameters: Named) -> Named:
        """What people are shown of the hyperparameters: weights, shares, strengths by their names."""
        with torch.no_grad():
            return self._composition.meaning(hyperparameters)

    def personal_module(
        self, model: Named, hyperparameters: Named, local: Named | None = None
    ) -> PersonalModule:
        """What `predict` computes, as a module of its own with copies of these values.

        Not while a loss is computed in another thread: torch puts parameters into the one module there is.
        """
        parameters = self._composition.personal(model, hyperparameters, local or self.local)
        return PersonalModule(self._module, self._composition, parameters, hyperparameters)

    @property
    def training_set(self) -> Samples:
        """Inputs and targets; they are not changed."""
        return self._data.train

    @property
    def validation_set(self) -> Samples:
        """Likewise."""
        return self._data.validation

    @property
    def test_set(self) -> Samples | None:
        """Likewise, if there is one."""
        return self._data.test

    @property
    def sets(self) -> Mapping[str, Samples]:
        """All of these that there are, by name: train, validation, test."""
        return self._data.sets()

    @property
    def module(self) -> nn.Module:
        """As it was given."""
        return self._given_module

    @property
    def weight_decay(self) -> float:
        """As it was given."""
        return self._weight_decay

    @property
    def classes(self) -> int | None:
        """How many the outputs tell apart; None if targets are no numbers of classes."""
        targets = self._data.train[1]
        return None if targets.is_floating_point() or targets.dim() != 1 else self._outputs

    def relabelled(self, targets: Tensor) -> ModuleProblem:
        """The same problem with other targets of the training samples."""
        changed = replace(self._data, train=(self._data.train[0], targets))
        other = ModuleProblem(
            self._given_module,
            changed.train,
            changed.validation,
            changed.test,
            metrics=self._given_metrics,
            loss=self._loss,
            personalization=self._personalization,
            weight_decay=self._weight_decay,
            prior_deviation=self._prior_deviation,
            autocast=self._autocast,
        )
        vars(other)["_data"] = changed
        return other

    def without_weight_decay(self) -> ModuleProblem:
        """The same problem, whose inner loss is of samples alone."""
        other = copy.copy(self)
        vars(other)["_weight_decay"] = 0.0
        return other

    def sample_weights(self, hyperparameters: Named) -> Tensor:
        """How much each training sample counts in the training loss: shape (n,), mean 1."""
        if not self._composition.weighs:
            return next(iter(self.parameters.values())).new_ones(len(self._data.train[1]))
        return self._composition.weights(hyperparameters)

    def all_batches(self) -> ShuffledBatches:
        """Endless batches of training and validation samples together: what an agent alone could train on."""
        return self._data.all_batches()

    def plain_loss(self, parameters: Named, batch: Batch | Samples) -> Tensor:
        """Training loss with weight decay of the module with these parameters and nothing personal."""
        with by_batch(self._module):  # as anybody trains who is alone
            outputs = self._learning(batch[0])(parameters)
        loss = self._loss(outputs, batch[1].to(outputs.device))
        if self._weight_decay:
            squares = torch.stack([tensor.square().sum() for tensor in parameters.values()]).sum()
            loss = loss + self._weight_decay / 2 * squares
        return loss

    def plain_accuracy(self, parameters: Named) -> float:
        """Test accuracy of the module with these parameters; there must be test samples."""
        assert self._data.test is not None
        known = {**parameters, **of_all(self._module, parameters, moved(self._data.train[0], self._device))}
        return accuracy(self._data.tested(lambda some: self._forward(some)(known)), self._data.test[1])

    @property
    def training_samples(self) -> int:
        """How many."""
        return len(self._data.train[1])

    def sample_losses(
        self, model: Named, hyperparameters: Named, local: Named, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of these training samples, times their weights: what the shared model and what local variables see.

        Both have shape (rows,), and are one where there is no own copy. The mean over all samples is the
        training loss without what depends on no sample. Raises `ProblemError` for a loss that cannot give
        one per sample.
        """
        inputs, targets = rows_of(self._data.train, rows)

        def losses(parameters: Named) -> Tensor:
            outputs = self._composition.outputs(self._forward(inputs), parameters, hyperparameters)
            found = self._losses(outputs, targets.to(outputs.device))
            if self._composition.weighs:
                found = found * self._composition.weights(hyperparameters)[rows]
            return found

        shared = losses(self._composition.shared(model, local))
        if not self._composition.has_own_copy:
            return shared, shared
        return shared, losses(self._composition.personal(model, hyperparameters, local))

    # ---- how it is done

    def _objective(self, parameters: Named, hyperparameters: Named, batch: Batch | Samples) -> Tensor:
        outputs = self._composition.outputs(self._learning(batch[0]), parameters, hyperparameters)
        targets = batch[1].to(outputs.device)
        if self._composition.weighs:
            if len(batch) < 3:
                raise ProblemError(
                    "samples are weighted, but the batch has no indices; take it from batches()"
                )
            weights = self._composition.weights(hyperparameters)[batch[2]]
            loss = (weights * self._losses(outputs, targets)).mean()
        else:
            loss = self._loss(outputs, targets)
        if self._weight_decay:
            loss = loss + self._weight_decay / 2 * self._composition.decay(parameters, hyperparameters)
        return loss

    def _forward(self, inputs: Inputs) -> Forward:
        there = moved(inputs, self._device)

        def forward(parameters: Named) -> Tensor:
            outputs = called(self._module, parameters, there)
            assert isinstance(outputs, Tensor)
            return outputs

        return forward

    def _learning(self, inputs: Inputs) -> Forward:
        """The same as losses have it: with what of it is computed in lower precision, if that is wanted."""
        forward = self._forward(inputs)
        if self._autocast is None:
            return forward

        def lower(parameters: Named) -> Tensor:
            with torch.autocast(self._device.type, self._autocast):
                return forward(parameters).to(torch.float32)

        return lower

    def _personal(
        self, forward: Forward, model: Named, hyperparameters: Named, local: Named | None
    ) -> Tensor:
        parameters = self._composition.personal(model, hyperparameters, local or self.local)
        return self._composition.outputs(forward, parameters, hyperparameters)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One per sample."""
        return self._loss(outputs, targets, reduction="none").reshape(len(targets), -1).mean(1)

    def _check_twice_differentiable(self) -> None:
        inputs, targets = rows_of(self._data.train, slice(PROBED))
        batch: Any = (inputs, targets, torch.arange(len(targets)))
        own = self._own_loss if self._composition.has_own_copy or self._statistics else None
        losses = Losses(
            inner=lambda x, h, z: self.inner_loss(x, h, batch, z),
            outer=lambda x, h, z: self.outer_loss(x, h, batch, z),
            local=None if own is None else lambda x, h, z: own(x, h, batch, z),
        )
        ground = self._module, {**self.parameters, **self._statistics}, moved(inputs, self._device)
        check_losses(losses, self.model, self.hyperparameters, self.local, *ground)
