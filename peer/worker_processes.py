"""Processes that work for this one and never outlive it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

P = ParamSpec("P")
T = TypeVar("T")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

FOR_THE_PARENT: Final = (signal.SIGINT, signal.SIGTERM)


class Workers(Protocol):
    """Processes, here or elsewhere, that do what is submitted, in that order."""

    @property
    def jobs(self) -> int:
        """So many at once."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What futures raise if a process was ended from outside."""

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """What it gives, some time; all is pickled."""


class WorkerProcesses(concurrent.futures.ProcessPoolExecutor):
    """`Workers` on this machine."""

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    jobs = 1

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """The first call begins the processes: what Ctrl-C and SIGTERM end is this one, which ends them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
        try:
            return super().submit(function, *arguments, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def worker_processes(jobs: int) -> Iterator[WorkerProcesses]:
    """They end with this one, however it ends; and at once if what is done with them is given up."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # nothing of this process is copied
    with WorkerProcesses(jobs, mp_context=context, initializer=_end_with_parent) as processes:
        processes.jobs = jobs
        try:
            yield processes
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.kill()
            raise


def as_done(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], workers: AbstractContextManager[Workers]
) -> Iterator[tuple[ItemT, ResultT]]:
    """Every item with what the function gives for it, as they are done; begun in their order."""
    with workers as processes:
        pending = {processes.submit(function, item): item for item in items}
        for done in concurrent.futures.as_completed(pending):
            yield pending[done], done.result()


def _end_with_parent() -> None:
    """Ctrl-C and SIGTERM are for the parent to hear; without it there is nothing to do here."""
    for number in FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_PARENT)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
