"""The processes of a swarm on this machine. An edge: processes, threads.

Calls and answers pass as bytes of `pickle`: tensors would otherwise pass as shared memory, by descriptors, of
which there are few.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import threading
import traceback
from typing import TYPE_CHECKING, Any

from peer.blame import remember_users_line
from peer.errors import HyperpushError
from peer.spread.crew import PlaceLostError, patiently
from peer.spread.place import LOOPBACK, Servant
from peer.worker_processes import worker_processes
from wire import TransportError

if TYPE_CHECKING:
    from peer.worker_processes import WorkerProcesses


class ProcessCrew:
    """A `peer.spread.crew.Crew`: a process that has ended is begun anew by the next call."""

    def __init__(self) -> None:
        self._processes: dict[int, tuple[contextlib.ExitStack, WorkerProcesses]] = {}

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
        asked = pickle.dumps((method, arguments, options))
        try:
            answer = await patiently(asyncio.wrap_future(process.submit(_call, asked)))
        except process.lost:
            if self._processes.get(number, (None,))[0] is stack:
                del self._processes[number]
                stack.close()
            raise PlaceLostError("its process has ended") from None
        error, found = pickle.loads(answer)  # noqa: S301  (of a process of ours)
        if error is not None:
            raise error
        return found

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


def _call(asked: bytes) -> bytes:
    method, arguments, options = pickle.loads(asked)  # noqa: S301  (of the process that has begun this one)
    loop, servant = _here()
    found = error = None
    try:
        call = servant.call(method, *arguments, **options)
        found = asyncio.run_coroutine_threadsafe(call, loop).result()
    except Exception as raised:
        error = raised
        if not isinstance(raised, HyperpushError | TransportError):
            remember_users_line(raised)
            raised.add_note("In its process:\n" + "".join(traceback.format_exception(raised)))
    return pickle.dumps((error, found))


@functools.cache
def _here() -> tuple[asyncio.AbstractEventLoop, Servant]:
    """The loop in which all agents of this process run, and who serves them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agents", daemon=True).start()
    return loop, Servant()
