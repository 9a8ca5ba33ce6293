"""The models of the built-in tasks: small, and smooth, because their curvature is used.

Hypergradients go through second derivatives of the inner loss: those of tanh exist everywhere and are
bounded, those of ReLU are zero almost everywhere and tell nothing of its kinks. No layer keeps running
statistics or draws random numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN: Final = 64  # of the MLP: 50,890 parameters for 28 x 28 pixels and 10 classes
CHANNELS: Final = (16, 32)  # of the convolutions: 20,746 parameters for the same
PIXEL_MAX: Final = 255.0
SIDE_MIN: Final = 8  # of images for the convolutions


class Prepared(nn.Module):
    """Pixels (n, ...) uint8 as numbers in [0, 1]; what is floating already stays. Images get one channel."""

    def __init__(self, *, channel: bool = False) -> None:
        super().__init__()
        self._channel = channel

    def forward(self, inputs: Tensor) -> Tensor:
        """float32, of the same shape but for the channel."""
        found = inputs if inputs.is_floating_point() else inputs.to(torch.float32) / PIXEL_MAX
        return found.unsqueeze(1) if self._channel else found


def make_network(model: str, shape: Sequence[int], classes: int, seed: int) -> nn.Module:
    """From inputs (n, *shape) to outputs (n, classes), initialised from `seed`.

    Global random streams are left alone. `model`: `mlp`, `cnn` or `linear`. Raises `SettingError` if the
    convolutions find no image.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = math.prod(shape)
        if model == "cnn":
            return _convolutions(shape, classes)
        if model == "linear":
            return nn.Sequential(Prepared(), nn.Flatten(), nn.Linear(size, classes))
        return nn.Sequential(
            Prepared(), nn.Flatten(), nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, classes)
        )


def _convolutions(shape: Sequence[int], classes: int) -> nn.Module:
    if len(shape) not in (2, 3) or min(shape[-2:]) < SIDE_MIN:
        told = " x ".join(map(str, shape))
        remedy = f"inputs of {told} are no images of {SIDE_MIN} pixels or more each way; give mlp"
        raise SettingError("model", "cnn", remedy)
    channels = 1 if len(shape) == 2 else shape[0]
    first, second = CHANNELS
    area = math.prod(math.ceil(math.ceil(side / 2) / 2) for side in shape[-2:])
    return nn.Sequential(
        Prepared(channel=len(shape) == 2),
        nn.Conv2d(channels, first, 5, stride=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(second * area, classes),
    )
