"""Hypergradient estimators side by side, with one signature, in a network of common rounds.

    name            messages of one update           what its hypergradients tend to
    direct          none                             dF/dh alone: no second-order term
    neumann         S rounds of push-sum             the truth, as S and the number of updates M grow
    jacobian-push   one round                        the truth, to the order of its step and noise
    tracking        one round                        the truth, also where links lose silently

`tracking` is here in lock-step for comparison only; the agents of `peer.simulate`, `swarm` and `run` do the
same over both streams at once, without rounds. `learn_in_rounds` is a whole swarm with one of them, or with
one that somebody else brings, which `choose` finds by its name.
"""

from peer.estimators.base import HypergradientEstimator, SwarmProducts
from peer.estimators.choice import EstimatorChoice, choose
from peer.estimators.direct import Direct
from peer.estimators.jacobian_push import JacobianPush
from peer.estimators.learning import Plan, learn_in_rounds
from peer.estimators.neumann import Neumann
from peer.estimators.tracking import Tracking

__all__ = [
    "Direct",
    "EstimatorChoice",
    "HypergradientEstimator",
    "JacobianPush",
    "Neumann",
    "Plan",
    "SwarmProducts",
    "Tracking",
    "choose",
    "learn_in_rounds",
]
