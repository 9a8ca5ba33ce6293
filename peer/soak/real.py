"""The same soak over real sockets: agents of one process, as `hyperpush swarm` has them. An edge: asyncio."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from peer.baselines import never
from peer.outcome import Kind
from peer.quadratic import QuadraticProblem, closed_form
from peer.scenario import Kill, Restart, Scenario, member_names
from peer.seats import Seats
from peer.settings import AgentSettings
from peer.soak import virtual
from peer.soak.virtual import DOWN, tracking, who_restarts
from peer.swarm import learn
from peer.until import Ending
from peer.worker_threads import keep_waiting_threads, worker_threads
from wire import FaultPlan, Uniform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from peer.assembly import TensorAgent
    from peer.scenario import AnyChange
    from peer.service import AgentService
    from peer.settings import SettingKeywords
    from peer.tasks import Answer, Task

TICK_S = 0.02
FAULTS = FaultPlan(drop=0.1, delay_s=Uniform(0.0, TICK_S), duplicate=0.01)
SETTINGS = replace(virtual.SETTINGS, tick_s=TICK_S, listen_s_max=AgentSettings().listen_s_max)


class SoakTask:
    """`peer.tasks.Task`: well conditioned quadratics with held hyperparameters, which settle quickly."""

    name = "soak"
    kind = Kind.ERROR
    columns: Mapping[str, str] = MappingProxyType({})
    class_names: Sequence[str] = ()

    def __init__(self, agents: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.fingerprint = f"{self.name}/{agents}/{seed}"
        self.problems: Sequence[QuadraticProblem] = [
            QuadraticProblem.random(generator, condition=3.0) for _ in range(agents)
        ]
        self.truth = closed_form(self.problems)

    @property
    def settings(self) -> SettingKeywords:
        """Those of SETTINGS."""
        return {}

    def scores(
        self,
        shard: int,
        answer: Answer,
        settings: AgentSettings,
        ticks: int,
        stopped: Callable[[], bool] = never,
    ) -> dict[str, float]:
        """None: errors are looked at all the time."""
        del shard, answer, settings, ticks, stopped
        return {}

    def among(self, shards: Sequence[int]) -> Task:
        """Everybody is there at the end."""
        del shards
        return self


class RealSoak(Seats):
    """Agents that learn; now and then one restarts with its state."""

    def __init__(self, agents: int, seed: int, samples: int, sample_s: float) -> None:
        self.task = SoakTask(agents, seed)
        self.sample_s = sample_s
        self.executor = worker_threads()
        self._former_ticks = 0
        names = member_names(agents)
        changes: list[AnyChange[str]] = []
        for turn in range(samples):
            index = who_restarts(turn, agents)
            if index is not None:
                name = names[index]
                changes += [Kill(name, turn * sample_s), Restart(name, (turn + DOWN) * sample_s)]
        super().__init__(
            self.task,
            SETTINGS,
            faults=FAULTS,
            scenario=Scenario(changes=tuple(changes)),
            seed=seed,
            executor=self.executor,
            on_event=lambda *_: None,
            on_change=lambda _: None,
        )

    async def carry_out(self, change: AnyChange[str]) -> None:
        """Keep count of the ticks made by who goes."""
        service = self.seats[change.agent].service
        self._former_ticks += 0 if service is None else service.agent.ticks
        await super().carry_out(change)
        service = self.seats[change.agent].service
        self._former_ticks -= 0 if service is None else service.agent.ticks

    async def soak(self, samples: int, take: Callable[[], None], stop: asyncio.Event) -> None:
        """Learn until `stop` is set or all samples are there, each by a call of `take`."""
        keep_waiting_threads()
        try:
            await self.open()
            began = time.monotonic()

            async def sample() -> None:
                for number in range(1, samples + 1):
                    await asyncio.sleep(max(0.0, began + number * self.sample_s - time.monotonic()))
                    take()
                stop.set()

            await learn(self.running, Ending(), stop, lambda _: None, changes=self, watched=[sample()])
        finally:
            await self.close()
            self.executor.shutdown(wait=False, cancel_futures=True)

    @property
    def services(self) -> list[AgentService]:
        """Of those who are there."""
        return [seat.service for seat in self.seats.values() if seat.service is not None]

    @property
    def agents(self) -> list[TensorAgent]:
        """Of those who are there."""
        return [service.agent for service in self.services]

    @property
    def agent_ticks(self) -> int:
        """All that were ever made."""
        return self._former_ticks + sum(agent.ticks for agent in self.agents)

    @property
    def roots(self) -> list[object]:
        """Where all that the agents keep can be reached from."""
        return list(self.services)

    def largest_sum(self) -> float:
        """The largest running sum of this moment."""
        return max(float(stream.mass.pushed.abs().max()) for stream in tracking(self.agents))

    def error(self) -> float:
        """Of the worst agent's model or adjoint, relative to the largest number of the answer.

        It is read while they compute, so it may be off by what an estimate moves in one tick.
        """
        truth, agents = self.task.truth, self.agents
        found = [stream.estimate for stream in tracking(agents)]
        truths = (truth.model, truth.adjoint) * len(agents)
        return max(_distance(one, other) for one, other in zip(found, truths, strict=True))


def _distance(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).abs().max() / truth.abs().max())
