"""What we ask of parts of others, ours do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.conformance import SUITES, checks
from peer.data.partition import split_dirichlet, split_iid, split_shards
from peer.estimators.choice import choose
from peer.extensions import POINTS
from peer.personalization.registry import personalization
from peer.streams import make_stream
from tests.examples.extensions import CONFORMANCE
from wire import Exponential, FaultPlan, SeedDiscovery, WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERSONALIZATIONS = ("bias", "sample-weights", "mixture:2", "head", "lora:2", "proximal")  # one of each stage
PORTS = ("127.0.0.1:47001", "127.0.0.1:47002", "127.0.0.1:47003", "127.0.0.1:47009")


class Plan:
    """What a fault plan does, as a model."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def deliveries(self, *arguments: Any) -> tuple[float, ...]:
        return self._plan.deliveries(*arguments)

    def __str__(self) -> str:
        return "a plan"


def splitting(split: Callable[..., Any], *parameters: Any) -> Callable[..., Any]:
    return lambda labels, agents, generator: split(labels, agents, *parameters, generator)


def seeds(record: Any, *, on_problem: Any, **options: Any) -> SeedDiscovery:
    del on_problem
    return SeedDiscovery(record, PORTS, refresh_s=0.05, retry_s=0.05, **options)


def estimating(name: str) -> Callable[..., Any]:
    return lambda step_size, momentum: choose(name, None).make(step_size, momentum)


OURS: dict[str, dict[str, Callable[..., Any]]] = {
    "personalization": {name: partial(personalization, name) for name in PERSONALIZATIONS},
    "estimator": {name: estimating(name) for name in ("tracking", "neumann:50", "jacobian-push", "direct")},
    "solver": {"tracking": partial(make_stream, "tracking")},
    "optimizer": {name: getattr(torch.optim, name) for name in ("Adam", "SGD")},
    "partition": {
        "iid": lambda: splitting(split_iid),
        "dirichlet": lambda: splitting(split_dirichlet, 0.4),
        "shards": lambda: splitting(split_shards, 2),
    },
    "fault_model": {"a plan": lambda: Plan(FaultPlan(drop=0.3, delay_s=Exponential(0.1), duplicate=0.1))},
    "discovery": {"seeds": seeds},
    "transport": {"websockets": WebSocketTransport},
}


def all_of(parts: dict[str, dict[str, Callable[..., Any]]]) -> list[Any]:
    return [*_all_of(parts)]


def _all_of(parts: dict[str, dict[str, Callable[..., Any]]]) -> Iterator[Any]:
    for where, makers in parts.items():
        for name, make in makers.items():
            for check in checks(where):
                yield pytest.param(check, make, id=f"{name}-{check.__name__}")


@pytest.mark.parametrize(("check", "make"), all_of(OURS))
def test_ours(check: Any, make: Any) -> None:
    check(make)


@pytest.mark.parametrize(
    ("check", "make"),
    all_of(
        {
            where: {f"{where} {number}": make for number, make in enumerate(makers)}
            for where, makers in CONFORMANCE.items()
        }
    ),
)
def test_the_examples(check: Any, make: Any) -> None:
    check(make)


def test_every_point_has_a_suite_and_an_example() -> None:
    names = {point.name for point in POINTS}
    assert set(SUITES) == set(OURS) == set(CONFORMANCE) == names
