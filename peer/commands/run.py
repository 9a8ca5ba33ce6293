"""`hyperpush run`: one agent on this machine."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import TYPE_CHECKING

from peer.commands.common import configuration, stopped_by_signals
from peer.display import make_console, make_display, print_outcome
from peer.options import advertised_address, agent_settings, ending, fault_plan, listen_address, shard_of
from peer.outcome import Outcome
from peer.recorder import Recorder
from peer.service import AgentService
from peer.swarm import answer, learn, score, worker_threads
from peer.tasks import make_task
from wire import SeedDiscovery, ZeroconfDiscovery

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from peer.events import Event
    from peer.views import AgentView
    from wire import PeerId, PeerRecord, RejectReason

UNPROTECTED = (
    "Messages are not authenticated or encrypted: whoever reaches this port can take part. "
    "Trusted networks only."
)


def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit code."""
    began = time.monotonic()
    console = make_console()
    faults = fault_plan(options)
    index, count = shard_of(options.shard)
    host, port = listen_address(options.listen)
    advertise = None if options.advertise is None else advertised_address(options.advertise)[0]
    task = make_task(options.task, count, options.seed, options.personalization)
    settings = agent_settings(options, task.settings)
    end = ending(options, task.columns, settings)
    recorder = Recorder(configuration(options, settings, faults, end), options.json, options.out)
    peer = f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
    incompatible: set[str] = set()

    async def run() -> int:
        executor = worker_threads()
        stop = asyncio.Event()
        with stopped_by_signals(stop), make_display(console, f"{peer}, shard {options.shard}") as display:

            def on_event(peer: PeerId, event: Event) -> None:
                display.tell(peer, event)
                recorder.event(peer, event)

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
                advertise_host=advertise,
                faults=faults,
                on_event=on_event,
            )

            def refuse(record: PeerRecord, reason: RejectReason) -> None:
                if record.peer not in incompatible:
                    incompatible.add(record.peer)
                    display.say(f"{record.peer} at {record.address} is not spoken to: {reason}")

            await service.start()
            discoveries: list[ZeroconfDiscovery | SeedDiscovery] = []
            try:
                console.print(f"{peer} listens on {service.record.address}, swarm {options.swarm!r}")
                if host not in ("127.0.0.1", "::1", "localhost"):
                    console.print(UNPROTECTED, style="yellow")
                if options.peer:
                    discoveries.append(
                        SeedDiscovery(
                            service.record,
                            options.peer,
                            fetch=service.transport.fetch_identity,
                            on_seen=service.meet,
                            on_gone=service.part,
                            on_incompatible=refuse,
                        )
                    )
                if not options.no_zeroconf:
                    discoveries.append(
                        ZeroconfDiscovery(
                            service.record, on_seen=service.meet, on_gone=service.part, on_incompatible=refuse
                        )
                    )
                for discovery in discoveries:
                    await discovery.start()

                def observe(views: Sequence[AgentView]) -> None:
                    display.show(views, end.progress)
                    recorder.record(views)

                failures = [discovery.wait_failed() for discovery in discoveries]
                interrupted = await learn([service], end, stop, observe, failures)
                display.say("scoring, and training alone for comparison")
                found = await score(service, task, index, executor)
                outcome = Outcome(
                    config={**recorder.config, "id": peer},
                    columns=task.columns,
                    agents=[found],
                    wall_s=time.monotonic() - began,
                    ticks=found.ticks,
                    interrupted=interrupted and bool(end.goals),
                    extra={"peers": service.agent.peers.alive()},
                )
            finally:
                await asyncio.gather(*(discovery.close() for discovery in discoveries))
                await service.close()
                executor.shutdown(wait=False, cancel_futures=True)
        print_outcome(console, outcome)
        recorder.finish(outcome, [answer(service)])
        return 0

    try:
        return asyncio.run(run())
    finally:
        recorder.close()
