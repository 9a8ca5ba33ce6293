"""What Prometheus reads off agents: their status as metrics. Pure: a value in, text out.

Every metric of an agent has the label `agent`. Label sets are bounded: those of links are only of
neighbours, NEIGHBOURS_MAX of one agent at most.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from peer.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from peer.status import AgentStatus, LinkStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "hyperpush_"
NEIGHBOURS_MAX: Final = 64  # of one agent; a swarm has a few, whoever is announced to it
METRICS_MAX: Final = 64  # of a problem's own
ACCURACIES: Final = ("shared", "personal")
MESSAGES: Final = ("sent", "received", "missing", "replaced", "unsent", "stale")

Values = Iterable[tuple[Sequence[str], float | None]]  # of labels, in their order, and what they have


class Family(NamedTuple):
    """One metric of all agents."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    told: str
    labels: Sequence[str]  # beside `agent`
    values: Callable[[AgentStatus], Values]


def exposition(statuses: Sequence[AgentStatus], process: Collector | None = None) -> bytes:
    """The text that a scrape is answered with; with what `process` tells of the process.

    Numbers that are not known are left out: an alert on what is absent is one of its own.
    """
    registry = CollectorRegistry()
    registry.register(_Statuses(statuses))
    if process is not None:
        registry.register(process)
    return generate_latest(registry)


