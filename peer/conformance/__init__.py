"""What a part of one's own has to hold: a list of checks for each point of `peer.extensions`.

    pytest --hyperpush-conformance my_module

A check is a function that is given what makes the part, and raises `AssertionError` saying what is wrong.
`my_module` says what there is to check:

    CONFORMANCE = {"personalization": [MyPersonalization], "partition": [lambda: MySplit("0.5")]}

with makers that take what those of entry points take beside the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from peer.extensions import point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUITES: Final = {
    "personalization": "peer.conformance.personalization",
    "estimator": "peer.conformance.estimator",
    "solver": "peer.conformance.solver",
    "optimizer": "peer.conformance.optimizer",
    "partition": "peer.conformance.partition",
    "fault_model": "peer.conformance.fault_model",
    "discovery": "peer.conformance.discovery",
    "transport": "peer.conformance.transport",
}


class Check(Protocol):
    """One thing that must hold."""

    __name__: str

    def __call__(self, make: Callable[..., Any]) -> None:
        """Raises `AssertionError` if it does not."""


def checks(where: str) -> Sequence[Check]:
    """Those of one point; the others need what the first one looks for. Raises `SettingError`."""
    found: Sequence[Check] = importlib.import_module(SUITES[point(where).name]).CHECKS
    return found
