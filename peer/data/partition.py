"""Who has which samples: pure functions of labels, agents and a generator.

Every row is at exactly one agent, nobody is without, and equal generators give equal answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from peer.data.scheme import SPLITS
from peer.errors import SettingError
from peer.extensions import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from peer.data.scheme import Scheme

    Rows = NDArray[np.int64]

SAMPLES_MIN: Final = 10  # of an agent: some to train on, some to validate with, some to test
DRAWS_MAX: Final = 1000  # of a random split, until everybody has that many
TRAIN_ALL, VALIDATION_OF_IT = 0.8, 0.25  # as in Marfoq et al. (FedEM, 2021)
QUARTER_TURNS: Final = {1: (0,), 2: (0, 2), 3: (0, 1, 2), 4: (0, 1, 2, 3)}  # two groups: upside down


@dataclass(frozen=True, slots=True)
class Share:
    """What one agent has, and how it sees it."""

    rows: Rows  # distinct, in random order
    group: int = 0
    turns: int = 0  # images are turned counter-clockwise by so many quarters
    relabelled: Rows | None = None  # the new label of every label; None: as they are

    def seen(self, labels: Rows) -> Rows:
        """These labels as the agent sees them."""
        return labels if self.relabelled is None else self.relabelled[labels]

    def of_rows(self, rows: Rows) -> Share:
        """The same of a larger data set, of which `rows` were shared out."""
        return replace(self, rows=rows[self.rows])


class Split(Protocol):
    """A way of one's own to share rows out.

    Every row goes to exactly one agent. Equal generators give equal answers, and nothing else is drawn from.
    Raises `SettingError` where it is not possible.
    """

    def __call__(self, labels: Rows, agents: int, generator: Generator) -> Sequence[Rows]:
        """Row numbers of every agent, whose labels are whole numbers from 0 up; someone may have none."""


class Parts(NamedTuple):
    """Rows to train on, to validate with and to test on."""

    train: Rows
    validation: Rows
    test: Rows


def parts_of(rows: Rows, train: float = TRAIN_ALL * (1 - VALIDATION_OF_IT), validation: float = 0.2) -> Parts:
    """The first rows to train on, the next to validate with, one at least of each, the rest to test on."""
    first = max(1, round(train * len(rows)))
    second = first + max(1, round(validation * len(rows)))
    return Parts(rows[:first], rows[first:second], rows[second:])


def divide(
    labels: Rows,
    agents: int,
    scheme: Scheme,
    generator: Generator,
    *,
    classes: int,
    column: NDArray[np.str_] | None = None,
    what: str = "samples",
    least: int = SAMPLES_MIN,
) -> list[Share]:
    """One share per agent, of at least `least` rows each.

    `labels` are whole numbers in [0, classes), one per row; `column` has one word per row, for `column:NAME`.
    Raises `SettingError` if that many agents cannot have that many rows each, or be in that many groups.
    """
    if scheme.groups > agents:
        remedy = f"{scheme.transform}:{scheme.groups} needs an agent in each group; use more agents"
        raise SettingError("agents", agents, remedy)
    found = _drawn(labels, agents, scheme, generator, column, what, least)
    found = [generator.permutation(rows) for rows in found]
    groups = [agent % scheme.groups for agent in range(agents)]
    if scheme.transform == "rotated":
        turns = QUARTER_TURNS[scheme.groups]
        return [Share(rows, group, turns[group]) for rows, group in zip(found, groups, strict=True)]
    if scheme.transform == "permuted":
        permutations = _permutations(scheme, classes, generator)
        return [
            Share(rows, group, 0, permutations[group] if group else None)
            for rows, group in zip(found, groups, strict=True)
        ]
    return [Share(rows) for rows in found]


def _drawn(
    labels: Rows,
    agents: int,
    scheme: Scheme,
    generator: Generator,
    column: NDArray[np.str_] | None,
    what: str,
    least: int,
) -> list[Rows]:
    remedy = f"{len(labels)} {what} do not give each device {least}; use fewer agents"
    if agents * least > len(labels):
        raise SettingError("agents", agents, remedy)
    if scheme.split == "iid":
        return split_iid(labels, agents, generator)
    if scheme.split == "shards":
        assert isinstance(scheme.parameter, int)
        found = split_shards(labels, agents, scheme.parameter, generator)
    elif scheme.split == "column":
        assert column is not None
        found = split_column(column, agents, generator)
    elif scheme.split not in SPLITS:
        found = split_by(scheme, labels, agents, generator)
    else:
        assert isinstance(scheme.parameter, float)
        found = []
        for _ in range(DRAWS_MAX):
            found = split_dirichlet(labels, agents, scheme.parameter, generator)
            if min(map(len, found)) >= least:
                return found
        remedy += f", or a larger number than {scheme.parameter:g} for dirichlet"
    if min(map(len, found)) < least:
        raise SettingError("agents", agents, remedy)
    return found


def split_iid(labels: Rows, agents: int, generator: Generator) -> list[Rows]:
    """At random, in sizes that differ by one at most."""
    return np.array_split(generator.permutation(len(labels)), agents)


def split_dirichlet(labels: Rows, agents: int, alpha: float, generator: Generator) -> list[Rows]:
    """Of every label, shares drawn from a symmetric Dirichlet distribution; somebody may have nothing.

    The split "by labels" of Marfoq et al. (FedEM, 2021), after Wang et al. (2020).
    """
    parts: list[list[Rows]] = [[] for _ in range(agents)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(agents, alpha))
        edges = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for part, piece in zip(parts, np.split(members, edges), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def split_shards(labels: Rows, agents: int, shards: int, generator: Generator) -> list[Rows]:
    """Sorted by label, cut into equal pieces, of which every agent gets `shards` at random.

    McMahan et al. (2017), section 3. A piece may hold the end of one label and the beginning of the next.
    """
    mixed = generator.permutation(len(labels))
    by_label = mixed[np.argsort(labels[mixed], kind="stable")]
    pieces = np.array_split(by_label, agents * shards)
    dealt = generator.permutation(len(pieces)).reshape(agents, shards)
    return [np.concatenate([pieces[number] for number in hand]) for hand in dealt]


def split_by(scheme: Scheme, labels: Rows, agents: int, generator: Generator) -> list[Rows]:
    """As a part of another package has it. Raises `SettingError` if it loses rows or gives one twice."""
    name = scheme.split if scheme.parameter is None else f"{scheme.split}:{scheme.parameter}"
    split: Split | None = make("partition", name)
    if split is None:
        raise SettingError("partition", name, "the package that brings it is not installed here")
    found = [np.asarray(rows).reshape(-1) for rows in split(labels, agents, generator)]
    found = [rows.astype(np.int64) if np.array_equal(rows, rows.astype(np.int64)) else rows for rows in found]
    if len(found) != agents or not np.array_equal(np.sort(np.concatenate(found)), np.arange(len(labels))):
        remedy = f"it must give {agents} agents every one of {len(labels)} rows once; mend that package"
        raise SettingError("partition", name, remedy)
    return found


def split_column(column: NDArray[np.str_], agents: int, generator: Generator) -> list[Rows]:
    """All rows of one word at one agent; in random order each word goes to who has the fewest rows so far.

    Raises `SettingError` if there are fewer words than agents.
    """
    words, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    if len(words) < agents:
        remedy = f"the column has {len(words)} different values; use {len(words)} agents or fewer"
        raise SettingError("agents", agents, remedy)
    held = np.zeros(agents, dtype=np.int64)
    owner = np.zeros(len(words), dtype=np.int64)
    for word in generator.permutation(len(words)):
        owner[word] = np.argmin(held)  # the first of equals: everybody gets one before anybody gets two
        held[owner[word]] += counts[word]
    owners = owner[place]
    return [np.flatnonzero(owners == agent) for agent in range(agents)]


def _permutations(scheme: Scheme, classes: int, generator: Generator) -> list[Rows]:
    """One per group, all different; the first changes nothing."""
    if scheme.groups > classes:
        remedy = f"there are {classes} labels; use {classes} groups or fewer"
        raise SettingError("partition", str(scheme), remedy)
    found = [np.arange(classes)]
    while len(found) < scheme.groups:
        drawn = generator.permutation(classes)
        if not any(np.array_equal(drawn, one) for one in found):
            found.append(drawn)
    return found