class _Statuses(Collector):
    def __init__(self, statuses: Sequence[AgentStatus]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        """All families, each with the values of all agents."""
        for name, described in FAMILIES.items():
            family = described.kind(PREFIX + name, described.told, labels=("agent", *described.labels))
            for status in self._statuses:
                for labels, value in described.values(status):
                    if value is not None and math.isfinite(value):
                        family.add_metric([status.peer, *labels], value)
            yield family


def _one(read: Callable[[AgentStatus], float | None]) -> Callable[[AgentStatus], Values]:
    return lambda status: [((), read(status))]


def _each(read: Callable[[AgentStatus], Mapping[str, float]]) -> Callable[[AgentStatus], Values]:
    return lambda status: [((name,), value) for name, value in sorted(read(status).items())]


def _accuracies(status: AgentStatus) -> Values:
    for scope, accuracies in (("agent", status.accuracies), ("swarm", status.swarm_accuracies)):
        for model, value in sorted(accuracies.items()):
            if model in ACCURACIES:
                yield (model, scope), value


def _others(status: AgentStatus) -> Values:
    others = sorted(name for name in status.accuracies if name not in ACCURACIES)
    for name in others[:METRICS_MAX]:
        yield (name,), status.accuracies[name]


def _peers(status: AgentStatus) -> dict[str, float]:
    links = [link for link in status.links if link.incompatible is None]
    states: dict[str, Callable[[LinkStatus], object]] = {
        "alive": lambda link: link.alive,
        "hears": lambda link: link.hears,
        "heard_by": lambda link: link.heard_by,
        "pushes_to": lambda link: link.pushes_to,
        "quarantined": lambda link: link.quarantined is not None,
    }
    counts = {state: float(sum(map(bool, map(holds, links)))) for state, holds in states.items()}
    return {**counts, "incompatible": float(len(status.links) - len(links))}


def _of_links(
    *reads: tuple[Sequence[str], Callable[[LinkStatus], float | None]],
) -> Callable[[AgentStatus], Values]:
    def values(status: AgentStatus) -> Values:
        near = [link for link in status.links if link.hears or link.pushes_to]
        for link in near[:NEIGHBOURS_MAX]:
            for labels, read in reads:
                yield (link.peer, *labels), read(link)

    return values


FAMILIES: Final[Mapping[str, Family]] = {
    "info": Family(
        GaugeMetricFamily,
        "1, labelled with what does not change",
        ("peer", "swarm", "version"),
        lambda status: [((status.peer, status.swarm, importlib.metadata.version("hyperpush")), 1)],
    ),
    "uptime_seconds": Family(GaugeMetricFamily, "Since this life began", (), _one(lambda one: one.uptime_s)),
    "ticks": Family(CounterMetricFamily, "Steps of the agent, all lives", (), _one(lambda one: one.tick)),
    "tick_interval_seconds": Family(
        GaugeMetricFamily,
        "From tick to tick, as measured",
        (),
        _one(lambda one: 1 / one.ticks_per_second if one.ticks_per_second > 0 else None),
    ),
    "epoch": Family(GaugeMetricFamily, "Number of the epoch", (), _one(lambda one: one.epoch)),
    "incarnation": Family(
        GaugeMetricFamily, "How often it was started", (), _one(lambda one: one.incarnation)
    ),
    "phase": Family(
        GaugeMetricFamily,
        "1 for the phase that the agent is in",
        ("phase",),
        _each(lambda one: {phase.value: float(phase.value == one.phase) for phase in Phase}),
    ),
    "loss": Family(
        GaugeMetricFamily,
        "Mean loss of the last batch",
        ("of",),
        _each(lambda one: {"training": one.training_loss, "validation": one.validation_loss}),
    ),
    "accuracy_ratio": Family(
        GaugeMetricFamily,
        "On test samples, of this agent and averaged over the swarm",
        ("model", "scope"),
        _accuracies,
    ),
    "test_metric": Family(
        GaugeMetricFamily,
        "What the problem measures beside accuracies, as it names it",
        ("name",),
        _others,
    ),
    "residual_ratio": Family(
        GaugeMetricFamily,
        "How far from settled: 1 at the start, 0 when settled",
        (),
        _one(lambda one: one.residual),
    ),
    "hypergradient_norm": Family(
        GaugeMetricFamily,
        "Length of the hypergradient",
        (),
        _one(lambda one: one.hypergradient_norm),
    ),
    "hyper_step_factor": Family(
        GaugeMetricFamily,
        "Share of the hyper step size that is taken",
        (),
        _one(lambda one: one.hyper_rate),
    ),
    "peers": Family(GaugeMetricFamily, "Other agents, by what is known of them", ("state",), _each(_peers)),
    "messages": Family(
        CounterMetricFamily,
        "Messages of this life; missing: numbers between those received, lost or late",
        ("what",),
        _each(lambda one: {what: one.messages.get(what, 0) for what in MESSAGES}),
    ),
    "sent_bytes": Family(
        CounterMetricFamily,
        "In messages of this life",
        (),
        _one(lambda one: one.messages.get("bytes_sent")),
    ),
    "rejected_messages": Family(
        CounterMetricFamily,
        "Messages that were not taken, by reason",
        ("reason",),
        _each(lambda one: one.rejected),
    ),
    "link_loss_ratio": Family(
        GaugeMetricFamily,
        "Share of the peer's messages that did not arrive",
        ("peer",),
        _of_links(((), lambda link: link.loss)),
    ),
    "link_age_seconds": Family(
        GaugeMetricFamily,
        "Since the peer's last message",
        ("peer",),
        _of_links(((), lambda link: link.age_s)),
    ),
    "link_round_trip_seconds": Family(
        GaugeMetricFamily,
        "There and back",
        ("peer",),
        _of_links(((), lambda link: link.rtt_s)),
    ),
    "link_disagreement_ratio": Family(
        GaugeMetricFamily,
        "Distance to the peer's model or adjoint, relative to the own",
        ("peer", "of"),
        _of_links(
            (("model",), lambda link: link.model_disagreement),
            (("adjoint",), lambda link: link.adjoint_disagreement),
        ),
    ),
    "warnings": Family(
        GaugeMetricFamily,
        "How many its status has",
        (),
        _one(lambda one: len(one.warnings)),
    ),
    "checkpoint_age_seconds": Family(
        GaugeMetricFamily,
        "Since the last checkpoint of this life was kept",
        (),
        _one(lambda one: one.checkpoint_age_s),
    ),
}
