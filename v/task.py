"""Pictures and their classes, with a small convolutional network.

`hyperpush swarm --task task.py` runs it as it is; then put your own pictures and your own network in.
`hyperpush check task.py` says what is wrong with it before a swarm does.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import peer

# What agents should do otherwise than by default; `hyperpush run --help` lists all. Steps choose themselves.
# Without "hyper_step_size" nothing personal is learned; None: each agent chooses the rate.
settings = {"hyper_step_size": None}


def load(shard: int, agents: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Three sets of samples of this agent, for training, validation and test.

    Pictures are (n, channels, height, width) from 0 to 1, classes (n,). On a machine with pictures of its
    own, read them here and leave `shard` alone; what one is tested on must be in nobody's training set. A
    `Dataset` does as well as a pair of tensors: `peer.split(dataset, seed, shard=shard, agents=agents)`.
    """
    pictures, classes = load_digits(return_X_y=True)
    inputs = torch.tensor(pictures, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    targets = torch.tensor(classes)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    sets = []
    for part in order.tensor_split([int(0.6 * len(order)), int(0.8 * len(order))]):
        # In this example agents see other classes more often: some of what they have is of a few only.
        often = (targets[part] * agents) // 10 == shard % agents
        mine = part[often | (torch.arange(len(part)) % agents == shard)]
        sets.append((inputs[mine], targets[mine]))
    return sets


def network() -> nn.Module:
    """Any module that maps pictures to one number for each class.

    BatchNorm does as well: its running statistics are each agent's own.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns. The same arguments give the same, on every machine."""
    train, validation, test = load(shard, agents, seed)
    torch.manual_seed(seed)  # all models begin equal
    return peer.ModuleProblem(
        network(),
        train,  # the shared model learns from these,
        validation,  # what is personal from these,
        test,  # and these say how good both are
        personalization=personalization,
        weight_decay=1e-4,
        batch_size=32,
        seed=seed + shard,
    )
