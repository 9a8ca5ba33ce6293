"""Options of hypergradient estimators in common rounds, which only `simulate` can have."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.option import Option

IN_ROUNDS: Final = ("simulate",)

ESTIMATOR_OPTIONS: Final = (
    Option(
        name="estimator",
        read=readers.text,
        help="how hypergradients are estimated: tracking, as agents do; in common rounds, for comparison, "
        "neumann:S:M (M terms, S rounds of push-sum for each), jacobian-push:M, direct (no second order)",
        commands=IN_ROUNDS,
        group="learning",
        metavar="NAME",
        default="tracking",
    ),
    Option(
        name="schedule",
        read=readers.text,
        help="in common rounds: continuous, or rounds:N, N of training, then a fresh estimate and a step of "
        "the hyperparameters",
        commands=IN_ROUNDS,
        group="learning",
        metavar="WHEN",
        unset="continuous, where the estimator can",
    ),
    Option(
        name="links",
        read=readers.links,
        help="in common rounds, which know no other faults than --drop (how often a link is down) and this: "
        "known, senders know which are down; or silent, nobody does",
        commands=IN_ROUNDS,
        group="learning",
        metavar="HOW",
        default="known",
    ),
)
FLAGS: Final = tuple(option.flag for option in ESTIMATOR_OPTIONS)
REAL: Final = (
    "other estimators need common rounds, which no real network has: hyperpush simulate --estimator NAME"
)
