"""The outgoing end of one link, with its sockets. An edge: asyncio, aiohttp.

which way a frame takes   1. the websocket dialled to the target's address
                          2. else, the websocket that the target has opened to here: it may be behind NAT
                          3. else the address is dialled; later and later, while that fails
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Final

import aiohttp

from wire.intake import Intake
from wire.outgoing import OutgoingLink
from wire.push_socket import PushSocket
from wire.socket_writer import LINK_FAILURES, SocketWriter

ERROR_TEXT_MAX: Final = 200  # of last_error: an answer's reason phrase is a stranger's text
TURN_BYTES: Final = 2**18  # written in a row before other tasks have their turn: tenths of a millisecond
PING_S: Final = 20.0  # of silence on a dialled websocket; routers forget a mapping after 60 s or more


class Sender:
    """The task of one target: takes a frame, has a socket, writes it, and only then takes the next.

    `address` is where the target listens, "" if it cannot be dialled. `reverse` gives the websocket that the
    target has opened, if there is one. `wake` is set when there may be work. `on_bug` gets any exception that
    is no failure of the link.
    """

    def __init__(
        self,
        link: OutgoingLink,
        address: str,
        *,
        clock: Callable[[], float],
        elapsed: Callable[[float], float],
        intake: Intake,
        message_bytes_max: int,
        reverse: Callable[[], SocketWriter | None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self.link = link
        self.wake = asyncio.Event()
        self.resting = asyncio.Event()  # nothing can be written now
        self.task: asyncio.Task[None] | None = None
        self._address = address
        self._clock = clock
        self._elapsed = elapsed
        self._intake = intake
        self._message_bytes_max = message_bytes_max
        self._reverse = reverse
        self._on_bug = on_bug
        self._dialling: asyncio.Task[PushSocket] | None = None
        self._socket: PushSocket | None = None
        self._written_at = -math.inf  # into the dialled websocket

    @property
    def address(self) -> str:
        """Where the target listens; "" if it cannot be dialled."""
        return self._address

    def start(self, session: aiohttp.ClientSession) -> None:
        """Begin; cancel `task` to end."""
        self.task = asyncio.create_task(self._run(session), name=f"push to {self.link.target}")
        self.task.add_done_callback(self._ended)

    def move(self, address: str) -> None:
        """The target listens elsewhere now: leave the old connection, even in the middle of a frame."""
        if address != self._address:
            self._address = address
            self.redial()

    def redial(self) -> None:
        """Leave the connection, even in the middle of a frame, and dial anew as soon as there is a frame."""
        self.link.moved()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._socket is not None:
            self._socket.writer.abort()
        self.wake.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_bug(error)

    async def _run(self, session: aiohttp.ClientSession) -> None:
        taken = 0
        try:
            while True:
                self.wake.clear()
                if self._dialling is not None:
                    await self._take_dialled()
                await self._leave_what_is_over()
                now = self._clock()
                if self._socket is None and self._reverse() is None:
                    if not self._address:
                        self.link.stranded(now)
                        await self._wait(math.inf)
                        continue
                    if now < self.link.retry_at:
                        await self._wait(self.link.retry_at - now)
                        continue
                frame = self.link.next_frame(now, self._elapsed(now))
                if frame is None:
                    await self._rest(now)
                    continue
                await self._push(session, frame, now)
                taken += len(frame)
                if taken >= TURN_BYTES:
                    taken = 0
                    await asyncio.sleep(0)  # the other targets' turn
        finally:
            await self._close()

    async def _rest(self, now: float) -> None:
        """Wait for work, with a sign of life now and then."""
        if self._socket is not None and now >= self._written_at + PING_S:
            self._written_at = now
            await self._socket.writer.ping()
        ping_at = math.inf if self._socket is None else self._written_at + PING_S
        due = self.link.wake_at(now)
        await self._wait(min(ping_at, math.inf if due is None else due) - now)

    async def _wait(self, seconds: float) -> None:
        """Until woken, or for `seconds`."""
        self.resting.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self.wake.wait()
        self.resting.clear()

    async def _push(self, session: aiohttp.ClientSession, frame: bytes, now: float) -> None:
        """Write one frame, or count why not."""
        try:
            if self._socket is None:
                await self._find_way(session, now)
            if self._socket is not None:
                self._written_at = now
                await self._socket.writer.push(frame)
                self.link.succeeded(frame, "dialled")
            elif (reverse := self._reverse()) is not None:
                await reverse.push(frame)
                self.link.succeeded(frame, "reverse")
            else:
                raise ConnectionResetError("the websocket that the target had opened is gone")
        except LINK_FAILURES as error:
            reason = None if self._socket is None else self._socket.ended_here
            await self._close_socket()
            self.link.failed(self._clock(), reason or _text_of(error), other_way=self._reverse() is not None)

    async def _find_way(self, session: aiohttp.ClientSession, now: float) -> None:
        """Dial if it is time, and wait for that if there is no other way. Raises one of LINK_FAILURES."""
        beside = self._reverse() is not None
        if self._address and now >= self.link.dial_at(beside_reverse=beside):
            self._dial(session, now)
        if not beside:
            await self._dialled()

    def _dial(self, session: aiohttp.ClientSession, now: float) -> None:
        if self._dialling is None:
            self.link.dialled(now)
            self._dialling = asyncio.create_task(
                PushSocket.dial(
                    session,
                    self._address,
                    intake=self._intake,
                    message_bytes_max=self._message_bytes_max,
                    on_over=self.wake.set,
                ),
                name=f"dial {self.link.target}",
            )
            self._dialling.add_done_callback(lambda _: self.wake.set())

    async def _dialled(self) -> None:
        """Wait for the dialling under way. Raises one of LINK_FAILURES, if no other way has come up since."""
        assert self._dialling is not None, "without another way, dialling is due"
        await asyncio.wait((self._dialling,))
        error = await self._take_dialled()
        if error is not None and self._reverse() is None:
            raise error

    async def _take_dialled(self) -> BaseException | None:
        """Use what dialling has led to, once it has; why it has failed, if so."""
        if self._dialling is None or not self._dialling.done():
            return None
        dialled, self._dialling = self._dialling, None
        error = ConnectionAbortedError("the target has moved") if dialled.cancelled() else dialled.exception()
        if error is None:
            self._socket = dialled.result()
            self._written_at = self._clock()
            return None
        if not isinstance(error, LINK_FAILURES):
            raise error
        self.link.counters.last_error = _text_of(error)
        return error

    async def _leave_what_is_over(self) -> None:
        """Let go of a socket that is closed, or that leads to where the target no longer listens."""
        if self._socket is not None:
            reason = self._socket.closed
            if reason is not None:
                self.link.counters.last_error = reason
            if reason is not None or self._socket.address != self._address:
                await self._close_socket()
        elif self.link.counters.route == "reverse" and self._reverse() is None:
            self.link.counters.route = None

    async def _close_socket(self) -> None:
        if self._socket is not None:
            closing, self._socket = self._socket, None
            self.link.counters.route = None
            await closing.close()

    async def _close(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
            if not self._dialling.cancelled() and self._dialling.exception() is None:
                await self._dialling.result().close()
        await self._close_socket()


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_TEXT_MAX]
