"""What a run came to, as data: for real and simulated swarms alike, for table, `--json` and `--out`."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from peer.findings import listed
from peer.progress import StepCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIDENCE = 0.95
IN_VAIN = "training alone came to nothing, with losses that end above where they began"
WORSE_WITH_MORE = 0.02  # of an accuracy: more samples do not make training so much worse


class Kind(StrEnum):
    """What scores are."""

    ACCURACY = "accuracy"  # more is better
    ERROR = "error"  # relative, against a closed form
    LOSS = "loss"  # of validation


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """One agent at the end."""

    id: str
    ticks: int
    epoch: int
    residual: float
    scores: Mapping[str, float]  # by column of the task
    messages: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)  # further ones of the problem, as taken last
    ticks_before: int | None = 0  # of earlier lives, whose checkpoint it went on from; None: not known
    steps: StepCount = field(default_factory=StepCount)

    def to_dict(self, kind: Kind) -> dict[str, Any]:
        """As in `--json`; `kind` names the scores."""
        return {
            "id": self.id,
            str(kind): dict(self.scores),
            **({"metrics": dict(self.metrics)} if self.metrics else {}),
            "messages": dict(self.messages),
            "ticks": self.ticks,
            **({"steps": asdict(self.steps)} if self.steps.refused else {}),
            **({} if self.ticks_before == 0 else {"ticks_before": self.ticks_before}),
            "epoch": self.epoch,
            "residual": self.residual,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean difference of two columns over the same agents, with a Student t interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """All agents at the end of a run."""

    config: Mapping[str, Any]
    kind: Kind
    columns: Mapping[str, str]
    agents: Sequence[AgentOutcome]
    wall_s: float
    ticks: int  # the least that any agent has done
    interrupted: bool = False
    digest: str | None = None
    digest_of: str = "the trace"
    truth_of: str = "those who are there"  # whose closed form it is that errors are measured against
    extra: Mapping[str, Any] = field(default_factory=dict)

    def values(self, column: str) -> list[float]:
        """One score per agent."""
        return [agent.scores[column] for agent in self.agents]

    @property
    def stuck(self) -> Sequence[AgentOutcome]:
        """Whose steps are not possible; numbers of a run that has one say nothing."""
        return [agent for agent in self.agents if agent.steps.is_stuck]

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean over agents and the worst decile: the 10th percentile of accuracies, else the 90th."""
        name, percentile = ("bottom_decile", 10) if self.kind is Kind.ACCURACY else ("top_decile", 90)
        return {
            column: {
                "mean": statistics.fmean(self.values(column)),
                name: float(np.percentile(self.values(column), percentile)),
            }
            for column in self.columns
        }

    def metrics(self) -> dict[str, dict[str, float]]:
        """Means over agents of each further metric: of the shared model, of the personal one."""
        found: dict[str, dict[str, float]] = {}
        for key in self.agents[0].metrics if self.agents else ():
            name, _, which = key.rpartition(".")
            if which in ("shared", "personal") and all(key in agent.metrics for agent in self.agents):
                mean = statistics.fmean(agent.metrics[key] for agent in self.agents)
                found.setdefault(name, {})[which] = mean
        return found

    def compare(self, column: str, with_: str) -> Comparison:
        """Paired over the agents that have both; the interval is not defined (NaN) for fewer than two."""
        pairs = zip(self.values(column), self.values(with_), strict=True)
        differences = [one - other for one, other in pairs if not math.isnan(one - other)]
        mean = statistics.fmean(differences) if differences else math.nan
        if len(differences) < 2:
            return Comparison(mean, math.nan, math.nan)
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        from scipy.special import stdtrit  # 17 MB, which no agent needs that still learns

        reach = float(stdtrit(len(differences) - 1, (1 + CONFIDENCE) / 2)) * error
        return Comparison(mean, mean - reach, mean + reach)

    def to_dict(self) -> dict[str, Any]:
        """As written by `--json`."""
        metrics = self.metrics()
        found: dict[str, Any] = {
            "config": dict(self.config),
            "kind": str(self.kind),
            "columns": dict(self.columns),
            "verdict": verdict(self),
            **({"remarks": found_remarks} if (found_remarks := remarks(self)) else {}),
            "agents": [agent.to_dict(self.kind) for agent in self.agents],
            "summary": self.summary(),
            **({"metrics": metrics} if metrics else {}),
            "wall_s": self.wall_s,
            "ticks": self.ticks,
            "interrupted": self.interrupted,
            **self.extra,
        }
        if self.kind is Kind.ACCURACY:
            found["comparison"] = {
                f"personal - {other}": {
                    "mean": c.mean,
                    "low": c.low,
                    "high": c.high,
                    "confidence": CONFIDENCE,
                }
                for other in self.columns
                if other != "personal"
                for c in (self.compare("personal", other),)
            }
        if self.digest is not None:
            found["digest"] = self.digest
        return found


def _of_losses(outcome: Outcome) -> str:
    pairs = [(agent.scores["initial"], agent.scores["learned"]) for agent in outcome.agents]
    lower = sum(learned < initial for initial, learned in pairs)
    who = "This agent" if len(pairs) == 1 else f"{lower} of {len(pairs)} agents"
    have = "have" if len(pairs) > 1 else "has" if lower else "does not have"
    return (
        f"{who} {have} a lower validation loss than before. Whether training alone would have come further "
        "is not known: that takes a peer.ModuleProblem with test samples of classes."
    )


