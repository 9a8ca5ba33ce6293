"""One agent in a program of one's own: a notebook, a script, a service that has an event loop already.

async with peer.Agent(problem, swarm="clinic", until=["residual:1e-3"]) as agent:
    async for event in agent.events():
        print(event)
agent.result.model

result = peer.run(problem, until=["ticks:500"])  # the same, and waits for it
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peer.admin_access import check_host
from peer.errors import HyperpushError
from peer.key_files import keys_for, read_allow_list
from peer.member import Member
from peer.options.readers import dns_address, listen_address, peer_address
from peer.run_result import History, RunResult
from peer.running import Running, answer, view, worker_threads
from peer.service import AgentService
from peer.settings import AgentSettings
from peer.state import open_state
from peer.swarm import learn
from peer.until import Ending, parse_goal
from wire.keys import peer_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from os import PathLike
    from types import TracebackType
    from typing import Self, Unpack

    from peer.events import Event
    from peer.predicting import PersonalModel
    from peer.problem import BilevelProblem
    from peer.settings import SettingKeywords
    from peer.status import AgentStatus
    from peer.torch_learner import MakeOptimizer
    from peer.views import AgentView
    from wire import FaultPlan, PeerId

EVENTS_KEPT: Final = 1000  # for each reader; who reads more slowly misses the oldest


class Agent:
    """One agent of a swarm, from `async with` to its end: it finds the others, learns, and says goodbye.

    `problem` is its own task. `until` are ends as in `hyperpush run --until`; without any it goes on until
    `stop` or the end of the block. It listens at `listen`, which is this machine only by default; `peers` are
    addresses of others, `dns` names of them, and `zeroconf` looks for them on the local network. Elsewhere
    than on this machine it wants the file of a swarm key, or `insecure=True`. `state` is a directory: the
    agent goes on from there when it comes back. `name` is this machine's by default; `task` has to be the
    same at all agents of a swarm. All fields of `AgentSettings` are keyword arguments.

    Only one computation of it is under way at a time, in a thread of its own. Raises `SettingError` and
    `ProblemError` at once, `wire.TransportError` and `StateError` on entering; a bug in it, or a disk that
    fails for good, on leaving.
    """

    def __init__(
        self,
        problem: BilevelProblem[Any],
        *,
        swarm: str = "hyperpush",
        name: str | None = None,
        task: str = "",
        seed: int = 0,
        listen: str = "127.0.0.1:0",
        peers: Sequence[str] = (),
        dns: Sequence[str] = (),
        zeroconf: bool = True,
        key: str | PathLike[str] | None = None,
        allow: str | PathLike[str] | None = None,
        insecure: bool = False,
        state: str | PathLike[str] | None = None,
        until: Sequence[str] = (),
        faults: FaultPlan | None = None,
        make_optimizer: MakeOptimizer | None = None,
        say: Callable[[str], None] = lambda _: None,
        **settings: Unpack[SettingKeywords],
    ) -> None:
        """`say` is told, in words, what goes wrong and right again around the agent."""
        host, port = listen_address(listen)
        check_host("listen", listen, host)
        self._settings = AgentSettings(**settings)
        if state is None:
            self._settings = replace(self._settings, checkpoint_s=0.0, checkpoint_ticks=0)
        self._ending = Ending([parse_goal(goal) for goal in until])
        self._key = None if key is None else Path(key)
        keys = keys_for(host, listen, self._key, None if allow is None else Path(allow), insecure=insecure)
        allowed = None if allow is None else read_allow_list(Path(allow))
        self._state_folder = None if state is None else Path(state)
        self._stop = asyncio.Event()
        self._readers: list[_Reader] = []
        self._history = History()
        self._result: RunResult | None = None
        self._learning: asyncio.Task[None] | None = None
        self._service: AgentService | None = None
        self._member: Member | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._interrupted = False
        given_name, addresses = name or socket.gethostname(), [peer_address(peer) for peer in peers]
        names = [dns_address(one, port) for one in dns]

        def make() -> None:
            found = open_state(self._state_folder)
            self._executor = worker_threads(1)
            self._service = AgentService(
                problem,
                self._settings,
                peer=peer_name(given_name, found.identity.fingerprint),
                swarm=swarm,
                task=task,
                seed=seed,
                founder=False,
                executor=self._executor,
                listen_host=host,
                listen_port=port,
                faults=faults,
                make_optimizer=make_optimizer,
                on_event=lambda _, event: self._tell(event),
                on_problem=say,
                state=found,
                keys=keys,
                allowed=allowed,
            )
            self._member = Member(
                self._service,
                listen_host=host,
                seeds=addresses,
                dns=names,
                zeroconf=zeroconf,
                key_file=self._key,
                ending=self._ending,
                say=say,
            )

        self._make = make

    # ---- from beginning to end

    async def __aenter__(self) -> Self:
        if self._learning is not None:
            raise HyperpushError("an agent lives once; make another one")
        self._make()
        service, member = self._there()
        try:
            await service.start()
            await member.start()
        except BaseException:
            await self._close()
            raise
        self._learning = asyncio.create_task(self._learn(), name=self.id)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        assert self._learning is not None
        self._stop.set()
        try:
            await self._learning
        finally:
            await self._close()

    def stop(self) -> None:
        """Let it end soon; `events` end with it."""
        self._stop.set()

    async def wait(self) -> None:
        """Until an end is reached, or it was stopped; raises what went wrong in it."""
        assert self._learning is not None, "inside of `async with`"
        await asyncio.shield(self._learning)

    async def _learn(self) -> None:
        service, member = self._there()
        try:
            self._interrupted = await learn(
                Running([service]), self._ending, self._stop, self._observe, watched=member.guards()
            )
            self._result = self._found()
        finally:
            for reader in self._readers:
                reader.end()

    async def _close(self) -> None:
        service, member = self._there()
        try:
            await member.close()
        finally:
            await service.close()
            if self._executor is not None:
                self._executor.shutdown(wait=False, cancel_futures=True)

    # ---- while it learns

    async def events(self) -> AsyncIterator[Event | AgentView]:
        """What happens from now on, until the agent ends: `peer.events`, and a view about every tick.

        Views come four times a second at most. Who reads slowly misses the oldest of EVENTS_KEPT.
        """
        reader = _Reader()
        self._readers.append(reader)
        if self._learning is not None and self._learning.done():
            reader.end()
        try:
            while (event := await reader.next()) is not None:
                yield event
        finally:
            self._readers.remove(reader)

    @property
    def id(self) -> PeerId:
        """By which others know it."""
        return self._there()[0].record.peer

    @property
    def address(self) -> str:
        """Where it listens, for `peers` of others."""
        return self._there()[0].record.address

    @property
    def peers(self) -> Sequence[PeerId]:
        """Who is believed to be there now, beside this one."""
        return tuple(self._there()[0].agent.peers.alive())

    @property
    def view(self) -> AgentView:
        """Its numbers as of the last tick."""
        return view(self._there()[0])

    def status(self) -> AgentStatus:
        """All that `hyperpush status` shows."""
        service, member = self._there()
        return member.status_of(service)

    async def personal_model(self) -> PersonalModel:
        """A copy of what predicts here, as of now. Raises `HyperpushError` if the problem has none."""
        return await self._there()[0].personal_model()

    @property
    def result(self) -> RunResult:
        """What it has come to; once it has ended. Raises `HyperpushError` before."""
        if self._result is None:
            raise HyperpushError("the agent has not ended; wait for it, or ask for `view` and `status()`")
        return self._result

    # ---- how it is done

    def _there(self) -> tuple[AgentService, Member]:
        if self._service is None or self._member is None:
            raise HyperpushError("the agent has not begun; use it inside of `async with`")
        return self._service, self._member

    def _tell(self, event: Event | AgentView) -> None:
        for reader in self._readers:
            reader.tell(event)

    def _observe(self, views: Sequence[AgentView]) -> None:
        (now,) = views
        if self._history.add(now):
            self._tell(now)

    def _found(self) -> RunResult:
        """Nothing is being computed any more."""
        service = self._there()[0]
        found, last = answer(service), view(service)
        agent, learner = service.agent, service.learner
        named = {
            name: {key: tensor.detach().clone() for key, tensor in getattr(found, name).items()}
            for name in ("model", "adjoint", "hypergradient", "hyperparameters", "local")
        }
        return RunResult(
            id=self.id,
            **named,
            ticks=agent.ticks,
            epoch=agent.epoch,
            residual=last.residual,
            metrics=dict(learner.metrics(agent.solver.model.estimate)),
            peers=self.peers,
            history=self._history.ended(last),
            interrupted=self._interrupted and bool(self._ending.goals),
        )


class _Reader:
    """What one reader of events has not read yet."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Event | AgentView] = collections.deque(maxlen=EVENTS_KEPT)
        self._more = asyncio.Event()
        self._over = False

    def tell(self, event: Event | AgentView) -> None:
        self._waiting.append(event)
        self._more.set()

    def end(self) -> None:
        self._over = True
        self._more.set()

    async def next(self) -> Event | AgentView | None:
        """None: there is no more."""
        while not self._waiting:
            if self._over:
                return None
            self._more.clear()
            await self._more.wait()
        return self._waiting.popleft()


