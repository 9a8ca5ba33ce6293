"""Agents that run in this process, each in an asyncio task of its own, and what is read off them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from peer.baselines import never
from peer.details import AgentDetails
from peer.outcome import AgentOutcome
from peer.tasks import Answer
from peer.views import AgentView, Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from peer.service import AgentService
    from peer.tasks import Task


def view(service: AgentService) -> AgentView:
    """What is to be seen of a running agent."""
    seen = AgentView.of(service.agent, Messages.of_transport(service.agent, service.transport.counters))
    return replace(seen, ticks_before=service.ticks_before or 0)


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

    Who trains alone does as many ticks as it did in all its lives; nobody does if that is not known.
    It is in haste as soon as `in_haste` says so, from any thread. Cancelled, it lets the thread end.
    """
    agent = service.agent
    over = threading.Event()
    before = service.ticks_before

    def stopped() -> bool:
        return over.is_set() or before is None or in_haste()

    try:
        scores = await asyncio.get_running_loop().run_in_executor(
            executor,
            task.scores,
            shard,
            answer(service),
            agent.settings,
            (before or 0) + agent.ticks,
            stopped,
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
        seen.metrics,
        before,
        seen.steps,
    )


async def score_all(
    task: Task, services: Mapping[int, AgentService], there: Sequence[int], executor: ThreadPoolExecutor
) -> tuple[list[AgentOutcome], list[Answer]]:
    """Of stopped agents by their shards, in that order; `there` are the shards of all who took part."""
    scored = task.among(list(there)) if there else task
    outcomes = [score(service, scored, shard, executor) for shard, service in services.items()]
    return await asyncio.gather(*outcomes), [answer(service) for service in services.values()]


class Running:
    """Started services, each running in a task of its own: a `peer.swarm.Group`."""

    def __init__(self, services: Sequence[AgentService] = ()) -> None:
        self._runs: dict[AgentService, asyncio.Task[None]] = {}
        for service in services:
            self.begin(service)

    @property
    def services(self) -> list[AgentService]:
        """In the order in which they began."""
        return list(self._runs)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Of the services."""
        return list(self._runs.values())

    def begin(self, service: AgentService) -> None:
        """Let it run from now on."""
        self._runs[service] = asyncio.create_task(service.run(), name=service.record.peer)

    def let_go(self, service: AgentService) -> asyncio.Task[None]:
        """It is one of these no more; the task in which it runs."""
        return self._runs.pop(service)

    def views(self) -> list[AgentView]:
        """Of all, now."""
        return [view(service) for service in self.services]

    def details(self) -> Iterator[AgentDetails]:
        """Of all, now."""
        return map(details, self.services)

    async def end(self) -> None:
        """Let all say goodbye; raises what went wrong in one of them."""
        for service in self._runs:
            service.stop()
        for result in await asyncio.gather(*self._runs.values(), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
