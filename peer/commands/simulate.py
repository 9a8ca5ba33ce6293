"""`hyperpush simulate`: the swarm of `hyperpush swarm` under a virtual clock."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from peer.commands import in_rounds
from peer.commands.common import configuration, make_recorder, stopped_by_interrupt
from peer.commands.scenario import NOBODY, STUCK, cut_short, not_scored, read_scenario
from peer.commands.tracing import all_traces
from peer.details import AgentDetails
from peer.display import make_console, make_display, print_outcome
from peer.errors import SettingError
from peer.estimators.choice import choose
from peer.options import agent_settings, data_choice, ending, fault_plan
from peer.outcome import AgentOutcome, Outcome
from peer.scenario import member_names, told
from peer.tasks import Answer, make_task
from peer.trace.origins import of_task
from peer.virtual_swarm import Swarm, reproducible_torch

if TYPE_CHECKING:
    import argparse

    from peer.views import AgentView


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    estimator = choose(options.estimator, options.schedule)
    if not estimator.is_of_agents:
        return in_rounds.main(options, estimator)
    if options.found["links"].origin != "default":
        raise SettingError("links", options.links, "agents never know; it is for other --estimator NAME")
    began = time.monotonic()
    console = make_console(options.log_format)
    names = member_names(options.agents)
    scenario = read_scenario(options.scenario, names)
    faults, choice = scenario.plan(fault_plan(options)), data_choice(options)
    with reproducible_torch():
        task = make_task(options.task, options.agents, options.seed, options.personalization, choice=choice)
        settings = agent_settings(options, task.settings)
        end = ending(options, task.columns, settings)
        config = configuration(options, settings, faults, end)
        changes = [told(change) for change in scenario.changes]
        config = {**config, "changes": changes}
        recorder = make_recorder(options, config, task, task.problems[0], console.print)
        title = f"{options.agents} simulated agents, {options.task}, {options.drop:.0%} of the messages lost"
        try:
            origin = of_task(task, options.agents, options.seed, options.personalization, choice)
            with (
                stopped_by_interrupt() as stop,
                make_display(console, title) as display,
                all_traces(options, origin, names, display.say, is_real=False) as traces,
            ):
                swarm = Swarm(
                    task.problems,
                    settings,
                    faults=faults,
                    seed=options.seed,
                    scenario=scenario.numbered(names),
                    notice_s=None,
                    swarm=f"swarm-{options.seed}",
                    traces=traces,
                )
                simulation = swarm.simulation
                events = happened = 0
                while True:
                    views = _views(swarm)
                    if views:
                        end.look(views, simulation.now)
                        display.show(views, end.progress)
                        recorder.record(views, simulation.now)
                        over = end.reached or stop.is_set()
                        recorder.look(lambda: _details(swarm), simulation.now, last=over)
                    if end.reached or stop.is_set():
                        break
                    simulation.run_until(simulation.now + settings.tick_s)
                    for change, news in zip(scenario.changes[happened:], changes[happened:], strict=True):
                        if change.at_s <= simulation.now:
                            happened += 1
                            display.say(news)
                            recorder.change(change.agent, news, change.at_s)
                    for at_s, peer, event in swarm.events[events:]:
                        display.tell(peer, event)
                        recorder.event(peer, event, at_s)
                    events = len(swarm.events)
                learned_s = time.monotonic() - began
                display.say("scoring, and training every agent alone for comparison")
                there = [(shard, member) for shard, member in enumerate(swarm.members) if member.alive]
                absent = [member.peer for member in swarm.members if not member.alive]
                scored = task.among([shard for shard, _ in there]) if there else task
                results = [swarm.result(member) for _, member in there]
                answers = [
                    Answer(one.model, one.adjoint, one.hypergradient, one.hyperparameters, one.local)
                    for one in results
                ]
                outcomes = [
                    AgentOutcome(
                        found.id,
                        found.ticks,
                        found.epoch,
                        found.residual,
                        scored.scores(shard, answer, settings, found.ticks),
                        asdict(view.messages),
                        view.metrics,
                        steps=view.steps,
                    )
                    for (shard, _), found, answer, view in zip(there, results, answers, views, strict=True)
                ]
            for line in (cut_short(scenario, simulation.now), not_scored(absent)):
                if line is not None:
                    console.print(line)
            if not outcomes:
                return NOBODY
            outcome = Outcome(
                config=recorder.config,
                kind=task.kind,
                columns=task.columns,
                agents=outcomes,
                wall_s=time.monotonic() - began,
                ticks=min(found.ticks for found in results),
                interrupted=stop.is_set(),
                digest=simulation.digest(),
                extra={
                    "absent": absent,
                    "virtual_s": simulation.now,
                    "learning_wall_s": learned_s,
                },
            )
            print_outcome(console, outcome)
            recorder.finish(outcome, answers)
        finally:
            recorder.close()
    return STUCK if outcome.stuck else 0


def _views(swarm: Swarm) -> list[AgentView]:
    """Of those who are there, in the order of the members."""
    return [swarm.view(member) for member in swarm.members if member.alive and member.agent is not None]


def _details(swarm: Swarm) -> list[AgentDetails]:
    """Of the same."""
    return [
        AgentDetails.of(member.agent, member.learner.hyperparameters, swarm.simulation.now)
        for member in swarm.members
        if member.alive and member.agent is not None and member.learner is not None
    ]
