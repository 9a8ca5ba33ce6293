"""The processes of a swarm on this machine. An edge: processes, threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from peer.spread.crew import PlaceLostError
from peer.spread.place import LOOPBACK, Servant
from peer.worker_processes import worker_processes

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor


class ProcessCrew:
    """A `peer.spread.crew.Crew`: a process that has ended is begun anew by the next call."""

    def __init__(self) -> None:
        self._processes: dict[int, tuple[contextlib.ExitStack, ProcessPoolExecutor]] = {}

    is_local = True

    async def open(self, places: int) -> None:
        """Each is begun when it is first called: all at once, as all are."""

    async def listen_host(self, number: int) -> str:  # noqa: ARG002  (the same for all)
        """Loopback."""
        return LOOPBACK

    async def call(self, number: int, method: str, *arguments: Any, **options: Any) -> Any:
        """One call of each process after the other."""
        if number not in self._processes:
            stack = contextlib.ExitStack()
            self._processes[number] = (stack, stack.enter_context(worker_processes(1)))
        stack, process = self._processes[number]
        try:
            return await asyncio.wrap_future(process.submit(_call, method, arguments, options))
        except BrokenProcessPool:
            if self._processes.get(number, (None,))[0] is stack:
                del self._processes[number]
                stack.close()
            raise PlaceLostError("its process has ended") from None

    async def close(self) -> None:
        """End all, whatever they do."""
        stacks = [stack for stack, _ in self._processes.values()]
        self._processes.clear()
        await asyncio.gather(*(asyncio.to_thread(_end, stack) for stack in stacks))


class _OverError(Exception):
    """Nobody waits for what processes still do."""


def _end(stack: contextlib.ExitStack) -> None:
    with contextlib.suppress(_OverError), stack:
        raise _OverError


# ---- in such a process


def _call(method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    loop, servant = _here()
    return asyncio.run_coroutine_threadsafe(servant.call(method, *arguments, **options), loop).result()


@functools.cache
def _here() -> tuple[asyncio.AbstractEventLoop, Servant]:
    """The loop in which all agents of this process run, and who serves them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agents", daemon=True).start()
    return loop, Servant()
