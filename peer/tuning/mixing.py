"""How fast averaging over directed links that lose messages brings agents together."""

from __future__ import annotations

import functools
import random

AGENTS_MAX = 48  # of more it is about the same, with several out-neighbours
TICKS_MAX = 60
TRIALS = 8
SPREAD_LEAST = 1e-12
GAP_MIN = 1e-3


@functools.lru_cache(256)
def averaging_gap(agents: int, fanout: int, heard: float) -> float:
    """One minus the factor by which disagreement falls in a tick, tried out on random networks.

    Each agent has the ring successor and others as out-neighbours, `fanout` together, and averages with
    whatever arrives: each message with probability `heard`. 1.0 for an agent alone. The same everywhere: no
    sum depends on a machine.
    """
    agents = min(agents, AGENTS_MAX)
    if agents < 2:
        return 1.0
    rng = random.Random(0)
    rates = [_rate(_sources(agents, fanout, rng), heard, rng) for _ in range(TRIALS)]
    return max(GAP_MIN, 1.0 - sum(rates) / TRIALS)


def _sources(agents: int, fanout: int, rng: random.Random) -> list[list[int]]:
    """In-neighbours in one random network."""
    sources: list[list[int]] = [[] for _ in range(agents)]
    for agent in range(agents):
        successor = (agent + 1) % agents
        others = [other for other in range(agents) if other not in (agent, successor)]
        for target in (successor, *rng.sample(others, min(fanout - 1, len(others)))):
            sources[target].append(agent)
    return sources


def _rate(sources: list[list[int]], heard: float, rng: random.Random) -> float:
    """By which the spread of one random vector falls in a tick, once the slowest pattern has taken over."""
    values = [rng.gauss(0.0, 1.0) for _ in sources]
    spreads = [max(values) - min(values)]
    while len(spreads) <= TICKS_MAX and spreads[-1] > SPREAD_LEAST:
        before = values
        values = []
        for agent, known in enumerate(sources):
            arrived = [before[source] for source in known if rng.random() < heard]
            values.append((before[agent] + sum(arrived)) / (1 + len(arrived)))
        spreads.append(max(values) - min(values))
    first = len(spreads) // 3
    ratio = max(spreads[-1], SPREAD_LEAST) / spreads[first]
    rate: float = min(1.0, ratio) ** (1.0 / (len(spreads) - 1 - first))
    return rate
