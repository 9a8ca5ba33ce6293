"""`hyperpush check`: what a swarm would find wrong with a task, before it does; and what a tick costs.

Exit code 0 if nothing is wrong, 1 if something is, 2 for a request that makes no sense.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peer.checkup import costs, losses
from peer.checkup.samples import missing, samples
from peer.display import make_console
from peer.errors import HyperpushError, SettingError
from peer.findings import Finding, Level
from peer.module_problem import ModuleProblem
from peer.settings import AgentSettings
from peer.tasks import make_task
from peer.worker_threads import one_thread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from peer.tasks import Task


def main(options: argparse.Namespace) -> int:
    """Look, measure and print; returns the exit code."""
    if options.shard >= options.agents:
        raise SettingError("shard", options.shard, f"give a number below the {options.agents} agents")
    found: list[Finding] = []
    console = make_console()
    for finding in _findings(options):
        found.append(finding)
        if not options.json:
            console.print(finding.to_line(), markup=False, highlight=False, soft_wrap=True)
    wrong = sum(finding.level is Level.PROBLEM for finding in found)
    if options.json:
        lines = [finding.to_dict() for finding in found]
        print(json.dumps({"problems": wrong, "findings": lines}, indent=2))
    else:
        console.print(f"{wrong} problem{'s' * (wrong != 1)}" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    """One after the other, as they are found."""
    other = (options.shard + 1) % options.agents
    try:
        task, again = (_task(options) for _ in range(2))
        problem, repeated = task.problems[options.shard], again.problems[options.shard]
        unlike = task.problems[other]
        settings = AgentSettings(**task.settings)
    except HyperpushError as error:
        yield Finding(Level.PROBLEM, "no agent can learn this task", str(error))
        return
    yield Finding(Level.OK, "the task can be made", f"agents {options.shard} and {other} of {options.agents}")
    lacking = list(missing(problem)) if isinstance(problem, ModuleProblem) else []
    yield from lacking
    if lacking:
        return  # whatever is looked at with them is wrong, too
    yield from losses.beginnings(problem, repeated, unlike)
    behaves = list(_guarded("batches()", losses.order(problem, repeated)))
    if not _has_problem(behaves):
        behaves += _guarded("a loss", losses.behaviour(problem))
    yield from behaves
    if _has_problem(behaves):
        return
    slopes = [
        *_guarded("the gradient of a loss", losses.gradients(problem)),
        *_guarded("a second derivative", losses.derivatives(problem)),
    ]
    yield from slopes
    if isinstance(problem, ModuleProblem):
        yield from samples(problem)
        yield from _frozen(problem)
    if settings.hyper_step_size == 0 and problem.hyperparameters:
        yield Finding(
            Level.NOTE,
            "what is personal is held as it is",
            "settings have no hyper_step_size",
            'settings = {"hyper_step_size": None} lets each agent choose the rate',
        )
    if _has_problem(slopes):
        return
    try:
        with one_thread():
            fresh = [task.problems[shard] for shard in (options.shard, other)]
            cost = costs.measure(fresh, settings, options.seconds)
    except HyperpushError as error:
        yield Finding(Level.PROBLEM, "two agents do not come to learn", str(error))
        return
    yield from costs.costs(cost, settings, options.mbit)


def _has_problem(findings: Iterable[Finding]) -> bool:
    return any(finding.level is Level.PROBLEM for finding in findings)


def _guarded(what: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """These findings; one more if the user's own code fails."""
    try:
        yield from found
    except Exception as error:  # whatever it is, it is of the user's own code
        yield Finding(Level.PROBLEM, f"{what} fails", f"{type(error).__name__}: {error}")


def _task(options: argparse.Namespace) -> Task:
    return make_task(options.file, options.agents, options.seed, options.personalization, shard=options.shard)


def _frozen(problem: ModuleProblem) -> Iterator[Finding]:
    frozen = sum(p.numel() for p in problem.module.parameters() if not p.requires_grad)
    if frozen:
        learned = sum(tensor.numel() for tensor in problem.parameters.values())
        share = learned / (learned + frozen)
        yield Finding(
            Level.OK, "frozen parameters are neither sent nor kept twice", f"{share:.2%} of all are learned"
        )
