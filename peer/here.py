"""All agents of a swarm in this process, each with its own port, server, client, data and random streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.assembly import check_alike
from peer.running import score_all
from peer.scenario import Scenario
from peer.seats import Seats
from peer.swarm import Results
from peer.worker_threads import keep_waiting_threads, worker_threads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterator, Sequence

    from peer.details import AgentDetails
    from peer.seats import Changes
    from peer.settings import AgentSettings
    from peer.swarm import Tell, TellChange
    from peer.tasks import Task
    from peer.trace.files import Traces
    from peer.views import AgentView
    from wire import FaultPlan


class AgentsHere:
    """One agent per problem of a task, under a scenario: a `peer.swarm.Crowd`."""

    def __init__(
        self,
        task: Task,
        settings: AgentSettings,
        *,
        faults: FaultPlan,
        scenario: Scenario | None = None,
        seed: int,
        on_event: Tell,
        on_change: TellChange = lambda _: None,
        traces: Traces | None = None,
    ) -> None:
        """The windows of the scenario are to be in `faults`; `traces` is for whoever gives it to close."""
        check_alike(task.problems)
        self._task = task
        self._executor = worker_threads()
        self.seats = Seats(
            task,
            settings,
            faults=faults,
            scenario=scenario or Scenario(),
            seed=seed,
            executor=self._executor,
            on_event=on_event,
            on_change=on_change,
            traces=traces,
        )

    @property
    def changes(self) -> Changes:
        """What is done to them."""
        return self.seats

    @property
    def tasks(self) -> Collection[asyncio.Task[None]]:
        """Of those who are there."""
        return self.seats.running.tasks

    def views(self) -> Sequence[AgentView]:
        """Now."""
        return self.seats.running.views()

    def details(self) -> Iterator[AgentDetails]:
        """Now."""
        return self.seats.running.details()

    async def open(self) -> None:
        """All who do not join later are there, and know each other."""
        keep_waiting_threads()
        await self.seats.open()

    async def end(self) -> None:
        """Let all say goodbye; raises what went wrong in one of them."""
        await self.seats.running.end()

    async def results(self) -> Results:
        """Scores those who are there, once they have ended."""
        seats = self.seats.seats.values()
        there = {seat.shard: seat.service for seat in seats if seat.service is not None}
        outcomes, answers = await score_all(self._task, there, list(there), self._executor)
        return Results(outcomes, answers, [seat.name for seat in seats if seat.service is None])

    async def close(self) -> None:
        """All sockets and threads."""
        await self.seats.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
