"""A process that hosts some agents of a swarm; `peer.chaos.process` starts it.

Lines of JSON, one object each. In, on stdin, the first one a `Setup`; then any of

    {"go": {"began_at": 12.3, "seeds": [...]}}  all run and look for the others; faults count from that time
    {"change": ["kill", NAME]}                  also leave, join, restart, renew (as somebody new)
    {"pause": [NAME, SECONDS]}
    {"jump": SECONDS}                           the clocks of all its agents jump ahead
    {"fill": BYTES}, {"empty": true}            take all memory there is up to so much; give it back
    {"score": SHARDS}                           against the truth of these shards
    {"ask": [NUMBER, WHAT, VALUE]}              for a page: `look`, `faults`, `set_faults`, `clear`
    {"finish": true}                            all say goodbye, and the process ends

Out, on stdout: `ready` (an agent listens), `listening` (all that start here do), `entered` (an epoch),
`status` (of all agents, twice a second), `said`, `happened`, `scores`, `refused` (a state directory cannot be
used now), `answer` ([NUMBER, VALUE], to what was asked).

A bug ends the process, as it ends `hyperpush run`; so does the death of its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.agent_status import agent_status
from peer.chaos.plan import SWARM
from peer.errors import HyperpushError
from peer.event_words import sentence
from peer.events import EpochEntered, PeerQuarantined
from peer.jsonable import jsonable
from peer.key_files import read_key_ring
from peer.member import Member
from peer.page.hosted import HostedAgents
from peer.page.watch import Watch
from peer.running import answer
from peer.seats import CommonTime
from peer.service import AgentService
from peer.settings import AgentSettings
from peer.state import StateDirectory
from peer.tasks import make_task
from peer.until import Ending
from peer.worker_threads import keep_waiting_threads, worker_threads
from wire import FaultPlan, LiveFaults
from wire.keys import peer_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peer.events import Event
    from peer.status import AgentStatus
    from wire import PeerId

STATUS_EVERY_S = 0.5
PIECES = (2**20, 2**16, 2**12)  # bytes in which memory is taken, one after the other
REFUSED = 3  # exit code


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told first. The agents are named as in `peer.scenario.member_names`."""

    task: str
    agents: Sequence[str]  # of the whole swarm, in the order of their shards
    seed: int
    tick_s: float
    key: str  # a file
    states: str  # a directory that holds theirs
    hosts: Sequence[str]  # the agents that start here
    faults: Mapping[str, Any]
    checkpoint_s: float
    listen_host: str
    program_began_at: float  # monotonic; from which the times of a page count


@dataclasses.dataclass(slots=True)
class Hosted:
    """One agent that is there."""

    service: AgentService
    ticks_before: int  # in former lives, as its checkpoint says
    member: Member | None = None
    tasks: list[asyncio.Task[None]] = dataclasses.field(default_factory=list)


