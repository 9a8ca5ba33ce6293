"""Rows of a table, with a small network.

`hyperpush swarm --task task.py` runs it as it is; then read your own table.
`hyperpush check task.py` says what is wrong with it before a swarm does.
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

import peer

# What agents should do otherwise than by default; `hyperpush run --help` lists all. Steps choose themselves.
# Without "hyper_step_size" nothing personal is learned; None: each agent chooses the rate.
settings = {"hyper_step_size": None}

COLUMNS = 30


def load(shard: int, agents: int) -> tuple[Tensor, Tensor]:
    """The rows of this agent: numbers (n, COLUMNS), classes (n,).

    On a machine with a table of its own, read it here (`numpy.loadtxt`, `pandas.read_csv`) and leave `shard`
    alone; `os.environ.get("SITE_CSV") or f"site{shard}.csv"` serves both `run`, there, and `swarm`, here.
    A `Dataset`, a `DataLoader` or a dictionary of columns does as well, for each of the three sets.
    """
    rows, classes = load_breast_cancer(return_X_y=True)
    inputs = torch.tensor(rows[shard::agents], dtype=torch.float32)
    targets = torch.tensor(classes[shard::agents])
    # In this example every agent's instrument has a scale of its own.
    return inputs * (1 + 0.1 * shard), targets


def standardized(inputs: Tensor, by: Tensor) -> Tensor:
    """Columns of mean 0 and deviation 1, by what this agent trains on: numbers of all sizes learn badly.

    That is right where instruments are unlike, as here: what is only instrument goes. Where populations are
    unlike, take constants that all agents agree on instead, which keep what differs.
    """
    return (inputs - by.mean(0)) / by.std(0).clamp_min(1e-6)


def network() -> nn.Module:
    """Any module that maps rows to one number for each class."""
    return nn.Sequential(nn.Linear(COLUMNS, 16), nn.GELU(), nn.Linear(16, 2))


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns. The same arguments give the same, on every machine.

    For a regression give numbers (n, 1) as targets and `loss=nn.functional.mse_loss`.
    """
    inputs, targets = load(shard, agents)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed + shard))
    train, validation, test = order.tensor_split([int(0.6 * len(order)), int(0.8 * len(order))])
    inputs = standardized(inputs, by=inputs[train])
    torch.manual_seed(seed)  # all models begin equal
    return peer.ModuleProblem(
        network(),
        (inputs[train], targets[train]),  # the shared model learns from these,
        (inputs[validation], targets[validation]),  # what is personal from these,
        (inputs[test], targets[test]),  # and these say how good both are
        personalization=personalization,
        weight_decay=1e-3,
        batch_size=32,
        seed=seed + shard,
    )
