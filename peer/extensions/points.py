"""Where parts of one's own go in: the name of each point, its group of entry points, and what is asked there.

An entry point is a function or a class. It is called with the text after the colon of `NAME:TEXT`, or without
anything if there is no colon, and gives the part; what it is called with beside that is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from peer.errors import SettingError


@dataclass(frozen=True, slots=True)
class Point:
    """One place for parts of one's own."""

    name: str  # personalization; as options and errors call it
    group: str  # of entry points: hyperpush.personalizations
    option: str  # by which the part is chosen on the command line, or the argument in a program
    contract: str  # where the protocol is
    called_with: str = ""  # beside the text
    needs: tuple[str, ...] = ()  # attributes without which it cannot be one


POINTS: Final = (
    Point(
        "personalization",
        "hyperpush.personalizations",
        "--personalization",
        "peer.personalization.contract.Personalization",
        needs=("bind", "name", "chosen"),
    ),
    Point(
        "estimator",
        "hyperpush.estimators",
        "--estimator",
        "peer.estimators.base.HypergradientEstimator",
        "step_size=, momentum=",
        ("init", "update", "hypergradients", "standing"),
    ),
    Point(
        "solver",
        "hyperpush.solvers",
        "--solver",
        "peer.tracking.Stream",
        "initial, algebra, spans",
        (
            *("absorb", "announced_estimate", "array_lengths", "brought", "descend", "direction", "estimate"),
            *("enter_epoch", "gradient", "learn", "mix", "push", "replace_estimate", "residual", "rest"),
            "spacing",
        ),
    ),
    Point(
        "hyper_optimizer",
        "hyperpush.optimizers",
        "--hyper-optimizer",
        "torch.optim.Optimizer",
        "parameters",
        ("step", "param_groups", "state_dict", "load_state_dict"),
    ),
    Point(
        "partition",
        "hyperpush.partitions",
        "--partition",
        "peer.data.partition.Split",
        "",
        ("__call__",),
    ),
    Point(
        "fault_model",
        "hyperpush.fault_models",
        "--fault-model",
        "wire.link_models.LinkModel",
        "",
        ("deliveries",),
    ),
    Point(
        "discovery",
        "hyperpush.discoveries",
        "--discovery",
        "wire.discovery.Discovery",
        "record, fetch=, on_seen=, on_incompatible=, on_problem=",
        ("start", "close", "forget", "refused", "wait_failed"),
    ),
    Point(
        "transport",
        "hyperpush.transports",
        "--transport",
        "wire.transport.Transport",
        "what wire.WebSocketTransport is made with",
        (
            *("address", "address_of", "close", "connect", "counters", "disconnect", "fetch_identity"),
            *("flush", "per_peer", "redial", "send", "start", "wait_failed"),
        ),
    ),
)


def point(name: str) -> Point:
    """The point of this name. Raises `SettingError` if there is none."""
    for one in POINTS:
        if one.name == name:
            return one
    raise SettingError("point", name, f"give one of {', '.join(one.name for one in POINTS)}")
