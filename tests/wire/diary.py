"""What the tests of discovery share: who is there, a diary of callbacks, seeds that answer."""

import asyncio
import os
from collections.abc import Callable

from wire import PeerRecord, RejectReason

TIMEOUT_S = 10.0
SWARM = f"test-{os.getpid()}"  # other tests may announce theirs on this machine
OTHER_SWARM = f"{SWARM}-other"
ALICE = PeerRecord("alice", 1, "127.0.0.1:7701", SWARM, "c0ffee")
BOB = PeerRecord("bob", 1, "127.0.0.1:7702", SWARM, "c0ffee")
CAROL = PeerRecord("carol", 1, "127.0.0.1:7703", SWARM, "c0ffee")
DAVE = PeerRecord("dave", 1, "127.0.0.1:7704", SWARM, "c0ffee")


class Diary:
    """What one agent was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[PeerRecord] = []
        self.incompatible: list[tuple[PeerRecord, RejectReason]] = []
        self._told = asyncio.Event()

    def on_seen(self, record: PeerRecord) -> None:
        self.seen.append(record)
        self._told.set()

    def on_incompatible(self, record: PeerRecord, reason: RejectReason) -> None:
        if record.swarm.startswith(SWARM):
            self.incompatible.append((record, reason))
            self._told.set()

    def wake(self) -> None:
        """Let `until` look again."""
        self._told.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not done():
                self._told.clear()
                await self._told.wait()


class Seeds:
    """Answers to fetch, by address; None is no answer. Wakes the diary whenever it is asked."""

    def __init__(self, diary: Diary | None = None) -> None:
        self.answers: dict[str, dict[str, object] | None] = {}
        self.asked: list[str] = []
        self._diary = diary

    async def fetch(self, address: str, timeout_s: float) -> dict[str, object] | None:
        assert timeout_s > 0
        self.asked.append(address)
        if self._diary is not None:
            self._diary.wake()
        return self.answers.get(address)


def telling(record: PeerRecord, *peers: object) -> dict[str, object]:
    return {**record.to_fields(), "peers": list(peers)}
