"""How all agents at once average what they share: in common rounds, or over links that lose silently.

Both keep a matrix `held` (n, D + 1): the numerators of push-sum and, last, its weights. Invariant of both: an
exchange keeps the sum over agents, and links, of every column, to rounding.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch import Tensor

from peer.lockstep import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.lockstep import Graph, LockstepNetwork

NUMBER_BYTES: Final = 4  # float32


class Links(Protocol):
    """Who acts when, and what comes of what they send."""

    weighs_changes: bool  # whether a change counts by its agent's weight, see `SharedModel.replace`

    @property
    def messages(self) -> int:
        """Put on links, lost ones included."""

    @property
    def bytes(self) -> int:
        """With a header each."""

    def rounds(self, turns: int) -> int:
        """Calls of `acting` after which a typical agent has had so many turns."""

    def acting(self) -> Tensor:
        """Who has a turn next: numbers of agents, ascending; one at least."""

    def exchange(self, held: Tensor, rows: Tensor) -> Tensor:
        """Let these agents send, and all receive what has come; returns what is held then."""


class _Paced:
    """Agents of these speeds, of which the fastest acts in every round."""

    def __init__(self, speeds: Sequence[float]) -> None:
        self._fastest = max(speeds)
        self._share = torch.tensor([speed / self._fastest for speed in speeds], dtype=torch.float64)
        self._credit = torch.full_like(self._share, 0.5)

    def rounds(self, turns: int) -> int:
        """An agent of speed 1 has so many turns in them."""
        return math.ceil(turns * self._fastest)

    def acting(self) -> Tensor:
        """Those whose next turn has come."""
        self._credit += self._share
        rows = (self._credit >= 1.0).nonzero().flatten()
        self._credit[rows] -= 1.0
        return rows


class NoLinks(_Paced):
    """`Links` of agents that send nothing."""

    messages = bytes = 0
    weighs_changes = False

    def exchange(self, held: Tensor, rows: Tensor) -> Tensor:
        """Nothing comes."""
        del rows
        return held


class CommonRounds(_Paced):
    """`Links` of a lock-step network: everybody acts in every round, and knows which links are up in it."""

    weighs_changes = False

    def __init__(self, network: LockstepNetwork) -> None:
        super().__init__([1.0] * network.graph.agents)
        self._network = network

    @property
    def messages(self) -> int:
        """Put on links."""
        return self._network.messages

    @property
    def bytes(self) -> int:
        """With a header each."""
        return self._network.bytes

    def exchange(self, held: Tensor, rows: Tensor) -> Tensor:
        """Equal shares to all whose links are up."""
        del rows
        mixing = self._network.mixing(held.shape[1])
        return mixing.to(held.device, held.dtype) @ held


class SilentLinks(_Paced):
    """`Links` that lose and delay messages without telling anybody, of agents at different speeds.

    Push-sum over running sums (Hadjicostis, Vaidya, Dominguez-Garcia 2016): a message holds the sum of all
    that was ever pushed on its link, so a later one repairs every loss before it. `turn_ticks`: how long a
    turn of an agent of speed 1 takes, in the ticks in which `mean_delay_ticks` is given.
    """

    weighs_changes = True

    def __init__(
        self,
        graph: Graph,
        *,
        drop: float,
        mean_delay_ticks: float,
        speeds: Sequence[float],
        turn_ticks: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(speeds)
        self.messages = self.bytes = 0
        self._graph = graph
        self._drop, self._mean_delay = drop, mean_delay_ticks
        self._round_ticks = turn_ticks / self._fastest
        self._now = 0.0
        self._rng = random.Random(f"{seed}/silent links")
        self._pushed: Tensor | None = None  # (n, D + 1), of each agent on each of its links
        self._taken: dict[tuple[int, int], tuple[int, Tensor]] = {}  # by (target, source): number, sum
        self._under_way: list[tuple[float, int, int, int, Tensor]] = []  # arrival, number, target, source

    def acting(self) -> Tensor:
        """As in `Links`; time goes on."""
        self._now += self._round_ticks
        return super().acting()

    def exchange(self, held: Tensor, rows: Tensor) -> Tensor:
        """Running sums go out to all out-neighbours; what has arrived by now is taken in, newest first."""
        if self._pushed is None:
            self._pushed = torch.zeros_like(held)
        for row in rows.tolist():
            targets = self._graph.targets[row]
            share = held[row] / (len(targets) + 1)
            self._pushed[row] += share
            held[row] -= len(targets) * share
            announced = self._pushed[row].clone()
            for target in targets:
                self.messages += 1
                self.bytes += HEADER_BYTES + NUMBER_BYTES * held.shape[1]
                lost = self._rng.random() < self._drop
                delay = self._rng.expovariate(1 / self._mean_delay) if self._mean_delay else 0.0
                if not lost:
                    arrival = (self._now + delay, self.messages, target, row, announced)
                    heapq.heappush(self._under_way, arrival)
        while self._under_way and self._under_way[0][0] <= self._now:
            _, number, target, source, announced = heapq.heappop(self._under_way)
            last, before = self._taken.get((target, source), (0, None))
            if number > last:
                held[target] += announced if before is None else announced - before
                self._taken[target, source] = (number, announced)
        return held

    def total(self, held: Tensor) -> Tensor:
        """Sum over agents and links of what is held (D + 1,): what push-sum keeps."""
        total = held.sum(0)
        if self._pushed is None:
            return total
        for source, targets in enumerate(self._graph.targets):
            for target in targets:
                _, taken = self._taken.get((target, source), (0, torch.zeros_like(held[0])))
                total = total + self._pushed[source] - taken
        return total
