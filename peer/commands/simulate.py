"""`hyperpush simulate`: the swarm of `hyperpush swarm` under a virtual clock."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from peer.commands.common import configuration
from peer.display import make_console, make_display, print_outcome
from peer.options import agent_settings, ending, fault_plan
from peer.outcome import AgentOutcome, Outcome
from peer.recorder import Recorder
from peer.tasks import Answer, make_task
from peer.views import AgentView, Messages
from peer.virtual_swarm import Swarm, reproducible_torch

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    began = time.monotonic()
    console = make_console()
    faults = fault_plan(options)
    with reproducible_torch():
        task = make_task(options.task, options.agents, options.seed, options.personalization)
        settings = agent_settings(options, task.settings)
        end = ending(options, task.columns, settings)
        recorder = Recorder(configuration(options, settings, faults, end), options.json, options.out)
        stop = threading.Event()
        previous = signal.getsignal(signal.SIGINT)

        def handle(*_: object) -> None:
            stop.set()
            signal.signal(signal.SIGINT, previous)  # a second one ends the program as usual

        signal.signal(signal.SIGINT, handle)
        title = f"{options.agents} simulated agents, {options.task}, {options.drop:.0%} of the messages lost"
        try:
            with make_display(console, title) as display:
                swarm = Swarm(
                    task.problems,
                    settings,
                    faults=faults,
                    seed=options.seed,
                    swarm=f"swarm-{options.seed}",
                )
                simulation = swarm.simulation
                agents = [node.agent for node in simulation.nodes.values()]
                told = 0
                while True:
                    views = [
                        AgentView.of(agent, Messages.of_simulation(agent, simulation.counters[peer]))
                        for peer, agent in zip(simulation.nodes, agents, strict=True)
                    ]
                    end.look(views, simulation.now)
                    display.show(views, end.progress)
                    recorder.record(views, simulation.now)
                    if end.reached or stop.is_set():
                        break
                    simulation.run_until(simulation.now + settings.tick_s)
                    for at_s, peer, event in swarm.events[told:]:
                        display.tell(peer, event)
                        recorder.event(peer, event, at_s)
                    told = len(swarm.events)
                learned_s = time.monotonic() - began
                display.say("scoring, and training every agent alone for comparison")
                results = [swarm.result(member) for member in swarm.members]
                answers = [
                    Answer(found.model, found.adjoint, found.hypergradient, found.hyperparameters)
                    for found in results
                ]
                outcomes = [
                    AgentOutcome(
                        found.id,
                        found.ticks,
                        found.epoch,
                        found.residual,
                        task.scores(shard, answer, settings, found.ticks),
                        asdict(view.messages),
                    )
                    for shard, (found, answer, view) in enumerate(zip(results, answers, views, strict=True))
                ]
            outcome = Outcome(
                config=recorder.config,
                columns=task.columns,
                agents=outcomes,
                wall_s=time.monotonic() - began,
                ticks=min(found.ticks for found in results),
                interrupted=stop.is_set(),
                digest=simulation.digest(),
                extra={"virtual_s": simulation.now, "learning_wall_s": learned_s},
            )
            print_outcome(console, outcome)
            recorder.finish(outcome, answers)
        finally:
            signal.signal(signal.SIGINT, previous)
            recorder.close()
    return 0
