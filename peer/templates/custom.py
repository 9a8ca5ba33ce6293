"""A problem that is no module with a loss: here a ridge regression whose penalties each agent learns.

`hyperpush swarm --task task.py` runs it as it is; then put your own losses in.
`hyperpush check task.py` says what is wrong with it before a swarm does; `help(peer.BilevelProblem)` what a
problem may have beside what is here.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

import peer

# What agents should do otherwise than by default; `hyperpush run --help` lists all. Steps choose themselves.
# Without "hyper_step_size" hyperparameters are held; None: each agent chooses the rate.
settings = {"hyper_step_size": None}

COLUMNS = 12
Named = Mapping[str, Tensor]


class Ridge:
    """A `peer.BilevelProblem`: inherit nothing, have these names."""

    def __init__(self, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> None:
        self.train, self.validation = train, validation
        # What the swarm agrees on: it minimises the mean of the agents' inner losses.
        self.model: Named = {"weights": torch.zeros(COLUMNS)}
        # What is the agent's own: it minimises the mean of everybody's outer losses.
        self.hyperparameters: Named = {"log_penalty": torch.full((COLUMNS,), -2.0)}

    def inner_loss(self, model: Named, hyperparameters: Named, batch: tuple[Tensor, Tensor]) -> Tensor:
        """One number, the mean over the batch; it has to have second derivatives."""
        inputs, targets = batch
        misses = inputs @ model["weights"] - targets
        penalty = hyperparameters["log_penalty"].exp() @ model["weights"].square()
        return misses.square().mean() / 2 + penalty / 2

    def outer_loss(self, model: Named, hyperparameters: Named, batch: tuple[Tensor, Tensor]) -> Tensor:
        """What the model is for: on samples that it does not learn from, and without penalty."""
        del hyperparameters
        inputs, targets = batch
        return (inputs @ model["weights"] - targets).square().mean() / 2

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Without end; here all samples each time."""
        while True:
            yield self.train

    def outer_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Likewise."""
        while True:
            yield self.validation


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> Ridge:
    """What agent `shard` of `agents` learns. The same arguments give the same, on every machine."""
    del agents, personalization  # this problem says itself what is personal
    rule = torch.randn(COLUMNS, generator=torch.Generator().manual_seed(seed))
    rule[COLUMNS // 2 :] = 0.0  # half of the columns say nothing
    own = torch.Generator().manual_seed(1000 * (seed + 1) + shard)
    noise = 0.2 * (1 + shard % 4)  # some measure worse than others

    def samples(count: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(count, COLUMNS, generator=own)
        return inputs, inputs @ rule + noise * torch.randn(count, generator=own)

    return Ridge(samples(20), samples(40))
