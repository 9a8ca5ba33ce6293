"""What people see of an agent while it runs: numbers read off it between two ticks."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from peer.progress import StepCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.assembly import TensorAgent
    from peer.simulation import MessageCounters
    from wire.counters import TransportCounters


@dataclass(frozen=True, slots=True)
class Messages:
    """What became of one agent's messages: three numbers of the sender, then three of the receiver."""

    sent: int
    replaced: int  # by a newer one, while waiting to be sent
    unsent: int  # could not be sent
    received: int
    gaps: int  # numbers missing between those received: lost or late
    stale: int  # late, or duplicates
    lost_by_faults: int  # on purpose; the agent itself cannot know
    bytes_sent: int
    rejected: Mapping[str, int]

    @classmethod
    def of_transport(cls, agent: TensorAgent, counters: TransportCounters) -> Messages:
        """Of an agent on real links."""
        return cls(
            sent=counters.sent,
            replaced=counters.replaced,
            unsent=counters.unsent,
            received=agent.inbox.counters.received,
            gaps=agent.inbox.counters.gaps,
            stale=agent.inbox.counters.stale,
            lost_by_faults=counters.lost_by_faults,
            bytes_sent=counters.bytes_sent,
            rejected=dict(counters.rejected),
        )

    @classmethod
    def of_simulation(cls, agent: TensorAgent, counters: MessageCounters) -> Messages:
        """Of an agent on simulated links."""
        return cls(
            sent=counters.sent - counters.lost,
            replaced=counters.replaced,
            unsent=counters.undeliverable,
            received=agent.inbox.counters.received,
            gaps=agent.inbox.counters.gaps,
            stale=agent.inbox.counters.stale,
            lost_by_faults=counters.lost,
            bytes_sent=counters.bytes_sent,
            rejected=dict(counters.rejected),
        )


@dataclass(frozen=True, slots=True)
class AgentView:
    """One row of the live table and one line of `metrics.jsonl`."""

    id: str
    tick: int
    epoch: int
    phase: str
    training_loss: float
    validation_loss: float
    shared: float  # NaN where the task has no such metric or none was taken yet
    personal: float
    hypergradient_norm: float
    residual: float
    hyper_rate: float  # factor on the hyper step size
    messages: Messages
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the problem, other than those two
    steps: StepCount = field(default_factory=StepCount)  # since the start
    ticks_before: int = 0  # in the lives before, as far as known; `tick` counts from the start

    @classmethod
    def of(cls, agent: TensorAgent, messages: Messages) -> AgentView:
        """Read the agent; nothing is computed."""
        report = agent.progress.report
        return cls(
            id=agent.identity.peer,
            tick=agent.ticks,
            epoch=agent.epoch,
            phase=agent.phase.value,
            training_loss=report.training_loss,
            validation_loss=report.validation_loss,
            shared=report.metrics.get("shared", math.nan),
            personal=report.metrics.get("personal", math.nan),
            hypergradient_norm=report.hypergradient_norm,
            residual=agent.progress.residual(),
            hyper_rate=agent.progress.hyper_schedule.factor,
            messages=messages,
            metrics=further(report.metrics),
            steps=agent.progress.steps,
        )

    def with_metrics(self, metrics: Mapping[str, float]) -> AgentView:
        """The same with other metrics."""
        shared, personal = (metrics.get(name, math.nan) for name in ("shared", "personal"))
        return replace(self, shared=shared, personal=personal, metrics=further(metrics))


def tick_words(views: Sequence[AgentView]) -> str:
    """How far the slowest agent is: since it was started and, where there was a life before, in all."""
    since = min(view.tick for view in views)
    in_all = min(view.tick + view.ticks_before for view in views)
    return f"tick {since}" if in_all == since else f"tick {in_all} ({since} since the start)"


def further(metrics: Mapping[str, float]) -> dict[str, float]:
    """All but the two accuracies, which have places of their own."""
    return {name: value for name, value in metrics.items() if name not in ("shared", "personal")}


def mean_metrics(views: Sequence[AgentView]) -> dict[str, float]:
    """Of those that every agent has taken, over agents; NaN where that of one is."""
    shared = [name for name in views[0].metrics if all(name in view.metrics for view in views)]
    return {name: statistics.fmean(view.metrics[name] for view in views) for name in shared}
