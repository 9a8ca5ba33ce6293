"""What an agent orders of its solver for one tick, and what comes back to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Generic

from peer.algebra import V
from peer.tuning.tuner import ALONE, Network

if TYPE_CHECKING:
    from peer.algebra import Span


@dataclass(frozen=True, slots=True)
class BlockPush(Generic[V]):
    """One block to be announced; the agent puts its name and epoch to it."""

    block: int
    sequence: int
    arrays: tuple[V, ...]
    averages: tuple[float, ...] = ()  # of one block of each tick


@dataclass(frozen=True, slots=True)
class Orders:
    """What the agent decided for one tick."""

    copies: int  # number of out-neighbours
    moving: bool  # False during warm-up: average, but do not step
    hyper_step_size: float  # 0 in most ticks
    evaluate: bool  # compute test metrics
    blocks_max: int | None = None  # no more are pushed in this tick; None: as many as are due
    network: Network = ALONE  # what steps are chosen by


def block_spans(size: int, block_fraction: float, elements_per_block_max: int) -> tuple[Span, ...]:
    """Cut `size` elements into blocks of nearly equal length that no message limit stops."""
    blocks = max(-(-size // elements_per_block_max), min(size, round(1.0 / block_fraction)))
    edges = [size * block // blocks for block in range(blocks + 1)]
    return tuple(slice(start, stop) for start, stop in pairwise(edges))
