"""`hyperpush simulate --estimator NAME`: other hypergradient estimators, in common rounds, for comparison."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from rich.progress import Progress

from peer.commands.common import configuration, make_recorder, stopped_by_interrupt
from peer.display import make_console, print_outcome
from peer.errors import SettingError
from peer.estimators.learning import HYPER_STEP, Plan, learn_in_rounds
from peer.options import agent_settings, data_choice, ending
from peer.outcome import AgentOutcome, Outcome
from peer.scenario import member_names
from peer.tasks import Answer, make_task
from peer.virtual_swarm import reproducible_torch
from wire import FaultPlan

if TYPE_CHECKING:
    import argparse

    from peer.estimators.choice import EstimatorChoice

NOT_IN_ROUNDS = (
    *("delay", "duplicate", "reorder", "bandwidth", "fault_model", "scenario", "until", "duration"),
    *("trace", "trace_agent", "optimizer", "hyper_optimizer"),
    *("adjoint_step_size", "local_step_size", "local_steps", "damping", "block_fraction", "solver"),
)


def main(options: argparse.Namespace, choice: EstimatorChoice) -> int:
    """Run it; returns the exit code."""
    for name in NOT_IN_ROUNDS:
        if options.found[name].origin != "default":
            remedy = f"common rounds of --estimator {options.estimator} have no such thing; leave it out"
            raise SettingError(name, str(getattr(options, name)), remedy)
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

                def after(share: float) -> bool:
                    progress.update(bar, completed=share)
                    return stop.is_set()

                found = learn_in_rounds(task.problems[: options.agents], plan, after)
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
                    for shard, (name, answer) in enumerate(
                        zip(member_names(options.agents), answers, strict=True)
                    )
                ],
                wall_s=time.monotonic() - began,
                ticks=found.rounds,
                interrupted=stop.is_set(),
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
