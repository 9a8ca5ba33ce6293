"""N complete agents on one event loop: each with its own port, server, client, data and random streams."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from peer.assembly import check_alike
from peer.outcome import AgentOutcome
from peer.service import AgentService
from peer.tasks import Answer
from peer.views import AgentView, Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from peer.events import Event
    from peer.settings import AgentSettings
    from peer.tasks import Task
    from peer.until import Ending
    from wire import FaultPlan, PeerId

    Observer = Callable[[Sequence[AgentView]], None]

OBSERVE_EVERY_S = 0.25


def worker_threads() -> ThreadPoolExecutor:
    """Workers for all agents of this process: one torch thread each, as many as cores."""
    torch.set_num_threads(1)
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="learning")


def view(service: AgentService) -> AgentView:
    """What is to be seen of a running agent."""
    return AgentView.of(service.agent, Messages.of_transport(service.agent, service.transport.counters))


def answer(service: AgentService) -> Answer:
    """What the agent has come to; it must not be computing."""
    layout, solver = service.learner.layout, service.agent.solver
    return Answer(
        model=layout.unflatten(solver.model.estimate),
        adjoint=layout.unflatten(solver.adjoint.estimate),
        hypergradient=service.learner.hypergradient,
        hyperparameters=service.learner.hyperparameters,
    )


async def score(service: AgentService, task: Task, shard: int, executor: ThreadPoolExecutor) -> AgentOutcome:
    """Score one stopped agent, in a worker thread."""
    agent = service.agent
    scores = await asyncio.get_running_loop().run_in_executor(
        executor, task.scores, shard, answer(service), agent.settings, agent.ticks
    )
    seen = view(service)
    return AgentOutcome(
        agent.identity.peer,
        agent.ticks,
        agent.epoch,
        seen.residual,
        scores,
        asdict(seen.messages),
    )


async def learn(
    services: Sequence[AgentService],
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    watched: Sequence[Coroutine[Any, Any, None]] = (),
) -> bool:
    """Run started services until the end is reached or `stop` is set; whether it was stopped early.

    `ending` has had a look before `observe` is called. A failure of any service, or of what is `watched`
    beside them, ends all and is raised.
    """
    began = time.monotonic()
    tasks = [asyncio.create_task(service.run(), name=service.record.peer) for service in services]
    guards = [asyncio.create_task(watch) for watch in watched]
    stopper = asyncio.create_task(stop.wait())
    try:
        while not ending.reached:
            running = [stopper, *tasks, *guards]
            await asyncio.wait(running, timeout=OBSERVE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            views = [view(service) for service in services]
            ending.look(views, time.monotonic() - began)
            observe(views)
            for task in (*tasks, *guards):
                if task.done():
                    task.result()
            if stop.is_set():
                break
    finally:
        for waiting in (stopper, *guards):
            waiting.cancel()
        await asyncio.gather(stopper, *guards, return_exceptions=True)
        for service in services:
            service.stop()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return stop.is_set()


async def run_swarm(
    task: Task,
    settings: AgentSettings,
    *,
    faults: FaultPlan,
    seed: int,
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    on_event: Callable[[PeerId, Event], None],
    on_scoring: Callable[[], None],
) -> tuple[list[AgentOutcome], list[Answer], bool]:
    """Start one agent per problem, let them learn, stop and score them.

    Returns outcomes and answers in the order of the problems, and whether the run was stopped early.
    """
    check_alike(task.problems)
    executor = worker_threads()
    digits = len(str(len(task.problems) - 1))
    services = [
        AgentService(
            problem,
            settings,
            peer=f"agent-{number:0{digits}}",
            swarm=f"swarm-{seed}",
            seed=seed,
            task=task.fingerprint,
            founder=True,
            executor=executor,
            faults=faults,
            on_event=on_event,
        )
        for number, problem in enumerate(task.problems)
    ]
    try:
        for service in services:
            await service.start()
        for service in services:
            for other in services:
                service.meet(other.record)
        interrupted = await learn(services, ending, stop, observe)
        on_scoring()
        outcomes = await asyncio.gather(
            *(score(service, task, shard, executor) for shard, service in enumerate(services))
        )
        return list(outcomes), [answer(service) for service in services], interrupted
    finally:
        await asyncio.gather(*(service.close() for service in services))
        executor.shutdown(wait=False, cancel_futures=True)
