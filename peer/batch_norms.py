"""Batch normalization whose running statistics are local variables of an agent, learned as such.

With statistics z, one mean and one logarithm of a variance for each feature of each layer, the module is an
ordinary function of its parameters x and of z, in training as in use. What z are to be is a condition of
their own: those S(x, z) of the layer's inputs on the agent's training samples, which minimise

    s-loss = |z - S(x, z)|^2 / 2

DESIGN (3) holds for any local condition, so hypergradients are exact where z = S. As S of a layer depends on
z of those before it alone, the minimum is there and nowhere else. What moves towards it is what people know
as running statistics. No gradient of the training loss goes through S, unlike in ordinary training.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from peer.data.inputs import called, each
from peer.module_copies import copy_sharing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from peer.data.inputs import Inputs

    Named = Mapping[str, Tensor]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MEAN, LOG_VARIANCE = "running_mean", "running_log_variance"  # as the parameters of a layer are called
ROWS = 1024  # samples of which statistics are taken at once, where nothing is differentiated


class LocalNorm(nn.Module):
    """In the place of one such layer: (n, features, ...) normalized by the statistics that it is given.

    `weight` and `bias` are those of the layer. A mode says by what it normalizes: given statistics, or, as
    ordinary training does, those of the batch. What it saw of a batch is kept while somebody records.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, BATCH_NORMS)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        self.eps = layer.eps
        self.weight: nn.Parameter | None = layer.weight
        self.bias: nn.Parameter | None = layer.bias
        self.running_mean = nn.Parameter(layer.running_mean.detach().clone())
        self.running_log_variance = nn.Parameter((layer.running_var.detach() + layer.eps).log())
        self.by_batch = False
        self.seen: tuple[Tensor, Tensor] | None = None
        self.records = False
        self._layer = [layer]  # in a list: not a part of this one

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the same shape."""
        shape = (1, -1, *(1 for _ in inputs.shape[2:]))
        mean: Tensor = self.running_mean
        log_variance: Tensor = self.running_log_variance
        if self.records or self.by_batch:
            over = [0, *range(2, inputs.dim())]
            count = inputs.numel() // max(1, inputs.shape[1])
            mean_seen, variance = inputs.mean(over), inputs.var(over, correction=0)
            whole = variance * (count / max(1, count - 1))  # of all that the batch was drawn from
            self.seen = mean_seen, (whole + self.eps).log()
            if self.by_batch:
                mean, log_variance = mean_seen, (variance + self.eps).log()
        found = (inputs - mean.view(shape)) * torch.exp(-log_variance / 2).view(shape)
        if self.weight is not None:
            found = found * self.weight.view(shape)
        return found if self.bias is None else found + self.bias.view(shape)

    def ordinary(self) -> nn.Module:
        """A copy of the layer, frozen with these statistics."""
        found = copy.deepcopy(self._layer[0])
        assert isinstance(found, BATCH_NORMS)
        with torch.no_grad():
            for own, mine in ((found.weight, self.weight), (found.bias, self.bias)):
                if mine is not None:
                    own.copy_(mine)
            assert found.running_mean is not None
            assert found.running_var is not None
            found.running_mean.copy_(self.running_mean)
            found.running_var.copy_((self.running_log_variance.exp() - self.eps).clamp_min(0.0))
        return found.eval()


def moves(part: nn.Module) -> bool:
    """Whether it is a layer of this kind that learns its statistics."""
    return type(part) in BATCH_NORMS and part.training and bool(getattr(part, "track_running_stats", False))


def with_local_statistics(module: nn.Module) -> nn.Module:
    """The module itself if it has no such layer; else a copy with `LocalNorm` in their places.

    The copy has the same parameters, not copies of them, and statistics as further ones.
    """
    if not any(moves(part) for part in module.modules()):
        return module
    found = copy_sharing(module, (*module.parameters(), *module.buffers()))
    return _replaced(found, {name: LocalNorm(part) for name, part in module.named_modules() if moves(part)})


def with_ordinary_layers(module: nn.Module) -> nn.Module:
    """The way back, in place: what the user's own classes have, with these statistics, frozen."""
    local = {name: part for name, part in module.named_modules() if isinstance(part, LocalNorm)}
    return _replaced(module, {name: part.ordinary() for name, part in local.items()})


def _replaced(module: nn.Module, parts: Mapping[str, nn.Module]) -> nn.Module:
    for name, part in parts.items():
        if not name:
            return part
        where, _, last = name.rpartition(".")
        setattr(module.get_submodule(where), last, part)
    return module


def statistics_of(module: nn.Module) -> dict[str, Tensor]:
    """Initial values by the names of the parameters."""
    return {
        f"{name}.{which}" if name else which: part.get_parameter(which).detach().clone()
        for name, part in module.named_modules()
        if isinstance(part, LocalNorm)
        for which in (MEAN, LOG_VARIANCE)
    }


def seen_by(module: nn.Module, parameters: Named, inputs: Inputs) -> dict[str, Tensor]:
    """S: the statistics of these inputs at every layer that is called, by the names of the parameters."""
    with _mode(module, records=True) as layers:
        called(module, parameters, inputs)
        found = {}
        for name, layer in layers.items():
            for which, tensor in zip((MEAN, LOG_VARIANCE), layer.seen or (), strict=False):
                found[f"{name}.{which}" if name else which] = tensor
    return found


def misses(module: nn.Module, parameters: Named, inputs: Inputs) -> Tensor:
    """The s-loss, shape (); parameters have the statistics."""
    seen = seen_by(module, parameters, inputs)
    return torch.stack([(parameters[name] - now).square().sum() for name, now in seen.items()]).sum() / 2


@contextmanager
def by_batch(module: nn.Module) -> Iterator[None]:
    """Meanwhile layers normalize as in ordinary training."""
    with _mode(module, by_batch=True):
        yield


def of_all(module: nn.Module, parameters: Named, inputs: Inputs) -> dict[str, Tensor]:
    """What ordinary training would end with: statistics of the first ROWS of these, by the batch they are."""
    some = each(inputs, lambda tensor: tensor[:ROWS])
    with torch.no_grad(), _mode(module, by_batch=True):
        return seen_by(module, parameters, some)


@contextmanager
def _mode(
    module: nn.Module, *, records: bool = False, by_batch: bool = False
) -> Iterator[dict[str, LocalNorm]]:
    layers = {name: part for name, part in module.named_modules() if isinstance(part, LocalNorm)}
    before = {name: (part.records, part.by_batch) for name, part in layers.items()}
    for part in layers.values():
        part.records, part.by_batch = part.records or records, part.by_batch or by_batch
    try:
        yield layers
    finally:
        for name, part in layers.items():
            part.records, part.by_batch = before[name]
            part.seen = None
