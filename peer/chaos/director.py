"""Starts the workers, makes the troubles of a plan, brings back who died, writes down what happens. An edge.

    starting ----> go ----> troubles, each in a task of its own ----> quiet ----> scores ----> all say goodbye

It does to processes what an operator, or fate, would do from outside; of the agents it knows what they tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from peer.chaos import machine
from peer.chaos.mischief import Mischief
from peer.chaos.page import Questions, by_hand
from peer.chaos.process import Host
from peer.chaos.record import Disbelieved, Exit, Life, Record
from peer.chaos.scorecard import CHECKPOINT_S, ERROR_MAX, worst_error
from peer.errors import HyperpushError
from peer.page.many import ManyPage
from peer.scenario import Join
from wire.keys import SECRET_BYTES, KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.admin_access import AdminAccess
    from peer.chaos.machine import Workplace
    from peer.chaos.network import Network
    from peer.chaos.plan import Plan
    from wire import PeerId

START_S: Final = 180.0  # for all processes to be there; loading torch takes seconds
RESTART_S: Final = 0.5  # after a process has ended, as supervisors do it
LOOK_S: Final = 0.5
WATCHDOG_S: Final = 15.0  # who tells nothing for so long, and is not stopped, is ended: as supervisors do it
ANSWERED_LOOKS: Final = 4  # in a row
FRESH_S: Final = 3.0  # what was told longer ago is not known any more
SCORE_S: Final = 30.0
FINISH_S: Final = 30.0
LAST_WORDS: Final = 12  # lines of a process that ended by itself


class Director:
    """`run` once. `say` gets a line for everything that happens."""

    def __init__(
        self,
        plan: Plan,
        workplace: Workplace,
        network: Network | None,
        *,
        task: str,
        seed: int,
        tick_s: float,
        say: Callable[[str], None],
        show: Callable[[float, str], None],
        access: AdminAccess | None = None,
    ) -> None:
        """With `access` there is a page, of which `say` is told.

        `show` is told now and then how much of the time is over, and how all are doing.
        Without a network of their own the processes are on that of this machine.
        """
        self.record = Record(quiet_s=plan.quiet_s, disks=workplace.disks)
        self._network = network
        self._plan = plan
        self._workplace = workplace
        self._task = task
        self._seed = seed
        self._tick_s = tick_s
        self._say = say
        self._show = show
        self._ring = KeyRing.new(os.urandom(SECRET_BYTES))
        self._began_at = math.inf
        self._there = set(plan.agents)
        for trouble in plan.troubles:
            if isinstance(trouble.change, Join):
                self._there.discard(trouble.change.agent)
        self._addresses: dict[str, str] = {}
        self._peers: dict[str, PeerId] = {}  # names with keys, by agent: of the newest life
        self._status: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._refused: Counter[str] = Counter()  # messages, by why, in the lives that are over
        self._answered = 0  # looks in a row
        self._unscored: set[str] = set()  # who is asked for scores and has not answered
        self._scored = asyncio.Event()  # all have
        self._hosts = [
            Host(
                number,
                workplace.path / f"process-{number}.log",
                self._heard,
                () if network is None else network.inside(number),
            )
            for number in range(len(plan.members))
        ]
        self._mischief = Mischief(
            plan,
            self._hosts,
            workplace,
            network,
            self.record,
            there=self._there,
            address_of=self._addresses.__getitem__,
            swarm_key=self._ring.to_text().strip(),
            now_s=self._now_s,
            tell=self._tell,
        )

        self._access = access
        self._questions = Questions(self._hosts)
        self._page = ManyPage(
            f"{len(plan.agents)} agents in {len(plan.members)} processes, {task}: chaos",
            plan.members,
            self._questions.ask,
            there=self._there,
            peer_of=lambda agent: self._peers.get(agent, agent),
            now_s=self._now_s,
            change=lambda change: self._mischief.change(by_hand(change)),
        )

    async def run(self, stop: asyncio.Event) -> Record:
        """All of it; earlier if `stop` is set, or once all have the answer in the quiet at the end."""
        key = self._workplace.path / "swarm.key"
        key.write_text(self._ring.to_text(), encoding="utf-8")
        kept = [asyncio.create_task(self._keep(host), name=f"process {host.number}") for host in self._hosts]
        stopper = asyncio.create_task(stop.wait())
        try:
            if self._access is not None:
                self._say(f"page: {await self._page.open(self._access)}")
            guards = [asyncio.create_task(guard) for guard in self._page.guards()]
            if await self._all_start(stopper, kept):
                making = asyncio.create_task(self._mischief.run())
                try:
                    await self._look_until_end(stopper, [making, *guards, *kept])
                finally:
                    for task in (making, *guards):
                        task.cancel()
                    await asyncio.gather(making, *guards, return_exceptions=True)
            self.record.interrupted = stop.is_set()
            await self._finish(kept)
        finally:
            await self._page.close()
            stopper.cancel()
            for task in kept:
                task.cancel()
            await asyncio.gather(stopper, *kept, return_exceptions=True)
        return self.record

    def _now_s(self) -> float:
        return time.monotonic() - self._began_at

    # ---- processes

    async def _keep(self, host: Host) -> None:
        """Start a worker again whenever it has ended, until it is told to finish."""
        while not host.finishing.is_set():
            hosts = [agent for agent in self._plan.members[host.number] if agent in self._there]
            host.killed, host.starved, host.given_up, host.refused = False, False, False, ""
            setup = {
                "task": self._task,
                "agents": self._plan.agents,
                "seed": self._seed,
                "tick_s": self._tick_s,
                "key": str(self._workplace.path / "swarm.key"),
                "states": str(self._workplace.disk(host.number)),
                "hosts": hosts,
                "faults": self._plan.faults.to_dict(),
                "checkpoint_s": CHECKPOINT_S,
                "program_began_at": self._page.began_at,
                "listen_host": self._network.address(host.number) if self._network else "127.0.0.1",
            }
            code = await host.process.run("peer.chaos.worker", first=json.dumps(setup))
            self._ended(host, code)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTART_S):
                    await host.finishing.wait()

    def _ended(self, host: Host, code: int) -> None:
        """Write down how, and whether it may be."""
        was_up = host.up.is_set()
        host.up.clear()
        for agent in self._plan.members[host.number]:
            last = self._status.pop(agent, None)
            self._refused.update(last[1]["rejected"] if last else {})
        if host.finishing.is_set() and code == 0:
            return
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if host.given_up:
            how = f"has told nothing for {WATCHDOG_S:g} s, and was {how}"
        excuse = ""
        if host.killed:
            excuse = "killed"
        elif host.given_up and host.starved:
            excuse = "hung since its memory was at the limit, ended by the watchdog"
        elif "memory" in host.hit_by:
            excuse = "ended at the memory limit"
        elif not was_up and {"disk", "files"} & set(host.hit_by):
            excuse = "could not start without room on the disk or files"
        words = [host.refused] if host.refused else host.process.last_words(LAST_WORDS)
        if not excuse:
            how = f"{how}: {words[-1].strip() if words else 'nothing was said'}"
        self.record.exits.append(Exit(host.number, max(0.0, self._now_s()), how, excuse))
        self._tell(f"process {host.number} {how}" + (f" ({excuse})" if excuse else ""))
        if not excuse:
            for line in words:
                self._say(f"    {line}")

    def _heard(self, host: Host, line: Mapping[str, Any]) -> None:
        ((kind, value),) = line.items()
        host.seen_at = time.monotonic()
        match kind:
            case "status":
                self._seen(value)
            case "entered":
                _, peer, epoch = value
                self.record.epochs.setdefault(peer, []).append(epoch)
            case "disbelieved":
                agent, peer, reason = value
                self.record.disbelieved.append(Disbelieved(agent, peer, reason, self._now_s()))
                self._tell(f"{agent} does not believe {peer}: {reason}")
            case "ready":
                self._ready(*value)
            case "happened" | "answer":
                (self._page.heard if kind == "happened" else self._questions.answered)(*value)
            case "listening":
                host.up.set()
                if self._began_at < math.inf:
                    self._go(host)
                    self._tell(f"process {host.number} is back")
            case "scores":
                for agent, scores in value.items():
                    self.record.scores[agent] = _finite(scores)
                self._unscored -= set(value)
                if not self._unscored:
                    self._scored.set()
            case "refused":
                host.refused = value
            case _:
                self._tell(value)

    def _seen(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        """A process tells how its agents are doing."""
        for agent, status in statuses.items():
            self._status[agent] = (time.monotonic(), status)
            if self._began_at < math.inf:
                self.record.see(agent, status["ticks"], self._now_s())

    def _ready(self, agent: str, peer: str, incarnation: int, address: str, ticks: int) -> None:
        """An agent listens."""
        at_s = max(0.0, self._now_s())
        anew = agent in self._mischief.anew
        self.record.lives.append(Life(agent, peer, incarnation, at_s, ticks, anew))
        self._mischief.anew.discard(agent)
        self._addresses[agent] = address
        self._peers[agent] = peer

    def _go(self, host: Host) -> None:
        seeds = sorted(self._addresses.values())
        host.process.send({"go": {"began_at": self._began_at, "seeds": seeds}})

    async def _all_start(self, stopper: asyncio.Task[Any], kept: list[asyncio.Task[None]]) -> bool:
        """Whether all are there; False if it was stopped meanwhile. Raises HyperpushError."""
        ups = asyncio.gather(*(host.up.wait() for host in self._hosts))
        try:
            await asyncio.wait({stopper, ups, *kept}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            for task in kept:
                if task.done():
                    task.result()
            if not ups.done() and not stopper.done():
                raise HyperpushError(f"the processes have not started within {START_S:g} s")
            if stopper.done():
                return False
        finally:
            ups.cancel()
        self._began_at = time.monotonic()
        for host in self._hosts:
            self._go(host)
        return True

    async def _finish(self, kept: list[asyncio.Task[None]]) -> None:
        """Ask all what they have come to, and let them say goodbye."""
        self.record.ended_s = max(0.0, self._now_s())
        self.record.agents = tuple(agent for agent in self._plan.agents if agent in self._there)
        for _, status in self._status.values():
            self._refused.update(status["rejected"])
        self.record.garbage.setdefault("messages refused", 0)
        self.record.garbage["messages refused"] += self._refused.total()
        self.record.refused.update(self._refused)
        if not self.record.interrupted:
            shards = [self._plan.agents.index(agent) for agent in self.record.agents]
            for host in self._hosts:
                if host.up.is_set():
                    self._unscored |= self._there & set(self._plan.members[host.number])
                    host.process.send({"score": shards})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SCORE_S):
                    await self._scored.wait()
        for host in self._hosts:
            host.finishing.set()
            host.process.send({"finish": True})
            host.process.end_input()
        _, late = await asyncio.wait(kept, timeout=FINISH_S)
        for task in late:
            self.record.exits.append(
                Exit(kept.index(task), self._now_s(), f"has not ended within {FINISH_S:g} s when told to")
            )

    # ---- looking

    async def _look_until_end(self, stopper: asyncio.Task[Any], watched: list[asyncio.Task[None]]) -> None:
        while not stopper.done() and self._now_s() < self._plan.end_s:
            due_s = min(LOOK_S, self._plan.end_s - self._now_s())
            await asyncio.wait({stopper}, timeout=max(0.0, due_s))
            for task in watched:
                if task.done():
                    task.result()  # a bug of ours
            for host in self._hosts:
                if host.process.pid is not None:
                    peak = machine.peak_memory(host.process.pid)
                    self.record.memory[host.number] = max(self.record.memory.get(host.number, 0), peak)
                self._watch(host)
            self._show(self._now_s() / self._plan.end_s, self._summary())
            if self._is_answered():
                return

    def _watch(self, host: Host) -> None:
        """End a process that has come up and tells nothing any more; it is started again."""
        if "stop" in host.hit_by or not host.up.is_set():
            host.seen_at = time.monotonic()
        elif time.monotonic() - host.seen_at > WATCHDOG_S:
            host.given_up = True
            host.process.signal(signal.SIGKILL)

    def _is_answered(self) -> bool:
        """Whether all have had the answer for long enough; only where that can be known."""
        scores = {agent: _finite(status["scores"]) for agent, status in self._fresh().items()}
        can_be_known = self._task == "synthetic" and self._now_s() >= self._plan.quiet_s
        complete = set(scores) >= self._there and all(scores.values())
        if not (can_be_known and complete and worst_error(scores) <= ERROR_MAX):
            self._answered, self.record.answered_s = 0, None
            return False
        self._answered += 1
        if self._answered == 1:
            self.record.answered_s = self._now_s()
        return self._answered >= ANSWERED_LOOKS

    def _fresh(self) -> dict[str, Mapping[str, Any]]:
        """What is known of the agents now."""
        since = time.monotonic() - FRESH_S
        return {agent: status for agent, (at, status) in self._status.items() if at >= since}

    def _summary(self) -> str:
        """One line on how all are doing."""
        fresh = self._fresh()
        parts = [f"{self._now_s():5.0f} s  {len(fresh)} of {len(self._there)} agents there"]
        if fresh:
            ticks = [status["ticks"] for status in fresh.values()]
            epochs = [status["epoch"] for status in fresh.values()]
            parts.append(f"epoch {_range(epochs)}  ticks {_range(ticks)}")
            scores = [_finite(status["scores"]) for status in fresh.values()]
            if self._task == "synthetic":
                worst = max((value for one in scores for value in one.values()), default=math.inf)
                parts.append(f"largest error {worst:.1e}")
        return "  ".join(parts)

    def _tell(self, line: str) -> None:
        self._page.say(line)
        self._say(f"{max(0.0, self._now_s()):6.1f} s  {line}")


def _finite(scores: Mapping[str, float | None]) -> dict[str, float]:
    """What is no number in JSON is beyond all bounds here."""
    return {name: math.inf if score is None else score for name, score in scores.items()}


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low}..{high}"
