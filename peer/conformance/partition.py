"""What every way to share samples out, a `peer.data.partition.Split`, has to hold."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import numpy as np

from peer.conformance.common import has_what_is_asked_for, takes_its_text
from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from peer.data.partition import Split

    Make = Callable[[], Split]
    Rows = NDArray[np.int64]

SETS: Final = (
    ("ten classes", np.arange(600) % 10, 7),
    ("one class", np.zeros(100, dtype=np.int64), 4),
    ("a rare class", np.array([0] * 180 + [1] * 3), 6),
    ("one agent", np.arange(30) % 3, 1),
)


def _shared(make: Make, labels: Rows, agents: int, seed: int = 0) -> Sequence[Rows] | None:
    """None where it says that it cannot."""
    try:
        return make()(labels, agents, np.random.default_rng(seed))
    except SettingError:
        return None


def it_has_what_is_asked_for(make: Make) -> None:
    """It can be called with labels, a number of agents, and a generator."""
    has_what_is_asked_for("partition", make, make())
    _shared(make, *SETS[0][1:])


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make)


def every_row_goes_to_exactly_one_agent(make: Make) -> None:
    """Whatever the labels are."""
    possible = 0
    for name, labels, agents in SETS:
        found = _shared(make, labels, agents)
        if found is None:
            continue
        possible += 1
        assert len(found) == agents, f"{name}: {len(found)} shares for {agents} agents"
        rows = np.sort(np.concatenate([np.asarray(one).reshape(-1) for one in found]))
        assert np.array_equal(rows, np.arange(len(labels))), f"{name}: rows are lost, or given twice"
    assert possible, "it refuses all label sets that it is tried with"


def equal_generators_give_equal_shares(make: Make) -> None:
    """So that every machine comes to the same."""
    for name, labels, agents in SETS:
        one, other = (_shared(make, labels, agents) for _ in range(2))
        if one is None or other is None:
            assert one is other, f"{name}: it refuses once, and once it does not"
            continue
        assert all(map(np.array_equal, one, other)), f"{name}: two equal draws differ"


def it_draws_from_its_generator_only(make: Make) -> None:
    """Global random streams stay where they are, and so do the labels."""
    state, legacy = random.getstate(), np.random.get_state(legacy=False)["state"]
    for name, labels, agents in SETS:
        kept = labels.copy()
        _shared(make, labels, agents)
        assert np.array_equal(kept, labels), f"{name}: it changes the labels"
    assert state == random.getstate(), "it draws from Python's global random stream"
    now = np.random.get_state(legacy=False)["state"]
    assert now["pos"] == legacy["pos"], "it draws from numpy's global random stream"
    assert np.array_equal(now["key"], legacy["key"]), "it draws from numpy's global random stream"


def more_agents_than_rows_are_refused_in_words(make: Make) -> None:
    """Or some have nothing; never another error, never a row made up."""
    labels = np.arange(3)
    found = _shared(make, labels, 8)
    if found is not None:
        assert len(found) == 8, f"{len(found)} shares for 8 agents"
        rows = np.sort(np.concatenate([np.asarray(one, dtype=np.int64).reshape(-1) for one in found]))
        assert np.array_equal(rows, labels), "rows are lost, or given twice"


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    every_row_goes_to_exactly_one_agent,
    equal_generators_give_equal_shares,
    it_draws_from_its_generator_only,
    more_agents_than_rows_are_refused_in_words,
)
