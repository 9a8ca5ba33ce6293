"""One set of samples as three, to train on, to validate with and to test on; shared out among agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from peer.data.inputs import rows_of, tensors_of
from peer.data.partition import TRAIN_ALL, VALIDATION_OF_IT, parts_of
from peer.errors import SettingError

TRAIN: Final = round(TRAIN_ALL * (1 - VALIDATION_OF_IT), 9)  # as people would write them
VALIDATION: Final = round(TRAIN_ALL * VALIDATION_OF_IT, 9)


def split(
    samples: Any,
    seed: int = 0,
    *,
    train: float = TRAIN,
    validation: float = VALIDATION,
    shard: int = 0,
    agents: int = 1,
) -> tuple[Any, Any, Any]:
    """Three sets for `peer.ModuleProblem`, drawn at random, the same for the same seed on every machine.

    Of a pair of tensors pairs, of a dictionary of columns dictionaries, of a data set with `__getitem__` and
    `__len__` a `torch.utils.data.Subset` each. `train` and `validation` are shares of an agent's samples; the
    rest is to test on. With `shard` of `agents` first every agent gets as many samples as another, each
    sample one agent. Raises `SettingError` if a set would be empty.
    """
    if isinstance(samples, DataLoader | IterableDataset):
        raise SettingError("samples", type(samples).__name__, "give a data set whose samples have an index")
    if not (train > 0 and validation > 0 and train + validation < 1):
        raise SettingError("train", (train, validation), "give shares above 0 that leave some to test on")
    if not 0 <= shard < agents:
        raise SettingError("shard", shard, f"give a number from 0 below the {agents} agents")
    count = _count(samples)
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[shard::agents]
    parts = parts_of(drawn.numpy(), train, validation)
    if not all(len(rows) for rows in parts):
        remedy = f"of {count} samples for {agents} agents a set would be empty; give more"
        raise SettingError("samples", len(drawn), remedy)
    first, second, third = (_some(samples, torch.from_numpy(rows)) for rows in parts)
    return first, second, third


def _is_pair(samples: Any) -> bool:
    return isinstance(samples, tuple) and len(samples) == 2 and isinstance(samples[1], Tensor)


def _count(samples: Any) -> int:
    if _is_pair(samples):
        counts = {len(tensor) for tensor in (*tensors_of(samples[0]).values(), samples[1])}
    elif isinstance(samples, Mapping):
        counts = {len(samples[name]) for name in samples}
    else:
        counts = {len(samples)}
    if len(counts) != 1:
        raise SettingError("samples", sorted(counts), "give as many of everything")
    return counts.pop()


def _some(samples: Any, rows: Tensor) -> Any:
    if _is_pair(samples):
        return rows_of(samples, rows)
    if isinstance(samples, Mapping):
        return {name: samples[name][rows] for name in samples}
    return Subset(samples, rows.tolist())
