"""The processes of a swarm as actors of a Ray cluster, which begins them anew if they end. An edge: Ray."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError
from peer.spread.crew import PlaceLostError, patiently
from peer.spread.place import LOOPBACK, Servant
from wire import TransportError

if TYPE_CHECKING:
    from peer.spread.ray_cluster import Cluster

OPEN_S: Final = 300.0  # for all actors to be there; a machine may have to be had first


class PlaceActor:
    """In a process of Ray's: calls are of one event loop, its agents' too."""

    def __init__(self) -> None:
        self._servant = Servant()

    async def call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """As `peer.spread.crew.Crew` has it."""
        return await self._servant.call(method, *arguments, **options)

    async def address(self) -> str:
        """Of its machine, as the others of the cluster see it."""
        ray: Any = importlib.import_module("ray")
        return str(ray.util.get_node_ip_address())


class RayCrew:
    """A `peer.spread.crew.Crew`. In a cluster that is not ours messages pass between machines."""

    def __init__(self, cluster: Cluster, cpus: float, memory: int | None) -> None:
        """So much of each is for one actor."""
        self._cluster = cluster
        self._cpus = cpus
        self._memory = memory
        self._actors: list[Any] = []
        self._errors = cluster.ray.exceptions

    @property
    def is_local(self) -> bool:
        """Only if the cluster is of this program."""
        return self._cluster.is_own

    async def open(self, places: int) -> None:
        """Each in an actor of its own."""
        self._cluster.require(places, self._cpus, self._memory, "actors")
        self._actors = [self._begin() for _ in range(places)]
        addresses = [self._asked(number, actor.address.remote()) for number, actor in enumerate(self._actors)]
        try:
            async with asyncio.timeout(OPEN_S):
                await asyncio.gather(*addresses)
        except TimeoutError:
            raise HyperpushError(
                f"Ray has not begun {places} actors within {OPEN_S:g} s; of each kind it has free now: "
                f"{self._cluster.free()}; wait until others are done, or give less with --actor-cpus"
            ) from None

    async def listen_host(self, number: int) -> str:
        """Loopback, or the address of its machine."""
        return LOOPBACK if self.is_local else await self._asked(number, self._actors[number].address.remote())

    async def call(self, number: int, method: str, *arguments: Any, **options: Any) -> Any:
        """What is under way when an actor ends is not asked for again."""
        return await self._asked(number, self._actors[number].call.remote(method, arguments, options))

    async def close(self) -> None:
        """Ray ends them all."""
        for actor in self._actors:
            self._cluster.ray.kill(actor)
        self._actors = []

    def _begin(self) -> Any:
        options = {"num_cpus": self._cpus, "memory": self._memory, "max_restarts": -1}
        return self._cluster.ray.remote(PlaceActor).options(**options).remote()

    async def _asked(self, number: int, answer: Any) -> Any:
        try:
            return await patiently(asyncio.wrap_future(answer.future()))
        except self._errors.ActorUnavailableError:
            raise PlaceLostError("its actor cannot be reached") from None
        except self._errors.RayActorError as error:
            self._actors[number] = self._begin()  # for the case that Ray has given it up
            reason = str(error).strip().splitlines()
            raise PlaceLostError(
                f"its actor has ended ({reason[0] if reason else 'no reason is known'})"
            ) from None
        except self._errors.RayTaskError as error:
            if isinstance(error.cause, HyperpushError | TransportError):
                raise error.cause from None
            raise  # a bug, with the traceback of there
