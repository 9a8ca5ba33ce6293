"""One agent in a program of one's own: a notebook, a script, a service that has an event loop already.

async with peer.Agent(problem, swarm="clinic", until=["residual:1e-3"]) as agent:
    async for event in agent.events():
        print(event)
agent.result.model

result = peer.run(problem, until=["ticks:500"])  # the same, and waits for it
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from peer.admin_access import check_host
from peer.errors import HyperpushError, SettingError
from peer.event_reader import Readers
from peer.key_files import keys_for, read_allow_list
from peer.learned import copies
from peer.member import Member
from peer.options import readers
from peer.run_result import History, RunResult
from peer.running import Running, answer, view
from peer.service import AgentService
from peer.settings import AgentSettings
from peer.state import open_state
from peer.swarm import learn
from peer.until import Ending, parse_goal
from peer.worker_threads import filled
from wire import WebSocketTransport
from wire.errors import AddressError
from wire.keys import peer_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Self, Unpack

    from peer.events import Event
    from peer.predicting import PersonalModel
    from peer.problem import BilevelProblem
    from peer.settings import SettingKeywords
    from peer.state import AgentState
    from peer.status import AgentStatus
    from peer.torch_learner import MakeOptimizer
    from peer.views import AgentView
    from wire import FaultPlan, PeerId
    from wire.discovery import MakeDiscovery
    from wire.transport import MakeTransport

T = TypeVar("T")

INTERRUPTS_MAX: Final = 3  # of a cell that waits for an agent to say goodbye


class Agent:
    """One agent of a swarm, from `async with` to its end: it finds the others, learns, and says goodbye.

    `problem` is its own task. `until` are ends as in `hyperpush run --until`; without any it goes on until
    `stop` or the end of the block. It listens at `listen`, which is this machine only by default; `peers` are
    addresses of others, `dns` names of them, and `zeroconf` looks for them on the local network;
    `discoveries` are other ways, `make_transport` other links (`peer.extensions`). Elsewhere than on this
    machine it wants the file of a swarm key, or `insecure=True`. `state` is a directory: the agent goes on
    from there when it comes back. `name` is this machine's by default; `task` has to be the same at all
    agents of a swarm. All fields of `AgentSettings` are keyword arguments.

    Only one computation of it is under way at a time, in a thread of its own. Raises `SettingError` at once;
    `ProblemError`, `wire.TransportError` and `StateError` on entering; a bug in it, or a disk that fails for
    good, on leaving.
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
        discoveries: Sequence[MakeDiscovery] = (),
        make_transport: MakeTransport = WebSocketTransport,
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
        for several, them in (("peers", peers), ("dns", dns), ("until", until)):
            if isinstance(them, str):
                raise SettingError(several, them, "give a list of them")
        host, port = _read("listen", readers.listen_address, listen)
        check_host("listen", listen, host)
        _read("swarm", readers.swarm, swarm)
        given_name: str = _read("name", readers.agent_name, name or socket.gethostname())
        addresses: list[str] = [_read("peers", readers.peer_address, one) for one in peers]
        names = [_read("dns", lambda given: readers.dns_address(given, port), one) for one in dns]
        self._settings = AgentSettings(**settings)
        if state is None:
            self._settings = replace(self._settings, checkpoint_s=0.0, checkpoint_ticks=0)
        self._ending = Ending([parse_goal(goal) for goal in until])
        self._key = None if key is None else Path(key)
        keys = keys_for(host, listen, self._key, None if allow is None else Path(allow), insecure=insecure)
        allowed = None if allow is None else read_allow_list(Path(allow))
        self._state_folder = None if state is None else Path(state)
        self._say = say
        self._stop = asyncio.Event()
        self._readers: Readers[Event | AgentView] = Readers()
        self._history = History()
        self._result: RunResult | None = None
        self._learning: asyncio.Task[None] | None = None
        self._service: AgentService | None = None
        self._member: Member | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._interrupted = False

        def make(found: AgentState) -> None:
            own = ThreadPoolExecutor(1, "learning", initializer=torch.set_num_threads, initargs=(1,))
            self._executor = filled(own, 1)
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
                make_transport=make_transport,
                on_event=lambda _, event: self._readers.tell(event),
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
                discoveries=discoveries,
                key_file=self._key,
                ending=self._ending,
                say=say,
            )

        self._make = make

    # ---- from beginning to end

    async def __aenter__(self) -> Self:
        if self._learning is not None:
            raise HyperpushError("an agent lives once; make another one")
        state = open_state(self._state_folder)
        try:
            self._make(state)
            service, member = self._there()
            await service.start()
            await member.start()
        except BaseException:
            await self._close()
            state.close()
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
            self._result = await self._found()
        finally:
            self._readers.end()

    async def _close(self) -> None:
        try:
            if self._member is not None:
                await self._member.close()
        finally:
            if self._service is not None:
                await self._service.close()
            if self._executor is not None:
                self._executor.shutdown(wait=False, cancel_futures=True)

    # ---- while it learns

    def events(self) -> AsyncIterator[Event | AgentView]:
        """What happens from now on, until the agent ends: `peer.events`, and a view about every tick.

        Views come four times a second at most. Who reads slowly misses the oldest of a thousand.
        """
        return self._readers.read()

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

    def _observe(self, views: Sequence[AgentView]) -> None:
        (now,) = views
        if self._history.add(now):
            self._readers.tell(now)

    async def _found(self) -> RunResult:
        """Nothing is being computed any more."""
        service = self._there()[0]
        found, last = answer(service), view(service)
        agent = service.agent
        return RunResult(
            id=self.id,
            model=copies(found.model),
            adjoint=copies(found.adjoint),
            hypergradient=copies(found.hypergradient),
            hyperparameters=copies(found.hyperparameters),
            local=copies(found.local),
            ticks=agent.ticks,
            epoch=agent.epoch,
            residual=last.residual,
            metrics=await self._metrics(),
            peers=self.peers,
            history=self._history.ended(last),
            interrupted=self._interrupted and bool(self._ending.goals),
        )

    async def _metrics(self) -> Mapping[str, float]:
        """Of the problem, on the last model; those of the last tick that had any, if it fails."""
        agent, learner = self._there()[0].agent, self._there()[0].learner
        loop = asyncio.get_running_loop()
        try:
            return dict(
                await loop.run_in_executor(self._executor, learner.metrics, agent.solver.model.estimate)
            )
        except Exception as error:  # whatever it is, it is of the user's own code
            self._say(f"the problem's metrics fail: {type(error).__name__}: {error}")
            return dict(agent.progress.report.metrics)


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
        agent = Agent(problem, **options)
        agents.append((asyncio.get_running_loop(), agent))
        async with agent:
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
    for _ in range(INTERRUPTS_MAX):
        try:
            return learned.result()
        except KeyboardInterrupt:
            for loop, agent in agents:
                with contextlib.suppress(RuntimeError):  # it has just ended
                    loop.call_soon_threadsafe(agent.stop)
    return learned.result()


def _read(field: str, read: Callable[[str], T], given: str) -> T:
    """What a reader of the command line makes of it. Raises `SettingError` under this name."""
    try:
        return read(given)
    except SettingError as error:
        raise SettingError(field, given, error.remedy) from None
    except AddressError as error:
        raise SettingError(field, given, str(error)) from None


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
