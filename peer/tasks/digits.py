"""Handwritten digits: 1,797 images of 8 x 8 pixels that ship with scikit-learn, few labels on every device.

Source of the data: E. Alpaydin, C. Kaynak, UCI "Optical Recognition of Handwritten Digits" (1998), test part.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from peer.data.labelled import LabelledData, turned
from peer.data.partition import divide, parts_of
from peer.data.scheme import Scheme
from peer.module_problem import ModuleProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from peer.data.partition import Share
    from peer.personalization import Personalization

CLASSES = 10
HIDDEN = 64
SIDE = 8
DIRICHLET = Scheme("dirichlet", 0.4)  # as in Marfoq et al. (FedEM, 2021); small: few labels per device
TRAIN, VALIDATION = 0.1, 0.2  # of a device's images; the rest is for testing
IMAGES_PER_DEVICE_MIN = 10  # one to train on, two to validate on
BATCH_SIZE = 64
WEIGHT_DECAY = 1e-3
FILE = "datasets/data/digits.csv.gz"  # in the package scikit-learn


@dataclass(frozen=True, slots=True)
class DeviceData:
    """The images of one device: inputs (n, 64) float32 in [0, 1], targets (n,) int64."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def split_digits(devices: int, seed: int, scheme: Scheme = DIRICHLET) -> list[DeviceData]:
    """Every image on exactly one device; by default labels by a Dirichlet draw, few on every device.

    Raises `SettingError` if that many devices cannot have `IMAGES_PER_DEVICE_MIN` images each.
    """
    data = read_digits()
    return [_device(data, share) for share in share_out(devices, seed, scheme)]


def share_out(devices: int, seed: int, scheme: Scheme) -> list[Share]:
    """Who has which of `read_digits()`. Raises `SettingError`."""
    data = read_digits()
    return divide(
        data.labels,
        devices,
        scheme,
        np.random.default_rng([seed, devices]),
        classes=CLASSES,
        column=data.column_for(scheme),
        what="digits",
        least=IMAGES_PER_DEVICE_MIN,
    )


def read_digits() -> LabelledData:
    """All of them, as they ship with scikit-learn: (1797, 8, 8) in [0, 1]."""
    table = _shipped()
    pixels = (table[:, :-1] / 16.0).astype(np.float32).reshape(-1, SIDE, SIDE)
    return LabelledData(pixels, table[:, -1].astype(np.int64), tuple("0123456789"))


def _shipped() -> NDArray[np.float64]:
    """Pixels in 0 to 16, then the label, of every image.

    The file is read without its package where it lies where it always has: loading that takes 60 MB more, in
    every agent, and most of a second.
    """
    package = importlib.util.find_spec("sklearn")
    file = Path(package.origin).parent / FILE if package is not None and package.origin else None
    if file is not None and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.column_stack([images, labels])


def _device(data: LabelledData, share: Share) -> DeviceData:
    def samples(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images = turned(data.inputs[rows], share.turns).reshape(len(rows), SIDE * SIDE)
        return torch.from_numpy(images), torch.from_numpy(share.seen(data.labels[rows]))

    return DeviceData(*map(samples, parts_of(share.rows, TRAIN, VALIDATION)))


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
