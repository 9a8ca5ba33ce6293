"""Windows of a sensor that everybody wears differently, with a recurrent network.

    hyperpush swarm --task tests/examples/sensor_windows.py --personalization 'own:calibrates.*'

Three axes of acceleration, 24 moments, four activities; the data are made here. A shared network reads what a
first layer of one's own has turned upright. Here: 1,076 shared parameters and 12 of each agent's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import peer

settings = {"hyper_step_size": None}

AXES, MOMENTS, ACTIVITIES = 3, 24, 4
WINDOWS = 100


class Reader(nn.Module):
    """(n, MOMENTS, AXES) to (n, ACTIVITIES)."""

    def __init__(self) -> None:
        super().__init__()
        self.calibrates = nn.Linear(AXES, AXES)
        nn.init.eye_(self.calibrates.weight)
        self.reads = nn.GRU(AXES, 16, batch_first=True)
        self.says = nn.Linear(16, ACTIVITIES)

    def forward(self, windows: Tensor) -> Tensor:
        """One number for each activity."""
        states, _ = self.reads(self.calibrates(windows))
        outputs: Tensor = self.says(states.mean(1))
        return outputs


def windows(shard: int, seed: int) -> tuple[Tensor, Tensor]:
    """Swings of another pace and direction for each activity, as this person's sensor shows them."""
    generator = torch.Generator().manual_seed(1000 * (seed + 1) + shard)
    activities = torch.randint(ACTIVITIES, (WINDOWS,), generator=generator)
    phase = 2 * math.pi * torch.rand(WINDOWS, 1, generator=generator)
    pace = (0.3 + 0.25 * activities)[:, None]
    swing = torch.sin(pace * torch.arange(MOMENTS) + phase)
    direction = torch.eye(AXES)[activities % AXES]
    seen = swing[:, :, None] * direction[:, None, :]
    seen = seen + 0.4 * torch.randn(seen.shape, generator=generator)
    turned, _ = torch.linalg.qr(torch.randn(AXES, AXES, generator=generator))
    return seen @ turned, activities


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` learns."""
    del agents
    inputs, targets = windows(shard, seed)
    train, validation, test = ((inputs[a:b], targets[a:b]) for a, b in ((0, 30), (30, 60), (60, WINDOWS)))
    torch.manual_seed(seed)  # all models begin equal
    return peer.ModuleProblem(
        Reader(),
        train,
        validation,
        test,
        personalization=personalization,
        weight_decay=1e-4,
        batch_size=16,
        seed=seed + shard,
    )