def _heard_nobody(outcome: Outcome) -> str | None:
    """Of one agent that has received nothing: whether others were there; None if it has, or does not know."""
    messages = outcome.agents[0].messages
    if messages.get("received") != 0:
        return None
    there, unlike = outcome.extra.get("peers", ()), outcome.extra.get("incompatible", ())
    found = [f"{len(there)} known"] * bool(there) + [f"{len(unlike)} incompatible"] * bool(unlike)
    return (
        f"This agent heard nobody ({', '.join(found) or 'none found'}): nothing was learned together, so "
        "there is no comparison. `hyperpush doctor`, with the same options, says why."
    )


def _of_stuck(outcome: Outcome) -> str:
    stuck, task = outcome.stuck, str(outcome.config.get("task", ""))
    refused = sum(agent.steps.refused for agent in stuck)
    ticks = refused + sum(agent.steps.taken for agent in stuck)
    whose = "of any agent" if len(outcome.agents) > 1 else "of this agent"
    if len(stuck) == len(outcome.agents) and refused == ticks:
        told = f"No step {whose} was possible"
    else:
        told = f"In the end no step was possible any more at {listed(agent.id for agent in stuck)}"
    look = f"look for missing values: hyperpush check {task}" if task.endswith(".py") else "look at the data"
    return f"{told} ({refused} of {ticks} ticks): gradients are not finite; {look}"


def verdict(outcome: Outcome) -> str:
    """One honest sentence on who gained and who did not, against training alone on all labels it has."""
    if outcome.stuck:
        return _of_stuck(outcome)
    if outcome.kind is Kind.LOSS:
        return _of_losses(outcome)
    if outcome.kind is Kind.ERROR:
        worst = max(max(agent.scores.values()) for agent in outcome.agents)
        who = "any agent" if len(outcome.agents) > 1 else "this agent"
        truth = f"the closed form of {outcome.truth_of}"
        return f"The largest relative error of {who}, against {truth}, is {worst:.1e}."
    if any(agent.ticks_before is None for agent in outcome.agents):
        return "The checkpoint does not say how many ticks it is of: no comparison with training alone."
    if "local_all" not in outcome.columns:
        return "Ended by SIGTERM: there was no time to compare with training alone."
    return _of_one(outcome) if len(outcome.agents) == 1 else _of_many(outcome)


def _of_one(outcome: Outcome) -> str:
    if (alone := _heard_nobody(outcome)) is not None:
        return alone
    scores = outcome.agents[0].scores
    gain = 100 * (scores["personal"] - scores["local_all"])
    if math.isnan(gain):
        return f"This agent is not compared with what it would be alone: {IN_VAIN}."
    told = "better off" if gain > 0 else "worse off" if gain < 0 else "neither better nor worse off"
    return f"This agent is {told} than alone on train + validation ({gain:+.1f} points)."


def _of_many(outcome: Outcome) -> str:
    gains = {agent.id: agent.scores["personal"] - agent.scores["local_all"] for agent in outcome.agents}
    unknown = sum(map(math.isnan, gains.values()))
    gains = {name: gain for name, gain in gains.items() if not math.isnan(gain)}
    if not gains:
        return f"No agent is compared with what it would be alone: {IN_VAIN}."
    better = [gain for gain in gains.values() if gain > 0]
    worse = {name: gain for name, gain in gains.items() if gain < 0}
    equal = len(gains) - len(better) - len(worse)
    parts = [f"{len(better)} of {len(gains)} agents are better off than alone on train + validation"]
    if equal:
        parts.append(f"{equal} {'is' if equal == 1 else 'are'} where they were")
    if worse:
        names = ", ".join(
            f"{name} ({100 * gain:+.1f})" for name, gain in sorted(worse.items(), key=lambda i: i[1])
        )
        parts.append(f"{len(worse)} would have been better off alone: {names}")
    if unknown:
        parts.append(f"{unknown} {'is' if unknown == 1 else 'are'} not compared: {IN_VAIN}")
    against = outcome.compare("personal", "local_all")
    sure = "clear" if against.low > 0 or against.high < 0 else "not clear from these agents"
    points = 100 * against.mean
    mean = f"gain, {points:+.1f} points," if points >= 0 else f"loss, {-points:.1f} points,"
    return f"{'; '.join(parts)}. The mean {mean} is {sure}."


def remarks(outcome: Outcome) -> list[str]:
    """What whoever reads the numbers has to know of them; often nothing, as of numbers that say nothing."""
    if outcome.stuck:
        return []
    found = []
    if "shared" in outcome.columns and all(map(math.isnan, outcome.values("shared"))):
        found.append("No shared model has a score: it predicts only with what is personal.")
    if {"local", "local_all"} <= outcome.columns.keys():
        few, all_ = (statistics.fmean(outcome.values(name)) for name in ("local", "local_all"))
        if few - all_ > WORSE_WITH_MORE:
            gain = 100 * outcome.compare("personal", "local").mean + 0.0
            found.append(
                f"Alone, train + validation end {100 * (few - all_):.1f} points below train only, with more "
                "samples: few test samples, or steps that are unsteady where training ends. Look at the gain "
                f"over train only, too: {gain:+.1f} points."
            )
    return found
