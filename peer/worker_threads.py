"""The threads in which agents compute and wait for disks. An edge: threads.

All are there before anybody works: a thread that comes late finds no memory when there is none, and where
CPython starts one, whoever starts it then waits for ever for its first sign of life. That would be the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import torch

from peer import heap

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITING: Final = 6  # threads that wait for disks, for all agents of a process


def worker_threads(threads: int | None = None) -> ThreadPoolExecutor:
    """Workers for all agents of this process: one torch thread each, as many as cores by default."""
    torch.set_num_threads(1)
    heap.share_one()
    count = threads or os.cpu_count() or 1
    return filled(ThreadPoolExecutor(count, thread_name_prefix="learning"), count)


def keep_waiting_threads() -> None:
    """In the running loop: what waits for disks (`asyncio.to_thread`) does so in threads that are there."""
    pool = ThreadPoolExecutor(WAITING, thread_name_prefix="waiting")
    asyncio.get_running_loop().set_default_executor(filled(pool, WAITING))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile torch computes in one thread, as agents do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def filled(pool: ThreadPoolExecutor, workers: int) -> ThreadPoolExecutor:
    """The pool with all its threads."""
    together = threading.Barrier(workers)
    for waiting in [pool.submit(together.wait) for _ in range(workers)]:
        waiting.result()
    return pool
