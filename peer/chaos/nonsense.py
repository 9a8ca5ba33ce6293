"""A process that speaks garbage to one agent, as fast as it goes; `peer.chaos.process` starts it.

Sockets that speak no HTTP, requests that never end, and websockets with messages from random bytes to such as
only a member of the swarm could make: it reads the swarm's key on stdin. On stdout, a line of JSON a second
says how much it was; it ends when stdin does. Nothing of it is a message that an agent may take to heart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import struct
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from wire import Array, Heartbeat, Push, encode_push, parse_address, peer_mark
from wire.envelope import SESSION_BYTES, Sealer
from wire.keys import SECRET_BYTES, KeyRing, SigningIdentity, peer_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

SOCKETS = 4  # of each kind at a time
TELL_EVERY_S = 1.0
CHUNK_BYTES_MAX = 2**16
FAILURES = (OSError, aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError)


class Nonsense:
    """What is said to one agent; `told` counts it."""

    def __init__(self, address: str, ring: KeyRing, seed: int) -> None:
        self._address = address
        self._host, self._port = parse_address(address)
        self._ring = ring
        self._seed = seed
        self.told = {"sockets": 0, "messages": 0, "bytes": 0}

    async def run(self) -> None:
        """For ever."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for number in range(SOCKETS):
                rng = random.Random(f"{self._seed}/{number}")
                group.create_task(self._again(partial(self._raw, rng)))
                group.create_task(self._again(partial(self._websocket, session, rng)))

    async def _again(self, speak: Callable[[], Awaitable[None]]) -> None:
        while True:
            self.told["sockets"] += 1
            with contextlib.suppress(*FAILURES):
                await speak()
            await asyncio.sleep(0)

    async def _raw(self, rng: random.Random) -> None:
        """Bytes that are no HTTP, or begin like it."""
        _, writer = await asyncio.open_connection(self._host, self._port)
        try:
            start = rng.choice(
                (b"", b"GET /v1/push HTTP/1.1\r\nA: ", b"POST /v1/identity HTTP/1.1\r\n", b"GET ")
            )
            writer.write(start)
            for _ in range(rng.randrange(1, 20)):
                chunk = rng.randbytes(rng.randrange(1, CHUNK_BYTES_MAX))
                writer.write(chunk)
                self.told["bytes"] += len(chunk)
                await writer.drain()
        finally:
            writer.close()

    async def _websocket(self, session: aiohttp.ClientSession, rng: random.Random) -> None:
        """Messages, until the agent has had enough."""
        async with session.get(f"http://{self._address}/v1/identity") as response:
            known = await response.json()
        async with session.ws_connect(f"http://{self._address}/v1/push", autoping=False) as websocket:
            for frame in self._frames(known, rng):
                await websocket.send_bytes(frame)
                self.told["messages"] += 1
                self.told["bytes"] += len(frame)
                if websocket.closed:
                    return

    def _frames(self, known: Mapping[str, Any], rng: random.Random) -> Iterator[bytes]:
        """From nonsense to what is nearly right."""
        identity = SigningIdentity(os.urandom(SECRET_BYTES))
        session = os.urandom(SESSION_BYTES)
        member = Sealer(self._ring, identity, 1, session)
        stranger = Sealer(KeyRing.new(os.urandom(SECRET_BYTES)), identity, 1, session)
        name = peer_name("nobody", identity.fingerprint)
        while True:
            push = _push(name, known, rng)
            sealed = member.seal(push)
            broken = bytearray(sealed)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            yield from (
                rng.randbytes(rng.randrange(1, CHUNK_BYTES_MAX)),
                push,
                stranger.seal(push),
                bytes(broken),
                sealed[: rng.randrange(len(sealed))],
                sealed,
                sealed,
                member.seal(rng.randbytes(100)),
                member.seal(_push(known["peer"], known, rng)),
            )


def _push(name: str, known: Mapping[str, Any], rng: random.Random) -> bytes:
    """A message of another swarm, of another model, or with numbers that are none, to who is `known`."""
    values = [rng.choice((math.nan, math.inf)) for _ in range(20)]
    array = Array("<f8", struct.pack("<20d", *values))
    push = Push(
        swarm=rng.choice((known["swarm"], "others")),
        fingerprint=rng.choice((known["fingerprint"], "another")),
        sender=name,
        incarnation=1,
        epoch=rng.randrange(1, 2**63),
        block=rng.randrange(4),
        sequence=rng.randrange(2**63),
        tick=rng.randrange(2**63),
        tick_interval_s=0.05,
        address="127.0.0.1:9",
        arrays=(array,) * 4,
        targets=(peer_mark(known["peer"]),),
        digest=(Heartbeat(name, 1, rng.randrange(2**63), "127.0.0.1:9", False, ()),),
    )
    return encode_push(push)


async def _speak(address: str, seed: int) -> None:
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    nonsense = Nonsense(address, KeyRing.parse((await commands.readline()).decode()), seed)
    speaking = asyncio.create_task(nonsense.run())
    ended = asyncio.create_task(commands.read())
    while not ended.done():
        print(json.dumps(nonsense.told), flush=True)
        await asyncio.wait((speaking, ended), timeout=TELL_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            speaking.result()
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    print(json.dumps(nonsense.told), flush=True)


def main(address: str, seed: str) -> None:
    """Speak until stdin ends."""
    asyncio.run(_speak(address, int(seed)))
