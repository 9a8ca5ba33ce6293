"""N complete agents on one event loop: each with its own port, server, client, data and random streams."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from peer import heap
from peer.assembly import check_alike
from peer.baselines import never
from peer.details import AgentDetails
from peer.events import PeerDeparted
from peer.outcome import AgentOutcome
from peer.scenario import Scenario, told
from peer.seats import Changes, Running, Seats
from peer.tasks import Answer
from peer.views import AgentView, Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from peer.events import Event
    from peer.scenario import AnyChange
    from peer.service import AgentService
    from peer.settings import AgentSettings
    from peer.swarm_page import SwarmPage
    from peer.tasks import Task
    from peer.trace.files import Traces
    from peer.until import Ending
    from wire import FaultPlan, PeerId

    Observer = Callable[[Sequence[AgentView]], None]
    Inspector = Callable[[Sequence[AgentService]], None]

OBSERVE_EVERY_S = 0.25
GIVE_BACK_EVERY_S = 60.0


def worker_threads() -> ThreadPoolExecutor:
    """Workers for all agents of this process: one torch thread each, as many as cores."""
    torch.set_num_threads(1)
    heap.share_one()
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="learning")


def view(service: AgentService) -> AgentView:
    """What is to be seen of a running agent."""
    return AgentView.of(service.agent, Messages.of_transport(service.agent, service.transport.counters))


def details(service: AgentService) -> AgentDetails:
    """What is to be seen of its links and of what it has learned for itself, also while it computes."""
    own = service.learner.hyperparameters
    return AgentDetails.of(service.agent, own, service.clock(), service.transport)


def answer(service: AgentService) -> Answer:
    """What the agent has come to; it must not be computing."""
    layout, solver = service.learner.layout, service.agent.solver
    return Answer(
        model=layout.unflatten(solver.model.estimate),
        adjoint=layout.unflatten(solver.adjoint.estimate),
        hypergradient=service.learner.hypergradient,
        hyperparameters=service.learner.hyperparameters,
        local=service.learner.local,
    )


async def score(
    service: AgentService,
    task: Task,
    shard: int,
    executor: ThreadPoolExecutor,
    *,
    in_haste: Callable[[], bool] = never,
) -> AgentOutcome:
    """Score one stopped agent, in a worker thread; in haste it is not compared with one that trains alone.

    It is in haste as soon as `in_haste` says so, from any thread. Cancelled, it lets the thread end.
    """
    agent = service.agent
    over = threading.Event()

    def stopped() -> bool:
        return over.is_set() or in_haste()

    try:
        scores = await asyncio.get_running_loop().run_in_executor(
            executor, task.scores, shard, answer(service), agent.settings, agent.ticks, stopped
        )
    finally:
        over.set()
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
    running: Running,
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    *,
    changes: Changes | None = None,
    watched: Sequence[Coroutine[Any, Any, None]] = (),
    inspect: Inspector | None = None,
) -> bool:
    """Let services learn until the end is reached or `stop` is set; whether it was stopped early.

    By `changes` they may come and go; while none is there, the end is not reached. `ending` has had a look
    before `observe` is called; after it `inspect` is, with those who are there. A failure of any service, or
    of what is `watched` beside them, ends all and is raised.
    """
    changes = changes or Changes()
    began = time.monotonic()
    guards = [asyncio.create_task(watch) for watch in (*watched, _stay_small())]
    stopper = asyncio.create_task(stop.wait())
    try:
        while not (ending.reached or stop.is_set()):
            due_s = began + changes.next_at_s - time.monotonic()
            await asyncio.wait(
                [stopper, *running.tasks.values(), *guards],
                timeout=max(0.0, min(OBSERVE_EVERY_S, due_s)),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in (*running.tasks.values(), *guards):
                if task.done():
                    task.result()
            elapsed_s = time.monotonic() - began
            await changes.work(elapsed_s)
            views = [view(service) for service in running.services]
            if views:
                ending.look(views, elapsed_s)
                observe(views)
                if inspect is not None:
                    inspect(running.services)
    finally:
        for waiting in (stopper, *guards):
            waiting.cancel()
        await asyncio.gather(stopper, *guards, return_exceptions=True)
        await running.end()
    return stop.is_set()


async def _stay_small() -> None:
    """Give memory back now and then, in a thread: nobody has to wait for it."""
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        await asyncio.to_thread(heap.give_back)


@dataclass(frozen=True, slots=True)
class SwarmResult:
    """What a swarm has come to, in the order of its problems: of those who were there at the end."""

    outcomes: Sequence[AgentOutcome]
    answers: Sequence[Answer]
    absent: Sequence[PeerId]  # who was not
    interrupted: bool  # stopped early
    learned_s: float


async def run_swarm(
    task: Task,
    settings: AgentSettings,
    *,
    faults: FaultPlan,
    scenario: Scenario | None = None,
    seed: int,
    ending: Ending,
    stop: asyncio.Event,
    observe: Observer,
    inspect: Inspector | None = None,
    on_event: Callable[[PeerId, Event], None],
    on_change: Callable[[AnyChange[str]], None] = lambda _: None,
    on_scoring: Callable[[], None] = lambda: None,
    traces: Traces | None = None,
    make_page: Callable[[Seats], SwarmPage] | None = None,
) -> SwarmResult:
    """Start one agent per problem, let them learn under a scenario, stop and score those who are there.

    The windows of the scenario are to be in `faults`; `traces` is for whoever gives it to close. The page of
    the agents is there until they are scored.
    """
    page: SwarmPage | None = None

    check_alike(task.problems)

    def tell(peer: PeerId, event: Event) -> None:
        """That all say goodbye at the end, one after the other, is no news."""
        if not (isinstance(event, PeerDeparted) and (ending.reached or stop.is_set())):
            on_event(peer, event)
            if page is not None:
                page.watch.tell(peer, event)

    def look(views: Sequence[AgentView]) -> None:
        observe(views)
        if page is not None:
            page.watch.look()

    def changed(change: AnyChange[str]) -> None:
        on_change(change)
        if page is not None:
            page.watch.say(told(change))

    executor = worker_threads()
    seats = Seats(
        task,
        settings,
        faults=faults,
        scenario=scenario or Scenario(),
        seed=seed,
        executor=executor,
        on_event=tell,
        on_change=changed,
        traces=traces,
    )
    try:
        page = None if make_page is None else make_page(seats)
        await seats.open()
        if page is not None:
            await page.open()
        watched = [] if page is None else page.guards()
        began = time.monotonic()
        interrupted = await learn(
            seats.running, ending, stop, look, changes=seats, watched=watched, inspect=inspect
        )
        learned_s = time.monotonic() - began
        on_scoring()
        there = [
            (shard, seat.service)
            for shard, seat in enumerate(seats.seats.values())
            if seat.service is not None
        ]
        scored = task.among([shard for shard, _ in there]) if there else task
        outcomes = await asyncio.gather(
            *(score(service, scored, shard, executor) for shard, service in there)
        )
        return SwarmResult(
            outcomes,
            [answer(service) for _, service in there],
            [seat.name for seat in seats.seats.values() if seat.service is None],
            interrupted,
            learned_s,
        )
    finally:
        if page is not None:
            await page.close()
        await seats.close()
        executor.shutdown(wait=False, cancel_futures=True)
