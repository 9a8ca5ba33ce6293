"""Pictures of clothes with a convolutional network, from a `Dataset` as everybody has one.

    hyperpush swarm --task tests/examples/fashion_convolution.py --agents 4 --tick-ms 400

Fashion-MNIST is read from where Debian's package dataset-fashion-mnist puts it; `FASHION_MNIST=DIR` says
where else the four files are. Every agent sees more of some classes. The first layer is drawn at random and
frozen: what it has is neither sent nor tracked.

Here, so that it runs in seconds: 2,000 of the 70,000 pictures (`PICTURES=70000` takes all); 20,394 parameters
are shared, 160 frozen. What people use for such pictures has ten to a hundred times as many.

Measured, `PICTURES=20000 hyperpush simulate --task ... --agents 8 --ticks 400 --drop 0.2`, 80 s on one core:
test accuracy alone 0.811, of the shared model 0.835, with the own bias 0.868; F1 0.819 and 0.833.
"""

from __future__ import annotations

import gzip
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

import peer

settings = {"hyper_step_size": None}

PICTURES = int(os.environ.get("PICTURES", "2000"))
FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
CLASSES = 10


class Clothes(Dataset[tuple[Tensor, int]]):
    """A picture (1, 28, 28) from 0 to 1, and its class: as `torchvision.datasets.FashionMNIST` gives them."""

    def __init__(self) -> None:
        pictures, classes = zip(*(both(part) for part in ("train", "t10k")), strict=True)
        self.pictures = np.concatenate(pictures)[:PICTURES]
        self.classes = np.concatenate(classes)[:PICTURES]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor(self.pictures[index][None] / 255, dtype=torch.float32), int(self.classes[index])


def both(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and classes of one part: bytes behind a header of 16 or 8."""
    files = FOLDER / f"{part}-images-idx3-ubyte.gz", FOLDER / f"{part}-labels-idx1-ubyte.gz"
    pictures, classes = (gzip.decompress(file.read_bytes()) for file in files)
    return np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(
        classes, np.uint8, offset=8
    )


@lru_cache(maxsize=1)
def clothes() -> Clothes:
    """Read once, for all agents of this process."""
    return Clothes()


def seen(data: Clothes, shard: int, agents: int, seed: int) -> Subset[tuple[Tensor, int]]:
    """What agent `shard` has: of a few classes all that fall to it, of the others a quarter."""
    generator = torch.Generator().manual_seed(seed)
    falls_to = torch.randperm(len(data), generator=generator) % agents
    often = torch.tensor(data.classes, dtype=torch.int64) * agents // CLASSES % agents == shard
    kept = often | (torch.rand(len(data), generator=generator) < 0.25)
    return Subset(data, torch.nonzero((falls_to == shard) & kept).flatten().tolist())


def network() -> nn.Module:
    """(n, 1, 28, 28) to (n, CLASSES)."""
    first = nn.Conv2d(1, 16, 3, stride=2, padding=1).requires_grad_(False)
    return nn.Sequential(
        *(first, nn.Tanh()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, CLASSES)),
    )


def f1(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over classes; `torchmetrics.F1Score(...)` does as well."""
    there = nn.functional.one_hot(targets, CLASSES)
    said = nn.functional.one_hot(outputs.argmax(1), CLASSES)
    scores = 2 * (there * said).sum(0) / (there + said).sum(0).clamp_min(1)
    return scores[there.any(0)].mean()


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns."""
    train, validation, test = peer.split(seen(clothes(), shard, agents, seed), seed)
    torch.manual_seed(seed)  # all models begin equal
    return peer.ModuleProblem(
        network(),
        train,
        validation,
        test,
        metrics={"f1": f1},
        personalization=personalization,
        weight_decay=1e-4,
        batch_size=64,
        seed=seed + shard,
    )