def run(
    problem: BilevelProblem[Any],
    *,
    on_event: Callable[[Event | AgentView], None] | None = None,
    **options: Any,
) -> RunResult:
    """One `Agent` of this problem, from its beginning to its end; options are those of `Agent`.

    Without `until` it goes on until Ctrl-C, which ends it as `stop` does: it says goodbye, and the result so
    far is returned. `on_event` is called with what happens, in the thread of the agent. Works in a notebook,
    too, where an event loop is running already; there Ctrl-C is the interruption of the cell.
    """
    agents: list[tuple[asyncio.AbstractEventLoop, Agent]] = []

    async def main() -> RunResult:
        async with Agent(problem, **options) as agent:
            agents.append((asyncio.get_running_loop(), agent))
            with contextlib.suppress(asyncio.CancelledError):  # by Ctrl-C
                async for event in agent.events():
                    if on_event is not None:
                        on_event(event)
        return agent.result

    if not _in_a_loop():
        return asyncio.run(main())
    learned: Future[RunResult] = Future()

    def elsewhere() -> None:
        try:
            learned.set_result(asyncio.run(main()))
        except BaseException as error:
            learned.set_exception(error)

    threading.Thread(target=elsewhere, name="hyperpush agent", daemon=True).start()
    try:
        return learned.result()
    except KeyboardInterrupt:
        for loop, agent in agents:
            loop.call_soon_threadsafe(agent.stop)
        return learned.result()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
