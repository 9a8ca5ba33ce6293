"""Where parts of one's own go in: the name of each point, its group of entry points, and what is asked there.

An entry point is a function or a class, and gives the part. It is called with what is said here, and with the
text after the colon of `NAME:TEXT` as the keyword `text`, which is left out where there is no colon: so one
signature serves both, `def __init__(self, parameters, text="0.9")`, and one without `text` takes none.
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
    options: tuple[str, ...]  # by which the part is chosen on the command line
    contract: str  # where the protocol is
    called_with: str = ""  # beside the text; `name=` is a keyword
    needs: tuple[str, ...] = ()  # attributes without which it cannot be one
    also: tuple[str, ...] = ()  # other names of it


POINTS: Final = (
    Point(
        "personalization",
        "hyperpush.personalizations",
        ("--personalization",),
        "peer.personalization.contract.Personalization",
        needs=("bind", "name", "chosen"),
    ),
    Point(
        "estimator",
        "hyperpush.estimators",
        ("--estimator",),
        "peer.estimators.base.HypergradientEstimator",
        "step_size=, momentum=",
        ("init", "update", "hypergradients", "standing"),
    ),
    Point(
        "solver",
        "hyperpush.solvers",
        ("--solver",),
        "peer.tracking.Stream",
        "initial, algebra, spans",
        (
            *("absorb", "announced_estimate", "array_lengths", "brought", "descend", "direction", "estimate"),
            *("enter_epoch", "gradient", "learn", "mix", "push", "replace_estimate", "residual", "rest"),
            "spacing",
        ),
    ),
    Point(
        "optimizer",
        "hyperpush.optimizers",
        ("--optimizer", "--hyper-optimizer"),
        "torch.optim.Optimizer",
        "parameters",
        ("step", "param_groups", "state_dict", "load_state_dict"),
        also=("hyper_optimizer",),
    ),
    Point(
        "partition",
        "hyperpush.partitions",
        ("--partition",),
        "peer.data.partition.Split",
        "",
        ("__call__",),
    ),
    Point(
        "fault_model",
        "hyperpush.fault_models",
        ("--fault-model",),
        "wire.link_models.LinkModel",
        "",
        ("deliveries",),
    ),
    Point(
        "discovery",
        "hyperpush.discoveries",
        ("--discovery",),
        "wire.discovery.Discovery",
        "record, fetch=, on_seen=, on_incompatible=, on_problem=",
        ("start", "close", "forget", "refused", "wait_failed"),
    ),
    Point(
        "transport",
        "hyperpush.transports",
        ("--transport",),
        "wire.transport.Transport",
        "peer=, listen_host=, listen_port=, identity=, on_frame=, faults=, fault_seed=, clock=, "
        "advertise_host=, advertise_port=",
        (
            *("address", "address_of", "close", "connect", "counters", "disconnect", "fetch_identity"),
            *("flush", "per_peer", "redial", "send", "start", "wait_failed"),
        ),
    ),
)


def point(name: str) -> Point:
    """The point of this name. Raises `SettingError` if there is none."""
    for one in POINTS:
        if name in (one.name, *one.also):
            return one
    raise SettingError("point", name, f"give one of {', '.join(one.name for one in POINTS)}")
