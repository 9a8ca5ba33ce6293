"""Partitions: every sample at exactly one agent, nobody without, the same again from the same seed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.data.holdings import holdings
from peer.data.labelled import LabelledData, turned
from peer.data.partition import DRAWS_MAX, Share, divide, parts_of, split_dirichlet
from peer.data.scheme import Scheme, parse_scheme
from peer.errors import SettingError

SPLITS = ("iid", "dirichlet:0.4", "dirichlet:50", "shards:2", "column:writer")
TRANSFORMS = ("", "+rotated:2", "+rotated:3", "+rotated:4", "+permuted:3")


def shared_out(
    labels: np.ndarray, agents: int, scheme: str | Scheme, seed: int = 0, least: int = 1, **more: Any
) -> list[Share]:
    found = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    generator = np.random.default_rng(seed)
    return divide(labels, agents, found, generator, classes=int(labels.max()) + 1, least=least, **more)


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(60, 400),
    agents=st.integers(1, 8),
    classes=st.integers(3, 12),
    split=st.sampled_from(SPLITS),
    transform=st.sampled_from(TRANSFORMS),
    seed=st.integers(0, 2**32),
)
def test_every_sample_is_at_exactly_one_agent(
    samples: int, agents: int, classes: int, split: str, transform: str, seed: int
) -> None:
    drawn = np.random.default_rng([seed, 7])
    labels = np.concatenate([np.arange(classes), drawn.integers(0, classes, samples - classes)])
    writers = np.array([f"writer {number}" for number in drawn.permutation(samples) % 20])
    scheme = parse_scheme(split + transform)
    if scheme.groups > agents:
        with pytest.raises(SettingError, match=f"agents: {agents} is not possible; {scheme.transform}:"):
            shared_out(labels, agents, scheme, seed, column=writers)
        return
    shares = shared_out(labels, agents, scheme, seed, column=writers)
    again = shared_out(labels, agents, scheme, seed, column=writers)
    assert sorted(itertools.chain(*(share.rows.tolist() for share in shares))) == list(range(samples))
    assert all(len(share.rows) > 0 for share in shares)
    assert all(np.array_equal(one.rows, other.rows) for one, other in zip(shares, again, strict=True))
    assert [share.group for share in shares] == [agent % scheme.groups for agent in range(agents)]
    for share in shares:
        parts = parts_of(share.rows)
        assert np.array_equal(np.concatenate(parts), share.rows)
        seen = share.seen(labels)
        assert sorted(set(seen)) == list(range(classes)), "a permutation of labels"
        assert (share.relabelled is not None) == (scheme.transform == "permuted" and share.group > 0)
        assert scheme.transform == "rotated" or share.turns == 0
    if split == "column:writer":
        for writer in set(writers):
            assert sum(writer in writers[share.rows] for share in shares) == 1


@settings(deadline=None)
@given(count=st.integers(10, 5000))
def test_eighty_percent_are_to_learn_from_a_quarter_of_them_to_validate(count: int) -> None:
    train, validation, test = (len(part) for part in parts_of(np.arange(count)))
    assert train == pytest.approx(0.6 * count, abs=1)
    assert validation == pytest.approx(0.2 * count, abs=1)
    assert test == pytest.approx(0.2 * count, abs=1)
    assert min(train, validation, test) >= 1


def test_dirichlet_shares_are_as_the_distribution_says() -> None:
    """The share of a label at an agent has mean 1/n and variance (n - 1) / (n^2 (n alpha + 1))."""
    labels = np.zeros(10_000, dtype=np.int64)
    for alpha in (0.4, 5.0):
        shares = np.array(
            [
                [
                    len(rows) / len(labels)
                    for rows in split_dirichlet(labels, 5, alpha, np.random.default_rng(seed))
                ]
                for seed in range(400)
            ]
        )
        assert shares.mean() == pytest.approx(1 / 5)
        assert shares.var() == pytest.approx(4 / (25 * (5 * alpha + 1)), rel=0.1)


def test_shards_hold_few_labels() -> None:
    labels = np.repeat(np.arange(10), 100)
    for share in shared_out(labels, 10, "shards:2"):
        assert len(set(labels[share.rows])) <= 2
        assert len(share.rows) == 100
    iid = shared_out(labels, 10, "iid")
    assert all(len(set(labels[share.rows])) == 10 for share in iid)
    assert {len(share.rows) for share in iid} == {100}


def test_permuted_groups_differ_and_the_first_is_as_it_was() -> None:
    labels = np.repeat(np.arange(5), 30)
    shares = shared_out(labels, 6, "permuted:3")
    maps = [share.relabelled for share in shares]
    assert maps[0] is None
    assert maps[3] is None
    first, second = maps[1], maps[2]
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, np.arange(5))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, maps[4])
    two = np.array([0, 1] * 20)
    for seed in range(20):  # there are only two permutations of two labels: the first is not drawn twice
        assert shared_out(two, 2, "permuted:2", seed)[1].seen(np.array([0, 1])).tolist() == [1, 0]


def test_rotated_groups_see_images_turned() -> None:
    labels = np.zeros(40, dtype=np.int64)
    assert [share.turns for share in shared_out(labels, 4, "rotated:4")] == [0, 1, 2, 3]
    assert [share.turns for share in shared_out(labels, 4, "rotated:2")] == [0, 2, 0, 2]
    image = np.array([[[1, 2], [3, 4]]])
    assert turned(image, 0) is image
    assert turned(image, 1).tolist() == [[[2, 4], [1, 3]]], "counter-clockwise"
    assert turned(image, 2).tolist() == [[[4, 3], [2, 1]]]
    for other in (np.zeros((3, 4)), np.zeros((3, 4, 5))):
        with pytest.raises(SettingError, match="are no square images; leave it out"):
            turned(other, 1)


def test_a_share_of_some_rows_is_one_of_all() -> None:
    rows = np.array([5, 7, 9, 11])
    share = Share(np.array([3, 0]), 1, 2, np.array([1, 0])).of_rows(rows)
    assert share.rows.tolist() == [11, 5]
    assert (share.group, share.turns) == (1, 2)
    assert share.seen(np.array([0, 0, 1])).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("agents", "scheme", "told"),
    [
        (11, "iid", "agents: 11 is not possible; 100 samples do not give each device 10; use fewer agents"),
        (
            9,
            "dirichlet:0.01",
            "agents: 9 .* each device 10; use fewer agents, or a larger number than 0.01 for",
        ),
        (2, "column:writer", "agents: 2 is not possible; 100 samples do not give each device 10; use fewer"),
        (
            4,
            "column:writer",
            "agents: 4 is not possible; the column has 3 different values; use 3 agents or fewer",
        ),
        (
            8,
            "permuted:6",
            "partition: 'permuted:6' is not possible; there are 5 labels; use 5 groups or fewer",
        ),
    ],
)
def test_what_does_not_work_out_is_refused(
    agents: int, scheme: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.data.partition.DRAWS_MAX", 20)
    assert DRAWS_MAX > 20
    labels = np.arange(100) % 5
    writers = np.array(["a"] * 96 + ["b", "b", "c", "c"])
    with pytest.raises(SettingError, match=told):
        shared_out(labels, agents, scheme, least=10, column=writers)


def test_a_column_has_to_be_there() -> None:
    data = LabelledData(np.zeros((2, 1)), np.zeros(2), ("a",), {"writer": np.array(["x", "y"])})
    assert data.column_for(parse_scheme("iid")) is None
    assert data.column_for(parse_scheme("column:writer")) is data.columns["writer"]
    with pytest.raises(
        SettingError, match=r"partition: 'column:pen' .* no column is called 'pen'; there are writer"
    ):
        data.column_for(parse_scheme("column:pen"))
    bare = LabelledData(data.inputs, data.labels, data.names)
    with pytest.raises(SettingError, match="these data have none"):
        bare.column_for(parse_scheme("column:pen"))
    assert bare.digest() != data.digest()
    assert bare.digest() != LabelledData(np.ones((2, 1)), data.labels, data.names).digest()
    assert bare.digest() == LabelledData(np.zeros((2, 1)), np.zeros(2), ("a",)).digest()


def test_holdings_count_what_agents_see() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    shares = [Share(np.array([0, 1, 2, 3])), Share(np.array([4, 5]), 1, 0, np.array([1, 2, 0]))]
    found = holdings(labels, shares, ("a", "b", "c"))
    assert found.counts.tolist() == [[3, 1, 0], [1, 0, 1]]
    assert found.sizes.tolist() == [[2, 1, 1], [1, 1, 0]]
    assert found.groups == (0, 1)
    assert found.labels_for_most == [2, 2]
    assert found.bars() == ["█▃ ", "█ █"]
    assert holdings(labels, shares, ("a", "b", "c"), 0.25, 0.25).sizes.tolist() == [[1, 1, 2], [1, 1, 0]]
