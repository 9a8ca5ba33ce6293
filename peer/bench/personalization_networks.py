"""The five networks of `hyperpush bench personalization`, for methods in one batch and for agents.

Methods are told which links are up, on all networks but the last; agents are never told, and lose what they
send over a link that is down. Links of agents fail independently for every message, also where those of
methods are up both ways or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.lockstep import RATES, LockstepNetwork, erdos_renyi, make_graph
from peer.rivals.links import NUMBER_BYTES, CommonRounds, SilentLinks
from peer.scenario import member_names
from wire import Exponential, FaultPlan, LinkFaults

if TYPE_CHECKING:
    from peer.lockstep import Graph
    from peer.rivals.links import Links

FULL: Final = "full"
STATIC: Final = "static"
UNDIRECTED: Final = "undirected"
DIRECTED: Final = "directed"
SILENT: Final = "silent"
NETWORKS: Final = (FULL, STATIC, UNDIRECTED, DIRECTED, SILENT)
ABOUT: Final = {
    FULL: "everybody hears everybody, always",
    STATIC: "an undirected Erdos-Renyi graph, 0.4",
    UNDIRECTED: "each pair is linked 40 to 80 % of the time",
    DIRECTED: "each direction of each pair is linked 40 to 80 % of the time",
    SILENT: "30 % lost and nobody told, delays of two ticks in the mean, speeds 10x apart",
}

LINKED: Final = 0.4  # of pairs, in the static network
DROP: Final = 0.3
DELAY_TICKS: Final = 2.0
SPREAD: Final = 10.0  # the fastest agent's speed to the slowest one's


@dataclass(frozen=True, slots=True)
class AgentNetwork:
    """What a simulated swarm is given."""

    faults: FaultPlan
    speeds: tuple[float, ...] | None = None


def graph_of(network: str, agents: int, seed: int) -> Graph:
    """Links and their rates."""
    if network == STATIC:
        return erdos_renyi(agents, LINKED, seed=seed)
    if network == UNDIRECTED:
        return erdos_renyi(agents, 1.0, rates=RATES, seed=seed)
    return make_graph(agents, rates=RATES if network == DIRECTED else (1.0, 1.0), seed=seed)


def speeds_of(agents: int) -> tuple[float, ...]:
    """From 1 / sqrt(SPREAD) to sqrt(SPREAD), evenly in the logarithm."""
    return tuple(SPREAD ** (number / (agents - 1) - 0.5) for number in range(agents))


def links_of(network: str, agents: int, seed: int, turn_ticks: int) -> Links:
    """For a method whose turns take so many ticks."""
    graph = graph_of(network, agents, seed)
    if network != SILENT:
        symmetric = network in (STATIC, UNDIRECTED)
        return CommonRounds(LockstepNetwork(graph, symmetric=symmetric, number_bytes=NUMBER_BYTES, seed=seed))
    return SilentLinks(
        graph,
        drop=DROP,
        mean_delay_ticks=DELAY_TICKS,
        speeds=speeds_of(agents),
        turn_ticks=turn_ticks,
        seed=seed,
    )


def network_of_agents(network: str, agents: int, seed: int, tick_s: float) -> AgentNetwork:
    """Links that are down as often, for agents."""
    if network == SILENT:
        return AgentNetwork(
            FaultPlan(drop=DROP, delay_s=Exponential(DELAY_TICKS * tick_s)), speeds_of(agents)
        )
    rates = graph_of(network, agents, seed).rates
    names = member_names(agents)
    links = {
        (names[source], names[target]): LinkFaults(drop=1.0 - float(rates[target, source]))
        for source in range(agents)
        for target in range(agents)
        if source != target and float(rates[target, source]) < 1.0
    }
    return AgentNetwork(FaultPlan(links=links))
