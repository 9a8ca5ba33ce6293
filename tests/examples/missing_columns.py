"""A regression on a table of which every agent lacks other columns.

    hyperpush swarm --task tests/examples/missing_columns.py

What is missing is filled with the mean, 0, and said by a column of its own, so that one network serves all.
The data are scikit-learn's (442 patients, 10 measurements, the progress of a disease a year later). Here: an
MLP with 337 parameters.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import peer

settings = {"hyper_step_size": None}

COLUMNS = 10
LACKING = 3  # columns of each agent


def rows(shard: int, agents: int) -> tuple[Tensor, Tensor]:
    """Standardized measurements with what says which are there, (n, 20); standardized targets, (n, 1)."""
    table, progress = load_diabetes(return_X_y=True)
    measured = torch.tensor(table, dtype=torch.float32)
    measured = (measured - measured.mean(0)) / measured.std(0)
    targets = torch.tensor(progress, dtype=torch.float32)[:, None]
    targets = (targets - targets.mean()) / targets.std()
    there = torch.ones(COLUMNS)
    there[[(shard * LACKING + number) % COLUMNS for number in range(LACKING)]] = 0.0
    inputs = torch.cat([measured * there, there.expand(len(measured), -1)], dim=1)
    return inputs[shard::agents], targets[shard::agents]


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns."""
    inputs, targets = rows(shard, agents)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed + shard))
    train, validation = order.tensor_split([int(0.6 * len(order))])
    torch.manual_seed(seed)  # all models begin equal
    module = nn.Sequential(
        nn.Linear(2 * COLUMNS, 12), nn.GELU(), nn.Linear(12, 6), nn.GELU(), nn.Linear(6, 1)
    )
    return peer.ModuleProblem(
        module,
        (inputs[train], targets[train]),
        (inputs[validation], targets[validation]),
        loss=nn.functional.mse_loss,
        personalization=personalization,
        weight_decay=1e-2,
        batch_size=16,
        seed=seed + shard,
    )
