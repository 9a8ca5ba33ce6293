"""Agents on loopback in one event loop: real sockets, worker threads, problems with a closed form."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from peer.assembly import encode
from peer.quadratic import QuadraticProblem, closed_form
from peer.service import AgentService
from peer.settings import AgentSettings
from peer.state import ephemeral
from wire import Push
from wire.keys import KeyRing, peer_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from peer.events import Event
    from peer.state import AgentState

G = TypeVar("G", bound="Group")

SETTINGS = AgentSettings(
    tick_s=0.005,
    model_step_size=0.3,
    adjoint_step_size=0.3,
    momentum=0.5,
    wire_dtype="float64",
    warm_up_ticks=10,
    listen_s_max=1.0,
    evaluate_every=0,
)
LIMIT_S = 30.0  # far more than any of these takes; a hang must fail, not wait
LOOK_S = 0.005
NOWHERE = 9  # the port of "discard", which nobody listens on


def quadratics(count: int) -> list[QuadraticProblem]:
    generator = torch.Generator().manual_seed(0)
    return [
        QuadraticProblem.random(generator, dimension=4, condition=4, hyper_dimension=2) for _ in range(count)
    ]


def ring(*numbers: int) -> KeyRing:
    """The keys of these numbers, in this order."""
    return KeyRing(tuple(KeyRing.new(bytes([number]) * 32).sealing for number in numbers))


class Group:
    """Agents that a test starts, stops and kills; all that is left is closed at its end."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.members: list[AgentService] = []
        self.events: list[tuple[str, Event]] = []
        self._executor = executor
        self._runs: dict[AgentService, asyncio.Task[None]] = {}

    async def add(self, problem: Any, name: str, **options: Any) -> AgentService:
        """One more agent, listening but not running; with `keys`, under a name that it can prove."""
        state: AgentState = options.pop("state", None) or ephemeral(name.encode().ljust(32, b"."))
        peer = peer_name(name, state.identity.fingerprint) if "keys" in options else name
        service = AgentService(
            problem,
            options.pop("settings", SETTINGS),
            **{"peer": peer, "swarm": "test", "seed": 0, "founder": False, **options},
            executor=self._executor,
            on_event=lambda peer, event: self.events.append((peer, event)),
            state=state,
        )
        self.members.append(service)
        await service.start()
        return service

    def run(self, *services: AgentService) -> None:
        for service in services or self.members:
            self._runs[service] = asyncio.create_task(service.run(), name=service.record.peer)

    def introduce(self) -> None:
        for one in self.members:
            for other in self.members:
                one.meet(other.record)

    async def until(self, done: Callable[[], Any]) -> None:
        """Wait until it is so; a failure of any agent is raised, and so is taking too long."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT_S):
            while not done():
                turned = asyncio.Event()
                loop.call_later(LOOK_S, turned.set)
                await turned.wait()
                for run in self._runs.values():
                    if run.done():
                        run.result()

    async def ticks(self, count: int, *services: AgentService) -> None:
        """Wait until each of these has done so many more."""
        ends = [(service, service.agent.ticks + count) for service in services or self.members]
        await self.until(lambda: all(service.agent.ticks >= end for service, end in ends))

    async def learned(self, problems: Sequence[Any], *services: AgentService, error: float = 1e-6) -> None:
        """Wait until each of these agrees with the closed form of the problems."""
        truth = closed_form(list(problems))
        group = services or self.members
        await self.until(lambda: all(distance(service, truth.model) < error for service in group))

    async def stop(self, *services: AgentService) -> None:
        """Each says goodbye and is gone."""
        for service in services:
            service.stop()
        await asyncio.gather(*(self._runs.pop(service) for service in services if service in self._runs))
        await self._close(*services)

    async def kill(self, service: AgentService) -> None:
        """Gone without a word."""
        run = self._runs.pop(service)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await self._close(service)

    async def _close(self, *services: AgentService) -> None:
        for service in services:
            self.members.remove(service)
            await service.close()

    def of(self, kind: type[Event]) -> list[tuple[str, Any]]:
        """The events of one kind."""
        return [(peer, event) for peer, event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def group(kind: type[G] = Group) -> AsyncIterator[G]:  # type: ignore[assignment]
    """Nothing of it is left running afterwards."""
    before = asyncio.all_tasks()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as executor:
        found = kind(executor)
        try:
            yield found
            await found.stop(*found.members)
        finally:
            for service in list(found.members):
                await (found.kill(service) if service in found._runs else found._close(service))
    assert asyncio.all_tasks() == before


def distance(service: AgentService, truth: torch.Tensor) -> float:
    """Of the model from the truth, relative."""
    return float((service.agent.solver.model.estimate - truth).norm() / truth.norm())


def hypergradient_error(service: AgentService, truth: torch.Tensor) -> float:
    return float((service.learner.hypergradient["h"] - truth).norm() / truth.norm())


def rejected(service: AgentService) -> dict[str, int]:
    """How many messages were refused, by reason."""
    return dict(service.transport.counters.rejected)


def alive(service: AgentService) -> list[str]:
    return service.agent.peers.alive()


def overhear(service: AgentService, note: Callable[[bytes], object]) -> None:
    """Have every frame that arrives noted before it is taken in."""
    intake = service.transport._intake
    take = intake._on_frame

    def noted(frame: bytes) -> str | None:
        note(frame)
        return take(frame)

    intake._on_frame = noted


async def push(swarm: Group, service: AgentService, frame: bytes) -> None:
    """Have one frame arrive, from a client that says what it likes."""
    service.transport.connect("client", service.record.address)
    arrived: list[bytes] = []
    overhear(service, arrived.append)
    service.transport.send(["client"], 0, frame)
    await swarm.until(lambda: frame in arrived)


def message(service: AgentService) -> bytes:
    """One honest message of this agent, as bytes."""
    identity = service.agent.identity
    lengths = service.agent.solver.array_lengths(0)
    return encode(
        Push(
            identity.swarm,
            identity.fingerprint,
            identity.peer,
            identity.incarnation,
            epoch=1,
            block=0,
            sequence=10**6,
            tick=1,
            tick_interval_s=0.01,
            address=identity.address,
            arrays=tuple(torch.zeros(length, dtype=torch.float64) for length in lengths),
        ),
        1,
    )
