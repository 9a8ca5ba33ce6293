"""Makes the troubles of a plan: to processes from outside, to agents by what their worker is told. An edge.

Every trouble is a task of its own, and takes back what it did, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

from peer.chaos import machine
from peer.chaos.process import Process
from peer.chaos.record import Done
from peer.scenario import Join, Kill, Leave, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peer.chaos.machine import Workplace
    from peer.chaos.network import Network
    from peer.chaos.plan import Plan, Trouble
    from peer.chaos.process import Host
    from peer.chaos.record import Record

FILL_BYTES: Final = 2**26  # of memory: the limit comes before
AFTERMATH_S: Final = 3.0  # in which a process may still end of the memory that it lacked


class Mischief:
    """`run` makes all troubles."""

    def __init__(
        self,
        plan: Plan,
        hosts: Sequence[Host],
        workplace: Workplace,
        network: Network | None,
        record: Record,
        *,
        there: set[str],
        address_of: Callable[[str], str],
        swarm_key: str,
        now_s: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        """Agents that a scenario takes away leave `there`, and who comes is added."""
        self.anew: set[str] = set()  # whose next life is somebody new's
        self._plan = plan
        self._hosts = hosts
        self._workplace = workplace
        self._network = network
        self._record = record
        self._there = there
        self._address_of = address_of
        self._swarm_key = swarm_key
        self._now_s = now_s
        self._tell = tell

    async def run(self) -> None:
        """Until the last trouble is over; cancelled, it takes back what goes on. A bug is raised."""
        async with asyncio.TaskGroup() as group:
            for trouble in self._plan.troubles:
                await self._until(trouble.at_s)
                group.create_task(self._make(trouble))

    async def _make(self, trouble: Trouble) -> None:
        if trouble.change is not None:
            self.change(trouble)
        elif trouble.windows:  # every agent has them in its faults
            self._note(Done(trouble, trouble.at_s, trouble.end_s))
        else:
            hits = [self._plan.share(trouble, number) for number in trouble.processes]
            await asyncio.gather(*(self._hit(self._hosts[hit.processes[0]], hit) for hit in hits))

    def _note(self, done: Done) -> None:
        self._record.done.append(done)
        self._tell(done.told())

    async def _hit(self, host: Host, trouble: Trouble) -> None:
        """Do it to one process, as soon as that is up; nothing outlasts the beginning of the quiet."""
        quiet_s = self._plan.quiet_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, quiet_s - self._now_s())):
                await host.up.wait()
        at_s = self._now_s()
        end_s = min(at_s + trouble.end_s - trouble.at_s, quiet_s)
        pid = host.process.pid
        if pid is None or at_s >= quiet_s or not host.up.is_set():
            self._note(Done(trouble, at_s, at_s, f"not done: process {host.number} was not back in time"))
            return
        self._note(Done(trouble, at_s, end_s))
        host.hit_by.append(trouble.kind)
        try:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                await self._do(host, pid, trouble, end_s)
        finally:
            host.hit_by.remove(trouble.kind)

    async def _do(self, host: Host, pid: int, trouble: Trouble, end_s: float) -> None:
        process = host.process
        match trouble.kind:
            case "kill":
                host.killed = True
                process.signal(signal.SIGKILL)
            case "clock":
                process.send({"jump": trouble.ahead_s})
            case "stop":
                process.signal(signal.SIGSTOP)
                try:
                    await self._until(end_s)
                finally:
                    process.signal(signal.SIGCONT)
            case "disk":
                self._workplace.fill(host.number, pid)
                try:
                    await self._until(end_s)
                finally:
                    self._workplace.empty(host.number, pid)
            case "files":
                machine.exhaust_files(pid)
                try:
                    await self._until(end_s)
                finally:
                    machine.lift(pid)
            case "memory":
                host.starved = True
                machine.exhaust_memory(pid)
                process.send({"fill": FILL_BYTES})
                try:
                    await self._until(end_s)
                finally:
                    machine.lift(pid)
                    process.send({"empty": True})
                await asyncio.sleep(AFTERMATH_S)
            case "unplug":
                await self._unplug(host.number, trouble.ways, end_s)
            case _:
                await self._talk(trouble.agents[0], end_s)

    async def _unplug(self, process: int, ways: Sequence[str], end_s: float) -> None:
        """Drop the packets between one process and all others; each task has rules of its own."""
        network = self._network
        assert network is not None, "else it is not drawn"
        others = [host.number for host in self._hosts if host.number != process]
        links = [(process, other) for other in others if "from" in ways]
        links += [(other, process) for other in others if "to" in ways]
        network.cut(links)
        try:
            await self._until(end_s)
        finally:
            network.mend(links)

    async def _until(self, end_s: float) -> None:
        await asyncio.sleep(max(0.0, end_s - self._now_s()))

    async def _talk(self, agent: str, end_s: float) -> None:
        """Let a process of its own speak garbage to an agent."""
        told: dict[str, int] = {}

        def heard(line: Mapping[str, int]) -> None:
            told.update(line)

        inside = () if self._network is None else self._network.inside(None)
        nonsense = Process(self._workplace.path / "nonsense.log", heard, inside)
        arguments = (self._address_of(agent), str(len(self._record.done)))
        talking = nonsense.run("peer.chaos.nonsense", *arguments, first=self._swarm_key)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, end_s - self._now_s())):
                    code = await talking
                    raise AssertionError(f"{nonsense.last_words(1)}: ended with {code}")
        finally:
            for what, count in told.items():
                self._record.garbage[what] = self._record.garbage.get(what, 0) + count

    def change(self, trouble: Trouble) -> None:
        """What a scenario file, or a person, does to one agent; its process goes on."""
        change = trouble.change
        assert change is not None
        agent = change.agent
        host = self._hosts[self._plan.process_of(agent)]
        match change:
            case Pause(duration_s=duration_s):
                host.process.send({"pause": [agent, duration_s]})
            case Kill() | Leave():
                self._there.discard(agent)
                self._record.see(agent, None, self._now_s())
                host.process.send({"change": ["kill" if isinstance(change, Kill) else "leave", agent]})
            case _:
                self._there.add(agent)
                renewed = not isinstance(change, Join) and not change.with_state
                if renewed:
                    self.anew.add(agent)
                host.process.send({"change": ["renew" if renewed else "restart", agent]})
        self._note(Done(trouble, trouble.at_s, trouble.end_s))
