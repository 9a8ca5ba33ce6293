"""Errors of the user's side: what they say, and that they come through from another process as they are."""

from __future__ import annotations

import pickle

import pytest

from peer.errors import HyperpushError, SettingError, StateError
from peer.problem_details import RefusalError
from peer.spread.crew import PlaceLostError
from wire import TransportError


@pytest.mark.parametrize(
    "error",
    [
        HyperpushError("no"),
        SettingError("agents", 3, "give more"),
        StateError("state: it is gone"),
        RefusalError(409, "agent", "a", "it is there"),
        PlaceLostError("gone"),
        TransportError("port 1 is taken"),
    ],
)
def test_errors_come_through_from_other_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    assert (type(again), str(again), again.args, vars(again)) == (
        type(error),
        str(error),
        error.args,
        vars(error),
    )


def test_what_cannot_be_printed_is_told_as_python_writes_it() -> None:
    assert str(HyperpushError("a\x1b[2J\nb")) == "a\\x1b[2J\\nb"
