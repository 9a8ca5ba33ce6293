"""`hyperpush swarm`: N complete agents on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from peer.commands.common import configuration, listening_for_people, make_recorder, stopped_by_signals
from peer.commands.crowds import Crowds
from peer.commands.scenario import NOBODY, STUCK, cut_short, not_scored, read_scenario
from peer.commands.tracing import all_traces
from peer.display import make_console, make_display, print_outcome
from peer.options import agent_settings, data_choice, ending, fault_plan
from peer.outcome import Outcome
from peer.scenario import member_names, told
from peer.swarm import run_swarm
from peer.tasks import make_task
from peer.trace.origins import of_task

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from peer.details import AgentDetails
    from peer.display import Display
    from peer.events import Event
    from peer.recorder import Recorder
    from peer.scenario import AnyChange
    from peer.swarm import Crowd, Page, Tell, TellChange
    from peer.views import AgentView
    from wire import PeerId


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    began = time.monotonic()
    console = make_console(options.log_format)
    crowds = Crowds(options)
    names = member_names(options.agents)
    scenario = read_scenario(options.scenario, names)
    faults, choice = scenario.plan(fault_plan(options)), data_choice(options)
    task = make_task(options.task, options.agents, options.seed, options.personalization, choice=choice)
    settings = agent_settings(options, task.settings)
    end = ending(options, task.columns, settings)
    access = listening_for_people(options)
    config = configuration(options, settings, faults, end)
    changes = [told(change) for change in scenario.changes]
    config = {**config, "changes": changes}
    title = f"{options.agents} agents{crowds.told}, {options.task}, {options.drop:.0%} of the messages lost"

    async def run(recorder: Recorder) -> int:
        stop = asyncio.Event()
        origin = of_task(task, options.agents, options.seed, options.personalization, choice)
        with (
            stopped_by_signals(stop),
            make_display(console, title) as display,
            all_traces(options, origin, names, display.say, is_real=True) as traces,
        ):
            listeners = Listeners(display, recorder)

            def observe(views: Sequence[AgentView]) -> None:
                display.show(views, end.progress)
                recorder.record(views)

            def inspect(details: Callable[[], Iterable[AgentDetails]]) -> None:
                recorder.look(details, last=end.reached or stop.is_set())

            def make_crowd(tell: Tell, tell_change: TellChange) -> Crowd:
                return crowds.make(
                    *(task, settings, choice, faults, scenario),
                    on_event=tell,
                    on_change=tell_change,
                    traces=traces,
                    say=display.say,
                )

            def make_page(crowd: Crowd) -> Page:
                assert access is not None
                return crowds.page(title, crowd, end, access, display.note, listeners.faults)

            found = await run_swarm(
                make_crowd,
                ending=end,
                stop=stop,
                observe=observe,
                inspect=inspect,
                on_event=listeners.event,
                on_change=listeners.change,
                on_scoring=lambda: display.say("scoring, and training every agent alone for comparison"),
                make_page=None if access is None else make_page,
            )
        for line in (cut_short(scenario, found.learned_s), not_scored(found.absent)):
            if line is not None:
                console.print(line)
        if not found.outcomes:
            return NOBODY
        outcome = Outcome(
            config=recorder.config,
            kind=task.kind,
            columns=task.columns,
            agents=found.outcomes,
            wall_s=time.monotonic() - began,
            ticks=min(agent.ticks for agent in found.outcomes),
            interrupted=found.interrupted,
            extra={"absent": found.absent},
        )
        print_outcome(console, outcome)
        recorder.finish(outcome, found.answers)
        return STUCK if outcome.stuck else 0

    with crowds.entered():
        recorder = make_recorder(options, config, task, task.problems[0], console.print)
        with contextlib.closing(recorder):
            return asyncio.run(run(recorder))


class Listeners:
    """The terminal and the record: both are told what happens while agents learn."""

    def __init__(self, display: Display, recorder: Recorder) -> None:
        self._display = display
        self._recorder = recorder

    def event(self, peer: PeerId, event: Event) -> None:
        """To an agent."""
        self._display.tell(peer, event)
        self._recorder.event(peer, event)

    def change(self, change: AnyChange[str]) -> None:
        """A scenario, or somebody, does this to an agent."""
        self._display.say(told(change))
        self._recorder.change(change.agent, told(change))

    def faults(self, what: str, live: Mapping[PeerId, Sequence[object]]) -> None:
        """As `peer.page.desk.Desk.tell_faults` has it."""
        self._display.say(what)
        for peer, windows in live.items():
            self._recorder.faults(peer, windows)
