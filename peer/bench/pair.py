"""Two processes that talk to each other, each with a processor to itself if there are two. An edge.

this process --- listen --> receiver
             <--- port ---
             --- send -----------------------> sender === messages ===> receiver
             <--- how many, CPU time ---------
             --- how many --> receiver
             <--- how many arrived, when, CPU time ---
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import torch

from peer.bench.ways import WAYS, Sent, send
from wire import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from multiprocessing.connection import Connection

PATIENCE_S: Final = 10.0  # for messages that are under way when the sender has ended
MODEL_BYTES: Final = 2**24  # of a vector of two million parameters: eight blocks of 1 MB, in float64


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way, one size, once; rates are the receiver's, CPU times per message."""

    messages: int
    messages_per_s: float
    megabytes_per_s: float
    sender_us: float
    receiver_us: float


class Received(NamedTuple):
    """What has arrived and was accepted; times are from the first message to the last."""

    messages: int
    seconds: float
    cpu_s: float


class Tally:
    """Counts messages, and knows when the last has come."""

    def __init__(self) -> None:
        self.messages = 0
        self._expected = -1
        self._complete = asyncio.Event()
        self._first_at = self._last_at = self._cpu_began = 0.0

    def take(self) -> None:
        """One message more."""
        self._last_at = time.monotonic()
        if not self.messages:
            self._first_at, self._cpu_began = self._last_at, time.process_time()
        self.messages += 1
        if self.messages == self._expected:
            self._complete.set()

    async def result(self, expected: int) -> Received:
        """Wait for that many, but not for ever."""
        self._expected = expected
        if self.messages < expected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._complete.wait(), PATIENCE_S)
        return Received(self.messages, self._last_at - self._first_at, time.process_time() - self._cpu_began)


class Pair:
    """The two processes; a context manager."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._processes = []
        self._pipes: list[Connection[Any, Any]] = []
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for who ends them
        try:
            for work in (_receive, _send):
                ours, theirs = context.Pipe()
                process = context.Process(target=_run, args=(work, theirs), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
        finally:
            signal.signal(signal.SIGINT, interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            process.kill()  # it has nothing to keep
            process.join()
            pipe.close()

    def measure(self, way: str, size: int, seconds: float) -> Measurement:
        """Send messages with `size` bytes of arrays for so long.

        Raises TransportError unless all have arrived.
        """
        receiver, sender = self._pipes
        port = _ask(receiver, (way, size))
        sent: Sent = _ask(sender, (way, port, size, seconds))
        received: Received = _ask(receiver, sent.messages)
        if received.messages != sent.messages:
            raise TransportError(f"{way}: {received.messages} of {sent.messages} messages have arrived")
        counted = sent.messages - 1  # the first opened the connection
        rate = counted / received.seconds
        return Measurement(
            sent.messages,
            messages_per_s=rate,
            megabytes_per_s=rate * size / 1e6,
            sender_us=1e6 * sent.cpu_s / counted,
            receiver_us=1e6 * received.cpu_s / counted,
        )


def _ask(pipe: Connection[Any, Any], order: object) -> Any:
    """Send an order and wait for the answer; an error there is one here."""
    try:
        pipe.send(order)
        answer = pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise TransportError("a measuring process has ended; what it printed says why") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(
    work: Callable[[Connection[Any, Any]], Coroutine[Any, Any, None]], pipe: Connection[Any, Any]
) -> None:
    """Work until the other end of the pipe is closed."""
    torch.set_num_threads(1)
    # Once a vector of that size was freed, as in every tick of an agent that learns, glibc keeps freed memory
    # for later instead of returning it to the kernel. Else, each message of 1 MB costs 125 page faults.
    bytearray(MODEL_BYTES)
    with contextlib.suppress(EOFError):
        asyncio.run(work(pipe))


async def _receive(pipe: Connection[Any, Any]) -> None:
    while True:
        way, size = await asyncio.to_thread(pipe.recv)
        tally = Tally()
        async with WAYS[way].listen(size, tally.take) as port:
            pipe.send(port)
            expected = await asyncio.to_thread(pipe.recv)
            pipe.send(await tally.result(expected))


async def _send(pipe: Connection[Any, Any]) -> None:
    while True:
        way, port, size, seconds = await asyncio.to_thread(pipe.recv)
        try:
            pipe.send(await send(WAYS[way], port, size, seconds))
        except (TransportError, OSError) as error:
            pipe.send(TransportError(f"{way}: {error}"))
