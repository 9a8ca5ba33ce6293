"""A compiled model on the rows of a table, from a `DataLoader`.

    hyperpush swarm --task tests/examples/compiled_table.py

`module.compile(backend="eager")` compiles a module in place and leaves the names of its tensors, so that
agents that compile and agents that do not understand each other; `torch.compile(module)` puts `_orig_mod.`
before them. Agents differentiate twice, which only the backend "eager" can: others are refused when the
problem is made. It runs what was traced as it is: a tick takes as long as without (1.5 instead of
1.4 ms for its derivatives, 20 instead of 20 ms with 512 units).

The data are scikit-learn's (569 tumours, 30 measurements). Here: an MLP with 2,656 parameters.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import peer

settings = {"hyper_step_size": None}

COLUMNS = 30


class Network(nn.Module):
    """(n, COLUMNS) to (n, 2). A class: of a bare `nn.Sequential`, `compile` compiles nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = nn.Linear(COLUMNS, 64)
        self.thinks = nn.Linear(64, 10)
        self.says = nn.Linear(10, 2)

    def forward(self, rows: Tensor) -> Tensor:
        """One number for each class."""
        thoughts = nn.functional.gelu(self.thinks(nn.functional.gelu(self.reads(rows))))
        outputs: Tensor = self.says(thoughts)
        return outputs


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns."""
    rows, classes = load_breast_cancer(return_X_y=True)
    table = torch.tensor(rows, dtype=torch.float32)
    data = TensorDataset((table - table.mean(0)) / table.std(0), torch.tensor(classes))
    train, validation, test = peer.split(data, seed, shard=shard, agents=agents)
    torch.manual_seed(seed)  # all models begin equal
    module = Network()
    module.compile(backend="eager")
    return peer.ModuleProblem(
        module,
        DataLoader(train, batch_size=32, shuffle=True),  # its batch size counts; the order is ours
        validation,
        test,
        personalization=personalization,
        weight_decay=1e-3,
        seed=seed + shard,
    )
