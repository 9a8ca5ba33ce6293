"""What comes in over a websocket, whichever side opened it: counted, checked, handed on. An edge: aiohttp."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp import web

from wire.counters import TransportCounters
from wire.errors import DecodeError, RejectReason
from wire.messages import PeerId
from wire.socket_writer import SocketWriter

REJECTED_MAX: Final = 1_000  # messages in a row that are no good: whoever sends them has nothing else to say
SIGN_S_MIN: Final = 1.0  # between pings or pongs that are answered and not counted as no good; ours: 20 s

_SIGNS: Final = (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG)


class Intake:
    """The incoming side of all websockets of one transport.

    Each binary message is given to `on_frame`, which returns who sent it, or None if that is not known. If it
    raises DecodeError the message is counted by reason; any other exception is a bug: it ends the websocket
    and is given to `on_bug`.
    """

    def __init__(
        self,
        on_frame: Callable[[bytes], PeerId | None],
        counters: TransportCounters,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._on_frame = on_frame
        self._counters = counters
        self._on_bug = on_bug

    async def run(
        self,
        websocket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
        writer: SocketWriter,
        accepted: Callable[[PeerId | None], None],
    ) -> bool:
        """Take in all messages; `accepted` is told the sender of each that is good. `autoping` must be off.

        Returns when the websocket is over; True if it was ended here, for REJECTED_MAX bad messages in a row.
        Pings and pongs that come too often are bad messages.
        """
        loop = asyncio.get_running_loop()
        rejected = 0
        sign_at = -math.inf
        while rejected < REJECTED_MAX:
            message = await websocket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                try:
                    accepted(self._take(message.data))
                except DecodeError as error:
                    self._counters.reject(error.reason)
                    rejected += 1
                except Exception as error:  # not handled: handed to whoever waits in wait_failed
                    self._on_bug(error)
                    return False
                else:
                    rejected = 0
            elif message.type in _SIGNS and loop.time() - sign_at >= SIGN_S_MIN:
                sign_at = loop.time()
                if message.type is aiohttp.WSMsgType.PING:
                    await writer.pong(message.data)
            elif message.type in (*_SIGNS, aiohttp.WSMsgType.TEXT):
                self._counters.reject(RejectReason.MALFORMED)
                rejected += 1
            else:
                self._count_broken(message)
                return False
        writer.abort()  # a goodbye would have to read on, for the answer
        return True

    def _take(self, frame: bytes) -> PeerId | None:
        self._counters.received += 1
        self._counters.bytes_received += len(frame)
        return self._on_frame(frame)

    def _count_broken(self, message: aiohttp.WSMessage) -> None:
        """Count what broke the websocket, if it was not just closed."""
        if message.type is aiohttp.WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
            too_big = message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            self._counters.reject(RejectReason.OVERSIZED if too_big else RejectReason.MALFORMED)
