"""`hyperpush run`: one agent on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import time
from typing import TYPE_CHECKING

from peer.admin_access import check_host
from peer.commands.alone import Course, OwnChanges
from peer.commands.common import configuration, listening_for_people, make_recorder, stopped_by_signals
from peer.commands.scenario import STUCK, cut_short, read_scenario
from peer.commands.tracing import one_trace
from peer.display import make_console, make_display, print_outcome
from peer.extensions.network import discoveries_of, transport_of
from peer.key_files import keys_for, read_allow_list
from peer.member import Member
from peer.options import (
    advertised_address,
    agent_settings,
    data_choice,
    dns_address,
    ending,
    fault_plan,
    listen_address,
    shard_of,
)
from peer.outcome import Outcome
from peer.running import Running, answer, details, score
from peer.scenario import told
from peer.service import AgentService
from peer.service_manager import ServiceManager
from peer.state import open_state
from peer.swarm import learn
from peer.tasks import make_task
from peer.trace.origins import of_task
from peer.worker_threads import keep_waiting_threads, worker_threads
from wire import LiveFaults
from wire.addresses import is_loopback
from wire.keys import display_fingerprint, peer_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from peer.admin_access import AdminAccess
    from peer.display import Display
    from peer.events import Event
    from peer.recorder import Recorder
    from peer.state import AgentState
    from peer.views import AgentView
    from wire import PeerId

UNPROTECTED = (
    "Messages are not authenticated or encrypted: whoever reaches this port can take part. "
    "Trusted networks only."
)
READABLE = (
    "The token of --admin travels in clear text, and whoever reads it can set faults: give --admin-cert FILE "
    "and --admin-key FILE, or keep to --admin 127.0.0.1:PORT."
)
AGAIN = -1  # no exit code: the agent has left and comes back


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    began = time.monotonic()
    console = make_console(options.log_format)
    scenario = read_scenario(options.scenario)
    own_name = options.name or socket.gethostname()
    scenario.check_alone(own_name, has_state=options.state is not None)  # before anything is opened
    faults, course = scenario.plan(fault_plan(options)), Course(scenario)
    index, count = shard_of(options.shard)
    host, port = listen_address(options.listen)
    advertise = (None, None) if options.advertise is None else advertised_address(options.advertise)
    check_host("listen", options.listen, host)
    access = listening_for_people(options)
    choice = data_choice(options)
    task = make_task(options.task, count, options.seed, options.personalization, shard=index, choice=choice)
    settings = agent_settings(options, task.settings)
    end = ending(options, task.columns, settings)
    keys = keys_for(host, options.listen, options.key, options.allow, insecure=options.insecure)
    allowed = None if options.allow is None else read_allow_list(options.allow)
    state = open_state(
        options.state, keep=options.checkpoints
    )  # before anything is written: it may be in use
    if options.state is None:
        settings = dataclasses.replace(settings, checkpoint_s=0.0, checkpoint_ticks=0)
    peer = peer_name(own_name, state.identity.fingerprint)
    config = configuration(options, settings, faults, end)
    config = {**config, "id": peer, "changes": [told(change) for change in scenario.changes]}
    passed_s = course.passed_s if course.goes_on else None
    recorder = make_recorder(options, config, task, task.problems[index], console.print, passed_s=passed_s)
    left = course.wait(peer, options, console.print)
    end = ending(options, task.columns, settings)
    live = LiveFaults(left.plan(fault_plan(options)))
    origin = {**of_task(task, count, options.seed, options.personalization, choice), "shard": index}

    manager = ServiceManager.of_environment(os.environ, os.getpid(), say=console.print)

    async def run() -> int:
        executor = worker_threads()
        keep_waiting_threads()
        stop = asyncio.Event()
        with (
            stopped_by_signals(stop) as in_haste,
            make_display(console, _title(options, peer), arrivals=True) as display,
            one_trace(options, origin, display.say) as trace,
        ):

            def on_event(peer: PeerId, event: Event) -> None:
                display.tell(peer, event)
                recorder.event(peer, event)
                member.watch.tell(peer, event)

            service = AgentService(
                task.problems[index],
                settings,
                peer=peer,
                swarm=options.swarm,
                task=task.fingerprint,
                seed=options.seed,
                founder=False,
                executor=executor,
                listen_host=host,
                listen_port=port,
                advertise_host=advertise[0],
                advertise_port=advertise[1],
                faults=live,
                on_event=on_event,
                on_problem=display.say,
                state=state,
                keys=keys,
                allowed=allowed,
                trace=trace,
                make_transport=transport_of(options.transport),
            )
            member = Member(
                service,
                listen_host=host,
                seeds=options.peer,
                dns=[dns_address(name, port) for name in options.dns],
                zeroconf=not options.no_zeroconf,
                discoveries=discoveries_of(options.discovery),
                key_file=options.key,
                ending=end,
                say=display.say,
                manager=manager,
            )
            try:
                await service.start()
                console.print(f"{peer} listens on {service.record.address}, swarm {options.swarm!r}")
                came_back(state, peer, console, recorder)
                if keys is not None:
                    fingerprint = display_fingerprint(state.identity.fingerprint)
                    console.print(f"sealed with key {keys.key_ids[0]}; own fingerprint {fingerprint}")
                elif not is_loopback(host):
                    console.print(UNPROTECTED, style="yellow")
                if access is not None:
                    await _open_admin(member, access, live, console)
                await member.start()

                keeping = Keeping(recorder, live, peer, display)

                def observe(views: Sequence[AgentView]) -> None:
                    display.show(views, end.progress)
                    keeping.look(service, views, last=end.reached or stop.is_set())
                    member.watch.look()

                changes = OwnChanges(course, left, service, stop, keeping.say_change)
                interrupted = await learn(
                    Running([service]), end, stop, observe, changes=changes, watched=member.guards()
                )
                if changes.comes_back:
                    return AGAIN
                unfinished = cut_short(scenario, course.passed_s)
                if unfinished is not None:
                    display.say(unfinished)
                if not in_haste.is_set():
                    display.say("scoring, and training alone for comparison")
                found = await score(service, task, index, executor, in_haste=in_haste.is_set)
                outcome = Outcome(
                    config={**recorder.config, "id": peer},
                    kind=task.kind,
                    columns={name: told for name, told in task.columns.items() if name in found.scores},
                    agents=[found],
                    wall_s=time.monotonic() - began,
                    ticks=found.ticks,
                    interrupted=interrupted and bool(end.goals),
                    truth_of=f"all {count} shards, whoever was there",
                    extra={
                        "peers": service.agent.peers.alive(),
                        "incompatible": member.incompatible,
                    },
                )
                recorder.finish(outcome, [answer(service)])  # before anything that may fail
                manager.stopping()
            finally:
                await member.close()
                await service.close()
                executor.shutdown(wait=False, cancel_futures=True)
        print_outcome(console, outcome)
        return STUCK if outcome.stuck else 0

    try:
        code = asyncio.run(run())
    finally:
        recorder.close()
    return course.again() if code == AGAIN else code


class Keeping:
    """What is recorded of the one agent while it learns."""

    def __init__(self, recorder: Recorder, live: LiveFaults, peer: PeerId, display: Display) -> None:
        self._recorder = recorder
        self._live = live
        self._seen = live.plan
        self._peer = peer
        self._display = display

    def look(self, service: AgentService, views: Sequence[AgentView], *, last: bool) -> None:
        """Its numbers, its links, and which faults people have set since the last look."""
        self._recorder.record(views)
        self._recorder.look(lambda: [details(service)], last=last)
        if self._live.plan is not self._seen:
            self._seen = self._live.plan
            live = self._live.to_dict()["live"]
            assert isinstance(live, list)
            self._recorder.faults(self._peer, live)

    def say_change(self, line: str) -> None:
        """Say what the scenario does to it, and keep it."""
        self._display.say(line)
        self._recorder.change(self._peer, line)


def came_back(state: AgentState, peer: PeerId, console: Console, recorder: Recorder) -> None:
    """Say, and keep, what a state held when the agent was started."""
    for finding in state.findings:
        console.print(f"state: {finding}")
    found = state.checkpoint
    if found is not None:
        ticks = found.values.get("ticks")
        console.print(
            f"goes on from the checkpoint of {found.saved_at}: tick {ticks}, epoch "
            f"{found.epoch}, incarnation {found.incarnation}; now incarnation {state.incarnation}"
        )
        recorder.went_on(peer, ticks, state.incarnation)


def _title(options: argparse.Namespace, peer: PeerId) -> str:
    """With the shard, unless data are the machine's own and nobody said one."""
    is_given = options.found["shard"].origin != "default"
    return f"{peer}, shard {options.shard}" if is_given else peer


async def _open_admin(member: Member, access: AdminAccess, live: LiveFaults, console: Console) -> None:
    """Let people ask, and say how."""
    admin = await member.open_admin(access, faults=live)
    console.print(f"page, status and faults: {admin.url} ({access.command(admin.url)})")
    if access.shows_its_token:
        console.print(READABLE, style="yellow")
