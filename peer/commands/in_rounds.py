"""`hyperpush simulate --estimator NAME`: other hypergradient estimators, in common rounds, for comparison."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import torch
from rich.progress import Progress

from peer.commands.common import configuration, make_recorder, stopped_by_interrupt
from peer.display import make_console, print_outcome
from peer.errors import SettingError
from peer.estimators.learning import HYPER_STEP, Moment, Plan, learn_in_rounds
from peer.options import agent_settings, data_choice, ending
from peer.outcome import AgentOutcome, Outcome
from peer.problem import HasLocal, HasMetrics
from peer.scenario import member_names
from peer.tasks import Answer, make_task
from peer.views import AgentView, Messages, further
from peer.virtual_swarm import reproducible_torch
from wire import FaultPlan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from peer.estimators.choice import EstimatorChoice
    from peer.problem import BilevelProblem

WITHOUT_LOCAL: Final = (
    "none",
    "bias",
    "logits",
    "class-weights",
    "sample-weights",
    "regularization",
    "mixture:K",
)
NOT_IN_ROUNDS: Final = (
    *("delay", "duplicate", "reorder", "bandwidth", "fault_model", "scenario", "until", "duration"),
    *("trace", "trace_agent", "optimizer", "hyper_optimizer"),
    *("adjoint_step_size", "local_step_size", "local_steps", "damping", "block_fraction", "solver"),
)


def main(options: argparse.Namespace, choice: EstimatorChoice) -> int:
    """Run it; returns the exit code."""
    for name in NOT_IN_ROUNDS:
        if options.found[name].origin != "default":
            given = getattr(options, name)
            shown = " ".join(map(str, given)) if isinstance(given, list) else str(given)
            remedy = f"common rounds of --estimator {options.estimator} have no such thing; leave it out"
            raise SettingError(name, shown, remedy)
    began = time.monotonic()
    console = make_console(options.log_format)
    with reproducible_torch():
        task = make_task(
            options.task,
            options.agents,
            options.seed,
            options.personalization,
            choice=data_choice(options),
        )
        problems, names = task.problems[: options.agents], member_names(options.agents)
        _check_local(problems[0], options)
        settings = agent_settings(options, task.settings)
        for name in ("optimizer", "hyper_optimizer"):
            if getattr(settings, name) != "descent":
                remedy = "common rounds step by plain descent; leave it out of the task's settings"
                raise SettingError(name, getattr(settings, name), remedy)
        chosen = settings.hyper_step_size
        plan = Plan(
            choice=choice,
            rounds=options.ticks,
            fanout=settings.fanout,
            drop=options.drop,
            known=options.links == "known",
            seed=options.seed,
            hyper_every=settings.hyper_every,
            step_size=None if settings.model_step_size is None else float(settings.model_step_size),
            momentum=float(settings.momentum or 0.0),
            hyper_step_size=HYPER_STEP if chosen is None else float(chosen),
        )
        end = ending(options, task.columns, settings)
        config = configuration(options, settings, FaultPlan(drop=options.drop), end)
        ways = {name: getattr(options, name) for name in ("estimator", "schedule", "links")}
        recorder = make_recorder(options, {**config, **ways}, task, task.problems[0], console.print)
        try:
            with (
                stopped_by_interrupt() as stop,
                Progress(console=console, disable=not console.is_terminal) as progress,
            ):
                bar = progress.add_task(f"{options.agents} agents in common rounds", total=1.0)

                watched = Watched(problems, names, settings.evaluate_every)
                is_kept = any((options.out, options.tensorboard, options.mlflow))

                def after(share: float, moment: Moment) -> bool:
                    progress.update(bar, completed=share)
                    if is_kept:
                        recorder.record(watched.views(moment), moment.rounds * settings.tick_s)
                    return stop.is_set()

                found = learn_in_rounds(problems, plan, after)
            console.print("scoring, and training every agent alone for comparison")
            answers = [
                Answer(
                    one.model,
                    {name: torch.full_like(tensor, torch.nan) for name, tensor in one.model.items()},
                    one.hypergradient,
                    one.hyperparameters,
                    {},
                )
                for one in found.agents
            ]
            outcome = Outcome(
                config=recorder.config,
                kind=task.kind,
                columns=task.columns,
                agents=[
                    AgentOutcome(
                        name, found.rounds, 0, 0.0, task.scores(shard, answer, settings, found.rounds), {}
                    )
                    for shard, (name, answer) in enumerate(zip(names, answers, strict=True))
                ],
                wall_s=time.monotonic() - began,
                ticks=found.rounds,
                interrupted=stop.is_set(),
                digest=found.digest,
                digest_of="all models and hyperparameters",
                extra={
                    "messages": found.messages,
                    "bytes": found.bytes,
                    "exchanges": found.exchanges,
                    "step_size": found.step_size,
                },
            )
            print_outcome(console, outcome)
            console.print(
                f"{found.messages:,} messages, {found.bytes / 1e6:.1f} MB in {found.exchanges:,} rounds of "
                f"exchange; step {found.step_size:.3g}, of hyperparameters {plan.hyper_step_size:g}"
            )
            recorder.finish(outcome, answers)
        finally:
            recorder.close()
    return 0


def _check_local(problem: BilevelProblem[Any], options: argparse.Namespace) -> None:
    """Raises `SettingError` for local inner variables, if there are any."""
    local = problem.local if isinstance(problem, HasLocal) else {}
    if local:
        remedy = (
            f"it has local inner variables ({', '.join(local)}), for which common rounds have no adjoint: "
            f"leave --estimator out, or give one without, such as {', '.join(WITHOUT_LOCAL)}"
        )
        raise SettingError("personalization", str(options.personalization), remedy)


class Watched:
    """What `metrics.jsonl` has of agents in common rounds. A round counts as a tick; none has a residual."""

    def __init__(
        self, problems: Sequence[BilevelProblem[Any]], names: Sequence[str], evaluate_every: int
    ) -> None:
        """Test metrics are taken every so many rounds; 0: never."""
        self._problems = problems
        self._names = names
        self._evaluate_every = evaluate_every
        self._evaluated = 0  # how often
        self._metrics: list[Mapping[str, float]] = [{} for _ in names]

    def views(self, moment: Moment) -> list[AgentView]:
        """Of all agents."""
        every = self._evaluate_every
        if every and moment.rounds // every > self._evaluated:
            self._evaluated = moment.rounds // every
            self._metrics = [
                problem.metrics(agent.model, agent.hyperparameters) if isinstance(problem, HasMetrics) else {}
                for problem, agent in zip(self._problems, moment.agents, strict=True)
            ]
        return [self._view(number, moment) for number in range(len(self._names))]

    def _view(self, number: int, moment: Moment) -> AgentView:
        metrics = self._metrics[number]
        training_loss, validation_loss = moment.losses[number]
        hypergradient = moment.agents[number].hypergradient.values()
        count = {name: numbers[number] for name, numbers in moment.counts.items()}
        return AgentView(
            id=self._names[number],
            tick=moment.rounds,
            epoch=0,
            phase="rounds",
            training_loss=training_loss,
            validation_loss=validation_loss,
            shared=metrics.get("shared", math.nan),
            personal=metrics.get("personal", math.nan),
            hypergradient_norm=math.hypot(*(float(one.norm()) for one in hypergradient)),
            residual=math.nan,
            hyper_rate=1.0,
            messages=Messages(
                sent=count["sent"] - count["lost"],
                replaced=0,
                unsent=0,
                received=count["received"],
                gaps=count["missed"],
                stale=0,
                lost_by_faults=count["lost"],
                bytes_sent=count["bytes"],
                rejected={},
            ),
            metrics=further(metrics),
        )