class Worker:
    """Hosts agents; `run` until told to finish."""

    def __init__(self, setup: Setup, out: int) -> None:
        self._setup = setup
        self._out = out
        self._task = make_task(setup.task, len(setup.agents), setup.seed, "bias")
        self._scored = self._task  # among those who are there
        settings = AgentSettings(**self._task.settings)
        if setup.task == "synthetic":  # what float32 rounds away can come to more than the error asked for
            settings = dataclasses.replace(settings, wire_dtype="float64")
        self._settings = dataclasses.replace(settings, tick_s=setup.tick_s, checkpoint_s=setup.checkpoint_s)
        self._keys = read_key_ring(Path(setup.key))
        self._faults = {name: LiveFaults(FaultPlan.from_dict(setup.faults)) for name in setup.agents}
        self._timed = {name: CommonTime(live) for name, live in self._faults.items()}
        self._watch = Watch(self, setup.program_began_at, len(setup.agents))
        self._page = HostedAgents(
            self._watch.scene,
            self._watch.health,
            self._faults,
            lambda name: self._timed[name].elapsed_s(),
        )
        self._ahead_s = 0.0
        self._executor = worker_threads()
        self._hosted: dict[str, Hosted] = {}
        self._lives: dict[str, int] = {}  # how often somebody new has come in the place of an agent
        self._seeds: Sequence[str] = ()
        self._taken: list[bytearray] = []
        self._group = asyncio.TaskGroup()

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Until told to finish, or nobody is there who could. Bugs are raised."""
        keep_waiting_threads()
        try:
            async with self._group:
                for name in self._setup.hosts:
                    await self._open(name)
                self.tell("listening", None)
                status = self._group.create_task(self._tell_status())
                while line := await commands.readline():
                    ((command, value),) = json.loads(line).items()
                    if command == "finish":
                        break
                    await getattr(self, f"_{command}")(value)
                status.cancel()
                await asyncio.gather(*(self._end(name, silently=False) for name in list(self._hosted)))
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def tell(self, kind: str, content: object) -> None:
        """One line to the parent."""
        line = json.dumps({kind: jsonable(content)}) + "\n"
        os.write(self._out, line.encode())  # at once: it may be the last thing that this process does

    def _now(self) -> float:
        return time.monotonic() + self._ahead_s

    # ---- commands

    async def _go(self, value: Mapping[str, Any]) -> None:
        self._seeds = value["seeds"]
        for timed in self._timed.values():
            timed.began_at = value["began_at"]
        for name in list(self._hosted):
            await self._begin(name)

    async def _change(self, value: Sequence[str]) -> None:
        what, name = value
        if what in ("kill", "leave"):
            await self._end(name, silently=what == "kill")
            return
        if what == "renew":
            self._lives[name] = self._lives.get(name, 0) + 1
        await self._open(name)
        await self._begin(name)

    async def _pause(self, value: Sequence[Any]) -> None:
        name, seconds = value
        self._hosted[name].service.pause(seconds)

    async def _jump(self, seconds: float) -> None:
        self._ahead_s += seconds

    async def _fill(self, at_most: int) -> None:
        for piece in PIECES:
            with contextlib.suppress(MemoryError):
                for _ in range(at_most // PIECES[0]):
                    self._taken.append(bytearray(piece))

    async def _empty(self, _: object) -> None:
        self._taken.clear()

    async def _score(self, shards: Sequence[int]) -> None:
        self._scored = self._task.among(list(shards))
        self.tell("scores", {name: self._scores(name) for name in self._hosted})

    async def _ask(self, value: Sequence[Any]) -> None:
        number, what, about = value
        self.tell("answer", [number, self._page.answer(what, about)])

    # ---- what is asked for a page

    @property
    def title(self) -> str:
        """Its parent has one."""
        return ""

    @property
    def actions(self) -> Sequence[str]:
        """Its parent says which."""
        return ()

    def services(self) -> Sequence[AgentService]:
        """Of the agents that are there."""
        return [hosted.service for hosted in self._hosted.values()]

    def absent(self) -> Sequence[str]:
        """Its parent knows."""
        return ()

    def status_of(self, service: AgentService) -> AgentStatus:
        """`peer.page.scene.Source`."""
        now = service.clock()
        return agent_status(service, now, settled_line="", until_line="", incompatible={})

    # ---- agents

    async def _open(self, name: str) -> None:
        """Let an agent listen. Raises StateError if its state cannot be used now."""
        life = self._lives.get(name, 0)
        state = StateDirectory(Path(self._setup.states) / (f"{name}+{life}" if life else name))
        service = AgentService(
            self._task.problems[self._setup.agents.index(name)],
            self._settings,
            peer=peer_name(name, state.identity.fingerprint),
            swarm=SWARM,
            task=self._task.fingerprint,
            seed=self._setup.seed,
            founder=False,
            executor=self._executor,
            listen_host=self._setup.listen_host,
            faults=self._timed[name],
            on_event=lambda peer, event: self._note(name, peer, event),
            on_problem=lambda problem: self.tell("said", f"{name}: {problem}"),
            state=state,
            keys=self._keys,
            clock=self._now,
        )
        await service.start()
        kept = state.checkpoint.values.get("ticks") if state.checkpoint is not None else 0
        self._hosted[name] = hosted = Hosted(service, kept if isinstance(kept, int) else 0)
        for finding in state.findings:
            self.tell("said", f"{name}: {finding}")
        record = service.record
        self.tell("ready", [name, record.peer, record.incarnation, record.address, hosted.ticks_before])

    async def _begin(self, name: str) -> None:
        hosted = self._hosted[name]
        hosted.member = Member(
            hosted.service,
            listen_host=self._setup.listen_host,
            seeds=self._seeds,
            zeroconf=False,
            ending=Ending(),
            say=lambda line: self.tell("said", f"{name}: {line}"),
        )
        await hosted.member.start()
        work = (hosted.service.run(), *hosted.member.guards())
        hosted.tasks = [self._group.create_task(one) for one in work]

    async def _end(self, name: str, *, silently: bool) -> None:
        hosted = self._hosted.pop(name)
        if hosted.member is not None:  # it has begun
            run, *others = hosted.tasks
            if silently:
                run.cancel()
            hosted.service.stop()
            await asyncio.wait([run])
            for task in others:
                task.cancel()
            await hosted.member.close()
        await hosted.service.close()

    def _note(self, name: str, peer: PeerId, event: Event) -> None:
        self.tell("happened", [peer, type(event).__name__, sentence(event)])
        if isinstance(event, EpochEntered):
            self.tell("entered", [name, peer, event.epoch])
        elif isinstance(event, PeerQuarantined):
            self.tell("disbelieved", [name, event.peer, event.reason])

    # ---- what is told

    async def _tell_status(self) -> None:
        while True:
            self.tell("status", {name: self._status(name) for name in self._hosted})
            self._watch.look()
            await asyncio.sleep(STATUS_EVERY_S)

    def _status(self, name: str) -> dict[str, object]:
        agent = self._hosted[name].service.agent
        scores = self._scores(name) if self._task.name == "synthetic" else agent.progress.report.metrics
        return {
            "ticks": self._hosted[name].ticks_before + agent.ticks,
            "epoch": agent.epoch,
            "phase": agent.phase.value,
            "scores": dict(scores),
            "rejected": dict(self._hosted[name].service.transport.counters.rejected),
        }

    def _scores(self, name: str) -> Mapping[str, float]:
        """Read between two ticks or within one: near the answer it makes no difference."""
        service = self._hosted[name].service
        shard = self._setup.agents.index(name)
        found = answer(service)
        if self._task.name == "synthetic":
            return self._scored.scores(shard, found, self._settings, service.agent.ticks)
        return dict(service.learner.metrics(service.agent.solver.model.estimate))


async def _serve(out: int) -> None:
    commands = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    worker = Worker(Setup(**json.loads(await commands.readline())), out)
    try:
        await worker.run(commands)
    except* HyperpushError as errors:
        for error in errors.exceptions:
            worker.tell("refused", str(error))
        sys.exit(REFUSED)


def main() -> None:
    """Serve stdin and stdout; whatever else is printed goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(_serve(out))
