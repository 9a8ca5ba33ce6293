"""A network with common rounds, for what cannot do without: every agent sends, then every agent has received.

Real networks have no such rounds. Two kinds of links:

    known     the sender knows which of its links are up in this round and divides what it sends among those;
              nothing is lost (the stochastic directed links of arXiv 2210.02129)
    silent    it sends on all of its links, and what is on one that is down vanishes

Links that are `symmetric` are up both ways or down both ways, as in undirected networks.

Matrices are [target, source]. Shares are equal, the agent itself counting as a target: columns add up to one
on known links (mass is kept), to less on silent ones.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from peer.errors import SettingError
from peer.topology import out_neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER_BYTES = 24  # sender, round, number of the series: what a message needs beside its numbers
NUMBER_BYTES = 8  # float64
COUNTED = ("sent", "lost", "received", "missed", "bytes")  # of messages; lost ones are sent, and missed
DRAWS_MAX = 1000  # of a random graph, until it is connected
RATES = (0.4, 0.8)  # uniform in it: how often a link is up, in the paper's stochastic directed networks


class Graph(NamedTuple):
    """Directed links that are there at all, and how often each is up."""

    targets: tuple[tuple[int, ...], ...]  # of each agent, sorted, itself not among them
    rates: Tensor  # (n, n), [target, source]; 1 on the diagonal, 0 where there is no link

    @property
    def agents(self) -> int:
        """How many."""
        return len(self.targets)


def make_graph(
    agents: int, *, fanout: int | None = None, rates: tuple[float, float] = (1.0, 1.0), seed: int = 0
) -> Graph:
    """Everybody to everybody, or with `fanout` the circles of `peer.topology`, as the agents draw them.

    Each link's rate is uniform in `rates`. Raises `SettingError`.
    """
    if agents < 2:
        raise SettingError("agents", agents, "give 2 or more: one agent has nobody to send to")
    if fanout is not None and fanout < 1:
        raise SettingError("fanout", fanout, "give 1 or more out-neighbours, or none for all")
    if not 0 < rates[0] <= rates[1] <= 1:
        raise SettingError("rates", rates, "give the lowest and the highest rate, above 0 and up to 1")
    names = [f"{number:06}" for number in range(agents)]
    most = agents - 1 if fanout is None else fanout
    swarm = f"lockstep/{seed}"
    targets = tuple(
        tuple(map(int, out_neighbours(own, names, fanout=most, swarm=swarm, epoch=1))) for own in names
    )
    rng = random.Random(f"{seed}/rates")
    matrix = torch.eye(agents, dtype=torch.float64)
    for source, among in enumerate(targets):
        for target in among:
            matrix[target, source] = rng.uniform(*rates)
    return Graph(targets, matrix)


def erdos_renyi(
    agents: int, share: float, *, rates: tuple[float, float] = (1.0, 1.0), seed: int = 0
) -> Graph:
    """Undirected: each pair has a link with probability `share`, drawn again until all are connected.

    Each pair's rate, equal both ways, is uniform in `rates`. Raises `SettingError`.
    """
    whole = make_graph(agents, rates=rates, seed=seed)
    upper = whole.rates.triu(1)
    symmetric = (upper + upper.T).fill_diagonal_(1.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(DRAWS_MAX):
        drawn = torch.rand(agents, agents, generator=generator, dtype=torch.float64).triu(1) < share
        linked = (drawn & (upper > 0)).to(torch.float64)
        linked = (linked + linked.T).fill_diagonal_(1.0)
        if bool((torch.linalg.matrix_power(linked, agents) > 0).all()):
            targets = tuple(
                tuple(sorted(set(row.nonzero().flatten().tolist()) - {own})) for own, row in enumerate(linked)
            )
            return Graph(targets, symmetric * linked)
    raise SettingError("share", share, f"{DRAWS_MAX} graphs of {agents} agents were not connected; give more")


class LockstepNetwork:
    """Draws which links are up, round by round, and counts what is sent; equal seeds, equal bits.

    Invariant on known links: `mixing` matrices have columns that add up to one, so sums over the agents of
    values and of weights are kept, to rounding.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        known: bool = True,
        symmetric: bool = False,
        number_bytes: int = NUMBER_BYTES,
        seed: int = 0,
    ) -> None:
        self.graph = graph
        self.known = known
        self._symmetric = symmetric
        self._number_bytes = number_bytes
        self.messages = 0  # put on links, lost ones included
        self.bytes = 0
        self.rounds = 0
        self.counts = {name: torch.zeros(graph.agents, dtype=torch.int64) for name in COUNTED}  # by agent
        self._generator = torch.Generator().manual_seed(seed)
        self._links = (graph.rates > 0).fill_diagonal_(False)
        self._places = self._links.nonzero(as_tuple=True)
        self._link_rates = graph.rates[self._places]

    def deliver(self, numbers: int) -> tuple[Tensor, Tensor]:
        """One round of messages of so many numbers each: (delivered (n, n), copies sent by each (n,)).

        `delivered` is boolean, False on the diagonal.
        """
        drawn = torch.rand(len(self._link_rates), generator=self._generator, dtype=torch.float64)
        delivered = torch.zeros_like(self._links)
        delivered[self._places] = drawn < self._link_rates
        if self._symmetric:
            upper = delivered.triu()
            delivered = upper | upper.T
        copies = (delivered if self.known else self._links).sum(0)
        sent = int(copies.sum())
        self.messages += sent
        arrived = delivered.sum(1)
        for name, counted in (
            ("sent", copies),
            ("lost", copies - delivered.sum(0)),
            ("received", arrived),
            ("missed", arrived - arrived if self.known else self._links.sum(1) - arrived),
            ("bytes", copies * (HEADER_BYTES + self._number_bytes * numbers)),
        ):
            self.counts[name] += counted
        self.bytes += sent * (HEADER_BYTES + self._number_bytes * numbers)
        self.rounds += 1
        return delivered, copies

    def mixing(self, numbers: int) -> Tensor:
        """One round of equal shares, as a matrix (n, n)."""
        delivered, copies = self.deliver(numbers)
        whole = delivered.to(torch.float64).fill_diagonal_(1.0)
        return whole / (copies + 1)

    def push_sum(self, values: Tensor, rounds: int) -> Tensor:
        """Every agent's estimate of the mean of `values` (n, d) after so many rounds, weights beginning at 1.

        The weight travels with the values. An estimate is infinite or NaN where a weight has drained to 0.
        """
        held = torch.cat([values, torch.ones(len(values), 1, dtype=torch.float64)], dim=1)
        for _ in range(rounds):
            held = self.mixing(held.shape[1]) @ held
        return held[:, :-1] / held[:, -1:]

    def expected_mixing(self) -> Tensor:
        """The mean of `mixing` over what is drawn."""
        agents = self.graph.agents
        expected = torch.eye(agents, dtype=torch.float64)
        for source, among in enumerate(self.graph.targets):
            rates = [float(self.graph.rates[target, source]) for target in among]
            if not self.known:
                expected[:, source] = self.graph.rates[:, source] / (len(among) + 1)
                continue
            expected[source, source] = _mean_share(rates)
            for index, target in enumerate(among):
                others = rates[:index] + rates[index + 1 :]
                expected[target, source] = rates[index] * _mean_share(others, beside=2)
        return expected


def _mean_share(rates: Sequence[float], beside: int = 1) -> float:
    """Mean of 1 / (beside + number of these links that are up)."""
    chances = [1.0]  # of 0, 1, ... links being up
    for rate in rates:
        chances = [
            (chances[count] * (1 - rate) if count < len(chances) else 0.0)
            + (chances[count - 1] * rate if count else 0.0)
            for count in range(len(chances) + 1)
        ]
    return math.fsum(chance / (beside + count) for count, chance in enumerate(chances))
