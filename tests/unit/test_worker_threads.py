"""Threads are there before there is work: where there is no memory, none can be started."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Never

from peer.worker_threads import WAITING, filled, keep_waiting_threads, worker_threads

if TYPE_CHECKING:
    import pytest


def refuse(_: threading.Thread) -> Never:
    raise AssertionError("a thread is started while agents work")


async def test_no_thread_is_started_while_agents_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by chance in `hyperpush chaos`: a loop waited for ever for the first sign of a thread that had
    found no memory left."""
    pool = worker_threads(3)
    keep_waiting_threads()
    together = threading.Barrier(3)
    with monkeypatch.context() as during:
        during.setattr(threading.Thread, "start", refuse)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, together.wait) for _ in range(3)))
        waiting = threading.Barrier(WAITING)
        await asyncio.gather(*(asyncio.to_thread(waiting.wait) for _ in range(WAITING)))
    pool.shutdown()


def test_a_pool_is_filled_at_once() -> None:
    before = threading.active_count()
    with filled(ThreadPoolExecutor(5), 5):
        assert threading.active_count() == before + 5
