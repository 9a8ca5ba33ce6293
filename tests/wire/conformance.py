"""The ways that messages travel, behind one interface, so that the same tests run over each.

Simulated    peer/simulation.py and its virtual clock
Dialled      websockets, opened by the sender
BehindNat    websockets, opened by the receiver: the sender cannot dial it
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from asyncio import Transport
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web

from peer.events import Persist, Send
from peer.simulation import Simulation
from peer.storage import Storage
from tests.wire.test_websocket_transport import free_port, until
from wire import Array, FaultPlan, Push, decode_push, encode_push, peer_mark
from wire.transport import WebSocketTransport

SEED = 7
BEACON_BLOCK = 10_000


def message(sender: str, sequence: int, *, block: int = 0, floats: int = 4) -> Push[Array]:
    array = Array("<f4", struct.pack("<f", sequence) * floats)
    targets = (peer_mark("whoever"),)
    return Push("swarm", "model", sender, 1, 1, block, sequence, 1, 0.1, "", (array,), targets)


@dataclass
class Inbox:
    """What came to one peer, and when."""

    sequences: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)

    def take(self, push: Push[Any], now: float) -> None:
        assert push.arrays[0].data[:4] == struct.pack("<f", push.sequence), "whole"
        self.sequences.append(push.sequence)
        self.times.append(now)
        self.senders.append(push.sender)


class Network(ABC):
    """Named peers and directed links. A peer keeps its inbox when it stops and starts again."""

    def __init__(self, faults: FaultPlan) -> None:
        self.faults = faults
        self.inboxes: dict[str, Inbox] = {}
        self.links: list[tuple[str, str]] = []

    def inbox(self, name: str) -> Inbox:
        return self.inboxes.setdefault(name, Inbox())

    @abstractmethod
    def now(self) -> float:
        """The clock of all inboxes."""

    @abstractmethod
    async def start(self, name: str, *, frame_bytes_max: int = 2**20) -> None:
        """Let a peer run, where it was before if it ran before."""

    @abstractmethod
    async def stop(self, name: str) -> None:
        """End a peer."""

    @abstractmethod
    async def move(self, name: str) -> None:
        """Restart a peer elsewhere; whoever sends to it knows."""

    @abstractmethod
    def link(self, source: str, target: str) -> None:
        """Let `source` know `target`. Both run."""

    @abstractmethod
    def send(
        self, source: str, targets: list[str], sequence: int, *, block: int = 0, floats: int = 4
    ) -> None:
        """Push one message."""

    @abstractmethod
    async def until(self, done: Callable[[], bool]) -> None:
        """Let time pass; raises TimeoutError if it never is."""

    @abstractmethod
    def lost(self, source: str) -> int:
        """Messages that the fault plan took."""

    @abstractmethod
    def undelivered(self, source: str) -> int:
        """Messages that found nobody."""

    @abstractmethod
    async def close(self) -> None:
        """End all."""


class Lenient(Storage[Array]):
    """Keeps any epoch, also of who comes back."""

    def keep_epoch(self, peer: str, epoch: int) -> tuple[bool, float]:
        del peer, epoch
        return True, 0.0


class Simulated(Network):
    """Stand-ins for agents under the real simulator: they say what they are told to, and keep what comes."""

    def __init__(self, faults: FaultPlan) -> None:
        super().__init__(faults)
        codec = SimpleNamespace(encode=encode_push, decode=decode_push)
        self._simulation: Simulation[Array] = Simulation(faults=faults, seed=SEED, codec=codec)
        self._simulation.storage = Lenient()
        self._effects: dict[str, list[Persist | Send[Array]]] = {}

    def now(self) -> float:
        return self._simulation.now

    async def start(self, name: str, *, frame_bytes_max: int = 2**20) -> None:
        def take_effects() -> list[Persist | Send[Array]]:
            effects, self._effects[name] = self._effects.get(name, []), []
            return effects

        self._effects[name] = [Persist(1)]  # what is not durable is not sent
        agent: Any = SimpleNamespace(
            identity=SimpleNamespace(peer=name),
            take_effects=take_effects,
            take_events=list,
            next_deadline=lambda: None,
            peer_seen=lambda *_: None,
            receive=self.inbox(name).take,
        )
        self._simulation.start(agent)

    async def stop(self, name: str) -> None:
        self._simulation.kill(name)

    async def move(self, name: str) -> None:
        await self.stop(name)
        await self.start(name)

    def link(self, source: str, target: str) -> None:
        pass

    def send(
        self, source: str, targets: list[str], sequence: int, *, block: int = 0, floats: int = 4
    ) -> None:
        push = message(source, sequence, block=block, floats=floats)
        self._effects.setdefault(source, []).append(Send(tuple(targets), push))
        self._simulation.tell_seen(source, source, 1)  # any input: effects are carried out after each

    async def until(self, done: Callable[[], bool]) -> None:
        for _ in range(1_000):
            if done():
                return
            self._simulation.run_until(self._simulation.now + 0.01)
        raise TimeoutError

    def lost(self, source: str) -> int:
        return self._simulation.counters[source].lost

    def undelivered(self, source: str) -> int:
        return self._simulation.counters[source].undeliverable

    async def close(self) -> None:
        for name in list(self._simulation.nodes):
            self._simulation.kill(name)


class Dialled(Network):
    """Websockets on this machine; every sender dials."""

    def __init__(self, faults: FaultPlan) -> None:
        super().__init__(faults)
        self.transports: dict[str, WebSocketTransport] = {}
        self.ports: dict[str, int] = {}

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self, name: str, *, frame_bytes_max: int = 2**20) -> None:
        transport = self.transports[name] = WebSocketTransport(
            peer=name,
            listen_port=self.ports.setdefault(name, free_port()),
            identity=dict,
            on_frame=lambda frame: self._take(name, frame),
            faults=self.faults,
            fault_seed=SEED,
            message_bytes_max=frame_bytes_max,
        )
        await transport.start()
        for source, target in self.links:
            if name in (source, target):
                self._introduce(source, target)

    def _take(self, name: str, frame: bytes) -> str:
        push = decode_push(frame)
        if push.block != BEACON_BLOCK:
            self.inbox(name).take(push, self.now())
        return push.sender

    async def stop(self, name: str) -> None:
        await self.transports.pop(name).close()

    async def move(self, name: str) -> None:
        await self.stop(name)
        del self.ports[name]
        await self.start(name)

    def link(self, source: str, target: str) -> None:
        self.links.append((source, target))
        self._introduce(source, target)

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _introduce(self, source: str, target: str) -> None:
        if source in self.transports:
            self.transports[source].connect(target, self.address(target))

    def send(
        self, source: str, targets: list[str], sequence: int, *, block: int = 0, floats: int = 4
    ) -> None:
        push = message(source, sequence, block=block, floats=floats)
        self.transports[source].send(targets, block, encode_push(push))

    async def until(self, done: Callable[[], bool]) -> None:
        await until(done)

    def lost(self, source: str) -> int:
        return self.transports[source].counters.lost_by_faults

    def undelivered(self, source: str) -> int:
        return self.transports[source].counters.unsent

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()

    def stranger_pushed_to(self, name: str, honest: str) -> AbstractAsyncContextManager[Transport]:
        """The raw end of the websocket on which `honest` pushes to a peer `name`, which reads nothing.

        That peer is none of ours: it does what the test makes it do.
        """
        return self._called_by(honest, name)

    def stranger_pushing(self, name: str, honest: str) -> AbstractAsyncContextManager[Transport]:
        """The raw end of the websocket on which a peer `name` pushes to `honest`."""
        return self._calling(honest, name)

    @asynccontextmanager
    async def _called_by(self, honest: str, name: str) -> AsyncIterator[Transport]:
        """`honest` dials, and says something."""
        accepted: asyncio.Queue[Transport] = asyncio.Queue()
        runner = await serve(self.ports.setdefault(name, free_port()), accepted)
        self.transports[honest].connect(name, self.address(name))
        self.send(honest, [name], 1, block=BEACON_BLOCK)
        raw = await accepted.get()
        try:
            yield raw
        finally:
            raw.abort()
            await runner.cleanup()

    @asynccontextmanager
    async def _calling(self, honest: str, name: str) -> AsyncIterator[Transport]:
        """`honest` is dialled, and hears who it is."""
        listener = self.transports[honest]._listener
        self.transports[honest].connect(name, "")
        async with aiohttp.ClientSession() as session:
            websocket = await session.ws_connect(f"http://{self.address(honest)}/v1/push")
            raw: Any = websocket._response.connection.transport  # type: ignore[union-attr]
            await websocket.send_bytes(encode_push(message(name, 1, block=BEACON_BLOCK)))
            raw.pause_reading()
            await until(lambda: listener.reverse(name) is not None)
            try:
                yield raw
            finally:
                raw.abort()


class BehindNat(Dialled):
    """No target has an address: it opens a websocket to whoever knows it, and says its name on it."""

    def _introduce(self, source: str, target: str) -> None:
        if source in self.transports and target in self.transports:
            self.transports[source].connect(target, "")
            self.transports[target].connect(source, self.address(source))
            self._beacon(source, target)

    def _beacon(self, source: str, target: str) -> None:
        push = message(target, 1, block=BEACON_BLOCK)
        self.transports[target].send([source], BEACON_BLOCK, encode_push(push))

    async def until(self, done: Callable[[], bool]) -> None:
        """As agents do, a target says again that it is there: here, as often as there is no way to it."""

        def done_meanwhile() -> bool:
            for source, target in self.links:
                known = source in self.transports and target in self.transports
                if known and self.transports[source]._listener.reverse(target) is None:
                    self._beacon(source, target)
            return done()

        await until(done_meanwhile)

    def stranger_pushed_to(self, name: str, honest: str) -> AbstractAsyncContextManager[Transport]:
        return self._calling(honest, name)

    def stranger_pushing(self, name: str, honest: str) -> AbstractAsyncContextManager[Transport]:
        return self._called_by(honest, name)


async def serve(port: int, accepted: asyncio.Queue[Transport]) -> web.AppRunner:
    """Accepts websockets, reads nothing, and hands the raw ends over."""

    async def push(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(timeout=0.1)
        await response.prepare(request)
        transport: Any = request.transport
        transport.pause_reading()
        accepted.put_nowait(transport)
        while not response.closed:
            await response.receive()
        return response

    application = web.Application()
    application.router.add_get("/v1/push", push)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
