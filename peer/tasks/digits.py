"""Handwritten digits: 1,797 images of 8 x 8 pixels that ship with scikit-learn, few labels on every device.

Source of the data: E. Alpaydin, C. Kaynak, UCI "Optical Recognition of Handwritten Digits" (1998), test part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from peer.errors import SettingError
from peer.module_problem import ModuleProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from peer.personalization import Personalization

CLASSES = 10
HIDDEN = 64
CONCENTRATION = 0.4  # of the Dirichlet draw, as in Marfoq et al. (FedEM, 2021); small: few labels per device
TRAIN, VALIDATION = 0.1, 0.2  # of a device's images; the rest is for testing
IMAGES_PER_DEVICE_MIN = 10  # one to train on, two to validate on
DRAWS_MAX = 1000
BATCH_SIZE = 64
WEIGHT_DECAY = 1e-3


@dataclass(frozen=True, slots=True)
class DeviceData:
    """The images of one device: inputs (n, 64) float32 in [0, 1], targets (n,) int64."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def split_digits(devices: int, seed: int) -> list[DeviceData]:
    """Every image on exactly one device; labels by a Dirichlet draw, redrawn until every device has enough.

    Raises `SettingError` if that many devices cannot have `IMAGES_PER_DEVICE_MIN` images each.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng([seed, devices])
    for _ in range(DRAWS_MAX if devices * IMAGES_PER_DEVICE_MIN <= len(labels) else 0):
        shares = _draw_split(labels, devices, rng)
        if min(len(share) for share in shares) >= IMAGES_PER_DEVICE_MIN:
            return [_device(images, labels, rng.permutation(share)) for share in shares]
    remedy = f"{len(labels)} digits do not give each device {IMAGES_PER_DEVICE_MIN}; use fewer agents"
    raise SettingError("agents", devices, remedy)


def _draw_split(labels: NDArray[np.int64], devices: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(devices)]
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(devices, CONCENTRATION))
        edges = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for part, piece in zip(parts, np.split(members, edges), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _device(images: NDArray[np.float64], labels: NDArray[np.int64], chosen: NDArray[np.int64]) -> DeviceData:
    first = max(1, round(TRAIN * len(chosen)))
    second = first + max(1, round(VALIDATION * len(chosen)))

    def samples(indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(images[indices] / 16.0).float(), torch.from_numpy(labels[indices]).long()

    return DeviceData(samples(chosen[:first]), samples(chosen[first:second]), samples(chosen[second:]))


def make_module(seed: int) -> nn.Module:
    """A small network with smooth activations; initialised from `seed`, global streams are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))


def digits_problem(data: DeviceData, personalization: Personalization, seed: int) -> ModuleProblem:
    """One device's problem; `seed` also decides the initial model, so it must be the same everywhere."""
    return ModuleProblem(
        make_module(seed),
        data.train,
        data.validation,
        data.test,
        personalization=personalization,
        weight_decay=WEIGHT_DECAY,
        batch_size=BATCH_SIZE,
        seed=seed,
    )
