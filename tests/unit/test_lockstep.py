"""The network of common rounds: mass, what senders know, counters, expectations, determinism."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import peer
from peer.lockstep import HEADER_BYTES, RATES, Graph, LockstepNetwork, make_graph
from tests.oracles.hypergradients import mean_shares


@settings(max_examples=20)
@given(agents=st.integers(2, 7), seed=st.integers(0, 10**6), fanout=st.none() | st.integers(1, 3))
def test_known_links_keep_mass_and_the_average_is_found(agents: int, seed: int, fanout: int | None) -> None:
    """Column-stochastic: sums of values and of weights stay; every estimate tends to the mean."""
    network = LockstepNetwork(make_graph(agents, fanout=fanout, rates=RATES, seed=seed), seed=seed)
    values = torch.randn(agents, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mixing = network.mixing(4)
    assert torch.allclose(mixing.sum(0), torch.ones(agents, dtype=torch.float64), atol=1e-15)
    assert torch.allclose((mixing @ values).sum(0), values.sum(0), atol=1e-14)
    found = network.push_sum(values, 200)
    assert torch.allclose(found, values.mean(0).expand_as(values), atol=1e-6)


def test_silent_links_lose_mass_and_bias_the_average() -> None:
    graph = make_graph(5, rates=(0.6, 0.6))
    values = torch.arange(10.0, dtype=torch.float64).reshape(5, 2)
    known, silent = LockstepNetwork(graph, seed=1), LockstepNetwork(graph, known=False, seed=1)
    assert float(silent.mixing(1).sum(0).min()) < 1.0
    errors = [
        float((network.push_sum(values, 60) - values.mean(0)).abs().max()) for network in (known, silent)
    ]
    assert errors[0] < 1e-9 < 1e-2 < errors[1]


def test_on_a_perfect_complete_graph_one_round_is_the_mean() -> None:
    values = torch.arange(8.0, dtype=torch.float64).reshape(4, 2)
    found = LockstepNetwork(make_graph(4)).push_sum(values, 1)
    assert torch.allclose(found, values.mean(0).expand_as(values))


@pytest.mark.parametrize("known", [True, False])
def test_messages_and_bytes_are_counted_where_they_are_sent(known: bool) -> None:
    """A sender that does not know sends on all links, in vain on some."""
    graph = make_graph(6, fanout=2, rates=(0.5, 0.5))
    network = LockstepNetwork(graph, known=known)
    received = sum(int(network.deliver(10)[0].sum()) for _ in range(50))
    on_all = 50 * sum(map(len, graph.targets))
    assert network.rounds == 50
    assert network.messages == (received if known else on_all)
    assert network.bytes == network.messages * (HEADER_BYTES + 80)
    count = {name: int(numbers.sum()) for name, numbers in network.counts.items()}
    assert (count["sent"], count["received"], count["bytes"]) == (network.messages, received, network.bytes)
    assert count["lost"] == count["missed"] == network.messages - received
    assert 0.3 * on_all < received < 0.7 * on_all


def test_nothing_arrives_where_there_is_no_link() -> None:
    graph = make_graph(6, fanout=2, rates=(0.9, 1.0))
    network = LockstepNetwork(graph)
    for _ in range(20):
        delivered, copies = network.deliver(1)
        for source, targets in enumerate(graph.targets):
            heard = set(delivered[:, source].nonzero().flatten().tolist())
            assert heard <= set(targets)
            assert int(copies[source]) == len(heard)


RATES_EXACT = [[Fraction(1, 1 + (i + 2 * j) % 3) for j in range(4)] for i in range(4)]


@pytest.mark.parametrize("known", [True, False])
def test_expected_shares_are_those_of_all_cases(known: bool) -> None:
    """Known links: every combination of up and down, in exact arithmetic."""
    targets = ((1, 2, 3), (2,), (0, 3), (0, 1, 2))
    rates = torch.eye(4, dtype=torch.float64)
    for source, among in enumerate(targets):
        for target in among:
            rates[target, source] = float(RATES_EXACT[target][source])
    found = LockstepNetwork(Graph(targets, rates), known=known).expected_mixing()
    exact = mean_shares(targets, RATES_EXACT)
    if known:
        assert found.sum(0).tolist() == pytest.approx([1.0] * 4)
    else:
        exact = [
            [
                Fraction(1, len(targets[j]) + 1)
                * (1 if i == j else RATES_EXACT[i][j] if i in targets[j] else 0)
                for j in range(4)
            ]
            for i in range(4)
        ]
    assert torch.allclose(
        found, torch.tensor([[float(e) for e in row] for row in exact], dtype=torch.float64)
    )


def test_expected_shares_are_the_mean_of_what_is_drawn() -> None:
    network = LockstepNetwork(make_graph(5, fanout=2, rates=RATES, seed=3), seed=2)
    mean = torch.stack([network.mixing(1) for _ in range(1500)]).mean(0)
    assert torch.allclose(mean, network.expected_mixing(), atol=0.05)


def test_equal_seeds_draw_equal_links_and_others_do_not() -> None:
    def drawn(seed: int, graph_seed: int = 0) -> torch.Tensor:
        network = LockstepNetwork(make_graph(5, rates=RATES, seed=graph_seed), seed=seed)
        return torch.stack([network.mixing(1) for _ in range(10)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert not torch.equal(drawn(1), drawn(1, graph_seed=1))


def test_sparse_graphs_are_the_circles_of_the_agents() -> None:
    graph = make_graph(10, fanout=3)
    assert graph.agents == 10
    for own, targets in enumerate(graph.targets):
        assert (own + 1) % 10 in targets, "the successor, so that the graph is strongly connected"
        assert 2 <= len(targets) <= 3


@pytest.mark.parametrize(
    ("agents", "keywords", "problem"),
    [
        (1, {}, "agents: 1 is not possible; give 2"),
        (3, {"fanout": 0}, "fanout: 0 is not possible; give 1"),
        (3, {"rates": (0.0, 0.5)}, "rates: .* is not possible; give the lowest"),
        (3, {"rates": (0.6, 0.5)}, "rates"),
        (3, {"rates": (0.6, 1.1)}, "rates"),
    ],
)
def test_what_cannot_be_is_named(agents: int, keywords: dict, problem: str) -> None:
    with pytest.raises(peer.SettingError, match=problem):
        make_graph(agents, **keywords)
